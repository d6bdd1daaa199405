#include "worker/hand.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/intake.h"
#include "worker/reconcile.h"
#include "worker/settle.h"
#include "worker/stats.h"
#include "worker/wait.h"
#include "worker/worker.h"

enum { HOLD_AGAIN_MS = 5000 };

/* A hold under way.  The claim is found by its token: it may be gone by the time of the answer. */
struct hold {
    struct worker *worker;
    uint64_t seq;
};

/* It lies in `run` now: what became of it meanwhile may be settled. */
static void is_held(struct worker *w, struct claim *c, int64_t left)
{
    struct queue *q = c->queue;
    c->hold = HOLD_NONE;
    c->answered_round = w->round;
    q->hand_holds--;
    q->maybe = q->maybe || left > 0;
    q->left = left;
    if (c->state == CLAIM_SETTLING)
        settle_send(w, c);
}

/* Somebody who took us for dead gave it back: it is not ours any more. */
static void was_let_go(struct worker *w, struct claim *c)
{
    c->hold = HOLD_NONE;
    c->queue->hand_holds--;
    log_msg(LOG_WARN, "what a wait brought was let go by another worker",
            KV_STR("queue", c->queue->keys.name), KV_INT("seq", (int64_t)c->seq));
    reconcile_claim_lost(w, c);
}

static void hold_refused(struct worker *w, struct claim *c, enum store_answer answer,
                         const struct err *err)
{
    int64_t again = mono_ms() + HOLD_AGAIN_MS;
    c->hold = HOLD_NEEDED; /* sent again by the next round of reconciling */
    switch (answer) {
    case STORE_OK:
    case STORE_GONE:
        return;
    case STORE_AWAY:
    case STORE_MOVED:
        redis_link_reset(w->main, err->text);
        return;
    case STORE_NOSCRIPT:
        settle_reload_scripts(w);
        reconcile_soon(w);
        return;
    case STORE_DUPTOKEN:
        reconcile_we_are_a_clone(w);
        return;
    case STORE_OOM:
    case STORE_WRONGTYPE:
    case STORE_DENIED:
    case STORE_ERROR:
        log_msg(LOG_ERROR, "Redis refuses to put a job into run; tried again in 5 s",
                KV_STR("queue", c->queue->keys.name), KV_STR("error", err->text));
        c->queue->blocked_until_mono_ms = again;
        c->queue->maybe = true; /* nobody waits there meanwhile */
        if (again < w->reconcile_mono_ms)
            w->reconcile_mono_ms = again;
    }
}

static void on_held(void *arg, const struct redisReply *reply)
{
    struct hold *h = arg;
    struct worker *w = h->worker;
    struct claim *c = claims_find(&w->claims, h->seq);
    free(h);
    struct err err = {0};
    int64_t left = 0;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_count(reply, &left, &err) < 0)
        answer = STORE_ERROR;
    if (answer == STORE_OK)
        CRASH_POINT("hand.held");
    if (c == NULL || c->hold != HOLD_SENT)
        return;
    if (answer != STORE_OK)
        hold_refused(w, c, answer, &err);
    else if (left < 0)
        was_let_go(w, c);
    else
        is_held(w, c, left);
    worker_wake(w);
}

static void send_hold(struct worker *w, struct claim *c)
{
    struct buf cmd = BUF_INIT;
    struct hold *h = xmalloc(sizeof *h);
    *h = (struct hold){w, c->seq};
    store_cmd_hold(&cmd, &c->queue->keys, &w->inc, c->seq, (struct span){c->bytes, c->len});
    if (redis_link_send(w->main, buf_span(&cmd), on_held, h) == 0)
        c->hold = HOLD_SENT;
    else
        free(h);
    buf_done(&cmd);
}

void hand_take(struct worker *w, struct queue *q, struct span record)
{
    CRASH_POINT("hand.brought");
    q->hand_holds++;
    struct claim *c = claims_add(&w->claims, w->next_seq++, q, record);
    c->hold = HOLD_NEEDED;
    send_hold(w, c);
    redis_link_flush(w->main); /* before any runner hears of it */
    CRASH_POINT("hand.hold-sent");
    intake_claim(w, c);
}

void hand_doubt(struct queue *q)
{
    q->hand_doubtful = true;
    worker_wake(q->worker);
}

/* A list that was given another name by a reload has two queues, one of them retired, but one hand. */
static bool is_of_hand(const struct queue *a, const struct queue *q)
{
    return a == q || ((a->retired || q->retired) && strcmp(a->keys.list, q->keys.list) == 0);
}

bool hand_ready(const struct queue *q)
{
    const struct worker *w = q->worker;
    for (int i = 0; i < w->queue_count; i++) {
        const struct queue *a = w->queues[i];
        if (is_of_hand(a, q) &&
            (a->hand_doubtful || a->hand_letting || a->hand_refused || a->hand_holds > 0))
            return false;
    }
    return true;
}

/* Might something be given back that we run, or are about to? */
static bool in_use(const struct queue *q)
{
    const struct worker *w = q->worker;
    for (int i = 0; i < w->queue_count; i++) {
        const struct queue *a = w->queues[i];
        if (is_of_hand(a, q) && (a->hand_letting || a->hand_holds > 0 || wait_under_way(a)))
            return true;
    }
    return false;
}

static void on_let_go(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    struct err err = {0};
    int64_t n = 0;
    q->hand_letting = false;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_count(reply, &n, &err) < 0)
        answer = STORE_ERROR;
    CRASH_POINT("hand.let-go");
    switch (answer) {
    case STORE_OK:
        q->hand_doubtful = q->hand_doubtful || n > 0; /* until there is nothing more */
        q->maybe = q->maybe || n > 0;
        break;
    case STORE_NOSCRIPT:
        settle_reload_scripts(w);
        q->hand_doubtful = true;
        break;
    case STORE_AWAY:
    case STORE_MOVED:
        redis_link_reset(w->main, err.text);
        q->hand_doubtful = true;
        break;
    case STORE_GONE:
        q->hand_doubtful = true;
        break;
    case STORE_OOM:
    case STORE_WRONGTYPE:
    case STORE_DENIED:
    case STORE_DUPTOKEN:
    case STORE_ERROR:
        q->hand_refused = true; /* until the next round of reconciling */
        log_msg(LOG_WARN, "no blocking wait on this queue; looking every 250 ms",
                KV_STR("queue", q->keys.name), KV_STR("error", err.text));
        break;
    }
    worker_wake(w);
}

void hand_tidy(struct worker *w)
{
    if (!w->synced || w->kill_count > 0 || w->settle.scripts_reloading)
        return;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (!q->hand_doubtful || in_use(q))
            continue;
        buf_clear(&cmd);
        store_cmd_let_go(&cmd, &q->keys, &w->inc, OWNER_WAITS);
        if (redis_link_send(w->main, buf_span(&cmd), on_let_go, q) < 0)
            break;
        q->hand_named = q->hand_letting = true;
        q->hand_doubtful = false;
    }
    buf_done(&cmd);
}

static void hold_again(void *arg, struct claim *c)
{
    if (c->hold == HOLD_NEEDED)
        send_hold(arg, c);
}

void hand_hold_again(struct worker *w)
{
    claims_each(&w->claims, hold_again, w);
}

void hand_reconciled(struct worker *w)
{
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        q->hand_refused = false;
        q->hand_doubtful |= q->hand_named;
    }
}

void hand_leave(struct worker *w)
{
    bool sure = w->kill_count == 0 && w->unsure_rounds == 0 && wait_idle(w);
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        if (!w->queues[i]->hand_named)
            continue;
        buf_clear(&cmd);
        store_cmd_let_go(&cmd, &w->queues[i]->keys, &w->inc, sure ? OWNER_LEFT : OWNER_DIED);
        /* Should it not go through, the hand stays named, and others look after it. */
        if (redis_link_send(w->main, buf_span(&cmd), stats_ignore, NULL) < 0)
            break;
    }
    buf_done(&cmd);
}
