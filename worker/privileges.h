/* privileges.h - from root to `user:`, once, before any plugin is loaded and before runners or the
 * guard are started, so that all of them are that user too.  Used by the worker's start.
 */
#ifndef BL_WORKER_PRIVILEGES_H
#define BL_WORKER_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

/* Who a name or a number stands for.  Plain data; owned strings are freed by privileges_done(). */
struct privileges {
    uid_t uid;
    gid_t gid;
    char *name; /* from the password file; a bare number that is not in it is its own name */
    char *home; /* "/" when unknown */
};

/* Looks up "name", "uid" or either with ":group" (name or number).  -ERR_NOT_FOUND names what is
 * unknown. */
MUST_CHECK int privileges_find(const char *user, struct privileges *ret, struct err *err);
void privileges_done(struct privileges *p);

/* Becomes that user for good: supplementary groups, gid, uid, all of real, effective and saved;
 * proves that root cannot be had again; sets HOME, USER, LOGNAME and drops root's XDG_* and MAIL.
 * When we are that user already it changes nothing.  -ERR_PERMISSION when we are not root. */
MUST_CHECK int privileges_change(const struct privileges *p, struct err *err);

/* Should the start warn that handlers run as root?  `euid` after the change; `user` is the option,
 * NULL = not set.  Who says `user: root` knows. */
bool privileges_warn_root(uid_t euid, const char *user);

#endif
