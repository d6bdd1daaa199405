/* handover.h - jobs into the slots of a runner and out of them again: the worker's half of slots.h. */
#ifndef BL_WORKER_HANDOVER_H
#define BL_WORKER_HANDOVER_H

#include <stdbool.h>

struct claim;
struct runner;
struct worker;

/* A ready runner of the present generation with nothing that must run alone. */
bool runner_takes_jobs(const struct runner *r);
/* And a free slot: room for one more job now. */
bool runner_has_room(const struct runner *r);
/* Puts a claim into a slot and its frame into the runner's output. */
void runner_send(struct runner *r, struct claim *c);
/* Takes back what has not begun, newest first, by calling fn (which moves the claim elsewhere).
 * Returns how many. */
int runner_revoke(struct runner *r, void (*fn)(struct worker *w, struct claim *c));
/* Settles what its slots say RETURNED of, although no frame came: of one whose socket was read to its
 * end.  (Beside a living one: frames_catch_up().)  Returns how many. */
int runner_sweep(struct runner *r);
bool runner_sweep_one(struct runner *r, struct claim *c); /* if its slot says so */
/* The claim's slot is free again: Redis has answered. */
void pool_release_slot(struct worker *w, struct claim *c);

#endif
