#include "common/json_value.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef const unsigned char *bytes;

static uint32_t hex4(bytes p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (p[i] <= '9' ? p[i] - 0x30u : (p[i] | 0x20u) - 0x61u + 10);
    return v;
}

/* Decodes the escape at p (at its backslash) to UTF-8; returns what follows it. */
static bytes decode_escape(bytes p, char out[4], size_t *ret_len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p[1] != 'u') {
        out[0] = to[strchr(from, p[1]) - from];
        *ret_len = 1;
        return p + 2;
    }
    uint32_t c = hex4(p + 2);
    p += 6;
    if (c >= 0xd800 && c <= 0xdbff) {
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
        p += 6;
    }
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    *ret_len = n;
    return p;
}

bool json_key_is(struct span key, const char *name)
{
    size_t name_len = strlen(name);
    if (memchr(key.ptr, '\\', key.len) == NULL)
        return key.len == name_len && memcmp(key.ptr, name, name_len) == 0;
    bytes p = (bytes)key.ptr, end = p + key.len;
    size_t used = 0;
    while (p < end) {
        char c[4] = {(char)*p};
        size_t n = 1;
        p = *p == '\\' ? decode_escape(p, c, &n) : p + 1;
        if (n > name_len - used || memcmp(c, name + used, n) != 0)
            return false;
        used += n;
    }
    return used == name_len;
}

void json_string_decode(struct span value, struct buf *out)
{
    bytes p = (bytes)value.ptr + 1, end = (bytes)value.ptr + value.len - 1;
    while (p < end) {
        bytes escape = memchr(p, '\\', (size_t)(end - p));
        if (escape == NULL)
            escape = end;
        buf_add(out, p, (size_t)(escape - p));
        p = escape;
        if (p < end) {
            char c[4];
            size_t n;
            p = decode_escape(p, c, &n);
            buf_add(out, c, n);
        }
    }
}

int json_string_copy(struct span value, char *out, size_t size)
{
    bytes p = (bytes)value.ptr + 1, end = (bytes)value.ptr + value.len - 1;
    size_t used = 0;
    if (size == 0)
        return -1;
    while (p < end) {
        bytes escape = memchr(p, '\\', (size_t)(end - p));
        size_t n = (size_t)((escape != NULL ? escape : end) - p);
        if (n >= size - used)
            return -1;
        memcpy(out + used, p, n);
        used += n;
        p += n;
        if (escape == NULL)
            break;
        char c[4];
        p = decode_escape(p, c, &n);
        if (c[0] == '\0' || n >= size - used)
            return -1;
        memcpy(out + used, c, n);
        used += n;
    }
    out[used] = '\0';
    return used <= INT_MAX ? (int)used : -1;
}

bool json_number_int64(struct span value, int64_t *ret)
{
    bool negative = value.ptr[0] == '-';
    int64_t v = 0;
    for (size_t i = negative; i < value.len; i++) {
        int digit = value.ptr[i] - '0';
        if (digit < 0 || digit > 9)
            return false;
        if (__builtin_mul_overflow(v, INT64_C(10), &v) ||
            __builtin_add_overflow(v, (int64_t)(negative ? -digit : digit), &v))
            return false;
    }
    *ret = v;
    return true;
}

/* Appends the digits at p to those of `digits`. */
static inline bytes take_digits(bytes p, bytes end, int64_t *digits)
{
    for (; p < end && (unsigned)(*p - '0') < 10; p++)
        *digits = *digits * 10 + (*p - '0');
    return p;
}

/* Digits and perhaps a point, 15 digits at most: these and the power of ten are exact as doubles, so
 * that one division rounds as strtod() does (W. D. Clinger, How to read floating point numbers
 * accurately, 1990). */
static bool short_decimal(struct span value, double *ret)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bytes p = (bytes)value.ptr, end = p + value.len;
    bool negative = *p == '-';
    p += negative;
    size_t len = (size_t)(end - p);
    if (len > 16)
        return false;
    int64_t digits = 0;
    p = take_digits(p, end, &digits);
    double v = (double)digits;
    if (p < end && *p == '.') {
        bytes point = p;
        p = take_digits(p + 1, end, &digits);
        v = (double)digits / powers[end - point - 1];
        len--;
    }
    if (p < end || len > 15)
        return false;
    *ret = negative ? -v : v;
    return true;
}

bool json_number_double(struct span value, double *ret)
{
    if (short_decimal(value, ret))
        return true;
    char small[64];
    char *copy = value.len < sizeof small ? small : xmalloc(value.len + 1);
    memcpy(copy, value.ptr, value.len);
    copy[value.len] = '\0';
    double v = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    if (isinf(v))
        return false;
    *ret = v;
    return true;
}
