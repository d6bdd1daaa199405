#include "worker/recover.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/dispatch.h"
#include "worker/finish.h"
#include "worker/intake.h"
#include "worker/outbox.h"
#include "worker/schedule.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum { PAGE_TOKENS = 16, AGAIN_MS = 1000, REFUSED_AGAIN_MS = 5000, AUDIT_MS = 30000 };

struct recovery {
    struct worker *worker;
    struct incarnation inc;
    struct slots *journal; /* NULL = silence alone speaks */
    int64_t counter;
    enum store_owner owner; /* what its hands tell */
    bool let_go; /* was asked for, in the queue being read */
    bool refused; /* in a queue of this pass: the owner is not dropped */
    void (*on_done)(struct worker *w, void *arg);
    void *arg;
    struct store_queue *queues; /* ours and those the journal names; owned */
    int queue_count;
    int queue; /* being read */
    struct buf cursor;
    bool last_page;
    uint64_t *tokens; /* of the page, still to be settled */
    int token_count;
    bool alive; /* its counter moved */
    bool found; /* something in this pass: one more pass follows */
    int64_t settled;
    int unanswered;
    bool waiting; /* for `again_mono_ms` or the connection */
    bool stopped;
    int64_t again_mono_ms;
    struct recovery *next;
};

static void scan(struct recovery *r);

bool recover_under_way(const struct worker *w, const struct incarnation *inc)
{
    for (const struct recovery *r = w->recoveries; r != NULL; r = r->next)
        if (incarnation_equal(&r->inc, inc))
            return true;
    return false;
}

static void free_recovery(struct recovery *r)
{
    for (int i = 0; i < r->queue_count; i++)
        store_queue_done(&r->queues[i]);
    free(r->queues);
    free(r->tokens);
    buf_done(&r->cursor);
    slots_free(r->journal);
    free(r);
}

static void unlink_recovery(struct recovery *r)
{
    struct recovery **link = &r->worker->recoveries;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
}

static bool knows_list(const struct recovery *r, const char *list)
{
    for (int i = 0; i < r->queue_count; i++)
        if (strcmp(r->queues[i].list, list) == 0)
            return true;
    return false;
}

static void add_queue(struct recovery *r, const char *prefix, const char *name, const char *key)
{
    struct err err = {0};
    r->queues = xreallocarray(r->queues, (size_t)r->queue_count + 1, sizeof *r->queues);
    if (store_queue_init(&r->queues[r->queue_count], prefix, name, key, &err) == 0)
        r->queue_count++;
    else
        log_msg(LOG_ERROR, "a journal names a list that cannot be a queue",
                KV_STR("error", err.text));
}

void recover_start(struct worker *w, const struct incarnation *inc, struct slots *journal,
                   int64_t counter, enum store_owner owner,
                   void (*on_done)(struct worker *w, void *arg), void *arg)
{
    struct recovery *r = xcalloc(1, sizeof *r);
    r->worker = w;
    r->inc = *inc;
    r->journal = journal;
    r->counter = counter;
    r->owner = owner;
    r->on_done = on_done;
    r->arg = arg;
    buf_init(&r->cursor);
    for (int i = 0; i < w->queue_count; i++) /* of any delivery: it may have had another */
        if (!knows_list(r, w->queues[i]->keys.list))
            add_queue(r, "", w->queues[i]->keys.name, w->queues[i]->keys.list);
    for (uint32_t i = 0; journal != NULL && i < slots_header(journal)->queue_count; i++) {
        const char *list = slots_queue_key(journal, i);
        if (list != NULL && !knows_list(r, list))
            add_queue(r, "", list, list);
    }
    r->waiting = true;
    r->next = w->recoveries;
    w->recoveries = r;
    worker_wake(w);
}

static void pause_recovery(struct recovery *r, int64_t ms)
{
    r->waiting = true;
    r->again_mono_ms = mono_ms() + ms;
    r->token_count = 0;
    worker_wake(r->worker);
}

/* Common head of the answers: true if it goes on. */
static bool goes_on(struct recovery *r, const struct redisReply *reply)
{
    r->unanswered--;
    if (r->stopped) {
        if (r->unanswered == 0)
            free_recovery(r);
        return false;
    }
    if (r->waiting)
        return false; /* another answer of the same lot was an error */
    struct err err = {0};
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK)
        return true;
    if (answer == STORE_NOSCRIPT)
        settle_reload_scripts(r->worker);
    else if (answer != STORE_GONE)
        log_msg(LOG_WARN, "recovering a dead worker's jobs was refused, again in 1 s",
                KV_STR("incarnation", r->inc.hex), KV_STR("error", err.text));
    pause_recovery(r, AGAIN_MS);
    return false;
}

static bool ask(struct recovery *r, const struct buf *cmd, redis_reply_fn fn)
{
    if (redis_link_send(r->worker->main, buf_span(cmd), fn, r) < 0) {
        pause_recovery(r, AGAIN_MS);
        return false;
    }
    r->unanswered++;
    return true;
}

/* The slot of token `seq` in the dead worker's journal; NULL = it knows nothing of it. */
static struct slot *journal_slot(const struct recovery *r, uint64_t seq, int *ret_block,
                                 int *ret_slot)
{
    if (r->journal == NULL)
        return NULL;
    uint32_t blocks = slots_header(r->journal)->runner_max;
    for (uint32_t b = 0; b < blocks; b++)
        for (int i = 0; i < SLOTS_PER_RUNNER; i++) {
            struct slot *s = slots_get(r->journal, (int)b, i);
            uint64_t word = s->word;
            if (slot_word_seq(word) == seq && slot_word_state(word) != SLOT_FREE) {
                *ret_block = (int)b;
                *ret_slot = i;
                return s;
            }
        }
    return NULL;
}

/* How did the dead worker's job end?  Without a journal nobody knows whether it had begun. */
static void judge(struct recovery *r, struct claim *c, char text[SLOT_MESSAGE_BYTES],
                  struct ending *e)
{
    int block, index;
    *e = (struct ending)ENDING_INIT;
    e->failure.message = SPAN_OF_STR("the worker that ran it was lost");
    if (r->journal == NULL) {
        e->kind = ENDING_LOST;
        return;
    }
    const struct slot *s = journal_slot(r, c->seq, &block, &index);
    enum slot_state state = s != NULL ? slot_word_state(s->word) : SLOT_FREE;
    switch (state) {
    case SLOT_RETURNED:
        if (s->has_out && r->worker->state_dir != NULL)
            dispatch_read_out(r->worker->state_dir, &r->inc, block, index, c);
        dispatch_read_slot(s, &c->message, e, text);
        e->failure.stderr_tail = buf_span(&c->stderr_tail);
        return;
    case SLOT_BEGUN:
        e->kind = ENDING_LOST;
        return;
    case SLOT_FREE:
    case SLOT_QUEUED:
    case SLOT_REVOKED:
        e->kind = ENDING_UNBEGUN;
        return;
    }
    e->kind = ENDING_LOST; /* an impossible state: it may have begun */
}

/* Something of the queue being read may wait now. */
static void wake_queue(struct recovery *r)
{
    struct worker *w = r->worker;
    for (int i = 0; i < w->queue_count; i++)
        if (strcmp(w->queues[i]->keys.list, r->queues[r->queue].list) == 0)
            w->queues[i]->maybe = true;
}

static void on_settled(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    int64_t n = 0;
    wake_queue(r); /* not when it is sent: a claim on its way found the list empty */
    if (!goes_on(r, reply))
        return;
    if (store_read_count(reply, &n, NULL) == 0)
        r->settled += n;
    CRASH_POINT("recover.settled");
    if (r->unanswered == 0)
        scan(r);
}

/* Decides about one record of the dead worker as a live one would, and settles it. */
static void settle_foreign(struct recovery *r, uint64_t seq, struct span bytes)
{
    struct worker *w = r->worker;
    struct claims one;
    claims_init(&one);
    struct claim *c = claims_add(&one, seq, NULL, bytes);
    struct document_limits limits = {(size_t)w->cfg.limits.document_bytes, w->cfg.limits.nesting};
    struct err text = {0};
    struct ending what, e;
    struct buf cmd = BUF_INIT;
    char slot_text[SLOT_MESSAGE_BYTES];
    judge(r, c, slot_text, &e);
    intake_judge(c, &limits, wall_ms(), &text, &what);
    if (!c->parsed)
        e.kind = ENDING_UNBEGUN; /* whoever claims it next says what is wrong with it */
    else if (what.kind == ENDING_NOT_DUE && r->journal == NULL)
        e.kind = ENDING_UNBEGUN; /* it was on its way to be scheduled: that is still to be done */
    else
        c->handler = catalog_find(&w->catalog, c->doc.type);
    struct decide_policy policy = settle_policy(w, c);
    decide(&c->rec, &e, &policy, worker_random(w), wall_ms(), &c->storage, &c->decision);
    if (c->decision.rewrite)
        settle_write_record(w, &c->rec, c->parsed ? &c->doc : NULL, &r->inc, seq,
                            r->queues[r->queue].list, &c->record);
    const char *outcome = finish_outcome(&e, &c->decision);
    if (c->parsed && finish_wanted(&c->doc, outcome))
        (void)finish_command(w, &r->queues[r->queue], &r->inc, seq,
                             &(struct finish){.rec = &c->rec,
                                              .doc = &c->doc,
                                              .outcome = outcome,
                                              .result = buf_span(&c->result),
                                              .dead = buf_span(&c->record)},
                             &cmd); /* the outbox is looked into every few seconds */
    else
        settle_command(&cmd, &r->queues[r->queue], &r->inc, seq, &c->decision,
                       buf_span(&c->record));
    CRASH_POINT("recover.settling");
    (void)ask(r, &cmd, on_settled); /* a failure pauses the recovery */
    buf_done(&cmd);
    claims_done(&one);
}

static void on_records(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    if (!goes_on(r, reply))
        return;
    int n = r->token_count < PAGE_TOKENS ? r->token_count : PAGE_TOKENS;
    r->token_count -= n;
    const uint64_t *seqs = r->tokens + r->token_count;
    for (int i = 0; reply->type == REDIS_REPLY_ARRAY && i < n && (size_t)i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_STRING && !r->waiting)
            settle_foreign(r, seqs[i],
                           (struct span){reply->element[i]->str, (size_t)reply->element[i]->len});
    if (r->unanswered == 0 && !r->waiting)
        scan(r);
}

static void on_dropped(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    if (!goes_on(r, reply))
        return;
    CRASH_POINT("recover.dropped");
    struct worker *w = r->worker;
    bool quiet = r->settled == 0 && r->counter == OBSERVE_ABSENT;
    log_msg(quiet ? LOG_DEBUG : LOG_INFO, "a dead worker's jobs were taken over",
            KV_STR("incarnation", r->inc.hex), KV_INT("jobs", r->settled));
    observe_forget(&w->live.observe, &r->inc);
    outbox_all_soon(w); /* it may have left something there */
    schedule_due_soon(w); /* what it would have looked at, and what we settled as to be retried */
    unlink_recovery(r);
    if (r->on_done != NULL)
        r->on_done(w, r->arg);
    free_recovery(r);
    worker_wake(w);
}

static void drop_owner(struct recovery *r)
{
    struct buf cmd = BUF_INIT;
    store_cmd_drop_owner(&cmd, &r->worker->globals, &r->inc, r->counter);
    (void)ask(r, &cmd, on_dropped);
    buf_done(&cmd);
}

/* It was only out of reach.  What it claims from now on is not ours to judge; what was taken from it
 * before it notices by its tokens. */
static void give_up(struct recovery *r)
{
    log_msg(LOG_INFO, "a worker thought dead beats again, what is left of its jobs stays its own",
            KV_STR("incarnation", r->inc.hex), KV_INT("jobs", r->settled));
    unlink_recovery(r);
    free_recovery(r);
}

static void on_counter(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    int64_t counter;
    if (!goes_on(r, reply))
        return;
    r->alive = store_read_counter(reply, &counter, NULL) < 0 || counter != r->counter;
}

/* Refused by a key of another type, or a right that is missing, it holds up no other queue. */
static bool is_refused(enum store_answer answer)
{
    return answer == STORE_WRONGTYPE || answer == STORE_DENIED || answer == STORE_ERROR;
}

static void on_let_go(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    struct err err = {0};
    int64_t n = 0;
    if (!r->stopped && !r->waiting && is_refused(store_classify(reply, &err))) {
        log_msg(LOG_WARN, "a dead worker's hand cannot be looked after, again in 5 s",
                KV_STR("incarnation", r->inc.hex), KV_STR("queue", r->queues[r->queue].name),
                KV_STR("error", err.text));
        r->unanswered--;
        r->refused = true;
        scan(r);
        return;
    }
    if (!goes_on(r, reply))
        return;
    if (store_read_count(reply, &n, NULL) == 0 && n > 0) {
        r->settled += n;
        r->found = true;
        wake_queue(r);
    }
    CRASH_POINT("recover.let-go");
    scan(r);
}

/* What the dead worker's last wait brought, if it is not in `run`. */
static void let_go(struct recovery *r)
{
    struct buf cmd = BUF_INIT;
    r->let_go = true;
    store_cmd_let_go(&cmd, &r->queues[r->queue], &r->inc, r->owner);
    (void)ask(r, &cmd, on_let_go); /* a failure pauses the recovery */
    buf_done(&cmd);
}

static void on_page(void *arg, const struct redisReply *reply)
{
    struct recovery *r = arg;
    struct store_scan page = {0};
    if (!goes_on(r, reply))
        return;
    if (r->alive) {
        give_up(r);
        return;
    }
    if (store_read_scan(reply, &page, NULL) < 0) {
        pause_recovery(r, AGAIN_MS);
        return;
    }
    CRASH_POINT("recover.page");
    buf_clear(&r->cursor);
    buf_add_span(&r->cursor, page.cursor);
    r->last_page = page.cursor.len == 1 && page.cursor.ptr[0] == '0';
    for (size_t i = 0; i < page.count; i++) {
        struct incarnation inc;
        uint64_t seq;
        struct span token = {page.tokens[i]->str, (size_t)page.tokens[i]->len};
        if (!token_parse(token, &inc, &seq) || !incarnation_equal(&inc, &r->inc))
            continue;
        r->tokens = xreallocarray(r->tokens, (size_t)r->token_count + 1, sizeof *r->tokens);
        r->tokens[r->token_count++] = seq;
        r->found = true;
    }
    scan(r);
}

static int newest_last(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The next step: records of the page, the next page, the next queue, another pass, or the end. */
static void scan(struct recovery *r)
{
    struct buf cmd = BUF_INIT;
    if (r->token_count > 0) {
        /* From the end of the array, the newest first, so that the oldest ends up rightmost. */
        qsort(r->tokens, (size_t)r->token_count, sizeof *r->tokens, newest_last);
        int n = r->token_count < PAGE_TOKENS ? r->token_count : PAGE_TOKENS;
        uint64_t *last = r->tokens + r->token_count - n;
        for (int i = 0; i < n / 2; i++) {
            uint64_t swap = last[i];
            last[i] = last[n - 1 - i];
            last[n - 1 - i] = swap;
        }
        store_cmd_get_run(&cmd, &r->queues[r->queue], &r->inc, last, n);
        (void)ask(r, &cmd, on_records);
        buf_done(&cmd);
        return;
    }
    if (r->last_page && !r->let_go) {
        let_go(r);
        return;
    }
    if (r->last_page) {
        r->last_page = r->let_go = false;
        r->queue++;
        buf_clear(&r->cursor);
        buf_add_char(&r->cursor, '0');
    }
    if (r->queue == r->queue_count && r->found) {
        r->found = false;
        r->queue = 0;
    }
    if (r->queue < r->queue_count) {
        if (r->counter != RECOVER_ANY_COUNTER) {
            store_cmd_counter(&cmd, &r->worker->globals, &r->inc);
            (void)ask(r, &cmd, on_counter); /* a failure pauses the recovery */
            buf_clear(&cmd);
        }
        store_cmd_scan(&cmd, &r->queues[r->queue], &r->inc, buf_span(&r->cursor));
        if (!r->waiting)
            (void)ask(r, &cmd, on_page);
    } else if (r->refused) {
        pause_recovery(r, REFUSED_AGAIN_MS);
    } else {
        drop_owner(r);
    }
    buf_done(&cmd);
}

int64_t recover_run(struct worker *w, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    if (!w->synced)
        return next;
    for (struct recovery *r = w->recoveries, *after; r != NULL; r = after) {
        after = r->next;
        if (!r->waiting || r->unanswered > 0)
            continue;
        if (now_mono_ms < r->again_mono_ms) {
            next = r->again_mono_ms < next ? r->again_mono_ms : next;
            continue;
        }
        r->waiting = false;
        r->queue = 0;
        r->found = r->last_page = r->let_go = r->refused = false;
        r->token_count = 0;
        buf_clear(&r->cursor);
        buf_add_char(&r->cursor, '0');
        scan(r);
    }
    return next;
}

void recover_stop(struct worker *w)
{
    while (w->recoveries != NULL) {
        struct recovery *r = w->recoveries;
        w->recoveries = r->next;
        r->stopped = true;
        if (r->unanswered == 0)
            free_recovery(r);
    }
}

/* ---- tokens and hands of owners that nobody lists ------------------------------------------ */

static void on_audit_hands(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    struct incarnation inc;
    enum store_owner owner;
    if (store_classify(reply, NULL) != STORE_OK)
        return; /* the next audit reads it again */
    for (size_t i = 0; i < reply->elements / 2; i++)
        if (store_read_hand(reply, i, &inc, &owner) && !incarnation_equal(&inc, &w->inc))
            observe_unlisted(&w->live.observe, &inc, owner);
}

static void on_audit_page(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    struct store_scan page = {0};
    if (store_classify(reply, NULL) != STORE_OK || store_read_scan(reply, &page, NULL) < 0)
        return; /* the next audit reads it again */
    for (size_t i = 0; i < page.count; i++) {
        struct incarnation inc;
        uint64_t seq;
        struct span token = {page.tokens[i]->str, (size_t)page.tokens[i]->len};
        if (token_parse(token, &inc, &seq) && !incarnation_equal(&inc, &w->inc))
            observe_unlisted(&w->live.observe, &inc, OWNER_SILENT);
    }
    if (page.cursor.len == 1 && page.cursor.ptr[0] == '0')
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_scan(&cmd, &q->keys, NULL, page.cursor);
    ignore_result(redis_link_send(w->main, buf_span(&cmd), on_audit_page, q)); /* as above */
    buf_done(&cmd);
}

int64_t recover_audit(struct worker *w, int64_t now_mono_ms)
{
    if (!w->synced)
        return INT64_MAX;
    if (now_mono_ms < w->audit_mono_ms)
        return w->audit_mono_ms;
    w->audit_mono_ms = now_mono_ms + AUDIT_MS;
    struct buf cmd = BUF_INIT;
    for (int i = 0; i < w->queue_count; i++) { /* of any delivery, see recover_start() */
        buf_clear(&cmd);
        store_cmd_scan(&cmd, &w->queues[i]->keys, NULL, SPAN_OF_STR("0"));
        if (redis_link_send(w->main, buf_span(&cmd), on_audit_page, w->queues[i]) < 0)
            break;
        buf_clear(&cmd);
        store_cmd_hands(&cmd, &w->queues[i]->keys);
        if (redis_link_send(w->main, buf_span(&cmd), on_audit_hands, w) < 0)
            break;
    }
    buf_done(&cmd);
    return w->audit_mono_ms;
}
