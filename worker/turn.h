/* turn.h - what the worker does in each turn of its loop, after the callbacks of that turn: jobs to
 * runners, what is due, claims and waits, settlements.  So what came in together goes out together.
 *
 * A turn is taken when somebody asked for it: worker_wake() in worker.h.
 */
#ifndef BL_WORKER_TURN_H
#define BL_WORKER_TURN_H

struct worker;

void turn_init(struct worker *w);
/* No turn is taken any more. */
void turn_close(struct worker *w);

#endif
