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

enum lines_result lines_next(struct lines *l, struct span *ret_line)
{
    const char *from = l->pending.data + l->start;
    size_t len = l->pending.len - l->start;
    const char *newline =
        l->searched < len ? memchr(from + l->searched, '\n', len - l->searched) : NULL;
    if (newline == NULL && !l->at_end) {
        l->searched = len;
        if (len > l->max_bytes + 1) { /* one for a '\r' */
            l->skipping = true;
            l->start += len;
            l->searched = 0;
        }
        return LINES_MORE;
    }
    if (newline == NULL && len == 0 && !l->skipping)
        return LINES_END;
    size_t line = newline != NULL ? (size_t)(newline - from) : len;
    size_t text = newline != NULL && line > 0 && from[line - 1] == '\r' ? line - 1 : line;
    bool too_long = l->skipping || text > l->max_bytes;
    l->start += line + (newline != NULL ? 1 : 0);
    l->searched = 0;
    l->skipping = false;
    l->number++;
    if (too_long)
        return LINES_TOO_LONG;
    *ret_line = (struct span){from, text};
    return LINES_LINE;
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
