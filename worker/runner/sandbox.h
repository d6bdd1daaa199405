/* sandbox.h - what a program gets to see: its environment, its user, its limits.
 *
 * Not a security boundary against a program of the same user; it keeps a program from depending on,
 * or leaking, what the worker happened to be started with.
 */
#ifndef BL_WORKER_RUNNER_SANDBOX_H
#define BL_WORKER_RUNNER_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/err.h"
#include "worker/child.h"

struct job;

struct sandbox {
    char **env; /* NULL-terminated */
    int env_count;
    bool change_user;
    uid_t uid;
    gid_t gid;
    char *user, *home; /* with change_user */
    struct child_limits limits;
};

/* -ERR_NOT_FOUND (no such user), -ERR_PERMISSION (we are not root). */
MUST_CHECK int sandbox_init(struct sandbox *s, const struct job *j, const struct config_handler *h,
                            struct err *err);
void sandbox_done(struct sandbox *s); /* also after a failed init */

/* Tells the kernel to kill this process rather than the worker when memory runs out. */
void sandbox_offer_to_oom_killer(void);

#endif
