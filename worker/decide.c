#include "worker/decide.h"

#include <stdio.h>
#include <string.h>

const char *settle_action_name(enum settle_action a)
{
    switch (a) {
    case SETTLE_ACK:
        return "ack";
    case SETTLE_RETRY:
        return "retry";
    case SETTLE_SCHEDULE:
        return "schedule";
    case SETTLE_DEAD:
        return "dead";
    case SETTLE_PARK:
        return "park";
    case SETTLE_BACK:
        return "back";
    }
    return "?";
}

static void set_reason(struct record *rec, const char *reason)
{
    snprintf(rec->reason, sizeof rec->reason, "%s", reason);
}

static void add_failure(struct record *rec, const struct ending *e, const char *kind,
                        int64_t now_wall_ms, struct buf *storage)
{
    struct failure f = e->failure;
    f.kind = kind;
    f.attempt = rec->attempt + 1;
    f.at_ms = now_wall_ms;
    record_add_failure(rec, &f, storage);
    if (rec->first_failed_at_ms == 0)
        rec->first_failed_at_ms = now_wall_ms;
    rec->failed_at_ms = now_wall_ms;
}

static struct decision bury(struct record *rec, const char *reason, int64_t now_wall_ms)
{
    set_reason(rec, reason);
    rec->dead_at_ms = now_wall_ms;
    return (struct decision){.action = SETTLE_DEAD, .rewrite = true, .failed = true};
}

static struct decision park(struct record *rec, const char *reason, int64_t now_wall_ms)
{
    set_reason(rec, reason);
    rec->parked_at_ms = now_wall_ms;
    return (struct decision){.action = SETTLE_PARK, .rewrite = true};
}

/* A failed attempt: spends one retry. */
static struct decision fail(struct record *rec, const struct ending *e,
                            const struct decide_policy *policy, const char *kind, double rnd,
                            int64_t now_wall_ms, struct buf *storage)
{
    add_failure(rec, e, kind, now_wall_ms, storage);
    rec->attempt++;
    rec->snoozes = 0;
    int64_t delay_ms = retry_delay_ms(&policy->retry, rec->attempt, rnd);
    if (delay_ms >= 0) {
        if (e->delay_ms >= 0)
            delay_ms = e->delay_ms;
        return (struct decision){.action = SETTLE_RETRY, .delay_ms = delay_ms, .rewrite = true};
    }
    if (!policy->dead)
        return (struct decision){.action = SETTLE_ACK, .failed = true};
    return bury(rec, policy->retry.retries == 0 ? "failed" : "retries-spent", now_wall_ms);
}

/* The runner died under it.  The first time a killed neighbour or an operator is the likelier
 * cause; the third time it is poison. */
static struct decision crash(struct record *rec, const struct ending *e,
                             const struct decide_policy *policy, double rnd, int64_t now_wall_ms,
                             struct buf *storage)
{
    bool oom = e->kind == ENDING_OOM_KILL;
    add_failure(rec, e, oom ? "oom" : "crash", now_wall_ms, storage);
    rec->crashes++;
    if (rec->crashes >= DECIDE_CRASHES_MAX)
        return bury(rec, "poison", now_wall_ms);
    if (rec->crashes == 1)
        return (struct decision){.action = SETTLE_BACK, .rewrite = true};
    struct retry_policy one = policy->retry;
    one.retries = RETRY_MAX; /* a crash spends no retry */
    int64_t delay_ms = retry_delay_ms(&one, 1, rnd);
    return (struct decision){.action = SETTLE_RETRY, .delay_ms = delay_ms, .rewrite = true};
}

static struct decision snooze(struct record *rec, const struct ending *e,
                              const struct decide_policy *policy, int64_t now_wall_ms,
                              struct buf *storage)
{
    if (rec->snoozes >= policy->max_snoozes) {
        add_failure(rec, e, "snooze", now_wall_ms, storage);
        return bury(rec, "snoozed-too-often", now_wall_ms);
    }
    int64_t delay_ms = snooze_delay_ms(e->delay_ms, rec->snoozes);
    rec->snoozes++;
    return (struct decision){
        .action = SETTLE_SCHEDULE, .delay_ms = delay_ms, .at_ms = -1, .rewrite = true};
}

static struct decision by_outcome(struct record *rec, const struct ending *e,
                                  const struct decide_policy *policy, double rnd,
                                  int64_t now_wall_ms, struct buf *storage)
{
    switch (e->outcome) {
    case OUTCOME_DONE:
        return (struct decision){.action = SETTLE_ACK};
    case OUTCOME_DROP:
        return (struct decision){.action = SETTLE_ACK, .failed = true};
    case OUTCOME_RETRY:
        return fail(rec, e, policy, e->oom ? "oom" : "failed", rnd, now_wall_ms, storage);
    case OUTCOME_DEAD:
        add_failure(rec, e, "failed", now_wall_ms, storage);
        rec->attempt++;
        if (!policy->dead)
            return (struct decision){.action = SETTLE_ACK, .failed = true};
        return bury(rec, "failed", now_wall_ms);
    case OUTCOME_SNOOZE:
        return snooze(rec, e, policy, now_wall_ms, storage);
    case OUTCOME_PARK:
        add_failure(rec, e, "handler", now_wall_ms, storage);
        return park(rec, "handler", now_wall_ms);
    case OUTCOME_UNKNOWN_TYPE:
        return park(rec, "unknown-type", now_wall_ms);
    case OUTCOME_NONE:
    case OUTCOME_COUNT:
        break;
    }
    return crash(rec, e, policy, rnd, now_wall_ms, storage);
}

void decide(struct record *rec, const struct ending *e, const struct decide_policy *policy,
            double rnd, int64_t now_wall_ms, struct buf *storage, struct decision *ret)
{
    switch (e->kind) {
    case ENDING_OUTCOME:
        *ret = by_outcome(rec, e, policy, rnd, now_wall_ms, storage);
        return;
    case ENDING_CRASH:
    case ENDING_OOM_KILL:
        *ret = crash(rec, e, policy, rnd, now_wall_ms, storage);
        return;
    case ENDING_TIMEOUT:
        *ret = fail(rec, e, policy, "timeout", rnd, now_wall_ms, storage);
        return;
    case ENDING_NO_MEMORY:
        *ret = fail(rec, e, policy, "oom", rnd, now_wall_ms, storage);
        return;
    case ENDING_INTERRUPTED:
        rec->interrupted++;
        *ret = (struct decision){.action = SETTLE_BACK, .rewrite = true};
        return;
    case ENDING_LOST:
        rec->lost++;
        if (rec->lost >= DECIDE_LOST_MAX) {
            add_failure(rec, e, "lost", now_wall_ms, storage);
            *ret = bury(rec, "poison", now_wall_ms);
            return;
        }
        *ret = (struct decision){.action = SETTLE_BACK, .rewrite = true};
        return;
    case ENDING_UNBEGUN:
        *ret = (struct decision){.action = SETTLE_BACK};
        return;
    case ENDING_BAD_DOCUMENT:
        add_failure(rec, e, "malformed", now_wall_ms, storage);
        *ret = bury(rec, "malformed", now_wall_ms);
        return;
    case ENDING_UNKNOWN_TYPE:
        *ret = park(rec, "unknown-type", now_wall_ms);
        return;
    case ENDING_NEWER:
        *ret = (struct decision){.action = SETTLE_PARK};
        return;
    case ENDING_EXPIRED:
        *ret = (struct decision){.action = SETTLE_ACK};
        return;
    case ENDING_NOT_DUE:
        *ret = (struct decision){.action = SETTLE_SCHEDULE,
                                 .at_ms = e->due_relative ? -1 : e->due_ms,
                                 .delay_ms = e->due_relative ? e->due_ms : 0,
                                 .rewrite = true};
        return;
    }
    BUG("ending %d", (int)e->kind);
}
