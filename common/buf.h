/* buf.h - a growing byte buffer, the one way text and bytes are built.
 *
 * Invariant: data[len] is always a NUL that is not counted, so data is a C string when it holds
 * no NUL of its own.  `struct buf b = BUF_INIT;` owns nothing until something is appended.
 */
#ifndef BL_COMMON_BUF_H
#define BL_COMMON_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/mem.h"

struct buf {
    char *data; /* never NULL: points at a static empty string until the first append */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated, 0 = none */
};

extern char buf_empty[1];
#define BUF_INIT                                                                                   \
    {                                                                                              \
        .data = buf_empty, .len = 0, .cap = 0                                                      \
    }

void buf_init(struct buf *b);
void buf_done(struct buf *b); /* frees; the buffer is as after buf_init() */
void buf_clear(struct buf *b); /* len = 0, keeps the memory */
void buf_trim(struct buf *b, size_t cap); /* gives memory above `cap` back if len allows it */

/* Room for `extra` more bytes; returns where they go.  The caller then calls buf_grown(). */
char *buf_reserve(struct buf *b, size_t extra);
void buf_grown(struct buf *b, size_t extra);

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_add_span(struct buf *b, struct span s);
void buf_add_int(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

/* Writes `v` in decimal at p, DECIMAL_BYTES_MAX bytes at most and no NUL; returns what follows. */
enum { DECIMAL_BYTES_MAX = 20 };
char *decimal_write(char *p, uint64_t v);

/* Removes `n` <= len bytes from the front. */
void buf_consume(struct buf *b, size_t n);

/* Appends, keeping the last `max` bytes at least and twice as many at most, so that not each call moves
 * them all. */
void buf_add_tail(struct buf *b, struct span bytes, size_t max);

/* Hands the memory to the caller (owns, free); the buffer is empty afterwards. */
char *buf_detach(struct buf *b);

/* The content, borrowed until the buffer changes. */
struct span buf_span(const struct buf *b);

/* Appends `s` as a JSON string with its quotes.  Bytes that are no UTF-8 become U+FFFD. */
void buf_add_json_string(struct buf *b, struct span s);

/* Appends standard base64 with padding. */
void buf_add_base64(struct buf *b, struct span s);

#endif
