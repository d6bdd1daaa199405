/* The header's line is read by writing it again and comparing: a file that differs in one byte was
 * not written by this code. */
#include "common/slots_out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 200 };

/* False when the directory's name is too long. */
static bool make_path(char *out, const char *dir, const char *incarnation, int runner, int slot,
                      const char *suffix)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s.%d.%d.out%s", dir, incarnation, runner, slot, suffix);
    return n > 0 && n < PATH_BYTES;
}

static int make_line(char *line, const size_t sizes[3], uint64_t seq, bool cut)
{
    return snprintf(line, LINE_BYTES,
                    "{\"result_bytes\":%zu,\"message_bytes\":%zu,\"stderr_bytes\":%zu,"
                    "\"seq\":%" PRIu64 ",\"cut\":%d}\n",
                    sizes[0], sizes[1], sizes[2], seq, cut ? 1 : 0);
}

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

int slots_out_write(const char *dir, const char *incarnation, int runner, int slot, uint64_t seq,
                    const struct slots_out *out, struct err *err)
{
    char path[PATH_BYTES], temporary[PATH_BYTES];
    if (!make_path(path, dir, incarnation, runner, slot, "") ||
        !make_path(temporary, dir, incarnation, runner, slot, ".new"))
        return err_set(err, ERR_TOO_BIG, "the name of the directory %s is too long", dir);
    const size_t sizes[3] = {out->result.len, out->message.len, out->stderr_tail.len};
    for (int i = 0; i < 3; i++)
        if (sizes[i] > SLOTS_OUT_MAX_BYTES)
            return err_set(err, ERR_TOO_BIG, "%zu bytes for %s", sizes[i], path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot create %s", temporary);
    char line[LINE_BYTES];
    int n = make_line(line, sizes, seq, out->result_cut);
    bool ok = write_all(fd, line, (size_t)n) && write_all(fd, out->result.ptr, sizes[0]) &&
              write_all(fd, out->message.ptr, sizes[1]) &&
              write_all(fd, out->stderr_tail.ptr, sizes[2]);
    int rc = ok ? 0 : err_errno(err, ERR_SYSTEM, "cannot write %s", temporary);
    close(fd);
    if (rc == 0 && rename(temporary, path) == -1)
        rc = err_errno(err, ERR_SYSTEM, "cannot rename %s", temporary);
    if (rc < 0)
        unlink(temporary);
    return rc;
}

/* Appends the whole file to `storage`, up to what a file of ours can hold. */
static int read_file(const char *path, struct buf *storage, struct err *err)
{
    /* O_NONBLOCK: should somebody have put a FIFO there, it must not hold the loop. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd == -1 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no %s", path);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot open %s", path);
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) == -1)
        rc = err_errno(err, ERR_SYSTEM, "cannot stat %s", path);
    else if (!S_ISREG(st.st_mode) || st.st_size > 3 * SLOTS_OUT_MAX_BYTES + LINE_BYTES)
        rc = err_set(err, ERR_PROTOCOL, "%s is damaged: %lld bytes", path, (long long)st.st_size);
    size_t left = rc == 0 ? (size_t)st.st_size : 0;
    while (left > 0) {
        ssize_t n = read(fd, buf_reserve(storage, left), left);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            rc = err_errno(err, ERR_SYSTEM, "cannot read %s", path);
        if (n < 1)
            break;
        buf_grown(storage, (size_t)n);
        left -= (size_t)n;
    }
    close(fd);
    return rc;
}

/* The line's numbers, if the file is exactly what slots_out_write() would have written. */
static bool parse(const struct buf *file, uint64_t seq, struct slots_out *ret)
{
    size_t sizes[3];
    uint64_t said_seq;
    int cut;
    if (sscanf(file->data,
               "{\"result_bytes\":%zu,\"message_bytes\":%zu,\"stderr_bytes\":%zu,"
               "\"seq\":%" SCNu64 ",\"cut\":%d}",
               &sizes[0], &sizes[1], &sizes[2], &said_seq, &cut) != 5)
        return false;
    char line[LINE_BYTES];
    size_t at = (size_t)make_line(line, sizes, seq, cut == 1);
    if (file->len < at || memcmp(file->data, line, at) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (sizes[i] > SLOTS_OUT_MAX_BYTES)
            return false;
    if (file->len != at + sizes[0] + sizes[1] + sizes[2])
        return false;
    const char *p = file->data + at;
    *ret = (struct slots_out){
        .result = {p, sizes[0]},
        .message = {p + sizes[0], sizes[1]},
        .stderr_tail = {p + sizes[0] + sizes[1], sizes[2]},
        .result_cut = cut == 1,
    };
    return true;
}

int slots_out_read(const char *dir, const char *incarnation, int runner, int slot, uint64_t seq,
                   struct buf *storage, struct slots_out *ret, struct err *err)
{
    char path[PATH_BYTES];
    if (!make_path(path, dir, incarnation, runner, slot, ""))
        return err_set(err, ERR_NOT_FOUND, "the name of the directory %s is too long", dir);
    buf_clear(storage);
    int rc = read_file(path, storage, err);
    if (rc == 0 && !parse(storage, seq, ret))
        rc = err_set(err, ERR_PROTOCOL, "%s is damaged, or of another job", path);
    return rc;
}

void slots_out_remove(const char *dir, const char *incarnation, int runner, int slot)
{
    char path[PATH_BYTES];
    if (make_path(path, dir, incarnation, runner, slot, ""))
        (void)unlink(path); /* not there: that is what was wanted */
}
