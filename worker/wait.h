/* wait.h - sleeping until somebody pushes: one connection per waited queue.
 *
 * When nothing is to be claimed and a runner is idle, a waiting connection sends, in one write,
 * BLMOVE Q HAND RIGHT LEFT 4 and EXISTS of the key that says the queue is paused.  The BLMOVE blocks
 * like BRPOP on the real list, so a bare LPUSH wakes it; what it moves lies in our hand (hand.h), from
 * where it is run at once, or let go.
 *
 * Of all workers that wait at a queue a push wakes one, the one that has waited longest.
 * Queues beyond WAIT_MAX, and queues whose server refuses BLMOVE (out of memory, too old, renamed), are
 * looked at every WAIT_SWEEP_MS instead, all by one EXISTS.
 */
#ifndef BL_WORKER_WAIT_H
#define BL_WORKER_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct waiter;
struct queue;

enum { WAIT_MAX = 8, WAIT_SECONDS = 4, WAIT_SWEEP_MS = 250 };

/* Begins waits where they are due; called at the end of a turn when there was nothing to claim. */
void wait_run(struct worker *w);
/* The next sweep, mono ms; INT64_MAX = none.  Asks when it is due. */
int64_t wait_sweep(struct worker *w, int64_t now_mono_ms);
/* Ends all waits by CLIENT UNBLOCK on the main connection; they are answered as usual. */
void wait_stop(struct worker *w);
/* Is a wait written and not answered?  Then its hand may hold something any moment. */
bool wait_under_way(const struct queue *q);
/* No wait is under way. */
bool wait_idle(const struct worker *w);
/* Closes a queue's waiting connection (it left the configuration, or the worker stops). */
void wait_close(struct queue *q);

#endif
