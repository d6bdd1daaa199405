/* intake.h - a record has been claimed: what is it, and can it run now?
 *
 * Reads record and document.  What can run goes to the ready list; what cannot is settled at once:
 * no document -> dead letter with the reason, unknown type or newer record -> parked, not due yet ->
 * :scheduled, expired -> dropped and counted.
 */
#ifndef BL_WORKER_INTAKE_H
#define BL_WORKER_INTAKE_H

#include "common/mem.h"
#include "worker/claims.h"

struct worker;

/* Takes in `bytes`, claimed under `seq`; returns the claim, which may have been settled already. */
struct claim *intake(struct worker *w, struct queue *q, uint64_t seq, struct span bytes);
/* The same for a claim that was just added. */
void intake_claim(struct worker *w, struct claim *c);

/* The pure part: parses c->bytes into c->rec and c->doc and tells what stands against running it.
 * ENDING_OUTCOME = nothing.  `ret` holds kind, due time and message (in `text`, caller's). */
void intake_judge(struct claim *c, const struct document_limits *limits, int64_t now_wall_ms,
                  struct err *text, struct ending *ret);

#endif
