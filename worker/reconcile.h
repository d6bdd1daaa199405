/* reconcile.h - makes our memory and Redis agree on what is ours: first thing on every new main
 * connection, every 30 s, and whenever an answer was lost or refused.
 *
 * It pages through `run` of every queue for tokens of our incarnation.  A claim answered before the
 * round began, still held at its end and not seen, is lost: on the same server its handler is
 * stopped, else it finishes and its outcome is dropped; if it was being settled, it was settled.  A
 * token seen, not held and of no claim under way: settled before -> acknowledged again; else
 * adopted and run.
 */
#ifndef BL_WORKER_RECONCILE_H
#define BL_WORKER_RECONCILE_H

#include <stdint.h>

struct claim;
struct worker;

enum { RECONCILE_EVERY_MS = 30000 };

/* The main connection is ready on the server `run_id`. */
void reconcile_connected(struct worker *w, const char *run_id);
/* A connection ended with commands unanswered: it is killed by its id before the next round, so
 * that nothing sent on it can still run. */
void reconcile_connection_died(struct worker *w, int64_t client_id);
/* Begins a round now (after a good beat). */
void reconcile_start(struct worker *w);
/* Asks for a round soon. */
void reconcile_soon(struct worker *w);
/* Begins a periodic round when it is due; returns the time of the next, mono ms. */
int64_t reconcile_due(struct worker *w, int64_t now_mono_ms);
/* The connection is gone: the round under way is void. */
void reconcile_abort(struct worker *w);
/* The token of `c` is not ours any more: on the same server its handler is stopped, else it finishes
 * and its outcome is dropped. */
void reconcile_claim_lost(struct worker *w, struct claim *c);
/* Somebody else uses our incarnation: stop the handlers, settle nothing, end. */
void reconcile_we_are_a_clone(struct worker *w);

#endif
