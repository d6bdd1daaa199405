/* check.h - `worker --check`: is everything as it must be, before a start or a reload?  Prints what
 * it finds and leaves nothing running.
 */
#ifndef BL_WORKER_CHECK_H
#define BL_WORKER_CHECK_H

#include "common/config.h"
#include "common/redis_url.h"

/* Plugins can be loaded, Redis can be reached; what makes it unsafe for jobs (hazard.h).  Returns the
 * exit code: 0 (with warnings, too), 69 no Redis, or a replica, or one too old, 78 a broken plugin. */
int check_run(const struct config *cfg, const struct redis_url *url, int exe_fd);

#endif
