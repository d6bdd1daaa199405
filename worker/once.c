#include "worker/once.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/dispatch.h"
#include "worker/intake.h"
#include "worker/link.h"
#include "worker/worker.h"

enum {
    ONCE_SECONDS = 2,
    ONCE_REFUSED_MS = 1000,
    WRONGTYPE_LOOK_MS = 5000,
    PAUSED_LOOK_MS = 1000, /* a pop can not look itself: a pause is seen before the next one */
};

struct once {
    struct worker *worker;
    struct redis_link *link;
    bool waiting;
    bool empty; /* the last pop found nothing */
    int looks; /* asked for a queue's length or pause and not answered: no pop meanwhile */
    int64_t again_mono_ms;
};

void once_decision(struct claim *c, const struct ending *e)
{
    struct decision *d = &c->decision;
    switch (d->action) {
    case SETTLE_ACK:
    case SETTLE_DEAD:
        return;
    case SETTLE_SCHEDULE:
        if (e->kind == ENDING_NOT_DUE)
            return; /* it has not begun */
        break;
    case SETTLE_BACK:
        if (e->kind == ENDING_UNBEGUN)
            return;
        break;
    case SETTLE_PARK:
        if (e->kind == ENDING_NEWER)
            return; /* kept as it is, for a worker that knows it */
        break;
    case SETTLE_RETRY:
        break;
    }
    if (c->rec.reason[0] == '\0')
        snprintf(c->rec.reason, sizeof c->rec.reason, "%s",
                 e->kind == ENDING_CRASH         ? "crash"
                 : e->kind == ENDING_INTERRUPTED ? "interrupted"
                                                 : "failed");
    c->rec.dead_at_ms = wall_ms();
    *d = (struct decision){.action = SETTLE_DEAD, .rewrite = true, .failed = true};
}

void once_command(struct buf *out, const struct claim *c)
{
    const struct store_queue *q = &c->queue->keys;
    struct span bytes = {c->bytes, c->len};
    switch (c->decision.action) {
    case SETTLE_BACK:
        store_cmd_rpush(out, q, &bytes, 1);
        return;
    case SETTLE_SCHEDULE:
        store_cmd_push_scheduled(
            out, q, c->decision.at_ms >= 0 ? c->decision.at_ms : wall_ms() + c->decision.delay_ms,
            buf_span(&c->record));
        return;
    case SETTLE_PARK:
        store_cmd_push_parked(out, q, bytes);
        return;
    case SETTLE_DEAD:
    case SETTLE_ACK:
    case SETTLE_RETRY:
        store_cmd_push_dead(out, q, buf_span(&c->record));
        return;
    }
}

static void take_in(struct worker *w, struct queue *q, const redisReply *record)
{
    if (record->type == REDIS_REPLY_STRING)
        (void)intake(w, q, w->next_seq++, (struct span){record->str, (size_t)record->len});
}

static void on_looked(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    struct err err = {0};
    if (w->once == NULL)
        return;
    w->once->looks--;
    if (store_classify(reply, &err) == STORE_WRONGTYPE) {
        q->blocked_until_mono_ms = mono_ms() + WRONGTYPE_LOOK_MS;
        log_msg(LOG_ERROR, "queue cannot be popped from; left alone for 5 s",
                KV_STR("queue", q->keys.name), KV_STR("key", q->keys.list),
                KV_STR("error", err.text));
    }
    worker_wake(w);
}

/* One list of another type fails the pop of them all, and the reply does not say which it is: looks
 * for it, so that the others are served. */
static void look_for_wrong_type(struct once *o)
{
    struct worker *w = o->worker;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery != DELIVERY_AT_MOST_ONCE || !queue_open(q, mono_ms()))
            continue;
        buf_clear(&cmd);
        store_cmd_length(&cmd, &q->keys);
        if (redis_link_send(w->main, buf_span(&cmd), on_looked, q) < 0)
            break;
        o->looks++;
    }
    buf_done(&cmd);
}

static void on_pause_seen(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    if (w->once == NULL)
        return;
    w->once->looks--;
    if (reply == NULL)
        q->probe_mono_ms = 0; /* look again */
    else if (reply->type != REDIS_REPLY_NIL)
        q->blocked_until_mono_ms = mono_ms() + PAUSED_LOOK_MS;
    worker_wake(w);
}

/* Asks which queues are paused, those that were not looked at for a while. */
static void look_for_pause(struct once *o, int64_t now_mono_ms)
{
    struct worker *w = o->worker;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery != DELIVERY_AT_MOST_ONCE || !queue_open(q, now_mono_ms) ||
            now_mono_ms - q->probe_mono_ms < PAUSED_LOOK_MS)
            continue;
        buf_clear(&cmd);
        store_cmd_paused(&cmd, &q->keys);
        if (redis_link_send(w->main, buf_span(&cmd), on_pause_seen, q) < 0)
            break;
        q->probe_mono_ms = now_mono_ms;
        o->looks++;
    }
    buf_done(&cmd);
}

int64_t once_due(const struct worker *w, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < w->queue_count && worker_claiming(w); i++) {
        const struct queue *q = w->queues[i];
        if (q->delivery == DELIVERY_AT_MOST_ONCE && !q->retired &&
            q->blocked_until_mono_ms > now_mono_ms && q->blocked_until_mono_ms < next)
            next = q->blocked_until_mono_ms;
    }
    return next;
}

static void on_popped(void *arg, const struct redisReply *reply)
{
    struct once *o = arg;
    struct worker *w = o->worker;
    struct err err = {0};
    o->waiting = false;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_WRONGTYPE) {
        look_for_wrong_type(o);
        if (o->looks == 0) /* the main connection is not there */
            o->again_mono_ms = mono_ms() + ONCE_REFUSED_MS;
        worker_wake(w);
        return;
    }
    if (answer != STORE_OK) {
        if (answer != STORE_GONE && strncmp(err.text, "UNBLOCKED", 9) != 0) {
            o->again_mono_ms = mono_ms() + ONCE_REFUSED_MS;
            log_msg(LOG_WARN, "cannot pop from the at-most-once queues, again in 1 s",
                    KV_STR("error", err.text));
        }
        worker_wake(w);
        return;
    }
    o->empty = reply->type != REDIS_REPLY_ARRAY;
    if (!o->empty)
        CRASH_POINT("once.popped");
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING)
        for (int i = 0; i < w->queue_count; i++)
            if (w->queues[i]->delivery == DELIVERY_AT_MOST_ONCE &&
                strcmp(w->queues[i]->keys.list, reply->element[0]->str) == 0) {
                take_in(w, w->queues[i], reply->element[1]);
                break; /* one that left the configuration may have had the same list */
            }
    worker_wake(w);
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct once *o = arg;
    (void)info;
    worker_wake(o->worker);
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct once *o = arg;
    (void)why; /* the main connection says it */
    (void)was_ready;
    o->waiting = false;
}

static struct once *once_new(struct worker *w)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    struct once *o = xcalloc(1, sizeof *o);
    o->worker = w;
    struct redis_link_config cfg = link_config(w, "once");
    o->link = redis_link_new(w->loop, &cfg, &events, o);
    redis_link_start(o->link);
    return o;
}

void once_run(struct worker *w)
{
    const struct store_queue *queues[64];
    int n = 0;
    for (int i = 0; i < w->queue_count && n < (int)ARRAY_COUNT(queues); i++)
        if (w->queues[i]->delivery == DELIVERY_AT_MOST_ONCE && queue_open(w->queues[i], mono_ms()))
            queues[n++] = &w->queues[i]->keys;
    if (n == 0 || !worker_claiming(w) || w->ready.count >= dispatch_idle_runners(w))
        return;
    if (w->once == NULL)
        w->once = once_new(w);
    struct once *o = w->once;
    if (o->waiting || o->looks > 0 || redis_link_state(o->link) != LINK_READY ||
        mono_ms() < o->again_mono_ms)
        return;
    look_for_pause(o, mono_ms());
    if (o->looks > 0)
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_brpop(&cmd, queues, n, w->burst ? 1 : ONCE_SECONDS);
    o->waiting =
        redis_link_send_blocking(o->link, buf_span(&cmd), ONCE_SECONDS * 1000, on_popped, o) == 0;
    buf_done(&cmd);
}

static void on_unblocked(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply; /* if it did not go through, the pop ends by itself within 2 s */
}

void once_stop(struct worker *w)
{
    if (w->once == NULL || !w->once->waiting)
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_client_unblock(&cmd, redis_link_client_id(w->once->link));
    ignore_result(redis_link_send(w->main, buf_span(&cmd), on_unblocked, NULL)); /* as above */
    buf_done(&cmd);
}

bool once_idle(const struct worker *w)
{
    return w->once == NULL || !w->once->waiting;
}

bool once_drained(const struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++)
        if (w->queues[i]->delivery == DELIVERY_AT_MOST_ONCE && queue_open(w->queues[i], mono_ms()))
            return w->once != NULL && w->once->empty;
    return true;
}

static void on_closed(void *arg)
{
    free(arg);
}

void once_close(struct worker *w)
{
    if (w->once == NULL)
        return;
    struct once *o = w->once;
    w->once = NULL;
    redis_link_close(o->link, on_closed, o);
}
