/* produce.h - a handler enqueues: an ENQUEUE frame becomes a push, and its answer goes back.
 *
 * At least once, as everything: a handler that is run again pushes again unless its document
 * carries `unique`.  While Redis is away it is told so at once.
 */
#ifndef BL_WORKER_PRODUCE_H
#define BL_WORKER_PRODUCE_H

#include "common/err.h"

struct runner;
struct wire_frame;

/* -ERR_PROTOCOL for a frame that cannot be read; what is wrong with queue or document is answered. */
MUST_CHECK int produce(struct runner *r, const struct wire_frame *f, struct err *err);

#endif
