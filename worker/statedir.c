#include "worker/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/slots.h"

/* statfs(2) types of file systems on which flock or mmap are not what they seem. */
static const long network_types[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */,
                                     0x517b /* SMB */, 0x01021997 /* 9p */};

static char *default_dir(struct err *err)
{
    if (geteuid() == 0)
        return xstrdup("/var/lib/bucketline");
    const char *state = getenv("XDG_STATE_HOME");
    if (state != NULL && state[0] == '/')
        return xasprintf("%s/bucketline", state);
    const char *home = getenv("HOME");
    if (home != NULL && home[0] == '/')
        return xasprintf("%s/.local/state/bucketline", home);
    (void)err_set(err, ERR_MISSING, "no place for the state: set state_dir in worker.yaml, or HOME");
    return NULL;
}

static int make_path(const char *dir, struct err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(dir);
    if (len >= sizeof part)
        return err_set(err, ERR_TOO_BIG, "state_dir is longer than %zu bytes", sizeof part - 1);
    for (size_t i = 1; i <= len; i++) {
        if (dir[i] != '/' && dir[i] != '\0')
            continue;
        memcpy(part, dir, i);
        part[i] = '\0';
        if (mkdir(part, 0700) == -1 && errno != EEXIST)
            return err_errno(err, ERR_SYSTEM, "cannot make state_dir %s", part);
    }
    return 0;
}

static int check_dir(const char *dir, struct err *err)
{
    struct stat st;
    struct statfs fs;
    if (stat(dir, &st) == -1 || statfs(dir, &fs) == -1)
        return err_errno(err, ERR_SYSTEM, "state_dir %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "state_dir %s is no directory", dir);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_PERMISSION, "state_dir %s belongs to uid %u, not to us (uid %u)", dir,
                       (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_PERMISSION, "state_dir %s is writable by others: chmod go-w it", dir);
    for (size_t i = 0; i < ARRAY_COUNT(network_types); i++)
        if ((long)fs.f_type == network_types[i])
            return err_set(err, ERR_UNSUPPORTED,
                           "state_dir %s is on a network file system, where locks prove nothing; "
                           "take a local directory, or state_dir: \"\" for none", dir);
    return 0;
}

int statedir_prepare(const char *option, char **ret_dir, struct err *err)
{
    if (option != NULL && option[0] == '\0') {
        *ret_dir = NULL;
        return 0;
    }
    char *dir = option != NULL ? xstrdup(option) : default_dir(err);
    int rc = dir != NULL ? make_path(dir, err) : -ERR_MISSING;
    if (rc == 0)
        rc = check_dir(dir, err);
    if (rc < 0) {
        free(dir);
        return rc;
    }
    *ret_dir = dir;
    return 0;
}

int statedir_lock(const char *dir, const struct incarnation *inc, struct err *err)
{
    char path[PATH_MAX];
    slots_path(path, sizeof path, dir, inc, ".lock");
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot make %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
        err_errno(err, ERR_SYSTEM, "cannot lock %s", path);
        close(fd);
        return -ERR_SYSTEM;
    }
    return fd;
}

int statedir_lock_try(const char *dir, const struct incarnation *inc)
{
    char path[PATH_MAX];
    struct stat here, there;
    slots_path(path, sizeof path, dir, inc, ".lock");
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1)
        return -1;
    /* Locked but removed meanwhile: another has taken over and is done. */
    if (flock(fd, LOCK_EX | LOCK_NB) == -1 || fstat(fd, &here) == -1 || stat(path, &there) == -1 ||
        here.st_ino != there.st_ino || here.st_dev != there.st_dev) {
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
    (void)unlink(path);
}
