/* pidfile.h - the `pidfile` option: who the worker is, for those who still ask a file.
 *
 * It locks nothing and proves nothing; a stale one is simply replaced.  What proves that a worker
 * lives is its lock in the state directory.
 */
#ifndef BL_WORKER_PIDFILE_H
#define BL_WORKER_PIDFILE_H

#include <sys/types.h>

#include "common/err.h"

/* Writes "PID\n" (0644) so that a reader sees the old content or the new, never half.
 * -ERR_SYSTEM names the path. */
MUST_CHECK int pidfile_write(const char *path, pid_t pid, struct err *err);

/* Removes it if it still names `pid`: a successor may have written its own meanwhile. */
void pidfile_remove(const char *path, pid_t pid);

#endif
