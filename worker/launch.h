/* launch.h - starts our own binary again as a runner, a describing runner or the guard: the command
 * lines and descriptors of the three, in one place.
 */
#ifndef BL_WORKER_LAUNCH_H
#define BL_WORKER_LAUNCH_H

#include <sys/types.h>

#include "common/config.h"
#include "common/err.h"

struct slots;

/* The configuration as a runner may see it, in a memfd positioned at its start.  Caller owns the
 * descriptor.  -ERR_SYSTEM. */
MUST_CHECK int launch_config_fd(const struct config *cfg, struct err *err);

/* Starts runner `index`; `*ret_fd` is our end of its socket, `*ret_output_fd` the read end of the pipe
 * that is its stdout and stderr (both non-blocking, CLOEXEC, caller owns).
 * `out_dir` NULL = results of finished jobs are kept nowhere but in the page. */
MUST_CHECK int launch_runner(const struct config *cfg, int exe_fd, int config_fd, int slots_fd,
                             int index, const char *out_dir, pid_t *ret_pid, int *ret_fd,
                             int *ret_output_fd, struct err *err);

/* Starts `--runner --describe`; `*ret_fd` is the read end of its stdout (caller owns). */
MUST_CHECK int launch_describe(const struct config *cfg, int exe_fd, pid_t *ret_pid, int *ret_fd,
                               struct err *err);

/* Starts the guard; `*ret_fd` is the end of the pipe that must stay open while we live. */
MUST_CHECK int launch_guard(const struct config *cfg, int exe_fd, int slots_fd, pid_t *ret_pid,
                            int *ret_fd, struct err *err);

#endif
