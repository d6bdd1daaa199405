/* takeover.h - workers of this machine that died: finds their locks free, kills what they left
 * running, reads their journals and settles their jobs.
 *
 * Whoever gets the lock of another incarnation in the same state_dir knows its owner is gone.  Then:
 * kill leftover groups (pid and start time must match), wait for their end, only then read the slots.
 */
#ifndef BL_WORKER_TAKEOVER_H
#define BL_WORKER_TAKEOVER_H

#include <stdint.h>

struct worker;

enum { TAKEOVER_LOOK_MS = 1000 };

/* Looks for free locks when it is time; returns when to look again, mono ms. */
int64_t takeover_run(struct worker *w, int64_t now_mono_ms);
void takeover_stop(struct worker *w);

#endif
