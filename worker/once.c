#include "worker/once.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/claim.h"
#include "worker/dispatch.h"
#include "worker/intake.h"
#include "worker/link.h"
#include "worker/worker.h"

enum {
    ONCE_SECONDS = 2,
    ONCE_REFUSED_MS = 1000,
    WRONGTYPE_LOOK_MS = 5000,
    PAUSED_LOOK_MS = 1000, /* a pop can not look itself: a pause is seen before the next one */
    POPS_MAX = 4,
    POP_MAX = 64, /* records of one RPOP, and bytes, as far as they can be foreseen */
    POP_MAX_BYTES = 256 * 1024,
};

/* An RPOP under way. */
struct pop {
    struct once *once;
    struct queue *queue;
    int count;
};

struct once {
    struct worker *worker;
    struct redis_link *link;
    bool waiting; /* in BRPOP, which blocks the connection */
    int pops; /* RPOPs under way */
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
                 e->kind == ENDING_CRASH || e->kind == ENDING_OOM_KILL ? "crash"
                 : e->kind == ENDING_INTERRUPTED                       ? "interrupted"
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

/* The pop began under a configuration that asked for it and ended under one that does not: its job
 * has not begun, so it goes back, whatever that list's delivery is now. */
static void give_back(struct worker *w, struct queue *q, struct span bytes)
{
    struct claim *c = claims_add(&w->claims, w->next_seq++, q, bytes);
    c->rec = (struct record){0};
    c->once = true;
    w->held_bytes += (int64_t)bytes.len;
    dispatch_give_back(w, c);
    for (int i = 0; i < w->queue_count; i++)
        if (strcmp(w->queues[i]->keys.list, q->keys.list) == 0)
            w->queues[i]->maybe = true;
}

static void take_in(struct worker *w, struct queue *q, const redisReply *record)
{
    if (record->type != REDIS_REPLY_STRING)
        return;
    CRASH_POINT("once.popped");
    struct span bytes = {record->str, (size_t)record->len};
    if (bytes.len > q->pop_bytes)
        q->pop_bytes = bytes.len;
    if (q->retired)
        give_back(w, q, bytes);
    else
        (void)intake(w, q, w->next_seq++, bytes);
}

/* The at-most-once queue with that list: one of the configuration before one that left it. */
static struct queue *queue_of(const struct worker *w, const char *list)
{
    for (int i = 0; i < w->queue_count; i++) /* retired ones come last */
        if (w->queues[i]->delivery == DELIVERY_AT_MOST_ONCE &&
            strcmp(w->queues[i]->keys.list, list) == 0)
            return w->queues[i];
    return NULL;
}

static void refuse_wrong_type(struct queue *q, const struct err *err)
{
    q->blocked_until_mono_ms = mono_ms() + WRONGTYPE_LOOK_MS;
    log_msg(LOG_ERROR, "queue cannot be popped from; left alone for 5 s",
            KV_STR("queue", q->keys.name), KV_STR("key", q->keys.list), KV_STR("error", err->text));
}

static void on_looked(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    struct err err = {0};
    if (w->once == NULL)
        return;
    w->once->looks--;
    if (store_classify(reply, &err) == STORE_WRONGTYPE)
        refuse_wrong_type(q, &err);
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
        q->pause_mono_ms = 0; /* look again */
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
            now_mono_ms - q->pause_mono_ms < PAUSED_LOOK_MS)
            continue;
        buf_clear(&cmd);
        store_cmd_paused(&cmd, &q->keys);
        if (redis_link_send(w->main, buf_span(&cmd), on_pause_seen, q) < 0)
            break;
        q->pause_mono_ms = now_mono_ms;
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
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING) {
        struct queue *q = queue_of(w, reply->element[0]->str);
        if (q != NULL) {
            q->maybe = true; /* where one was there may be more */
            take_in(w, q, reply->element[1]);
        } else {
            log_msg(LOG_ERROR, "Redis popped from a list that was not asked for; its job is lost",
                    KV_STR("list", reply->element[0]->str));
        }
    }
    worker_wake(w);
}

static void on_many_popped(void *arg, const struct redisReply *reply)
{
    struct pop *p = arg;
    struct worker *w = p->queue->worker;
    struct queue *q = p->queue;
    struct err err = {0};
    p->once->pops--;
    w->claims_under_way -= p->count;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_WRONGTYPE) {
        refuse_wrong_type(q, &err);
    } else if (answer != STORE_OK) {
        if (answer != STORE_GONE) {
            p->once->again_mono_ms = mono_ms() + ONCE_REFUSED_MS;
            log_msg(LOG_WARN, "cannot pop from the at-most-once queues, again in 1 s",
                    KV_STR("error", err.text));
        }
    } else {
        size_t n = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
        q->pop_bytes -= q->pop_bytes / 8; /* one large record is forgotten after a while */
        for (size_t i = 0; i < n; i++) /* what goes back does so in its old order */
            take_in(w, q, reply->element[q->retired ? n - 1 - i : i]);
        q->maybe = n == (size_t)p->count;
        q->pop_step = q->maybe && q->pop_step < POP_MAX ? q->pop_step * 2 : q->pop_step;
    }
    free(p);
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

/* As many of this queue as could begin soon, and as a reply should hold.  How large records are is
 * known only afterwards: so the first pops are small, and double while what was largest still fits. */
static int pop_count(const struct worker *w, const struct queue *q)
{
    int room = claim_room(w, q);
    int fit = q->pop_bytes > 0 ? (int)(POP_MAX_BYTES / q->pop_bytes) : 1;
    int n = q->pop_step < fit ? q->pop_step : fit;
    return room < n ? room : n < 1 ? 1 : n;
}

static bool send_pop(struct once *o, struct queue *q, int count)
{
    struct worker *w = o->worker;
    struct buf cmd = BUF_INIT;
    struct pop *p = xmalloc(sizeof *p);
    *p = (struct pop){.once = o, .queue = q, .count = count};
    store_cmd_rpop(&cmd, &q->keys, count);
    bool sent = redis_link_send(o->link, buf_span(&cmd), on_many_popped, p) == 0;
    buf_done(&cmd);
    if (sent) {
        o->pops++;
        w->claims_under_way += count;
    } else {
        free(p);
    }
    return sent;
}

static bool popped_from(const struct queue *q, int64_t now_mono_ms)
{
    return q->delivery == DELIVERY_AT_MOST_ONCE && queue_open(q, now_mono_ms);
}

static bool any_loaded(const struct worker *w, int64_t now_mono_ms)
{
    for (int i = 0; i < w->queue_count; i++)
        if (popped_from(w->queues[i], now_mono_ms) && w->queues[i]->maybe)
            return true;
    return false;
}

/* Under load: RPOP of many from the first queue that may hold something, in strict order. */
static void pop_many(struct once *o, int64_t now_mono_ms)
{
    struct worker *w = o->worker;
    claim_probe(w, DELIVERY_AT_MOST_ONCE, now_mono_ms);
    for (int i = 0; i < w->queue_count && w->held_bytes < CLAIM_HELD_BYTES_MAX; i++) {
        struct queue *q = w->queues[i];
        if (!popped_from(q, now_mono_ms) || !q->maybe)
            continue;
        int count = pop_count(w, q);
        while (count > 0 && o->pops < POPS_MAX && send_pop(o, q, count))
            count = pop_count(w, q);
        return;
    }
}

/* None may hold anything: BRPOP over all. */
static void pop_waiting(struct once *o)
{
    struct worker *w = o->worker;
    const struct store_queue *queues[64];
    int n = 0;
    for (int i = 0; i < w->queue_count && n < (int)ARRAY_COUNT(queues); i++)
        if (popped_from(w->queues[i], mono_ms()))
            queues[n++] = &w->queues[i]->keys;
    if (n == 0 || w->burst || w->ready.count >= dispatch_idle_runners(w))
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_brpop(&cmd, queues, n, ONCE_SECONDS);
    o->waiting =
        redis_link_send_blocking(o->link, buf_span(&cmd), ONCE_SECONDS * 1000, on_popped, o) == 0;
    buf_done(&cmd);
}

static bool has_queues(const struct worker *w, int64_t now_mono_ms)
{
    for (int i = 0; i < w->queue_count; i++)
        if (popped_from(w->queues[i], now_mono_ms))
            return true;
    return false;
}

void once_run(struct worker *w)
{
    int64_t now = mono_ms();
    if (!worker_claiming(w) || !has_queues(w, now))
        return;
    if (w->once == NULL)
        w->once = once_new(w);
    struct once *o = w->once;
    if (o->waiting || o->looks > 0 || redis_link_state(o->link) != LINK_READY ||
        now < o->again_mono_ms)
        return;
    look_for_pause(o, now);
    if (o->looks > 0)
        return;
    if (any_loaded(w, now))
        pop_many(o, now);
    else if (o->pops == 0)
        pop_waiting(o);
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
    return w->once == NULL || (!w->once->waiting && w->once->pops == 0);
}

bool once_drained(const struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++) {
        if (popped_from(w->queues[i], mono_ms()) && w->queues[i]->maybe)
            return false;
    }
    return once_idle(w);
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
