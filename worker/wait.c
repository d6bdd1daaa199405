#include "worker/wait.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/claim.h"
#include "worker/dispatch.h"
#include "worker/link.h"
#include "worker/reconcile.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum waiter_state {
    WAITER_CONNECTING = 0,
    WAITER_IDLE,
    WAITER_WAITING, /* peek and claim are written */
};

struct waiter {
    struct queue *queue;
    struct redis_link *link;
    enum waiter_state state;
    bool sweeping; /* BLMOVE is refused here: look every WAIT_SWEEP_MS */
    int64_t client_id; /* of the connection whose claim is not answered */
    struct request *request;
};

static void on_peeked(void *arg, const struct redisReply *reply)
{
    struct waiter *wt = arg;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK || answer == STORE_GONE)
        return; /* the claim written with it says the rest */
    bool unblocked = strncmp(err.text, "UNBLOCKED", 9) == 0;
    if (!unblocked && !wt->sweeping) {
        wt->sweeping = answer == STORE_OOM || answer == STORE_DENIED || answer == STORE_ERROR;
        if (wt->sweeping)
            log_msg(LOG_WARN, "no blocking wait on this queue; looking every 250 ms",
                    KV_STR("queue", wt->queue->keys.name), KV_STR("error", err.text));
    }
}

static void on_wait_claimed(void *arg, const struct redisReply *reply)
{
    struct waiter *wt = arg;
    struct request *r = wt->request;
    wt->request = NULL;
    if (reply == NULL) {
        /* The claim may run yet, on the server: the connection is killed before anything else. */
        reconcile_connection_died(r->worker, wt->client_id);
    } else {
        CRASH_POINT("wait.answered");
        wt->state = WAITER_IDLE;
    }
    claim_answer(r, reply);
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct waiter *wt = arg;
    (void)info; /* the main connection judges the server */
    wt->state = WAITER_IDLE;
    wt->client_id = redis_link_client_id(wt->link);
    worker_wake(wt->queue->worker);
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct waiter *wt = arg;
    (void)why; /* the main connection to the same server says it */
    (void)was_ready;
    wt->state = WAITER_CONNECTING;
    wt->sweeping = false;
}

static struct waiter *waiter_new(struct worker *w, struct queue *q)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    struct waiter *wt = xcalloc(1, sizeof *wt);
    wt->queue = q;
    struct redis_link_config cfg = link_config(w, "wait");
    cfg.reply_timeout_ms = w->cfg.redis.reply_timeout_ms;
    wt->link = redis_link_new(w->loop, &cfg, &events, wt);
    q->waiter = wt;
    redis_link_start(wt->link);
    return wt;
}

/* Well below dead_after: the claim of a worker that froze while waiting is to fire, if at all, before
 * its jobs are given to others. */
static int wait_seconds(const struct worker *w)
{
    int64_t s = w->cfg.dead_after_ms * 2 / 5 / 1000;
    return s < 1 ? 1 : s > WAIT_SECONDS ? WAIT_SECONDS : (int)s;
}

static void begin(struct worker *w, struct waiter *wt)
{
    struct queue *q = wt->queue;
    struct buf cmd = BUF_INIT;
    int seconds = wait_seconds(w);
    store_cmd_peek(&cmd, &q->keys, seconds);
    if (redis_link_send_blocking(wt->link, buf_span(&cmd), seconds * 1000, on_peeked, wt) < 0) {
        buf_done(&cmd);
        return;
    }
    buf_clear(&cmd);
    struct request *r = request_open(w, q, 1, true);
    store_cmd_claim(&cmd, &q->keys, &w->inc, r->first_seq, 1, STORE_CLAIM_MAX_BYTES);
    wt->request = r;
    wt->state = WAITER_WAITING;
    wt->client_id = redis_link_client_id(wt->link);
    if (redis_link_send_blocking(wt->link, buf_span(&cmd), seconds * 1000, on_wait_claimed, wt) <
        0) {
        wt->request = NULL;
        wt->state = WAITER_CONNECTING;
        request_close(r);
    }
    CRASH_POINT("wait.sent");
    buf_done(&cmd);
}

/* Do we belong to the WAIT_PEEKERS workers that peek at this queue?  Each ranks itself by hashing
 * the queue's name with the incarnations it saw alive. */
static bool among_peekers(const struct worker *w, const struct queue *q)
{
    const struct observe *o = &w->live.observe;
    if (o->count < WAIT_PEEKERS)
        return true;
    uint64_t mine = hash_pair(q->keys.list, w->inc.hex);
    int before_us = 0;
    for (int i = 0; i < o->count; i++)
        if (o->peers[i].counter != OBSERVE_ABSENT &&
            hash_pair(q->keys.list, o->peers[i].inc.hex) < mine)
            before_us++;
    return before_us < WAIT_PEEKERS;
}

void wait_run(struct worker *w)
{
    if (!worker_claiming(w) || w->burst || w->ready.count > 0 || w->claims_under_way > 0 ||
        dispatch_idle_runners(w) == 0)
        return;
    int64_t now = mono_ms();
    int waited = 0;
    for (int i = 0; i < w->queue_count && waited < WAIT_MAX; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery != DELIVERY_AT_LEAST_ONCE || q->retired)
            continue;
        waited++;
        if (q->maybe || !queue_open(q, now) || !among_peekers(w, q))
            continue;
        struct waiter *wt = q->waiter != NULL ? q->waiter : waiter_new(w, q);
        if (wt->state == WAITER_IDLE && !wt->sweeping && redis_link_state(wt->link) == LINK_READY)
            begin(w, wt);
    }
}

/* Is this one of those that nobody wakes us for?  `nth` counts the queues that could be waited for. */
static bool is_swept(const struct worker *w, const struct queue *q, int nth)
{
    return nth >= WAIT_MAX || (q->waiter != NULL && q->waiter->sweeping) || !among_peekers(w, q);
}

/* Marks them all: in a claim of each it shows which one has something. */
static void on_swept(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    int64_t n = 0;
    w->sweep_under_way = false;
    enum store_answer answer = store_classify(reply, NULL);
    if (answer == STORE_GONE ||
        (answer == STORE_OK && store_read_count(reply, &n, NULL) == 0 && n == 0))
        return;
    for (int i = 0, nth = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery == DELIVERY_AT_LEAST_ONCE && !q->retired && is_swept(w, q, nth++))
            q->maybe = true;
    }
    worker_wake(w);
}

/* One question for all of them: does any of these lists exist? */
static void send_sweep(struct worker *w, const struct store_queue *const *swept, int count)
{
    struct buf cmd = BUF_INIT;
    store_cmd_exist(&cmd, swept, count);
    w->sweep_under_way = redis_link_send(w->main, buf_span(&cmd), on_swept, w) == 0;
    buf_done(&cmd);
}

int64_t wait_sweep(struct worker *w, int64_t now_mono_ms)
{
    if (!worker_claiming(w) || dispatch_idle_runners(w) == 0)
        return INT64_MAX;
    int64_t next = INT64_MAX;
    const struct store_queue **swept = xcalloc((size_t)w->queue_count + 1, sizeof(*swept));
    int count = 0;
    for (int i = 0, nth = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->delivery != DELIVERY_AT_LEAST_ONCE || q->retired)
            continue;
        bool closed = !queue_open(q, now_mono_ms);
        if (closed && q->blocked_until_mono_ms < next)
            next = q->blocked_until_mono_ms;
        if (is_swept(w, q, nth++) && !q->maybe && !closed)
            swept[count++] = &q->keys;
    }
    if (count > 0 && now_mono_ms >= w->sweep_mono_ms) {
        w->sweep_mono_ms = now_mono_ms + WAIT_SWEEP_MS;
        if (!w->sweep_under_way)
            send_sweep(w, swept, count);
    }
    free(swept);
    return count > 0 && w->sweep_mono_ms < next ? w->sweep_mono_ms : next;
}

static void on_unblocked(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply; /* if it did not go through, the wait ends by itself in time */
}

void wait_stop(struct worker *w)
{
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        struct waiter *wt = w->queues[i]->waiter;
        if (wt == NULL || wt->state != WAITER_WAITING)
            continue;
        buf_clear(&cmd);
        store_cmd_client_unblock(&cmd, wt->client_id);
        if (redis_link_send(w->main, buf_span(&cmd), on_unblocked, NULL) < 0)
            break;
    }
    buf_done(&cmd);
}

bool wait_idle(const struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++) {
        const struct waiter *wt = w->queues[i]->waiter;
        if (wt != NULL && wt->state == WAITER_WAITING)
            return false;
    }
    return true;
}

static void on_link_closed(void *arg)
{
    free(arg);
}

void wait_close(struct queue *q)
{
    struct waiter *wt = q->waiter;
    if (wt == NULL)
        return;
    q->waiter = NULL;
    redis_link_close(wt->link, on_link_closed, wt);
}
