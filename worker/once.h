/* once.h - queues with `delivery: at-most-once`: plain BRPOP, and RPOP of many under load, for those
 * who want each job started at most once.
 *
 * The pop is the whole claim: nothing lies in `run`, a job is lost if we die with it, and none is
 * ever begun twice.  A failure goes to the dead letters, there is no retry.  What was popped and not
 * begun when the worker stops is pushed back.  A record newer than we know is parked untouched.
 */
#ifndef BL_WORKER_ONCE_H
#define BL_WORKER_ONCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "worker/claims.h"
#include "worker/decide.h"

struct worker;
struct once;

/* Pops when a runner has room; makes its connection at the first need. */
void once_run(struct worker *w);
/* Ends the blocking pop. */
void once_stop(struct worker *w);
bool once_idle(const struct worker *w);
/* Every such queue was found empty. */
bool once_drained(const struct worker *w);
/* When a queue that is left alone is to be looked at again, mono ms; INT64_MAX = there is none. */
int64_t once_due(const struct worker *w, int64_t now_mono_ms);
void once_close(struct worker *w);

/* What can follow where nothing may run twice: forgotten, a dead letter, back unbegun, scheduled. */
void once_decision(struct claim *c, const struct ending *e);
/* Appends the command for c->decision. */
void once_command(struct buf *out, const struct claim *c);

#endif
