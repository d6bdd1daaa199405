/* describe.h - `worker --runner --describe`: the handler table as JSON lines; see runner.h. */
#ifndef BL_WORKER_RUNNER_DESCRIBE_H
#define BL_WORKER_RUNNER_DESCRIBE_H

#include "common/config.h"

/* Loads the plugins (without their setup) and prints to `fd`.  Returns the process' exit code. */
int describe_run(const struct config *c, const char *directory, int fd);

#endif
