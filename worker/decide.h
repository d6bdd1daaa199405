/* decide.h - what follows the end of an attempt?  Pure: (record, ending, policy, now) in, a decision
 * out.  The same for a live worker's jobs and for those a taker-over finds in a journal.
 */
#ifndef BL_WORKER_DECIDE_H
#define BL_WORKER_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/outcome.h"
#include "common/record.h"
#include "common/retry.h"

enum {
    DECIDE_CRASHES_MAX = 3, /* the third crash is poison */
    DECIDE_LOST_MAX = 10, /* the tenth worker lost with it too */
};

enum settle_action {
    SETTLE_ACK = 0, /* forget it */
    SETTLE_RETRY, /* to :retry, due after delay_ms */
    SETTLE_SCHEDULE, /* to :scheduled, due at at_ms (wall) or after delay_ms */
    SETTLE_DEAD, /* to the dead letters */
    SETTLE_PARK, /* to the parked */
    SETTLE_BACK, /* to the right end of the list: next */
};
const char *settle_action_name(enum settle_action a);

/* How it ended. */
enum ending_kind {
    ENDING_OUTCOME = 0, /* the handler said so */
    ENDING_CRASH, /* its runner died under it */
    ENDING_OOM_KILL, /* ... because the kernel killed it for lack of memory */
    ENDING_NO_MEMORY, /* its runner could not allocate and ended: the attempt failed */
    ENDING_TIMEOUT, /* stopped for its timeout, or failed after being told to stop */
    ENDING_INTERRUPTED, /* killed by our shutdown */
    ENDING_LOST, /* it had begun when its worker was lost */
    ENDING_UNBEGUN, /* never begun: given back unblamed */
    ENDING_BAD_DOCUMENT, /* no document we can run */
    ENDING_UNKNOWN_TYPE, /* no handler of that name here */
    ENDING_NEWER, /* a record newer than we understand */
    ENDING_EXPIRED, /* not begun by its expires_at */
    ENDING_NOT_DUE, /* at/delay in the future */
};

struct ending {
    enum ending_kind kind;
    enum outcome outcome; /* ENDING_OUTCOME */
    int64_t delay_ms; /* asked for by the handler; -1 = not said */
    int64_t due_ms; /* ENDING_NOT_DUE: wall time, or delay if due_relative */
    bool due_relative;
    bool oom; /* ENDING_OUTCOME: its program was killed for lack of memory */
    struct failure failure; /* what is known; kind and attempt are filled in by decide() */
};
#define ENDING_INIT                                                                                \
    {                                                                                              \
        .kind = ENDING_OUTCOME, .delay_ms = -1, .failure = FAILURE_INIT                            \
    }

struct decision {
    enum settle_action action;
    int64_t delay_ms;
    int64_t at_ms; /* SETTLE_SCHEDULE: wall time; -1 = use delay_ms */
    bool rewrite; /* store record_write(rec); else the bytes as they are */
    bool failed; /* the job failed for good (dead or dropped for it) */
};

struct decide_policy {
    struct retry_policy retry;
    bool dead; /* false = forget when retries are spent */
    int max_snoozes;
};

/* Updates `rec`'s counters, reason, times and (in `storage`, which must outlive rec) error and
 * history, and says what to do.  `rnd` in [0,1) spreads delays. */
void decide(struct record *rec, const struct ending *e, const struct decide_policy *policy,
            double rnd, int64_t now_wall_ms, struct buf *storage, struct decision *ret);

#endif
