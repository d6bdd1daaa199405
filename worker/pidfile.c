/* Written beside and renamed over: rename() is what makes it atomic. */
#include "worker/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/small_file.h"

int pidfile_write(const char *path, pid_t pid, struct err *err)
{
    char text[32];
    int rc = 0, len = snprintf(text, sizeof text, "%d\n", (int)pid);
    char *beside = xasprintf("%s.%d.new", path, (int)pid);
    (void)unlink(beside); /* of a namesake that was killed in between */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd == -1)
        rc = err_errno(err, ERR_SYSTEM, "cannot create %s", beside);
    if (rc == 0 && write(fd, text, (size_t)len) != len)
        rc = err_errno(err, ERR_SYSTEM, "cannot write %s", beside);
    if (rc == 0 && fchmod(fd, 0644) == -1) /* whatever the umask */
        rc = err_errno(err, ERR_SYSTEM, "cannot set the mode of %s", beside);
    if (fd != -1)
        close(fd);
    if (rc == 0 && rename(beside, path) == -1)
        rc = err_errno(err, ERR_SYSTEM, "cannot rename %s to %s", beside, path);
    if (rc != 0 && fd != -1)
        (void)unlink(beside);
    free(beside);
    return rc;
}

void pidfile_remove(const char *path, pid_t pid)
{
    char text[32], *end;
    if (small_file_read(path, text, sizeof text) <= 0)
        return;
    long found = strtol(text, &end, 10);
    if (found == (long)pid && (*end == '\n' || *end == '\0'))
        (void)unlink(path); /* gone already: as wanted */
}
