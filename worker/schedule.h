/* schedule.h - what has its time: moves due jobs from :scheduled and :retry to their list, and takes
 * parked jobs whose handler is here now.
 *
 * Redis' clock decides what is due.  Each zset is looked at when its next entry is due: when the last
 * look said, or when what this worker added since is due.  What another worker added is that worker's to
 * look at; should it leave meanwhile, the others look anew, and at the latest every SCHEDULE_LOOK_MS.
 */
#ifndef BL_WORKER_SCHEDULE_H
#define BL_WORKER_SCHEDULE_H

#include <stdint.h>

struct worker;

enum {
    SCHEDULE_LOOK_MS = 10000,
    SCHEDULE_PARKED_MS = 2000, /* where something is parked */
    SCHEDULE_NONE_PARKED_MS = 10000,
};

/* Does what is due; returns when to look again, mono ms. */
int64_t schedule_run(struct worker *w, int64_t now_mono_ms);
/* Everything is to be looked at now: a new connection, a new set of handlers. */
void schedule_all(struct worker *w);
/* Another worker left: what it would have looked at is ours now. */
void schedule_due_soon(struct worker *w);

#endif
