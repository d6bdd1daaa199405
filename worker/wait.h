/* wait.h - sleeping until somebody pushes: one connection per waited queue.
 *
 * When nothing is to be claimed and a runner is idle, a waiting connection sends, in one write,
 * BLMOVE Q Q RIGHT RIGHT 4 and a claim of one.  The BLMOVE blocks like BRPOP on the real list, so a
 * bare LPUSH wakes it, but takes nothing: a dead or frozen waiter swallows nobody's wake-up.  Redis
 * runs the claim the moment the wait ends.
 *
 * Queues beyond WAIT_MAX, queues whose server refuses BLMOVE (out of memory, too old, renamed), and
 * those where enough other workers wait, are looked at every WAIT_SWEEP_MS instead, all by one EXISTS.
 */
#ifndef BL_WORKER_WAIT_H
#define BL_WORKER_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct waiter;
struct queue;

enum { WAIT_MAX = 8, WAIT_SECONDS = 4, WAIT_SWEEP_MS = 250, WAIT_PEEKERS = 16 };

/* Begins waits where they are due; called at the end of a turn when there was nothing to claim. */
void wait_run(struct worker *w);
/* The next sweep, mono ms; INT64_MAX = none.  Asks when it is due. */
int64_t wait_sweep(struct worker *w, int64_t now_mono_ms);
/* Ends all waits by CLIENT UNBLOCK on the main connection; their claims are answered as usual. */
void wait_stop(struct worker *w);
/* No wait is under way. */
bool wait_idle(const struct worker *w);
/* Closes a queue's waiting connection (it left the configuration, or the worker stops). */
void wait_close(struct queue *q);

#endif
