/* lines.h - lines of a file or pipe of any length in bounded memory: what is longer than the limit
 * is skipped, not held, and reported as such.  For enqueue --bulk.
 */
#ifndef BL_COMMON_LINES_H
#define BL_COMMON_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

struct lines {
    int fd; /* borrowed */
    size_t max_bytes; /* of one line without its end */
    int64_t number; /* of the line last returned, from 1 */
    struct buf pending; /* read, from `start` on not yet returned */
    size_t start;
    size_t searched; /* bytes from there on that hold no newline */
    bool skipping; /* inside a line that is too long: what was read of it is dropped */
    bool at_end;
};

enum lines_result {
    LINES_END = 0,
    LINES_LINE,
    LINES_TOO_LONG, /* the line was longer than max_bytes; its text is dropped */
    LINES_MORE, /* the end of the line is not read yet: lines_fill(), and ask again */
};

void lines_init(struct lines *l, int fd, size_t max_bytes);
void lines_done(struct lines *l);

/* The next line without "\n" or "\r\n", borrowed until lines_fill().  Reads nothing: a caller that has
 * something to do before it waits for input does it between the two. */
enum lines_result lines_next(struct lines *l, struct span *ret_line);

/* Reads once, which blocks if nothing is there.  0, -ERR_SYSTEM if reading fails, -ERR_CLOSED if a
 * signal interrupted it (call again to go on). */
MUST_CHECK int lines_fill(struct lines *l, struct err *err);

#endif
