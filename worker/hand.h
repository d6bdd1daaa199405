/* hand.h - what a wait brought, from the moment Redis moved it into our hand until it lies in `run`.
 *
 * A wait moves one record from the queue's list to a list of our own, {Q}:hand:<incarnation>, and
 * answers with it.  The job is given to a runner at once, and the script `hold` puts the record into
 * `run` under a token meanwhile: it is written before the runner hears of the job.  Its end is settled
 * only once that was answered, so the token is the commit here as everywhere.
 *
 * What may lie in the hand and is not wanted, or not known of (the wait's connection broke), is let
 * go: given back to the right end of the list.  Never while a wait is under way or something is not
 * held yet, and no wait begins before that is answered: else a job could be given back that we run.
 * Letting go also names us in {Q}:hands, where others find our hand should we die.
 */
#ifndef BL_WORKER_HAND_H
#define BL_WORKER_HAND_H

#include <stdbool.h>

#include "common/buf.h"

struct worker;
struct queue;

/* The wait of `q` brought `record`: takes it in under a new token, and has it held. */
void hand_take(struct worker *w, struct queue *q, struct span record);
/* Something may lie in the hand that is not wanted or not known of. */
void hand_doubt(struct queue *q);
/* May a wait begin?  Nothing else lies in the hand, and others would find it. */
bool hand_ready(const struct queue *q);
/* Lets go what may lie in hands; at the end of a turn. */
void hand_tidy(struct worker *w);
/* Sends again what was not answered: on a new connection, and whenever a round of reconciling begins. */
void hand_hold_again(struct worker *w);
/* A round of reconciling has ended: looks after all hands. */
void hand_reconciled(struct worker *w);
/* The worker leaves: lets go of all hands, for good unless a wait of it may still fire. */
void hand_leave(struct worker *w);

#endif
