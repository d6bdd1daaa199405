/* lifecycle.h - the worker from start to stop, and the phases it goes through.
 *
 *   starting --synced--> running <--TSTP/CONT--> quiet
 *       \                   |  TERM, INT, burst done  |
 *        +------------------+----> draining <---------+
 *                                    | shutdown_timeout, or a second TERM
 *                                    v
 *              all settled <----- killing
 *                   v
 *                leaving: drop our entry, close everything, remove the journal
 */
#ifndef BL_WORKER_LIFECYCLE_H
#define BL_WORKER_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/redis_url.h"

struct worker;

struct lifecycle_options {
    bool burst;
    int64_t burst_wait_ms;
    char *const *argv; /* to execute this program again as it was; borrowed */
};

/* Runs a worker with `cfg` (takes) until it has stopped; returns the exit code of the process. */
int lifecycle_run(struct config *cfg, const struct redis_url *url, int exe_fd,
                  const struct lifecycle_options *options);

/* The first reconcile on a connection is done: claims and settlements may go. */
void lifecycle_synced(struct worker *w);
/* TERM: drain.  Called again: now. */
void lifecycle_stop(struct worker *w, const char *why);
/* TSTP and CONT. */
void lifecycle_quiet(struct worker *w, bool quiet);

/* The phases' part in each turn of the loop (turn.h). */
/* A burst ends here once every queue is drained. */
void lifecycle_check_burst(struct worker *w);
/* Quiet or stopping: what is in hand goes back in one go with what claims under way may bring, which
 * stood behind it. */
void lifecycle_give_back(struct worker *w);
/* Draining and killing: gives back what came late, lets idle runners go, sees whether all is done. */
void lifecycle_stop_step(struct worker *w);
/* When lifecycle_stop_step() is to look next though nothing happened, mono ms; INT64_MAX = never. */
int64_t lifecycle_due(const struct worker *w);

/* Another process has our incarnation: kills the runners, settles nothing, forgets all and executes
 * itself again under the same pid, which draws another incarnation.  Exits 75 if that fails. */
_Noreturn void lifecycle_end_as_clone(struct worker *w);

#endif
