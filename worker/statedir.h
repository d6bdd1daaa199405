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

#include <sys/types.h>

#include "common/err.h"
#include "common/token.h"

/* Chooses and makes the directory.  `option` NULL = $STATE_DIRECTORY where systemd (or who
 * else starts us) set it, else /var/lib/bucketline for root, else
 * $XDG_STATE_HOME/bucketline or ~/.local/state/bucketline; "" = none: `*ret_dir` is NULL.  It must be
 * ours, writable by nobody else, and on no network file system (flock would lie).  `*ret_dir` is
 * absolute; caller owns.  -ERR_SYSTEM, -ERR_PERMISSION, -ERR_UNSUPPORTED. */
MUST_CHECK int statedir_prepare(const char *option, char **ret_dir, struct err *err);

/* As root, before it becomes another user: makes the directory that statedir_prepare() would choose
 * for root, and gives it to `uid` if it was not there.  `*ret_dir` is what to pass as `option`
 * afterwards ("" = none); caller owns.  Errors as above. */
MUST_CHECK int statedir_make_for(const char *option, uid_t uid, gid_t gid, char **ret_dir,
                                 struct err *err);

/* "NFS" for a statfs(2) type of a network file system, NULL for others. */
const char *statedir_network_name(unsigned fs_type);

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
