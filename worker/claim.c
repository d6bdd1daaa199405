#include "worker/claim.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/dispatch.h"
#include "worker/intake.h"
#include "worker/reconcile.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum {
    WORTHWHILE = 32, /* while all runners are busy, claim at least so many at once */
    PROBE_MS = 20, /* ask empty queues of higher rank for their length so often */
    PAUSED_LOOK_MS = 1000,
    WRONGTYPE_LOOK_MS = 5000,
    DENIED_LOOK_MS = 5000,
};

struct request *request_open(struct worker *w, struct queue *q, int count)
{
    struct request *r = xmalloc(sizeof *r);
    *r = (struct request){
        .worker = w,
        .queue = q,
        .first_seq = w->next_seq,
        .count = count,
        .next = w->requests,
    };
    w->requests = r;
    w->next_seq += (uint64_t)count;
    w->claims_under_way += count;
    return r;
}

void request_close(struct request *r)
{
    struct request **link = &r->worker->requests;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    r->worker->claims_under_way -= r->count;
    free(r);
}

bool request_covers(const struct worker *w, uint64_t seq)
{
    for (const struct request *r = w->requests; r != NULL; r = r->next)
        if (seq >= r->first_seq && seq < r->first_seq + (uint64_t)r->count)
            return true;
    return false;
}

/* A slot whose job has returned counts as free: its settlement goes out before or with the claim, and is
 * answered by the time the claim has brought something. */
int claim_room(const struct worker *w, const struct queue *q)
{
    int room = 0;
    for (int i = 0; i < w->pool.block_count; i++) {
        const struct runner *r = w->pool.runners[i];
        if (!runner_takes_jobs(r))
            continue;
        int ahead = 1;
        if (q->job_us > 0 && q->job_us < CLAIM_AHEAD_MS * 1000)
            ahead = (int)(CLAIM_AHEAD_MS * 1000 / q->job_us);
        ahead -= r->jobs.count;
        if (ahead > SLOTS_PER_RUNNER - r->jobs.count)
            ahead = SLOTS_PER_RUNNER - r->jobs.count;
        if (ahead > 0)
            room += ahead;
    }
    return room - w->ready.count - w->claims_under_way - w->settle.blocked.count;
}

/* A refused claim: what it means for the queue, and for the connection. */
static void claim_refused(struct request *r, enum store_answer answer, const struct err *err)
{
    struct worker *w = r->worker;
    struct queue *q = r->queue;
    int64_t now = mono_ms();
    switch (answer) {
    case STORE_GONE:
        return; /* the connection's end is handled where it is seen */
    case STORE_OK:
        return;
    case STORE_NOSCRIPT:
        q->blocked_until_mono_ms = now + 10; /* the scripts are loaded again by then */
        settle_reload_scripts(w);
        return;
    case STORE_AWAY:
    case STORE_MOVED:
        redis_link_reset(w->main, err->text);
        q->blocked_until_mono_ms = now + 100;
        return;
    case STORE_DUPTOKEN:
        log_msg(LOG_ERROR, "another process claims under our incarnation",
                KV_STR("queue", q->keys.name), KV_STR("error", err->text));
        reconcile_we_are_a_clone(w);
        return;
    case STORE_WRONGTYPE:
    case STORE_OOM:
    case STORE_DENIED:
    case STORE_ERROR:
        q->blocked_until_mono_ms = now + WRONGTYPE_LOOK_MS;
        log_msg(LOG_ERROR, "queue cannot be claimed from; left alone for 5 s",
                KV_STR("queue", q->keys.name), KV_STR("key", q->keys.list),
                KV_STR("error", err->text));
        reconcile_soon(w);
        return;
    }
}

static void on_claimed(void *arg, const struct redisReply *reply)
{
    struct request *r = arg;
    struct worker *w = r->worker;
    struct queue *q = r->queue;
    struct err err = {0};
    struct store_claimed got = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_claim(reply, &got, &err) < 0)
        answer = STORE_ERROR;
    if (answer != STORE_OK) {
        claim_refused(r, answer, &err);
        request_close(r);
        worker_wake(w); /* who stops may have waited for this alone */
        return;
    }
    CRASH_POINT("claim.answered");
    if (got.paused) {
        q->blocked_until_mono_ms = mono_ms() + PAUSED_LOOK_MS;
        q->maybe = true;
    } else {
        q->maybe = got.remaining > 0;
        q->left = got.remaining;
    }
    uint64_t first = r->first_seq;
    size_t total = 0;
    request_close(r);
    for (int i = 0; i < got.count; i++) {
        struct span bytes = {got.records[i]->str, (size_t)got.records[i]->len};
        total += bytes.len;
        /* One adopted meanwhile by reconcile is held already. */
        if (claims_find(&w->claims, first + (uint64_t)i) != NULL)
            continue;
        (void)intake(w, q, first + (uint64_t)i, bytes);
    }
    if (got.count > 0)
        q->record_bytes = total / (size_t)got.count;
    CRASH_POINT("claim.taken-in");
    worker_wake(w);
}

static void on_length(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    int64_t n = 0;
    if (store_classify(reply, NULL) == STORE_OK && store_read_count(reply, &n, NULL) == 0 &&
        n > 0) {
        q->maybe = true;
        q->left = n;
        worker_wake(q->worker);
    }
}

void claim_probe(struct worker *w, enum delivery delivery, int64_t now_mono_ms)
{
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        if (q->maybe || q->delivery != delivery || !queue_open(q, now_mono_ms) ||
            now_mono_ms - q->probe_mono_ms < PROBE_MS)
            continue;
        q->probe_mono_ms = now_mono_ms;
        buf_clear(&cmd);
        store_cmd_length(&cmd, &q->keys);
        if (redis_link_send(w->main, buf_span(&cmd), on_length, q) < 0)
            break;
    }
    buf_done(&cmd);
}

int claim_share(const struct queue *q, int count)
{
    int lot = queue_claim_count(CLAIM_LOT, q->record_bytes);
    return q->left < count ? 0 : count * CLAIM_LOT / lot;
}

bool claim_fits(const struct request *under_way, int share, int64_t now_mono_ms)
{
    int all = 0, coming = 0;
    for (const struct request *r = under_way; r != NULL; r = r->next) {
        all++;
        coming += now_mono_ms - r->sent_mono_ms < CLAIM_FAR_MS ? r->share : 0;
    }
    return all < CLAIM_UNDER_WAY_MAX &&
           (share == 0 || coming + share <= CLAIM_LOTS_UNDER_WAY * CLAIM_LOT);
}

static bool send_claim(struct worker *w, struct queue *q, int count, int share, int64_t now_mono_ms)
{
    struct buf cmd = BUF_INIT;
    struct request *r = request_open(w, q, count);
    r->share = share;
    r->sent_mono_ms = now_mono_ms;
    CRASH_POINT("claim.before-send");
    store_cmd_claim(&cmd, &q->keys, &w->inc, r->first_seq, count, STORE_CLAIM_MAX_BYTES);
    int rc = redis_link_send(w->main, buf_span(&cmd), on_claimed, r);
    buf_done(&cmd);
    if (rc < 0)
        request_close(r);
    else
        q->left -= q->left < count ? q->left : count;
    CRASH_POINT("claim.sent");
    return rc == 0;
}

void claim_run(struct worker *w)
{
    if (!worker_claiming(w) || w->held_bytes > CLAIM_HELD_BYTES_MAX ||
        w->result_bytes > DISPATCH_RESULT_BYTES_MAX)
        return;
    int64_t now = mono_ms();
    bool idle = dispatch_idle_runners(w) > 0;
    int share = 0;
    while (share == 0) { /* otherwise the turn of its answer, at the latest, sends the next */
        struct queue *q = queue_pick(w->queues, w->queue_count, now);
        if (q == NULL)
            return;
        int room = claim_room(w, q);
        if (room <= 0 || (!idle && q->job_us > 0 && q->job_us < 1000 && room < WORTHWHILE))
            return;
        int count = queue_claim_count(room, q->record_bytes);
        share = claim_share(q, count);
        if (!claim_fits(w->requests, share, now))
            return;
        claim_probe(w, DELIVERY_AT_LEAST_ONCE, now);
        if (!send_claim(w, q, count, share, now))
            return;
        queue_picked(w->queues, w->queue_count, q, now);
    }
}
