#include "worker/wait.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/dispatch.h"
#include "worker/hand.h"
#include "worker/link.h"
#include "worker/reconcile.h"
#include "worker/worker.h"

enum {
    RECORD_KEPT_BYTES = 65536, /* of the buffer, between two waits */
    WAIT_PAUSED_LOOK_MS = 1000,
    WAIT_AWAY_LOOK_MS = 100,
};

enum waiter_state {
    WAITER_CONNECTING = 0,
    WAITER_IDLE,
    WAITER_WAITING, /* a wait is written */
};

struct waiter {
    struct queue *queue;
    struct redis_link *link;
    enum waiter_state state;
    bool sweeping; /* BLMOVE is refused here: look every WAIT_SWEEP_MS */
    int64_t client_id; /* of the connection whose wait is not answered */
    bool brought; /* the wait has brought a record ... */
    struct buf record; /* ... a copy of which this is */
};

/* What is needed to wait is refused here, until the connection is another. */
static void note_refusal(struct waiter *wt, enum store_answer answer, const struct err *err)
{
    if (wt->sweeping || (answer != STORE_OOM && answer != STORE_DENIED && answer != STORE_ERROR))
        return;
    wt->sweeping = true;
    log_msg(LOG_WARN, "no blocking wait on this queue; looking every 250 ms",
            KV_STR("queue", wt->queue->keys.name), KV_STR("error", err->text));
}

static void on_waited(void *arg, const struct redisReply *reply)
{
    struct waiter *wt = arg;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_GONE)
        return; /* so is what was written with it */
    if (answer == STORE_OK) {
        wt->brought = reply->type == REDIS_REPLY_STRING;
        buf_clear(&wt->record);
        if (wt->brought)
            buf_add(&wt->record, reply->str, (size_t)reply->len);
        return;
    }
    if (answer == STORE_WRONGTYPE) { /* of the list or the hand: a claim or let_go says which */
        wt->queue->maybe = true;
        hand_doubt(wt->queue);
        return;
    }
    if (strncmp(err.text, "UNBLOCKED", 9) == 0)
        return;
    if (answer == STORE_AWAY || answer == STORE_MOVED)
        wt->queue->blocked_until_mono_ms = mono_ms() + WAIT_AWAY_LOOK_MS;
    note_refusal(wt, answer, &err);
}

/* A record lies in our hand: run it, unless nobody can or the queue is paused by now. */
static void take(struct worker *w, struct waiter *wt, enum store_answer answer, int64_t paused)
{
    struct queue *q = wt->queue;
    bool wanted = answer == STORE_OK && paused == 0 && worker_claiming(w) && !q->retired &&
                  dispatch_idle_runners(w) > w->ready.count;
    if (wanted) {
        hand_take(w, q, buf_span(&wt->record));
        return;
    }
    hand_doubt(q);
    q->maybe = true;
    if (paused != 0)
        q->blocked_until_mono_ms = mono_ms() + WAIT_PAUSED_LOOK_MS;
}

/* The answer to what was written behind the wait: is the queue paused? */
static void on_paused(void *arg, const struct redisReply *reply)
{
    struct waiter *wt = arg;
    struct worker *w = wt->queue->worker;
    int64_t paused = 0;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_count(reply, &paused, &err) < 0)
        answer = STORE_ERROR;
    CRASH_POINT("wait.answered");
    if (answer == STORE_GONE) {
        /* The wait may end yet, on the server: the connection is killed before anything else. */
        hand_doubt(wt->queue);
        reconcile_connection_died(w, wt->client_id);
    } else {
        wt->state = WAITER_IDLE;
        note_refusal(wt, answer, &err);
        if (wt->brought)
            take(w, wt, answer, paused);
    }
    wt->brought = false;
    buf_clear(&wt->record);
    buf_trim(&wt->record, RECORD_KEPT_BYTES);
    worker_wake(w);
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct waiter *wt = arg;
    (void)info; /* the main connection judges the server */
    wt->state = WAITER_IDLE;
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
    buf_init(&wt->record);
    hand_doubt(q); /* named before the first wait */
    redis_link_start(wt->link);
    return wt;
}

/* Well below dead_after: the wait of a worker that froze is to bring something, if at all, before its
 * hand is let go by others. */
static int wait_seconds(const struct worker *w)
{
    int64_t s = w->cfg.dead_after_ms * 2 / 5 / 1000;
    return s < 1 ? 1 : s > WAIT_SECONDS ? WAIT_SECONDS : (int)s;
}

static void begin(struct worker *w, struct waiter *wt)
{
    struct queue *q = wt->queue;
    struct buf wait = BUF_INIT, paused = BUF_INIT;
    int seconds = wait_seconds(w);
    store_cmd_wait(&wait, &q->keys, &w->inc, seconds);
    store_cmd_is_paused(&paused, &q->keys);
    wt->client_id = redis_link_client_id(wt->link);
    if (redis_link_send_blocking(wt->link, buf_span(&wait), seconds * 1000, on_waited, wt) == 0) {
        wt->state = WAITER_WAITING;
        if (redis_link_send_blocking(wt->link, buf_span(&paused), seconds * 1000, on_paused, wt) <
            0)
            BUG("a connection that took the wait did not take what follows it");
    }
    CRASH_POINT("wait.sent");
    buf_done(&wait);
    buf_done(&paused);
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
        if (q->maybe || !queue_open(q, now))
            continue;
        struct waiter *wt = q->waiter != NULL ? q->waiter : waiter_new(w, q);
        if (wt->state == WAITER_IDLE && !wt->sweeping && hand_ready(q) &&
            redis_link_state(wt->link) == LINK_READY)
            begin(w, wt);
    }
}

/* Is this one of those that nobody wakes us for?  `nth` counts the queues that could be waited for. */
static bool is_swept(const struct queue *q, int nth)
{
    return nth >= WAIT_MAX || (q->waiter != NULL && q->waiter->sweeping) || q->hand_refused;
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
        if (q->delivery == DELIVERY_AT_LEAST_ONCE && !q->retired && is_swept(q, nth++))
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
        if (is_swept(q, nth++) && !q->maybe && !closed)
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
        if (!wait_under_way(w->queues[i]))
            continue;
        buf_clear(&cmd);
        store_cmd_client_unblock(&cmd, w->queues[i]->waiter->client_id);
        if (redis_link_send(w->main, buf_span(&cmd), on_unblocked, NULL) < 0)
            break;
    }
    buf_done(&cmd);
}

bool wait_under_way(const struct queue *q)
{
    return q->waiter != NULL && q->waiter->state == WAITER_WAITING;
}

bool wait_idle(const struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++)
        if (wait_under_way(w->queues[i]))
            return false;
    return true;
}

static void on_link_closed(void *arg)
{
    struct waiter *wt = arg;
    buf_done(&wt->record);
    free(wt);
}

void wait_close(struct queue *q)
{
    struct waiter *wt = q->waiter;
    if (wt == NULL)
        return;
    q->waiter = NULL;
    redis_link_close(wt->link, on_link_closed, wt);
}
