/* Why flock: the kernel lets go of it however its holder ends, and of nothing else.  Why not on
 * network file systems: there a server lets go, at its own time, and a journal mapped by two
 * machines is two journals.
 *
 * A lock file is born locked: made under another name, locked, then renamed.  Were it locked only
 * afterwards, whoever looks in between would find it free and take over from a worker that is just
 * starting.
 */
#include "worker/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/slots.h"

enum { LOCK_TRIES = 10 };

static const char unborn_suffix[] = ".lock.new";

/* ---- the directory ---- */

/* statfs(2) types; numbers and not <linux/magic.h>, which lacks some. */
static const struct {
    unsigned type;
    const char *name;
} network_types[] = {
    {0x6969, "NFS"},      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"},   {0x517b, "SMB"},
    {0x01021997, "9p"},   {0x00c36400, "Ceph"}, {0x5346414f, "AFS"},   {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"}, {0x73757245, "Coda"}, {0x7461636f, "OCFS2"},
};

const char *statedir_network_name(unsigned fs_type)
{
    for (size_t i = 0; i < ARRAY_COUNT(network_types); i++)
        if (network_types[i].type == fs_type)
            return network_types[i].name;
    return NULL;
}

static char *default_dir(struct err *err)
{
    const char *given =
        getenv("STATE_DIRECTORY"); /* systemd's StateDirectory=, ':' between several */
    if (given != NULL && given[0] == '/')
        return xstrndup(given, strcspn(given, ":"));
    if (geteuid() == 0)
        return xstrdup("/var/lib/bucketline");
    const char *state = getenv("XDG_STATE_HOME");
    if (state != NULL && state[0] == '/') /* a relative one is to be ignored, says its standard */
        return xasprintf("%s/bucketline", state);
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/') {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw != NULL && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
    }
    if (home != NULL)
        return xasprintf("%s/.local/state/bucketline", home);
    (void)err_set(err, ERR_MISSING,
                  "no place for the state: set state_dir in worker.yaml, or HOME");
    return NULL;
}

/* mkdir -p.  The last part is for us alone; root leaves those above it open to who must pass.
 * `*ret_made`: the last part was not there before. */
static int make_path(const char *dir, bool *ret_made, struct err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(dir);
    if (len >= sizeof part)
        return err_set(err, ERR_TOO_BIG, "state_dir is longer than %zu bytes", sizeof part - 1);
    bool last = false;
    for (size_t i = 1; i <= len && !last; i++) {
        if (dir[i] != '/' && dir[i] != '\0')
            continue;
        memcpy(part, dir, i);
        part[i] = '\0';
        last = dir[i + strspn(dir + i, "/")] == '\0';
        *ret_made = mkdir(part, !last && geteuid() == 0 ? 0755 : 0700) == 0;
        if (!*ret_made && errno != EEXIST)
            return err_errno(err, ERR_SYSTEM,
                             "cannot make %s (state_dir in worker.yaml chooses another place)",
                             part);
    }
    return 0;
}

static int check_dir(const char *dir, uid_t owner, struct err *err)
{
    struct stat st;
    struct statfs fs;
    if (stat(dir, &st) == -1 || statfs(dir, &fs) == -1)
        return err_errno(err, ERR_SYSTEM, "state_dir %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "state_dir %s is no directory", dir);
    if (st.st_uid != owner)
        return err_set(err, ERR_PERMISSION,
                       "state_dir %s belongs to uid %u and not to uid %u, as "
                       "whom the worker runs: chown it, or choose another",
                       dir, (unsigned)st.st_uid, (unsigned)owner);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_PERMISSION, "state_dir %s is writable by others: chmod go-w it",
                       dir);
    const char *network = statedir_network_name((unsigned)fs.f_type);
    if (network != NULL)
        return err_set(err, ERR_UNSUPPORTED,
                       "state_dir %s is on a network file system (%s), where locks prove nothing; "
                       "take a local directory, or state_dir: \"\" for none",
                       dir, network);
    return 0;
}

/* Lock files whose makers died before they were born. */
static void remove_unborn(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        struct incarnation inc;
        if (len != INCARNATION_BYTES + sizeof unborn_suffix - 1 ||
            strcmp(e->d_name + INCARNATION_BYTES, unborn_suffix) != 0 ||
            !incarnation_parse((struct span){e->d_name, INCARNATION_BYTES}, &inc))
            continue;
        int fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd == -1)
            continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) /* a maker that is only slow makes another */
            (void)unlinkat(dirfd(d), e->d_name, 0); /* gone already is as well */
        close(fd);
    }
    if (d != NULL)
        closedir(d);
}

/* Relative paths end here: processes of ours change their directory. */
static int resolve(const char *dir, char **ret_dir, struct err *err)
{
    char *full = realpath(dir, NULL);
    if (full == NULL)
        return err_errno(err, ERR_SYSTEM, "state_dir %s", dir);
    *ret_dir = full;
    return 0;
}

int statedir_make_for(const char *option, uid_t uid, gid_t gid, char **ret_dir, struct err *err)
{
    bool made = false;
    if (option != NULL && option[0] == '\0') {
        *ret_dir = xstrdup("");
        return 0;
    }
    char *dir = option != NULL ? xstrdup(option) : default_dir(err);
    int rc = dir != NULL ? make_path(dir, &made, err) : -ERR_MISSING;
    if (rc == 0 && made && uid != geteuid() && chown(dir, uid, gid) == -1)
        rc = err_errno(err, ERR_SYSTEM, "cannot give state_dir %s to uid %u", dir, (unsigned)uid);
    if (rc == 0)
        rc = check_dir(dir, uid, err);
    if (rc == 0)
        rc = resolve(dir, ret_dir, err);
    free(dir);
    return rc;
}

int statedir_prepare(const char *option, char **ret_dir, struct err *err)
{
    char *dir = NULL;
    int rc = statedir_make_for(option, geteuid(), getegid(), &dir, err);
    if (rc < 0)
        return rc;
    if (dir[0] == '\0') {
        free(dir);
        dir = NULL;
    } else {
        remove_unborn(dir);
    }
    *ret_dir = dir;
    return 0;
}

/* ---- locks ---- */

/* Is the open file the one that the path leads to now? */
static bool is_at(int fd, const char *path)
{
    struct stat here, there;
    return fstat(fd, &here) == 0 && lstat(path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

int statedir_lock(const char *dir, const struct incarnation *inc, struct err *err)
{
    char unborn[PATH_MAX], path[PATH_MAX];
    slots_path(unborn, sizeof unborn, dir, inc, unborn_suffix);
    slots_path(path, sizeof path, dir, inc, ".lock");
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd = open(unborn, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd == -1)
            return err_errno(err, ERR_SYSTEM, "cannot make %s", unborn);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_at(fd, unborn) && rename(unborn, path) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != ENOENT) {
            (void)err_errno(err, ERR_SYSTEM, "cannot lock %s", path);
            close(fd);
            return -ERR_SYSTEM;
        }
        close(fd); /* another worker's remove_unborn() came in between */
    }
    return err_set(err, ERR_SYSTEM, "cannot lock %s: it is removed each time", path);
}

int statedir_lock_try(const char *dir, const struct incarnation *inc)
{
    char path[PATH_MAX];
    slots_path(path, sizeof path, dir, inc, ".lock");
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1)
        return -1;
    /* Locked but removed meanwhile: another has taken over and is done. */
    if (flock(fd, LOCK_EX | LOCK_NB) == -1 || !is_at(fd, path)) {
        close(fd);
        return -1;
    }
    return fd;
}

int statedir_list(const char *dir, const struct incarnation *own, struct incarnation **ret)
{
    struct incarnation *list = NULL;
    int count = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct incarnation inc;
        const char *dot = strchr(e->d_name, '.');
        if (dot == NULL || strcmp(dot, ".lock") != 0 ||
            !incarnation_parse((struct span){e->d_name, (size_t)(dot - e->d_name)}, &inc) ||
            incarnation_equal(&inc, own))
            continue;
        list = xreallocarray(list, (size_t)count + 1, sizeof *list);
        list[count++] = inc;
    }
    if (d != NULL)
        closedir(d);
    *ret = list;
    return count;
}

void statedir_remove(const char *dir, const struct incarnation *inc)
{
    char path[PATH_MAX];
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, inc->hex, INCARNATION_BYTES) == 0 &&
            strcmp(e->d_name + INCARNATION_BYTES, ".lock") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0); /* gone already is as well */
    if (d != NULL)
        closedir(d);
    slots_path(path, sizeof path, dir, inc, ".lock");
    (void)unlink(path); /* likewise */
}
