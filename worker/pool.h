/* pool.h - the runners: one process each, one job at a time each, several short ones sent ahead.
 *
 *   none --start--> starting --HELLO--> ready --retire--> draining
 *    ^                  \                  \                 /
 *    +------ reaped <----+------- dead -----+---------------+
 *
 * A runner occupies a block of the slots page.  A block outlives the runner: its slots stay in use
 * until Redis has answered the settlement of what was in them.  Judged by its wait status alone: a
 * runner that closes its socket or sends rubbish is killed and then judged the same way.
 */
#ifndef BL_WORKER_POOL_H
#define BL_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "common/buf.h"
#include "common/slots.h"
#include "worker/child.h"
#include "worker/claims.h"
#include "worker/oom.h"
#include "worker/output.h"

struct worker;

enum runner_state {
    RUNNER_NONE = 0, /* no process in this block */
    RUNNER_STARTING,
    RUNNER_READY,
    RUNNER_DRAINING, /* retired: finishes what it has begun, then exits */
    RUNNER_DYING, /* SIGKILL was sent, its death not yet seen */
};

struct runner {
    struct worker *worker;
    int block;
    enum runner_state state;
    pid_t pid;
    int generation;
    int fd; /* our end of its socket; -1 = closed */
    uv_poll_t poll;
    bool poll_open; /* the handle exists: closing is asynchronous */
    bool writing; /* the poll waits for room in the socket, too */
    struct output output; /* what its plugins write to stdout and stderr */
    struct buf in, out;
    size_t out_done; /* bytes of out already written */
    struct claim_list jobs; /* sent, not returned, in order: the first is being run */
    bool alone; /* runs a record that must run alone */
    int64_t started_mono_ms;
    int64_t jobs_done;
    int64_t kill_mono_ms; /* when SIGKILL follows the soft signal; 0 = no soft signal */
    bool shutdown_kill; /* we killed it to stop: its job is interrupted */
    bool spoilt; /* its socket, before what runs now had begun: that is not to blame */
    bool lost_kill; /* we killed it because its claim was lost */
    char death_cause[96]; /* why we killed it, for the job's record; "" = we did not */

    /* of the block, whoever runs in it */
    struct claim *slot_claim[SLOTS_PER_RUNNER];
    uint8_t free_slots[SLOTS_PER_RUNNER];
    int free_count;
};

struct pool {
    struct runner **runners; /* by block */
    int block_count;
    int wanted; /* runners of the present generation */
    int generation;
    int config_fd; /* of the present generation; -1 */
    int first_free; /* hint */
    int64_t start_mono_ms; /* no start before this: back-off of crash-looping runners */
    bool worn_out; /* a runner has done recycle_after jobs: balance at the end of the turn */
    int quick_deaths; /* in a row: died before their first job */
    pid_t guard_pid; /* 0 = not running */
    int guard_fd; /* -1 */
    int64_t guard_mono_ms;
    uv_signal_t sigchld;
    pid_t describe_pid; /* of a reload; 0 = none */
    struct oom_watch oom;
};

/* Sets up `wanted` blocks and starts guard and runners.  -ERR_SYSTEM. */
MUST_CHECK int pool_init(struct worker *w, struct err *err);
bool runner_worn_out(const struct runner *r);
/* Starts what is missing, retires what is too many or old, respecting the back-off. */
void pool_balance(struct worker *w);
/* Every ready runner of an older generation is drained; new ones start. */
void pool_new_generation(struct worker *w);
void pool_set_wanted(struct worker *w, int wanted);
/* Takes back what it has not begun and lets it end; another is started in its place. */
void pool_retire(struct runner *r);
/* It begins nothing any more and ends by itself: takes back what it has, starts another. */
void pool_leaving(struct runner *r);
/* If most slots of this block's runner hold outcomes that Redis refuses to take: a runner in another
 * block takes its place, since with no slot free nothing begins. */
void pool_relieve(struct worker *w, int block);
/* The worker stops: runners without a job go. */
void pool_drain_idle(struct worker *w);

static inline bool runner_idle(const struct runner *r)
{
    return r->state == RUNNER_READY && r->jobs.count == 0;
}
/* Soft signal to the program's group or the runner; SIGKILL follows after the grace. */
void runner_stop_job(struct runner *r);
/* SIGKILL to both groups; the death is judged when it is seen. */
void runner_kill(struct runner *r, const char *cause);
/* Reads and handles what its socket holds: 0 = more may come, 1 = its end is closed, -1 = it does not
 * speak our protocol.  `to_end`: until the kernel says that there is no more; else one short read
 * is enough, and the poll comes again. */
int runner_read(struct runner *r, bool to_end, struct err *err);
/* Reads it; one that closed its socket or sends rubbish is killed, and judged when it is dead. */
void runner_heed(struct runner *r, bool to_end);
void runner_close_socket(struct runner *r);
/* A revoked claim goes to the front of the ready list, for the next turn. */
void pool_back_to_ready(struct worker *w, struct claim *c);
/* Writes what was put into outputs in this turn. */
void pool_flush(struct worker *w);
/* Checks deadlines and kills; returns the mono ms of the next one (INT64_MAX = none). */
int64_t pool_deadlines(struct worker *w, int64_t now_mono_ms);
/* How many processes of ours are alive. */
int pool_alive(const struct pool *p);
int pool_busy(const struct pool *p); /* runners with a job */
int pool_running(const struct pool *p); /* jobs sent and not returned */
/* Blocks the slots page needs for so many runners: old and new generation side by side. */
int pool_blocks(int runners);
/* Ends the guard and closes handles, once no runner is left; pool_free() after the loop ended. */
void pool_done(struct worker *w);
void pool_free(struct worker *w);

#endif
