#include "worker/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/slots_out.h"
#include "worker/frames.h"
#include "worker/liveness.h"
#include "worker/rest.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum {
    CHUNK_US = 1000, /* expected work put into one runner before the next is looked at */
    SLOW_JOB_MS = 50, /* behind a job running this long nothing waits if another is idle */
    UNKNOWN_JOB_US = 1000000, /* what a job of a type never seen is taken for */
    CALL_JOB_US = 1000, /* a longer one is better off on a core of its own */
};

int dispatch_idle_runners(const struct worker *w)
{
    int n = 0;
    for (int i = 0; i < w->pool.block_count; i++)
        n += runner_idle(w->pool.runners[i]);
    return n;
}

static bool must_run_alone(const struct claim *c)
{
    return c->rec.lost > 0 || c->rec.crashes > 0;
}

static int64_t expected_us(const struct claim *c)
{
    return c->handler != NULL && c->handler->job_us > 0 ? c->handler->job_us : UNKNOWN_JOB_US;
}

/* How many jobs of this length a runner may have at a time. */
static int ahead_limit(int64_t job_us)
{
    int64_t n = DISPATCH_AHEAD_MS * INT64_C(1000) / job_us;
    return n < 1 ? 1 : n > SLOTS_PER_RUNNER ? SLOTS_PER_RUNNER : (int)n;
}

/* A runner for a job that may wait behind `limit` - 1 others: the one with the fewest. */
static struct runner *least_loaded(struct worker *w, int limit)
{
    struct runner *best = NULL;
    for (int i = 0; i < w->pool.block_count; i++) {
        struct runner *r = w->pool.runners[i];
        if (!runner_has_room(r) || r->jobs.count >= limit)
            continue;
        if (best == NULL || r->jobs.count < best->jobs.count)
            best = r;
        if (best->jobs.count == 0)
            break;
    }
    return best;
}

/* One short job is all that this turn gave, and all that its runner has: once it is written we sleep, and
 * the runner has our core. */
static bool call_for(struct worker *w, const struct claim *c)
{
    struct runner *r = w->pool.runners[c->block];
    return r->jobs.count == 1 && expected_us(c) <= CALL_JOB_US &&
           rest_call(slots_runner_page(w->slots, r->block), r->pid); /* or it wakes elsewhere */
}

bool dispatch_run(struct worker *w)
{
    struct runner *r = NULL;
    const struct claim *single = NULL;
    int64_t given_us = 0;
    int given = 0;
    if (w->ready.first == NULL || liveness_doubtful(w) ||
        w->result_bytes > DISPATCH_RESULT_BYTES_MAX) /* until Redis has taken some */
        return false;
    while (w->ready.first != NULL) {
        struct claim *c = w->ready.first;
        bool alone = must_run_alone(c);
        int limit = alone ? 1 : ahead_limit(expected_us(c));
        if (r == NULL || given_us >= CHUNK_US || !runner_has_room(r) || r->jobs.count >= limit) {
            r = least_loaded(w, limit);
            given_us = 0;
        }
        if (r == NULL)
            return false;
        runner_send(r, c);
        r->alone = alone;
        given_us += expected_us(c);
        single = given++ == 0 ? c : NULL;
    }
    return single != NULL && call_for(w, single);
}

void dispatch_give_back(struct worker *w, struct claim *c)
{
    struct ending e = ENDING_INIT;
    e.kind = ENDING_UNBEGUN;
    settle_claim(w, c, &e);
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = (*(struct claim *const *)a)->seq, y = (*(struct claim *const *)b)->seq;
    return x < y ? 1 : x > y ? -1 : 0;
}

void dispatch_give_back_ready(struct worker *w, int64_t claimed_before_mono_ms)
{
    if (w->ready.count == 0)
        return;
    struct claim **all = xcalloc((size_t)w->ready.count, sizeof *all);
    size_t n = 0;
    for (struct claim *c = w->ready.first; c != NULL; c = c->next)
        if (c->claimed_mono_ms < claimed_before_mono_ms)
            all[n++] = c;
    /* Tokens were drawn in the order of the list, whichever runner each was dealt to: the newest goes
     * back first, so that the oldest ends up rightmost. */
    qsort(all, n, sizeof(struct claim *), newest_first);
    for (size_t i = 0; i < n; i++)
        dispatch_give_back(w, all[i]);
    free(all);
}

void dispatch_take_back_all(struct worker *w)
{
    for (int i = 0; i < w->pool.block_count; i++)
        runner_revoke(w->pool.runners[i], pool_back_to_ready);
}

void dispatch_read_slot(const struct slot *s, const struct buf *message, struct ending *e,
                        char text[SLOT_MESSAGE_BYTES])
{
    e->outcome = s->outcome < OUTCOME_COUNT ? (enum outcome)s->outcome : OUTCOME_NONE;
    e->delay_ms = s->delay_ms;
    e->oom = s->oom == 1;
    e->failure.exit_code = s->exit_code;
    e->failure.signal = s->signal;
    e->failure.max_rss_bytes = s->max_rss_bytes;
    e->failure.cpu_ms = s->cpu_ms;
    e->failure.run_ms = (s->returned_us - s->begun_us) / 1000;
    size_t n = s->message_len <= SLOT_MESSAGE_BYTES ? s->message_len : SLOT_MESSAGE_BYTES;
    memcpy(text, s->message, n);
    e->failure.message = (struct span){text, n};
    if (message->len > 0)
        e->failure.message = buf_span(message);
}

void dispatch_read_out(const char *state_dir, const struct incarnation *inc, int block, int slot,
                       struct claim *c)
{
    struct buf storage = BUF_INIT;
    struct slots_out out;
    struct err err = {0};
    bool read = slots_out_read(state_dir, inc->hex, block, slot, c->seq, &storage, &out, &err) == 0;
    buf_clear(&c->message);
    buf_clear(&c->result);
    buf_clear(&c->stderr_tail);
    if (read) {
        buf_add_span(&c->message, out.message);
        buf_add_span(&c->result, out.result);
        buf_add_span(&c->stderr_tail, out.stderr_tail);
    } else {
        log_msg(LOG_WARN, "what a finished job said is lost, its outcome is not",
                KV_STR("error", err.text));
    }
    buf_done(&storage);
}

void dispatch_returned(struct worker *w, struct runner *r, struct claim *c)
{
    struct slot *s = slots_get(w->slots, c->block, c->slot);
    struct ending e = ENDING_INIT;
    char text[SLOT_MESSAGE_BYTES];
    /* The frames that say it come first, unless its socket broke. */
    if (s->has_out && c->result.len + c->message.len + c->stderr_tail.len == 0 &&
        w->state_dir != NULL) {
        dispatch_read_out(w->state_dir, &w->inc, c->block, c->slot, c);
        w->result_bytes += (int64_t)c->result.len;
    }
    dispatch_read_slot(s, &c->message, &e, text);
    e.failure.stderr_tail = buf_span(&c->stderr_tail);
    if (c->stderr_tail.len == 0 && e.outcome != OUTCOME_DONE)
        e.failure.stderr_tail = output_tail(r); /* a plugin's: it stays until the next read */
    int64_t us = s->returned_us - s->begun_us;
    if (us < 0 || us > INT64_C(1000) * 86400 * 1000000)
        us = UNKNOWN_JOB_US; /* the page is written beside untrusted code */
    if (c->handler != NULL)
        c->handler->job_us = estimate_us(c->handler->job_us, us);
    c->queue->job_us = estimate_us(c->queue->job_us, us);
    claim_list_remove(c);
    r->jobs_done++;
    w->spin.returned++;
    w->pool.worn_out |= runner_worn_out(r);
    if (r->jobs.count == 0) {
        r->alone = false;
        if (r->fd != -1)
            r->kill_mono_ms = 0;
    }
    struct buf why = BUF_INIT;
    if (c->timed_out && e.outcome != OUTCOME_DONE) {
        e.kind = ENDING_TIMEOUT;
        buf_add_str(&why, "stopped for its timeout");
        if (e.failure.message.len > 0)
            buf_add_str(&why, ": ");
        buf_add_span(&why, e.failure.message);
        e.failure.message = buf_span(&why);
    }
    CRASH_POINT("settle.before-decision");
    settle_claim(w, c, &e);
    CRASH_POINT("settle.decided");
    buf_done(&why);
    output_job_ended(&r->output);
}

/* The runner's present job is slow: what waits behind it goes elsewhere. */
static void rescue(struct worker *w, struct runner *r, int64_t now_mono_ms)
{
    struct claim *head = r->jobs.first;
    if (head == NULL || r->jobs.count < 2)
        return;
    const struct slot *s = slots_get(w->slots, head->block, head->slot);
    if (slot_word_state(s->word) != SLOT_BEGUN)
        return;
    if (head->begun_mono_ms == 0)
        head->begun_mono_ms = now_mono_ms;
    if (now_mono_ms - head->begun_mono_ms < SLOW_JOB_MS)
        return;
    if (dispatch_idle_runners(w) > 0)
        runner_revoke(r, pool_back_to_ready);
}

/* Those that waited in a busy runner too long go back to Redis, so that another machine gets them. */
static void take_back_stuck(struct runner *r, int64_t now_mono_ms)
{
    struct claim *last = r->jobs.last;
    if (last != NULL && r->jobs.count > 1 &&
        now_mono_ms - last->claimed_mono_ms > DISPATCH_HOLD_MS) {
        struct claim *head = r->jobs.first;
        if (head->begun_mono_ms != 0 && now_mono_ms - head->begun_mono_ms >= SLOW_JOB_MS)
            runner_revoke(r, pool_back_to_ready);
    }
}

int64_t dispatch_check(struct worker *w, int64_t now_mono_ms)
{
    bool look_again = false;
    for (int i = 0; i < w->pool.block_count; i++) {
        struct runner *r = w->pool.runners[i];
        if (r->jobs.count < 2)
            continue;
        frames_catch_up(r);
        rescue(w, r, now_mono_ms);
        take_back_stuck(r, now_mono_ms);
        look_again |= r->jobs.count > 1;
    }
    dispatch_give_back_ready(w, now_mono_ms - DISPATCH_HOLD_MS);
    if (look_again || w->ready.count > 0)
        return now_mono_ms + DISPATCH_CHECK_MS;
    return INT64_MAX;
}
