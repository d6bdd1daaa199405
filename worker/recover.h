/* recover.h - gives back what a dead worker held.
 *
 * Used when a worker has been silent long enough (liveness.c: nothing is known of its jobs) and when
 * its lock on this machine was free (takeover.c: its journal tells which jobs had begun and which
 * had returned).  Each of its tokens is settled by script under its own name, so that two
 * recoverers, or a worker wrongly thought dead, do no harm: the token is the fence.  `run` is read
 * again until nothing of it is left; only then its entry among the workers is dropped.  Should a silent
 * one beat again meanwhile, the rest stays its own: each page is read together with its counter.
 */
#ifndef BL_WORKER_RECOVER_H
#define BL_WORKER_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slots.h"
#include "common/store.h"

struct worker;
struct recovery;

/* For `counter`: its lock was free, so it is dead wherever its counter stands. */
enum { RECOVER_ANY_COUNTER = -2 };

/* Begins.  `journal` (takes; NULL = none) is unmapped at the end.  `counter` is the one it stood
 * still at, -1 = not listed; `owner` says what becomes of its name in `hands`.  `on_done(w, arg)` is
 * called once, when nothing is left; it may be NULL.  Goes on by itself over disconnects. */
void recover_start(struct worker *w, const struct incarnation *inc, struct slots *journal,
                   int64_t counter, enum store_owner owner,
                   void (*on_done)(struct worker *w, void *arg), void *arg);
bool recover_under_way(const struct worker *w, const struct incarnation *inc);
/* Starts or continues what waits; returns when to look again, mono ms. */
int64_t recover_run(struct worker *w, int64_t now_mono_ms);
/* Drops all of them; what was not finished is found again by the next start. */
void recover_stop(struct worker *w);

/* Watches tokens whose owner nobody lists: every 30 s pages through each `run`. */
int64_t recover_audit(struct worker *w, int64_t now_mono_ms);

#endif
