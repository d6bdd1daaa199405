/* statedir.h - the directory in which workers of one machine keep their journals, and the locks by
 * which one knows that another is gone.
 *
 *   <incarnation>.lock           flock held for life by its worker, by nobody else
 *   <incarnation>.journal        the slots page (slots.h)
 *   <incarnation>.<r>.<s>.out    what did not fit into a slot (slots_out.h)
 *
 * Host names and pids prove nothing (containers); a free lock does.
 */
#ifndef BL_WORKER_STATEDIR_H
#define BL_WORKER_STATEDIR_H

#include "common/err.h"
#include "common/token.h"

/* Chooses and makes the directory.  `option` NULL = /var/lib/bucketline for root, else
 * $XDG_STATE_HOME/bucketline or ~/.local/state/bucketline; "" = none: `*ret_dir` is NULL.  It must be
 * ours, writable by nobody else, and on no network file system (flock would lie).  Caller owns
 * `*ret_dir`.  -ERR_SYSTEM, -ERR_PERMISSION, -ERR_UNSUPPORTED. */
MUST_CHECK int statedir_prepare(const char *option, char **ret_dir, struct err *err);

/* Makes our lock file and locks it: a descriptor to keep open for life (CLOEXEC), or -ERR_SYSTEM. */
MUST_CHECK int statedir_lock(const char *dir, const struct incarnation *inc, struct err *err);

/* Tries the lock of another: its descriptor if the owner is gone (keep it until its files are
 * removed), -1 if it lives or someone else took over. */
int statedir_lock_try(const char *dir, const struct incarnation *inc);

/* The incarnations, `own` excepted, that have a lock file; caller owns `*ret` (free).  Their number. */
int statedir_list(const char *dir, const struct incarnation *own, struct incarnation **ret);

/* Removes every file of an incarnation, its lock last. */
void statedir_remove(const char *dir, const struct incarnation *inc);

#endif
