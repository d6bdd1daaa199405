/* host.h - what a plugin's handler can call: the functions behind jobs/bucketline.h. */
#ifndef BL_WORKER_RUNNER_HOST_H
#define BL_WORKER_RUNNER_HOST_H

#include "jobs/bucketline.h"

struct job;

extern const struct bl_host host_table;

/* Sends a PROGRESS frame, unless one went out a moment ago.  `percent` < 0 = not said. */
void host_progress(struct job *j, int64_t percent, const char *text, size_t len);

#endif
