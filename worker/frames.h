/* frames.h - what a runner says: reads the frames in its input and acts on them. */
#ifndef BL_WORKER_FRAMES_H
#define BL_WORKER_FRAMES_H

#include "common/err.h"

struct runner;

/* Reads all whole frames in r->in.  -ERR_PROTOCOL for anything a runner of ours would not send:
 * the runner is then to be killed. */
MUST_CHECK int frames_read(struct runner *r, struct err *err);

/* Finds jobs of a living runner whose slots say RETURNED though no report came yet, reads what the
 * runner sent before that (results, messages), and has them settled. */
void frames_catch_up(struct runner *r);

#endif
