#include "worker/reconcile.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/claim.h"
#include "worker/hand.h"
#include "worker/intake.h"
#include "worker/lifecycle.h"
#include "worker/liveness.h"
#include "worker/outbox.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum { ADOPT_BATCH = 16, SOON_MS = 250, UNSURE_MS = 3000, UNSURE_ROUNDS = 2 };

/* A round under way. */
struct reconcile {
    struct worker *worker;
    uint64_t round;
    int queue; /* index being scanned */
    uint64_t *adopt; /* tokens of this page to adopt */
    int adopt_count;
    int adopted, acked_again, lost;
    bool aborted; /* void: frees itself at the next answer */
    int kills, killed; /* CLIENT KILLs sent and answered */
    bool kill_refused; /* an old connection may still run something: again in 3 s and 6 s */
    int unanswered;
    struct buf cursor;
    bool page_last; /* the page was the queue's last */
};

static void scan_next(struct reconcile *rc);

static void reconcile_free(struct reconcile *rc)
{
    buf_done(&rc->cursor);
    free(rc->adopt);
    free(rc);
}

void reconcile_abort(struct worker *w)
{
    struct reconcile *rc = w->reconcile;
    if (rc == NULL)
        return;
    w->reconcile = NULL;
    rc->aborted = true;
    if (rc->unanswered == 0)
        reconcile_free(rc);
}

/* Common head of the answers: true if the round goes on. */
static bool goes_on(struct reconcile *rc, const struct redisReply *reply)
{
    rc->unanswered--;
    if (rc->aborted) {
        if (rc->unanswered == 0)
            reconcile_free(rc);
        return false;
    }
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK)
        return true;
    struct worker *w = rc->worker;
    if (answer == STORE_WRONGTYPE) {
        /* That queue is left alone; what is held of it stays held. */
        w->queues[rc->queue]->blocked_until_mono_ms = mono_ms() + 5000;
        log_msg(LOG_ERROR, "cannot reconcile a queue: a key of it has another type",
                KV_STR("queue", w->queues[rc->queue]->keys.name), KV_STR("error", err.text));
        return true;
    }
    if (answer != STORE_GONE) {
        log_msg(LOG_WARN, "reconcile was refused, again soon", KV_STR("error", err.text));
        if (answer == STORE_NOSCRIPT)
            settle_reload_scripts(w);
    }
    reconcile_abort(w);
    reconcile_soon(w);
    return false;
}

struct lost_pass {
    struct worker *worker;
    struct reconcile *rc;
};

static void check_lost(void *arg, struct claim *c)
{
    struct lost_pass *p = arg;
    struct worker *w = p->worker;
    if (c->once || c->hold != HOLD_NONE || c->answered_round >= p->rc->round ||
        c->seen_round == p->rc->round || c->lost)
        return;
    if (!queue_open(c->queue, mono_ms()) && !c->queue->retired)
        return; /* its `run` could not be read */
    p->rc->lost++;
    reconcile_claim_lost(w, c);
}

void reconcile_claim_lost(struct worker *w, struct claim *c)
{
    CRASH_POINT("reconcile.lost");
    c->lost = true;
    switch (c->state) {
    case CLAIM_READY:
        settle_forget(w, c);
        return;
    case CLAIM_SETTLING:
        settle_lost(w, c);
        return;
    case CLAIM_SENT:
        if (!w->server_changed && c->list != NULL && c->list->first == c) {
            struct runner *r = w->pool.runners[c->block];
            r->lost_kill = true;
            runner_stop_job(r);
        }
        return;
    }
}

static void finish(struct reconcile *rc)
{
    struct worker *w = rc->worker;
    struct lost_pass pass = {w, rc};
    claims_each(&w->claims, check_lost, &pass);
    if (rc->lost > 0 || rc->adopted > 0 || rc->acked_again > 0)
        log_msg(LOG_INFO, "reconciled", KV_INT("lost", rc->lost), KV_INT("adopted", rc->adopted),
                KV_INT("acknowledged_again", rc->acked_again));
    if (rc->kill_refused)
        w->unsure_rounds = UNSURE_ROUNDS;
    bool again = w->unsure_rounds > 0;
    w->unsure_rounds -= again;
    w->server_changed = false; /* not before: a refused round leaves the next one the same view */
    w->reconcile = NULL;
    reconcile_free(rc);
    if (again && mono_ms() + UNSURE_MS < w->reconcile_mono_ms)
        w->reconcile_mono_ms = mono_ms() + UNSURE_MS;
    bool first = !w->synced;
    w->synced = true;
    hand_reconciled(w);
    CRASH_POINT("reconcile.done");
    liveness_synced(w);
    if (first) {
        outbox_all_soon(w); /* an answer that was lost may have told of something there */
        lifecycle_synced(w);
    }
    worker_wake(w);
}

static void on_ignored(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply; /* seen again by the next round if it did not go through */
}

static void ack_again(struct reconcile *rc, struct queue *q, uint64_t seq)
{
    struct buf cmd = BUF_INIT;
    store_cmd_ack(&cmd, &q->keys, &rc->worker->inc, &seq, 1);
    if (redis_link_send(rc->worker->main, buf_span(&cmd), on_ignored, NULL) == 0)
        rc->acked_again++;
    CRASH_POINT("reconcile.ack-again");
    buf_done(&cmd);
}

static void note_token(struct reconcile *rc, struct queue *q, uint64_t seq)
{
    struct worker *w = rc->worker;
    struct claim *c = claims_find(&w->claims, seq);
    if (c != NULL) {
        c->seen_round = rc->round;
        return;
    }
    if (request_covers(w, seq))
        return;
    if (settled_has(&w->settled, seq)) {
        ack_again(rc, q, seq);
        return;
    }
    if (seq >= w->next_seq)
        w->next_seq = seq + 1; /* cannot be, unless somebody wrote there: never reuse it */
    rc->adopt = xreallocarray(rc->adopt, (size_t)rc->adopt_count + 1, sizeof *rc->adopt);
    rc->adopt[rc->adopt_count++] = seq;
}

static void on_records(void *arg, const struct redisReply *reply);

/* Reads the records of the next tokens to adopt, or goes on scanning. */
static void adopt_next(struct reconcile *rc)
{
    struct worker *w = rc->worker;
    if (rc->adopt_count == 0) {
        scan_next(rc);
        return;
    }
    int n = rc->adopt_count < ADOPT_BATCH ? rc->adopt_count : ADOPT_BATCH;
    struct buf cmd = BUF_INIT;
    store_cmd_get_run(&cmd, &w->queues[rc->queue]->keys, &w->inc, rc->adopt + rc->adopt_count - n,
                      n);
    if (redis_link_send(w->main, buf_span(&cmd), on_records, rc) == 0)
        rc->unanswered++;
    else
        reconcile_abort(w);
    buf_done(&cmd);
}

static void on_records(void *arg, const struct redisReply *reply)
{
    struct reconcile *rc = arg;
    struct worker *w = rc->worker;
    if (!goes_on(rc, reply))
        return;
    struct queue *q = w->queues[rc->queue];
    int n = rc->adopt_count < ADOPT_BATCH ? rc->adopt_count : ADOPT_BATCH;
    rc->adopt_count -= n;
    const uint64_t *seqs = rc->adopt + rc->adopt_count;
    for (int i = 0; reply->type == REDIS_REPLY_ARRAY && i < n && (size_t)i < reply->elements; i++) {
        const redisReply *record = reply->element[i];
        if (record->type != REDIS_REPLY_STRING || claims_find(&w->claims, seqs[i]) != NULL)
            continue;
        struct claim *c = intake(w, q, seqs[i], (struct span){record->str, (size_t)record->len});
        c->seen_round = rc->round;
        rc->adopted++;
        CRASH_POINT("reconcile.adopted");
    }
    adopt_next(rc);
}

static void on_page(void *arg, const struct redisReply *reply)
{
    struct reconcile *rc = arg;
    struct worker *w = rc->worker;
    struct store_scan page = {0};
    if (!goes_on(rc, reply))
        return;
    CRASH_POINT("reconcile.page");
    struct queue *q = w->queues[rc->queue];
    rc->page_last = true;
    buf_clear(&rc->cursor);
    if (store_read_scan(reply, &page, NULL) == 0) {
        buf_add_span(&rc->cursor, page.cursor);
        rc->page_last = page.cursor.len == 1 && page.cursor.ptr[0] == '0';
        for (size_t i = 0; i < page.count; i++) {
            struct incarnation inc;
            uint64_t seq;
            struct span token = {page.tokens[i]->str, (size_t)page.tokens[i]->len};
            if (token_parse(token, &inc, &seq) && incarnation_equal(&inc, &w->inc))
                note_token(rc, q, seq);
        }
    }
    adopt_next(rc);
}

static void send_scan(struct reconcile *rc)
{
    struct worker *w = rc->worker;
    struct buf cmd = BUF_INIT;
    store_cmd_scan(&cmd, &w->queues[rc->queue]->keys, &w->inc, buf_span(&rc->cursor));
    if (redis_link_send(w->main, buf_span(&cmd), on_page, rc) == 0)
        rc->unanswered++;
    else
        reconcile_abort(w);
    buf_done(&cmd);
}

static void scan_next(struct reconcile *rc)
{
    if (rc->page_last) {
        rc->page_last = false;
        do
            rc->queue++;
        while (rc->queue < rc->worker->queue_count &&
               rc->worker->queues[rc->queue]->delivery == DELIVERY_AT_MOST_ONCE);
        buf_clear(&rc->cursor);
        buf_add_char(&rc->cursor, '0');
    }
    if (rc->queue >= rc->worker->queue_count)
        finish(rc);
    else
        send_scan(rc);
}

static void on_client_killed(void *arg, const struct redisReply *reply)
{
    struct reconcile *rc = arg;
    rc->unanswered--;
    if (rc->aborted) {
        if (rc->unanswered == 0)
            reconcile_free(rc);
        return;
    }
    /* 0 killed or "No such client" = it is gone already.  Anything refused leaves doubt. */
    struct worker *w = rc->worker;
    enum store_answer answer = store_classify(reply, NULL);
    CRASH_POINT("reconcile.old-killed");
    if (answer == STORE_DENIED)
        rc->kill_refused = true;
    if (answer == STORE_GONE || ++rc->killed < rc->kills)
        return;
    w->kill_count -= rc->kills; /* others may have been added behind them */
    memmove(w->kill_client_ids, w->kill_client_ids + rc->kills,
            (size_t)w->kill_count * sizeof w->kill_client_ids[0]);
    rc->kills = rc->killed = 0;
    worker_wake(w);
}

static void kill_old_connections(struct reconcile *rc)
{
    struct worker *w = rc->worker;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->kill_count; i++) {
        buf_clear(&cmd);
        store_cmd_client_kill(&cmd, w->kill_client_ids[i]);
        if (redis_link_send(w->main, buf_span(&cmd), on_client_killed, rc) < 0)
            break; /* those not answered are killed by the next round */
        rc->unanswered++;
        rc->kills++;
    }
    buf_done(&cmd);
}

void reconcile_start(struct worker *w)
{
    if (w->reconcile != NULL || redis_link_state(w->main) != LINK_READY)
        return;
    struct reconcile *rc = xcalloc(1, sizeof *rc);
    rc->worker = w;
    rc->round = ++w->round;
    rc->queue = -1;
    rc->page_last = true;
    w->reconcile_mono_ms =
        mono_ms() + RECONCILE_EVERY_MS; /* or sooner, for what happens meanwhile */
    buf_init(&rc->cursor);
    w->reconcile = rc;
    CRASH_POINT("reconcile.begun");
    kill_old_connections(rc);
    hand_hold_again(w);
    if (w->reconcile == rc)
        scan_next(rc);
}

void reconcile_soon(struct worker *w)
{
    int64_t at = mono_ms() + SOON_MS;
    if (at < w->reconcile_mono_ms)
        w->reconcile_mono_ms = at;
    worker_wake(w);
}

int64_t reconcile_due(struct worker *w, int64_t now_mono_ms)
{
    if (redis_link_state(w->main) != LINK_READY || !w->live.first_done)
        return INT64_MAX;
    if (w->reconcile != NULL)
        return INT64_MAX;
    if (now_mono_ms < w->reconcile_mono_ms)
        return w->reconcile_mono_ms;
    reconcile_start(w);
    return INT64_MAX;
}

void reconcile_connected(struct worker *w, const char *run_id)
{
    w->server_changed = strcmp(w->server_run_id, run_id) != 0;
    if (w->server_changed)
        w->kill_count = 0; /* ids of another server */
    strncpy(w->server_run_id, run_id, sizeof w->server_run_id - 1);
}

void reconcile_connection_died(struct worker *w, int64_t client_id)
{
    if (client_id <= 0) /* CLIENT ID is refused: what was sent on it may still run */
        w->unsure_rounds = UNSURE_ROUNDS;
    else if (w->kill_count < (int)ARRAY_COUNT(w->kill_client_ids))
        w->kill_client_ids[w->kill_count++] = client_id;
    reconcile_soon(w);
}

void reconcile_we_are_a_clone(struct worker *w)
{
    lifecycle_end_as_clone(w);
}
