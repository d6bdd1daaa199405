/* outbox.h - brings follow-ups and replies that belong to another slot to their lists.
 *
 * finish.c leaves them in {Q}:outbox in the same step that ends their job; here they are pushed, at
 * most once each (a mark in the target's slot), and only then removed.  Any worker of the queue may
 * do it, and does: after its own finishes, after a connection and after it took over from a dead worker
 * (what was under way may lie there), and every OUTBOX_LOOK_MS for what others left.
 */
#ifndef BL_WORKER_OUTBOX_H
#define BL_WORKER_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct queue;

enum { OUTBOX_LOOK_MS = 10000 };

/* Something of ours was just left there. */
void outbox_soon(struct queue *q);
/* Something may lie there, in any queue. */
void outbox_all_soon(struct worker *w);
/* Something of ours is still on its way: a worker that stops waits for it. */
bool outbox_busy(const struct worker *w);
/* Looks where it is time; returns when to look again, mono ms. */
int64_t outbox_run(struct worker *w, int64_t now_mono_ms);

#endif
