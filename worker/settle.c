#include "worker/settle.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/finish.h"
#include "worker/once.h"
#include "worker/outbox.h"
#include "worker/reconcile.h"
#include "worker/worker.h"

enum {
    ACK_BATCH = 256,
    SEND_BYTES_MAX = 8 * 1024 * 1024, /* unsent bytes above which settlements wait their turn */
    BLOCKED_RETRY_MS = 2000,
};

/* An ack command under way and the claims it names. */
struct ack_batch {
    struct worker *worker;
    struct queue *queue;
    int count;
    struct claim *claims[ACK_BATCH];
};

struct decide_policy settle_policy(const struct worker *w, const struct claim *c)
{
    struct decide_policy p = {
        .retry = RETRY_POLICY_INIT,
        .dead = true,
        .max_snoozes = w->cfg.max_snoozes,
    };
    if (c->handler != NULL)
        p.retry = c->handler->retry;
    if (c->parsed) {
        const struct document *d = &c->doc;
        if (d->has & DOC_HAS_RETRY)
            p.retry.retries = d->retries;
        if (d->has & DOC_HAS_BACKOFF)
            p.retry.backoff = d->backoff;
        p.dead = d->dead;
    }
    return p;
}

void settle_write_record(struct worker *w, struct record *rec, const struct document *doc,
                         const struct incarnation *inc, uint64_t seq, const char *list,
                         struct buf *out)
{
    if (rec->uid[0] == '\0') {
        char token[TOKEN_MAX_BYTES];
        token_format(inc, seq, token);
        memcpy(rec->uid, token, strlen(token) + 1);
    }
    if (rec->id[0] == '\0' && doc != NULL)
        memcpy(rec->id, doc->id, sizeof doc->id);
    if (rec->id[0] == '\0') {
        char id[UUID_BYTES + 1];
        struct err err = {0};
        if (uuid_v7(&w->uuids, worker_wall_ms(w), id, &err) == 0)
            memcpy(rec->id, id, sizeof id);
        else
            memcpy(rec->id, rec->uid, strlen(rec->uid) + 1); /* unique too */
    }
    struct buf queue = BUF_INIT;
    if (rec->queue.len == 0) {
        buf_add_json_string(&queue, SPAN_OF_STR(list));
        rec->queue = buf_span(&queue);
    }
    record_write(out, rec);
    rec->queue = (struct span){0};
    buf_done(&queue);
}

void settle_command(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, const struct decision *d, struct span record)
{
    struct store_back back = {.seq = seq, .record = record};
    switch (d->action) {
    case SETTLE_ACK:
        store_cmd_ack(out, q, inc, &seq, 1);
        return;
    case SETTLE_RETRY:
        CRASH_POINT("settle.retry");
        store_cmd_retry(out, q, inc, seq, d->delay_ms, record);
        return;
    case SETTLE_SCHEDULE:
        CRASH_POINT("settle.schedule");
        store_cmd_schedule(out, q, inc, seq, d->at_ms >= 0 ? d->at_ms : d->delay_ms, d->at_ms < 0,
                           record);
        return;
    case SETTLE_DEAD:
        CRASH_POINT("settle.bury");
        store_cmd_bury(out, q, inc, seq, record);
        return;
    case SETTLE_PARK:
        CRASH_POINT("settle.park");
        store_cmd_park(out, q, inc, seq, record);
        return;
    case SETTLE_BACK:
        CRASH_POINT("settle.back");
        store_cmd_back(out, q, inc, &back, 1);
        return;
    }
}

static const char *what_follows(const struct claim *c, const struct ending *e)
{
    const struct decision *d = &c->decision;
    switch (d->action) {
    case SETTLE_ACK:
        return e->kind == ENDING_EXPIRED ? "job expired"
               : d->failed               ? "job failed, forgotten"
                                         : "job done";
    case SETTLE_RETRY:
        return "job failed, to be retried";
    case SETTLE_SCHEDULE:
        return e->kind == ENDING_NOT_DUE ? "job scheduled" : "job snoozes";
    case SETTLE_DEAD:
        return "job failed for good, dead letter";
    case SETTLE_PARK:
        return "job parked";
    case SETTLE_BACK:
        return "job given back";
    }
    return "?";
}

/* Failures are worth a line; what went as it should is said at debug. */
static enum log_level level_of(const struct claim *c, const struct ending *e)
{
    if (c->decision.failed)
        return LOG_WARN;
    bool as_it_should =
        c->decision.action == SETTLE_ACK || e->kind == ENDING_UNBEGUN || e->kind == ENDING_NOT_DUE;
    return as_it_should ? LOG_DEBUG : LOG_INFO;
}

static void log_end(const struct claim *c, const struct ending *e)
{
    enum log_level level = level_of(c, e);
    if (!log_on(level))
        return;
    const char *id = c->rec.id[0] != '\0' || !c->parsed ? c->rec.id : c->doc.id;
    struct span why = e->failure.message;
    if (why.len > 400)
        why.len = 400;
    while (why.len > 0 && why.ptr[why.len - 1] == '\n')
        why.len--;
    log_msg(level, what_follows(c, e), KV_STR("id", id[0] == '\0' ? "-" : id),
            KV_STR("type", c->parsed ? c->doc.type : "-"), KV_STR("queue", c->queue->keys.name),
            KV_INT("attempt", c->rec.attempt), KV_INT("delay_ms", c->decision.delay_ms),
            KV_STR("reason", c->rec.reason), KV_SPAN("error", why));
}

/* `by` is 1, or -1 if the end turned out to be no longer ours to decide. */
static void count_end(struct worker *w, const struct claim *c, int by)
{
    struct queue *q = c->queue;
    switch (c->decision.action) {
    case SETTLE_ACK:
        if (c->decision.failed)
            q->failed += by;
        else
            q->done += by;
        return;
    case SETTLE_RETRY:
        q->retried += by;
        return;
    case SETTLE_DEAD:
        q->dead += by;
        w->dead_count += by;
        return;
    case SETTLE_PARK:
        q->parked += by;
        return;
    case SETTLE_SCHEDULE:
    case SETTLE_BACK:
        if (c->crashed)
            q->retried += by;
        return;
    }
}

void settle_claim(struct worker *w, struct claim *c, const struct ending *e)
{
    if (c->lost) {
        log_msg(LOG_WARN, "claim was lost, its outcome is dropped",
                KV_STR("queue", c->queue->keys.name), KV_INT("seq", c->seq));
        settle_forget(w, c);
        return;
    }
    struct decide_policy policy = settle_policy(w, c);
    decide(&c->rec, e, &policy, worker_random(w), worker_wall_ms(w), &c->storage, &c->decision);
    if (c->once)
        once_decision(c, e);
    if (c->decision.rewrite) {
        settle_write_record(w, &c->rec, c->parsed ? &c->doc : NULL, &w->inc, c->seq,
                            c->queue->keys.list, &c->record);
    }
    const char *outcome = finish_outcome(e, &c->decision);
    if (!c->once && c->parsed && finish_wanted(&c->doc, outcome))
        c->outcome = outcome;
    c->crashed = e->kind == ENDING_CRASH || e->kind == ENDING_OOM_KILL;
    count_end(w, c, 1);
    log_end(c, e);
    c->state = CLAIM_SETTLING;
    if (c->once && c->decision.action == SETTLE_ACK) {
        settle_forget(w, c); /* Redis knows nothing of it */
        return;
    }
    claim_list_remove(c);
    if (c->hold == HOLD_NONE)
        settle_send(w, c);
}

void settle_send(struct worker *w, struct claim *c)
{
    claim_list_append(&w->settle.to_send, c);
    worker_wake(w);
}

void settle_forget(struct worker *w, struct claim *c)
{
    /* Only a job that ended for good may be acknowledged again should Redis go back in time: one that
     * was retried, buried or given back would then lie nowhere else.  Nor one that somebody waited for:
     * Redis has forgotten its reply and what was to follow, too. */
    if (c->state == CLAIM_SETTLING && c->decision.action == SETTLE_ACK && c->outcome == NULL &&
        !c->lost)
        settled_add(&w->settled, c->seq);
    pool_release_slot(w, c);
    w->held_bytes -= (int64_t)c->len;
    w->result_bytes -= (int64_t)c->result.len;
    claims_remove(&w->claims, c);
    CRASH_POINT("settle.forgotten");
    worker_wake(w);
}

void settle_lost(struct worker *w, struct claim *c)
{
    if (!c->sent)
        count_end(w, c, -1); /* otherwise the likelier cause is that only the answer was lost */
    settle_forget(w, c);
}

static void send_again_later(struct worker *w, struct claim *c)
{
    claim_list_append(&w->settle.blocked, c);
    int64_t now = mono_ms();
    if (w->settle.blocked_mono_ms == 0)
        w->settle.blocked_mono_ms = now + BLOCKED_RETRY_MS;
    /* The queue is left alone until it can be settled, and what is held of it leaves room for others. */
    if (c->queue->blocked_until_mono_ms < now + 2 * BLOCKED_RETRY_MS)
        c->queue->blocked_until_mono_ms = now + 2 * BLOCKED_RETRY_MS;
    if (c->block >= 0)
        pool_relieve(w, c->block);
}

static void on_script_loaded(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    w->settle.scripts_reloading = false;
    (void)reply; /* if it failed, the next EVALSHA says so and it is loaded again */
    worker_wake(w);
}

void settle_reload_scripts(struct worker *w)
{
    if (w->settle.scripts_reloading)
        return;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < STORE_SCRIPT_COUNT; i++) {
        buf_clear(&cmd);
        store_cmd_script_load(&cmd, (enum store_script)i);
        if (redis_link_send(w->main, buf_span(&cmd), on_script_loaded, w) == 0)
            w->settle.scripts_reloading = true;
    }
    buf_done(&cmd);
}

/* A settlement that was not carried out, or of which nothing is known. */
static void not_settled(struct worker *w, struct claim *c, enum store_answer answer)
{
    switch (answer) {
    case STORE_GONE:
    case STORE_NOSCRIPT:
    case STORE_AWAY:
    case STORE_MOVED:
        claim_list_append(&w->settle.to_send, c);
        return;
    case STORE_OK:
    case STORE_OOM:
    case STORE_WRONGTYPE:
    case STORE_DENIED:
    case STORE_DUPTOKEN:
    case STORE_ERROR:
        send_again_later(w, c);
        return;
    }
}

static void on_refused(struct worker *w, struct queue *q, enum store_answer answer,
                       const struct err *err)
{
    if (answer == STORE_GONE)
        return;
    if (answer == STORE_NOSCRIPT) {
        settle_reload_scripts(w);
        return;
    }
    if (answer == STORE_AWAY || answer == STORE_MOVED) {
        redis_link_reset(w->main, err->text);
        return;
    }
    int64_t skipped;
    if (log_gate(&w->away_gate, mono_ms(), 5000, &skipped))
        log_msg(LOG_ERROR, "Redis refuses a settlement; kept, tried again every 2 s",
                KV_STR("queue", q->keys.name), KV_STR("error", err->text),
                KV_INT("skipped", skipped));
    reconcile_soon(w);
}

static void note_lost(struct worker *w, struct queue *q, int64_t count)
{
    (void)w;
    q->lost += count;
    log_msg(LOG_WARN, "settled too late: the claim was not ours any more",
            KV_STR("queue", q->keys.name), KV_INT("jobs", count));
}

static void on_acked(void *arg, const struct redisReply *reply)
{
    struct ack_batch *b = arg;
    struct worker *w = b->worker;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    int64_t n = 0;
    if (answer == STORE_OK && store_read_count(reply, &n, &err) < 0)
        answer = STORE_ERROR;
    if (answer == STORE_OK) {
        CRASH_POINT("settle.acked");
        if (n < b->count)
            note_lost(w, b->queue, b->count - n);
        for (int i = 0; i < b->count; i++) {
            if (i >= n)
                count_end(w, b->claims[i], -1); /* one of them; which one, nobody says */
            settle_forget(w, b->claims[i]);
        }
    } else {
        for (int i = 0; i < b->count; i++)
            not_settled(w, b->claims[i], answer);
        on_refused(w, b->queue, answer, &err);
    }
    free(b);
    worker_wake(w);
}

static void on_settled(void *arg, const struct redisReply *reply)
{
    struct claim *c = arg;
    struct worker *w = c->queue->worker;
    struct queue *q = c->queue;
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    int64_t n = 0;
    if (answer == STORE_OK && store_read_count(reply, &n, &err) < 0)
        answer = STORE_ERROR;
    if (answer == STORE_OK) {
        CRASH_POINT("settle.answered");
        if (n == 0) {
            note_lost(w, q, 1);
            count_end(w, c, -1);
        }
        if (c->decision.action == SETTLE_BACK)
            q->maybe = true;
        if (c->relays)
            outbox_soon(q);
        if (w->burst && c->outcome != NULL)
            q->maybe = true; /* a follow-up may lie there */
        if (c->decision.action == SETTLE_RETRY || c->decision.action == SETTLE_SCHEDULE) {
            int64_t due =
                mono_ms() + (c->decision.at_ms >= 0 && c->decision.action == SETTLE_SCHEDULE
                                 ? c->decision.at_ms - wall_ms()
                                 : c->decision.delay_ms);
            int which = c->decision.action == SETTLE_RETRY ? 1 : 0;
            if (due < q->due_mono_ms[which])
                q->due_mono_ms[which] = due;
            if (w->burst) {
                q->due_mono_ms[which] = 0; /* is it worth waiting for? */
                q->due_next_in_ms[which] = -2;
            }
        }
        settle_forget(w, c);
    } else {
        not_settled(w, c, answer);
        on_refused(w, q, answer, &err);
    }
    worker_wake(w);
}

/* Sends the acks gathered for one queue. */
static void send_acks(struct worker *w, struct ack_batch *b)
{
    uint64_t seqs[ACK_BATCH];
    for (int i = 0; i < b->count; i++)
        seqs[i] = b->claims[i]->seq;
    struct buf cmd = BUF_INIT;
    store_cmd_ack(&cmd, &b->queue->keys, &w->inc, seqs, b->count);
    if (redis_link_send(w->main, buf_span(&cmd), on_acked, b) < 0) {
        for (int i = 0; i < b->count; i++)
            claim_list_append(&w->settle.to_send, b->claims[i]);
        free(b);
    }
    CRASH_POINT("settle.acks-sent");
    buf_done(&cmd);
}

static void send_one(struct worker *w, struct claim *c)
{
    struct buf cmd = BUF_INIT;
    struct span record = c->record.len > 0 ? buf_span(&c->record) : (struct span){0};
    if (record.len == 0 && c->decision.action == SETTLE_PARK)
        record = (struct span){c->bytes, c->len}; /* newer than we know: untouched */
    if (c->once)
        once_command(&cmd, c);
    else if (c->outcome != NULL)
        c->relays = finish_command(w, &c->queue->keys, &w->inc, c->seq,
                                   &(struct finish){.rec = &c->rec,
                                                    .doc = &c->doc,
                                                    .outcome = c->outcome,
                                                    .result = buf_span(&c->result),
                                                    .dead = record},
                                   &cmd);
    else
        settle_command(&cmd, &c->queue->keys, &w->inc, c->seq, &c->decision, record);
    claim_list_append(&w->settle.sent, c);
    c->sent = true;
    if (redis_link_send(w->main, buf_span(&cmd), on_settled, c) < 0)
        claim_list_append(&w->settle.to_send, c);
    buf_done(&cmd);
}

/* Puts `c` into the batch of its queue, sending the batch before if it is another queue's or full. */
static struct ack_batch *gather(struct worker *w, struct ack_batch *b, struct claim *c)
{
    if (b != NULL && (b->queue != c->queue || b->count == ACK_BATCH)) {
        send_acks(w, b);
        b = NULL;
    }
    if (b == NULL) {
        b = xmalloc(sizeof *b);
        b->worker = w;
        b->queue = c->queue;
        b->count = 0;
    }
    b->claims[b->count++] = c;
    claim_list_append(&w->settle.sent, c);
    c->sent = true;
    return b;
}

void settle_flush(struct worker *w)
{
    if (!w->synced || w->settle.scripts_reloading)
        return;
    struct ack_batch *b = NULL;
    int n = w->settle.to_send.count;
    while (n-- > 0 && redis_link_unsent_bytes(w->main) < SEND_BYTES_MAX) {
        struct claim *c = claim_list_pop(&w->settle.to_send);
        if (c == NULL || redis_link_state(w->main) != LINK_READY) {
            if (c != NULL)
                claim_list_prepend(&w->settle.to_send, c);
            break;
        }
        if (c->decision.action == SETTLE_ACK && c->outcome == NULL)
            b = gather(w, b, c);
        else
            send_one(w, c);
    }
    if (b != NULL)
        send_acks(w, b);
}

bool settle_idle(const struct worker *w)
{
    return w->settle.to_send.count == 0 && w->settle.sent.count == 0 &&
           w->settle.blocked.count == 0;
}

int64_t settle_retry_blocked(struct worker *w, int64_t now_mono_ms)
{
    if (w->settle.blocked.count == 0)
        return INT64_MAX;
    if (now_mono_ms < w->settle.blocked_mono_ms)
        return w->settle.blocked_mono_ms;
    w->settle.blocked_mono_ms = 0;
    struct claim *c;
    while ((c = claim_list_pop(&w->settle.blocked)) != NULL)
        claim_list_append(&w->settle.to_send, c);
    worker_wake(w);
    return INT64_MAX;
}
