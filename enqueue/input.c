#include "enqueue/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/document_build.h"
#include "common/json_span.h"

int input_open(const char *path, struct err *err)
{
    if (strcmp(path, "-") == 0)
        return STDIN_FILENO;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd != -1 ? fd : err_errno(err, ERR_SYSTEM, "%s", path);
}

/* All of a file, but no more than a document may hold. */
static int read_all(const char *path, size_t max_bytes, struct buf *out, struct err *err)
{
    int fd = input_open(path, err);
    if (fd < 0)
        return fd;
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            rc = err_errno(err, ERR_SYSTEM, "%s", path);
        if (n <= 0)
            break;
        buf_grown(out, (size_t)n);
        if (out->len > max_bytes) {
            rc = err_set(err, ERR_TOO_BIG, "more than %zu bytes", max_bytes);
            break;
        }
    }
    if (fd != STDIN_FILENO)
        (void)close(fd); /* only read from */
    return rc;
}

int input_json(const char *given, const char *what, const struct document_limits *limits,
               struct buf *storage, struct span *ret, struct err *err)
{
    int rc = 0;
    buf_clear(storage);
    if (strcmp(given, "-") == 0)
        rc = read_all("-", limits->max_bytes, storage, err);
    else if (given[0] == '@')
        rc = read_all(given + 1, limits->max_bytes, storage, err);
    else
        buf_add_str(storage, given);
    struct span value = json_trim(buf_span(storage));
    if (rc == 0)
        rc = json_validate(value, limits->max_depth, NULL, err);
    if (rc != 0) {
        err_prefix(err, "%s", what);
        return rc;
    }
    *ret = value;
    return 0;
}
