/* settle.h - from the end of an attempt back to Redis: decide, write, and free the slot only when
 * Redis has answered.
 *
 * While Redis is away decisions wait in order; nothing is dropped by time.  After a reconnect
 * reconcile.c says which tokens are still ours, and what was under way is sent again: the token is
 * the fence, so that a settlement which had gone through is not repeated.
 */
#ifndef BL_WORKER_SETTLE_H
#define BL_WORKER_SETTLE_H

#include "common/token.h"
#include "worker/claims.h"
#include "worker/decide.h"

struct worker;
struct store_queue;

/* Decides what follows and queues it.  The claim leaves whatever list it was in. */
void settle_claim(struct worker *w, struct claim *c, const struct ending *e);
/* Its end is decided, and its token lies in `run`: goes to Redis with the next turn. */
void settle_send(struct worker *w, struct claim *c);
/* Its token is not ours any more, or it was settled unseen: forget it. */
void settle_forget(struct worker *w, struct claim *c);
/* The same for one whose end was decided, while its claim is nobody's or another's by now. */
void settle_lost(struct worker *w, struct claim *c);
/* Sends what was decided, acknowledgements in batches. */
void settle_flush(struct worker *w);
/* Nothing decided is waiting or under way, but for what is not held yet (hand.h). */
bool settle_idle(const struct worker *w);
/* Refused ones are tried again when their time has come; returns the next such time. */
int64_t settle_retry_blocked(struct worker *w, int64_t now_mono_ms);

/* Redis has forgotten our scripts (NOSCRIPT): loads them again on the main connection. */
void settle_reload_scripts(struct worker *w);

/* The policy for a claim: the document over worker.yaml over the plugin over the defaults. */
struct decide_policy settle_policy(const struct worker *w, const struct claim *c);
/* Gives a record what a wrapped one needs (uid, id, queue) and writes it. */
void settle_write_record(struct worker *w, struct record *rec, const struct document *doc,
                         const struct incarnation *inc, uint64_t seq, const char *list,
                         struct buf *out);
/* Appends the command that carries out `d` under (inc, seq). */
void settle_command(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, const struct decision *d, struct span record);

#endif
