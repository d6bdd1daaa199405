#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char buf_empty[1];

void buf_init(struct buf *b)
{
    *b = (struct buf)BUF_INIT;
}

void buf_done(struct buf *b)
{
    if (b->cap > 0)
        free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->cap > 0)
        b->data[0] = '\0';
}

void buf_trim(struct buf *b, size_t cap)
{
    if (b->cap <= cap || b->len >= cap)
        return;
    if (b->len == 0) {
        buf_done(b);
        return;
    }
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || __builtin_add_overflow(need, 1, &need))
        BUG("buffer size overflow");
    if (need > b->cap) {
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap < need)
            cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        b->data = b->cap > 0 ? xrealloc(b->data, cap) : xmalloc(cap);
        b->cap = cap;
        b->data[b->len] = '\0';
    }
    return b->data + b->len;
}

void buf_grown(struct buf *b, size_t extra)
{
    b->len += extra;
    if (b->cap > 0)
        b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(buf_reserve(b, len), bytes, len);
    buf_grown(b, len);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    buf_grown(b, 1);
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.ptr, s.len);
}

char *decimal_write(char *p, uint64_t v)
{
    int digits = 1;
    for (uint64_t rest = v; rest > 9; rest /= 10)
        digits++;
    for (int i = digits; i-- > 0; v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + digits;
}

void buf_add_int(struct buf *b, int64_t v)
{
    char *start = buf_reserve(b, 1 + DECIMAL_BYTES_MAX), *p = start;
    if (v < 0)
        *p++ = '-';
    p = decimal_write(p, v < 0 ? -(uint64_t)v : (uint64_t)v);
    buf_grown(b, (size_t)(p - start));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        BUG("bad format");
    vsnprintf(buf_reserve(b, (size_t)n), (size_t)n + 1, fmt, again);
    va_end(again);
    buf_grown(b, (size_t)n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n > b->len)
        BUG("consuming %zu of %zu bytes", n, b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

void buf_add_tail(struct buf *b, struct span bytes, size_t max)
{
    if (bytes.len > max) {
        bytes.ptr += bytes.len - max;
        bytes.len = max;
    }
    if (b->len + bytes.len > 2 * max)
        buf_consume(b, b->len - max);
    buf_add_span(b, bytes);
}

char *buf_detach(struct buf *b)
{
    char *p = b->cap > 0 ? b->data : xstrdup("");
    buf_init(b);
    return p;
}

struct span buf_span(const struct buf *b)
{
    return (struct span){b->data, b->len};
}

/* Length of the valid UTF-8 sequence at p (1..4), or 0. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    unsigned char c = p[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : (c & 0xf0) == 0xe0    ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] >= 0x90))
        return 0;
    return n;
}

void buf_add_json_string(struct buf *b, struct span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    buf_add_char(b, '"');
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_length(p + i, s.len - i);
        if (n == 0) {
            buf_add(b, "\xef\xbf\xbd", 3);
            i++;
            continue;
        }
        if (n > 1)
            buf_add(b, p + i, n);
        else if (p[i] == '"' || p[i] == '\\')
            buf_printf(b, "\\%c", p[i]);
        else if (p[i] == '\n')
            buf_add_str(b, "\\n");
        else if (p[i] == '\t')
            buf_add_str(b, "\\t");
        else if (p[i] < 0x20 || p[i] == 0x7f)
            buf_printf(b, "\\u%04x", p[i]);
        else
            buf_add_char(b, (char)p[i]);
        i += n;
    }
    buf_add_char(b, '"');
}

void buf_add_base64(struct buf *b, struct span s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s.ptr;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(left > 1 ? p[i + 1] : 0) << 8 |
                     (uint32_t)(left > 2 ? p[i + 2] : 0);
        buf_add_char(b, digits[v >> 18]);
        buf_add_char(b, digits[v >> 12 & 63]);
        buf_add_char(b, left > 1 ? digits[v >> 6 & 63] : '=');
        buf_add_char(b, left > 2 ? digits[v & 63] : '=');
    }
}
