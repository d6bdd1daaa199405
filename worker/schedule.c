#include "worker/schedule.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/claim.h"
#include "worker/dispatch.h"
#include "worker/intake.h"
#include "worker/janitor.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum { DUE_BATCH = 200, PARKED_PAGE = 50, REFUSED_MS = 1000 };

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- due ----------------------------------------------------------------------------------- */

static void due_answer(struct queue *q, int which, const struct redisReply *reply)
{
    struct worker *w = q->worker;
    struct store_due due = {0};
    struct err err = {0};
    int64_t now = mono_ms();
    q->due_under_way[which] = false;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_due(reply, &due, &err) < 0)
        answer = STORE_ERROR;
    if (answer != STORE_OK) {
        q->due_mono_ms[which] = now + REFUSED_MS;
        if (answer == STORE_NOSCRIPT)
            settle_reload_scripts(w);
        else if (answer != STORE_GONE)
            log_msg(LOG_WARN, "due jobs cannot be moved, again in 1 s",
                    KV_STR("queue", q->keys.name), KV_STR("error", err.text));
        worker_wake(w);
        return;
    }
    if (due.moved > 0) {
        CRASH_POINT("due.moved");
        q->maybe = true;
    }
    q->due_next_in_ms[which] = due.next_in_ms;
    int64_t next_in_ms = due.next_in_ms < 0 ? SCHEDULE_LOOK_MS : due.next_in_ms;
    q->due_mono_ms[which] = now + earlier(next_in_ms, SCHEDULE_LOOK_MS);
    worker_wake(w);
}

static void on_scheduled_moved(void *arg, const struct redisReply *reply)
{
    due_answer(arg, 0, reply);
}

static void on_retry_moved(void *arg, const struct redisReply *reply)
{
    due_answer(arg, 1, reply);
}

static int64_t move_due(struct worker *w, struct queue *q, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    for (int which = 0; which < 2; which++) {
        if (q->due_under_way[which])
            continue;
        if (now_mono_ms < q->due_mono_ms[which]) {
            next = earlier(next, q->due_mono_ms[which]);
            continue;
        }
        struct buf cmd = BUF_INIT;
        store_cmd_due(&cmd, &q->keys, which == 0 ? q->keys.scheduled : q->keys.retry, DUE_BATCH);
        q->due_under_way[which] =
            redis_link_send(w->main, buf_span(&cmd),
                            which == 0 ? on_scheduled_moved : on_retry_moved, q) == 0;
        buf_done(&cmd);
    }
    return next;
}

/* ---- parked -------------------------------------------------------------------------------- */

/* One parked record on its way into `run`. */
struct unpark {
    struct worker *worker;
    struct request *request;
    char *bytes;
    size_t len;
};

static void on_unparked(void *arg, const struct redisReply *reply)
{
    struct unpark *u = arg;
    struct worker *w = u->worker;
    struct queue *q = u->request->queue;
    uint64_t seq = u->request->first_seq;
    int64_t taken = 0;
    bool ours = store_classify(reply, NULL) == STORE_OK &&
                store_read_count(reply, &taken, NULL) == 0 && taken == 1;
    request_close(u->request);
    CRASH_POINT("unpark.answered");
    if (ours && claims_find(&w->claims, seq) == NULL)
        (void)intake(w, q, seq, (struct span){u->bytes, u->len});
    free(u->bytes);
    free(u);
    worker_wake(w);
}

/* Can this worker run it now?  Unknown types whose handler is here, and records of a version we
 * know; those a handler itself parked wait for jobctl or newer runners. */
static bool can_run(struct worker *w, struct span bytes)
{
    struct record rec;
    struct document doc;
    record_parse(bytes, w->cfg.limits.nesting, &rec);
    if (rec.kind != RECORD_WRAPPED)
        return false;
    if (strcmp(rec.reason, "handler") == 0 && rec.parked_at_ms >= w->handlers_since_wall_ms)
        return false;
    struct document_limits limits = {(size_t)w->cfg.limits.document_bytes, w->cfg.limits.nesting};
    return document_parse(rec.job, &limits, &doc, NULL) == 0 &&
           catalog_find(&w->catalog, doc.type) != NULL;
}

static bool take_parked(struct worker *w, struct queue *q, struct span bytes, int64_t index)
{
    struct unpark *u = xmalloc(sizeof *u);
    struct buf cmd = BUF_INIT;
    *u = (struct unpark){.worker = w, .bytes = xmemdup(bytes.ptr, bytes.len), .len = bytes.len};
    u->request = request_open(w, q, 1);
    CRASH_POINT("unpark.before-send");
    store_cmd_unpark(&cmd, &q->keys, &w->inc, u->request->first_seq, bytes, index);
    int rc = redis_link_send(w->main, buf_span(&cmd), on_unparked, u);
    buf_done(&cmd);
    if (rc < 0) {
        request_close(u->request);
        free(u->bytes);
        free(u);
    }
    return rc == 0;
}

static void on_parked_page(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    int64_t now = mono_ms();
    q->parked_under_way = false;
    q->parked_mono_ms = now + SCHEDULE_PARKED_MS;
    if (store_classify(reply, NULL) != STORE_OK || reply->type != REDIS_REPLY_ARRAY)
        return; /* a wrong type is reported by the scripts that write there */
    if (reply->elements == 0)
        q->parked_mono_ms = now + SCHEDULE_NONE_PARKED_MS;
    int room = dispatch_idle_runners(w) - w->ready.count;
    int taken = 0, moved = 0, asked = q->parked_page;
    size_t all_bytes = 0;
    for (size_t i = 0; i < reply->elements; i++)
        all_bytes += reply->element[i]->len;
    for (size_t i = 0; i < reply->elements && taken < room && worker_claiming(w); i++) {
        struct span bytes = {reply->element[i]->str, (size_t)reply->element[i]->len};
        int64_t index = q->parked_cursor + (int64_t)i - taken - moved; /* those go first */
        if (can_run(w, bytes))
            taken += take_parked(w, q, bytes, index);
        else
            moved += janitor_parked_too_long(w, q, bytes, index);
    }
    bool more = reply->elements == (size_t)asked;
    q->parked_cursor = more ? q->parked_cursor + asked - taken - moved : 0;
    q->parked_page = queue_page_next(asked, all_bytes, PARKED_PAGE);
    if (more || taken > 0)
        q->parked_mono_ms = now + 100;
    worker_wake(w);
}

static int64_t look_at_parked(struct worker *w, struct queue *q, int64_t now_mono_ms)
{
    if (q->parked_under_way || !worker_claiming(w) || dispatch_idle_runners(w) == 0)
        return INT64_MAX;
    if (now_mono_ms < q->parked_mono_ms)
        return q->parked_mono_ms;
    struct buf cmd = BUF_INIT;
    store_cmd_parked_page(&cmd, &q->keys, q->parked_cursor, q->parked_cursor + q->parked_page - 1);
    q->parked_under_way = redis_link_send(w->main, buf_span(&cmd), on_parked_page, q) == 0;
    buf_done(&cmd);
    return INT64_MAX;
}

int64_t schedule_run(struct worker *w, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    if (!w->synced || w->phase > PHASE_QUIET)
        return next;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->retired)
            continue;
        next = earlier(next, move_due(w, q, now_mono_ms));
        if (q->delivery == DELIVERY_AT_LEAST_ONCE) /* it would go into `run` */
            next = earlier(next, look_at_parked(w, q, now_mono_ms));
    }
    return next;
}

void schedule_all(struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        for (int which = 0; which < 2; which++) {
            q->due_mono_ms[which] = 0;
            q->due_under_way[which] = false;
            q->due_next_in_ms[which] = -2; /* not known */
        }
        q->parked_mono_ms = 0;
        q->parked_cursor = 0;
        q->parked_under_way = false;
    }
    worker_wake(w);
}

void schedule_due_soon(struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++)
        for (int which = 0; which < 2; which++)
            w->queues[i]->due_mono_ms[which] = 0;
    worker_wake(w);
}
