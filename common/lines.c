#include "common/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 128 * 1024 };

void lines_init(struct lines *l, int fd, size_t max_bytes)
{
    *l = (struct lines){.fd = fd, .max_bytes = max_bytes, .pending = BUF_INIT};
}

void lines_done(struct lines *l)
{
    buf_done(&l->pending);
}

bool lines_ready(const struct lines *l)
{
    size_t len = l->pending.len - l->start;
    return l->at_end || len > l->max_bytes + 1 ||
           (len > 0 && memchr(l->pending.data + l->start, '\n', len) != NULL);
}

int lines_fill(struct lines *l, struct err *err)
{
    if (l->start > 0) {
        buf_consume(&l->pending, l->start);
        l->start = 0;
    }
    char *room = buf_reserve(&l->pending, READ_BYTES);
    ssize_t n = read(l->fd, room, READ_BYTES);
    if (n == -1 && errno == EINTR)
        return err_set(err, ERR_CLOSED, "interrupted");
    if (n == -1)
        return err_errno(err, ERR_SYSTEM, "read");
    if (n == 0)
        l->at_end = true;
    buf_grown(&l->pending, (size_t)n);
    return 0;
}

/* `searched` bytes of the line are known to hold no newline, and are too many or at the end of the
 * input.  Drops up to and with the newline. */
static int skip_long(struct lines *l, struct err *err)
{
    for (;;) {
        char *from = l->pending.data + l->start;
        size_t len = l->pending.len - l->start;
        char *newline = len > 0 ? memchr(from, '\n', len) : NULL;
        if (newline != NULL) {
            l->start += (size_t)(newline - from) + 1;
            return LINES_TOO_LONG;
        }
        /* One byte too many stays behind, so that an interrupted skip goes on as one. */
        size_t keep = l->max_bytes + 2 < len ? l->max_bytes + 2 : len;
        l->start = l->pending.len - keep;
        if (l->at_end) {
            l->start = l->pending.len;
            return LINES_TOO_LONG;
        }
        int rc = lines_fill(l, err);
        if (rc != 0)
            return rc;
    }
}

int lines_next(struct lines *l, struct span *ret_line, struct err *err)
{
    size_t searched = 0;
    for (;;) {
        const char *from = l->pending.data + l->start;
        size_t len = l->pending.len - l->start;
        const char *newline = searched < len ? memchr(from + searched, '\n', len - searched) : NULL;
        size_t line = newline != NULL ? (size_t)(newline - from) : len;
        if (newline == NULL && !l->at_end && len <= l->max_bytes + 1) {
            searched = len;
            int rc = lines_fill(l, err);
            if (rc != 0)
                return rc;
            continue;
        }
        if (newline == NULL && l->at_end && len == 0)
            return LINES_END;
        size_t text = line > 0 && from[line - 1] == '\r' && newline != NULL ? line - 1 : line;
        if (text > l->max_bytes) {
            int rc = skip_long(l, err);
            if (rc == LINES_TOO_LONG)
                l->number++;
            return rc;
        }
        l->start += line + (newline != NULL ? 1 : 0);
        l->number++;
        *ret_line = (struct span){from, text};
        return LINES_LINE;
    }
}
