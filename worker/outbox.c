#include "worker/outbox.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/settle.h"
#include "worker/stats.h"
#include "worker/worker.h"

enum { PAGE = 20, REFUSED_MS = 2000 };

/* One record on its way. */
struct relay {
    struct queue *queue;
    char *record;
    size_t len;
};

void outbox_soon(struct queue *q)
{
    q->outbox_mono_ms = 0;
    q->outbox_dirty = true;
    worker_wake(q->worker);
}

void outbox_all_soon(struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++)
        if (w->queues[i]->delivery != DELIVERY_AT_MOST_ONCE) /* those have none */
            outbox_soon(w->queues[i]);
}

bool outbox_busy(const struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++)
        if (w->queues[i]->outbox_dirty || w->queues[i]->outbox_under_way > 0)
            return true;
    return false;
}

/* Never later than was meant before: something may have been left there since the page. */
static void look_again(struct queue *q, int64_t in_ms)
{
    int64_t at = mono_ms() + in_ms;
    if (at < q->outbox_mono_ms)
        q->outbox_mono_ms = at;
}

static void remove_record(struct queue *q, struct span record)
{
    struct buf cmd = BUF_INIT;
    store_cmd_outbox_remove(&cmd, &q->keys, record);
    ignore_result(
        redis_link_send(q->worker->main, buf_span(&cmd), stats_ignore,
                        NULL)); /* relayed again, which pushes nothing, and removed then */
    buf_done(&cmd);
}

static void on_relayed(void *arg, const struct redisReply *reply)
{
    struct relay *r = arg;
    struct queue *q = r->queue;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    q->outbox_under_way--;
    worker_wake(q->worker);
    if (answer == STORE_OK) {
        CRASH_POINT("outbox.relayed");
        remove_record(q, (struct span){r->record, r->len});
        CRASH_POINT("outbox.removing");
        for (int i = 0; i < q->worker->queue_count && q->worker->burst; i++)
            q->worker->queues[i]->maybe = true; /* it may lie there: the burst is not over */
    } else if (answer == STORE_WRONGTYPE) {
        log_msg(LOG_ERROR,
                "a follow-up cannot be pushed: its list has another type; kept, again in 2 s",
                KV_STR("queue", q->keys.name), KV_STR("error", err.text));
        look_again(q, REFUSED_MS);
    } else {
        if (answer == STORE_NOSCRIPT)
            settle_reload_scripts(q->worker);
        look_again(q, answer == STORE_NOSCRIPT ? 0 : REFUSED_MS);
    }
    free(r->record);
    free(r);
}

static void relay_one(struct queue *q, struct span record)
{
    struct store_relay what;
    struct err err = {0};
    struct buf cmd = BUF_INIT;
    if (store_read_relay(record, &what, &err) < 0) {
        log_msg(LOG_ERROR, "an outbox record nobody can relay goes to the dead letters",
                KV_STR("queue", q->keys.name), KV_STR("error", err.text));
        store_cmd_push_dead(&cmd, &q->keys, record);
        ignore_result(redis_link_send(q->worker->main, buf_span(&cmd), stats_ignore,
                                      NULL)); /* if it is lost, so is the removal after it */
        remove_record(q, record);
        buf_done(&cmd);
        return;
    }
    struct relay *r = xmalloc(sizeof *r);
    *r = (struct relay){q, xmemdup(record.ptr, record.len), record.len};
    store_cmd_relay(&cmd, &what);
    if (redis_link_send(q->worker->main, buf_span(&cmd), on_relayed, r) == 0) {
        q->outbox_under_way++;
    } else {
        free(r->record);
        free(r);
    }
    buf_done(&cmd);
}

static void on_page(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    q->outbox_under_way--;
    worker_wake(q->worker);
    if (store_classify(reply, NULL) != STORE_OK || reply->type != REDIS_REPLY_ARRAY) {
        look_again(q, REFUSED_MS);
        return;
    }
    if (reply->elements > 0)
        CRASH_POINT("outbox.page");
    size_t bytes = 0;
    for (size_t i = 0; i < reply->elements; i++)
        bytes += reply->element[i]->len;
    q->outbox_dirty = reply->elements == (size_t)q->outbox_page; /* there is more */
    if (q->outbox_dirty)
        look_again(q, 0);
    q->outbox_page = queue_page_next(q->outbox_page, bytes, PAGE);
    for (size_t i = reply->elements; i > 0; i--) /* the oldest first */
        relay_one(q, (struct span){reply->element[i - 1]->str, (size_t)reply->element[i - 1]->len});
}

int64_t outbox_run(struct worker *w, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    if (!w->synced || w->phase >= PHASE_LEAVING)
        return next;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery == DELIVERY_AT_MOST_ONCE || q->outbox_under_way > 0)
            continue;
        if (now_mono_ms < q->outbox_mono_ms) {
            next = q->outbox_mono_ms < next ? q->outbox_mono_ms : next;
            continue;
        }
        struct buf cmd = BUF_INIT;
        store_cmd_outbox_page(&cmd, &q->keys, q->outbox_page);
        q->outbox_mono_ms = now_mono_ms + OUTBOX_LOOK_MS;
        if (redis_link_send(w->main, buf_span(&cmd), on_page, q) == 0)
            q->outbox_under_way = 1;
        buf_done(&cmd);
    }
    return next;
}
