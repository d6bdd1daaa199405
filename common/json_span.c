#include "common/json_span.h"

#include <endian.h>
#include <string.h>

/* The scanner recurses, one small frame per level; LIMIT: deeper than this is TOO_DEEP whatever the
 * caller allows, so that text from outside cannot use the stack up. */
enum { DEPTH_MAX = 4096 };

typedef const unsigned char *bytes;

struct scanner {
    bytes start, end;
    int max_depth;
    /* the first thing that was wrong */
    bytes at;
    const char *what;
    int code;
};

static bytes fail(struct scanner *s, bytes at, const char *what)
{
    s->at = at;
    s->what = what;
    s->code = -ERR_SYNTAX;
    return NULL;
}

static int report(const struct scanner *s, struct err *err)
{
    if (s->code == -ERR_TOO_DEEP)
        return err_set(err, ERR_TOO_DEEP, "byte %zu: nested deeper than %d levels",
                       (size_t)(s->at - s->start), s->max_depth);
    return err_set(err, ERR_SYNTAX, "byte %zu: %s", (size_t)(s->at - s->start), s->what);
}

/* ---- UTF-8 ------------------------------------------------------------------------------- */

/* Length of the sequence at p < end, or 0. */
static inline size_t utf8_sequence(bytes p, bytes end)
{
    unsigned char c = p[0];
    size_t left = (size_t)(end - p);
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || left < 2 || (p[1] & 0xc0) != 0x80)
        return 0;
    if (c < 0xe0)
        return 2;
    if (left < 3 || (p[2] & 0xc0) != 0x80)
        return 0;
    if (c < 0xf0) {
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0))
            return 0;
        return 3;
    }
    if (c > 0xf4 || left < 4 || (p[3] & 0xc0) != 0x80 || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] >= 0x90))
        return 0;
    return 4;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t load8(bytes p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

bool utf8_valid(struct span text)
{
    bytes p = (bytes)text.ptr, end = p + text.len;
    while (p < end) {
        if (end - p >= 8 && (load8(p) & EACH(0x80)) == 0) {
            p += 8;
            continue;
        }
        size_t n = utf8_sequence(p, end);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

/* ---- strings ----------------------------------------------------------------------------- */

/* The high bit of each byte that ends a plain run: a quote, a backslash, a control byte, or one
 * above ASCII.  A borrow can mark bytes above a true one, never below: the lowest mark is exact. */
static inline uint64_t special_bytes(uint64_t v)
{
    uint64_t quote = v ^ EACH('"'), backslash = v ^ EACH('\\');
    return (v | (v - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1))) & EACH(0x80);
}

static inline bytes skip_plain(bytes p, bytes end)
{
    while (end - p >= 8) {
        uint64_t marks = special_bytes(load8(p));
        if (marks != 0)
            return p + (__builtin_ctzll(marks) >> 3);
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at p, or -1. */
static int32_t hex4(bytes p, bytes end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* p is at a backslash. */
static bytes scan_escape(struct scanner *s, bytes p)
{
    if (s->end - p < 2)
        return fail(s, p, "a string is not closed");
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        break;
    default:
        return fail(s, p, "no such escape");
    }
    int32_t unit = hex4(p + 2, s->end);
    if (unit < 0)
        return fail(s, p, "\\u needs four hexadecimal digits");
    if (unit < 0xd800 || unit > 0xdfff)
        return p + 6;
    if (unit > 0xdbff || s->end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return fail(s, p, "half of a surrogate pair");
    int32_t low = hex4(p + 8, s->end);
    if (low < 0xdc00 || low > 0xdfff)
        return fail(s, p, "half of a surrogate pair");
    return p + 12;
}

/* p is inside a string, at what is no plain byte or at the end of the text; returns what follows the
 * string. */
static bytes scan_string_from(struct scanner *s, bytes p)
{
    for (;; p = skip_plain(p, s->end)) {
        if (p == s->end)
            return fail(s, p, "a string is not closed");
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            p = scan_escape(s, p);
            if (p == NULL)
                return NULL;
        } else if (*p < 0x20) {
            return fail(s, p, "a control byte in a string");
        } else {
            do {
                size_t n = utf8_sequence(p, s->end);
                if (n == 0)
                    return fail(s, p, "bytes that are no UTF-8");
                p += n;
            } while (p < s->end && *p >= 0x80);
        }
    }
}

/* p is behind the opening quote; returns what follows the closing one. */
static inline bytes scan_string(struct scanner *s, bytes p)
{
    p = skip_plain(p, s->end);
    return p < s->end && *p == '"' ? p + 1 : scan_string_from(s, p);
}

/* ---- values ------------------------------------------------------------------------------ */

static inline bytes skip_blanks(bytes p, bytes end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static inline bytes skip_digits(bytes p, bytes end)
{
    while (p < end && (unsigned)(*p - '0') < 10)
        p++;
    return p;
}

static bytes scan_number(struct scanner *s, bytes p)
{
    static const char what[] = "a digit is missing in a number";
    if (*p == '-')
        p++;
    bytes from = p;
    p = skip_digits(p, s->end);
    if (p == from)
        return fail(s, p, what);
    if (*from == '0' && p - from > 1)
        return fail(s, from, "a number begins with 0");
    if (p < s->end && *p == '.') {
        from = ++p;
        p = skip_digits(p, s->end);
        if (p == from)
            return fail(s, p, what);
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        from = p;
        p = skip_digits(p, s->end);
        if (p == from)
            return fail(s, p, what);
    }
    return p;
}

static bytes scan_word(struct scanner *s, bytes p, const char *word, size_t len)
{
    if ((size_t)(s->end - p) < len || memcmp(p, word, len) != 0)
        return fail(s, p, "no JSON value");
    return p + len;
}

static bytes scan_object(struct scanner *s, bytes p, int depth);
static bytes scan_array(struct scanner *s, bytes p, int depth);

/* A value at p, behind blanks, inside `depth` containers; returns what follows it. */
static inline bytes scan_value(struct scanner *s, bytes p, int depth, enum json_kind *ret_kind)
{
    if (p == s->end)
        return fail(s, p, "a value is missing");
    switch (*p) {
    case '"':
        *ret_kind = JK_STRING;
        return scan_string(s, p + 1);
    case '{':
        *ret_kind = JK_OBJECT;
        return scan_object(s, p, depth + 1);
    case '[':
        *ret_kind = JK_ARRAY;
        return scan_array(s, p, depth + 1);
    case 't':
        *ret_kind = JK_TRUE;
        return scan_word(s, p, "true", 4);
    case 'f':
        *ret_kind = JK_FALSE;
        return scan_word(s, p, "false", 5);
    case 'n':
        *ret_kind = JK_NULL;
        return scan_word(s, p, "null", 4);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        *ret_kind = JK_NUMBER;
        return scan_number(s, p);
    default:
        return fail(s, p, "no JSON value");
    }
}

static bytes too_deep(struct scanner *s, bytes p)
{
    fail(s, p, "");
    s->code = -ERR_TOO_DEEP;
    return NULL;
}

/* `"key" : value` at p; returns what follows the value and the blanks behind it. */
static inline bytes scan_member(struct scanner *s, bytes p, int depth, struct json_member *ret)
{
    if (p == s->end || *p != '"')
        return fail(s, p, "the name of a member is missing");
    bytes key = p + 1;
    p = scan_string(s, key);
    if (p == NULL)
        return NULL;
    ret->offset = (size_t)(key - 1 - s->start);
    ret->key = (struct span){(const char *)key, (size_t)(p - 1 - key)};
    p = skip_blanks(p, s->end);
    if (p == s->end || *p != ':')
        return fail(s, p, "':' is missing behind the name of a member");
    p = skip_blanks(p + 1, s->end);
    bytes value = p;
    p = scan_value(s, p, depth, &ret->kind);
    if (p == NULL)
        return NULL;
    ret->value = (struct span){(const char *)value, (size_t)(p - value)};
    return skip_blanks(p, s->end);
}

static bytes scan_object(struct scanner *s, bytes p, int depth)
{
    if (depth > s->max_depth)
        return too_deep(s, p);
    p = skip_blanks(p + 1, s->end);
    if (p < s->end && *p == '}')
        return p + 1;
    for (;;) {
        struct json_member m;
        p = scan_member(s, p, depth, &m);
        if (p == NULL)
            return NULL;
        if (p == s->end || (*p != ',' && *p != '}'))
            return fail(s, p, "',' or '}' is missing");
        if (*p == '}')
            return p + 1;
        p = skip_blanks(p + 1, s->end);
    }
}

static bytes scan_array(struct scanner *s, bytes p, int depth)
{
    if (depth > s->max_depth)
        return too_deep(s, p);
    p = skip_blanks(p + 1, s->end);
    if (p < s->end && *p == ']')
        return p + 1;
    for (;;) {
        enum json_kind kind;
        p = scan_value(s, p, depth, &kind);
        if (p == NULL)
            return NULL;
        p = skip_blanks(p, s->end);
        if (p == s->end || (*p != ',' && *p != ']'))
            return fail(s, p, "',' or ']' is missing");
        if (*p == ']')
            return p + 1;
        p = skip_blanks(p + 1, s->end);
    }
}

/* ---- the outer value --------------------------------------------------------------------- */

static struct scanner scanner_of(struct span text, int max_depth)
{
    bytes start = (bytes)(text.ptr != NULL ? text.ptr : "");
    return (struct scanner){
        .start = start,
        .end = start + text.len,
        .max_depth = max_depth < DEPTH_MAX ? max_depth : DEPTH_MAX,
    };
}

/* Nothing but blanks may follow. */
static int scan_end(struct scanner *s, bytes p, struct err *err)
{
    p = skip_blanks(p, s->end);
    if (p == s->end)
        return 0;
    fail(s, p, "more follows the end");
    return report(s, err);
}

/* `text` is of another kind than wanted: says so if it is JSON at all. */
static int wrong_kind(struct span text, int max_depth, const char *wanted, struct err *err)
{
    enum json_kind kind;
    int rc = json_validate(text, max_depth, &kind, err);
    if (rc < 0)
        return rc;
    return err_set(err, ERR_TYPE, "%s is wanted, not %s", wanted, json_kind_name(kind));
}

/* The members of the object that begins at p, up to its closing brace, or with `open` to the end of
 * the text. */
static int scan_outer_members(struct scanner *s, bytes p, bool open, json_member_fn fn, void *arg,
                              struct err *err)
{
    if (s->max_depth < 1) {
        too_deep(s, p);
        return report(s, err);
    }
    p = skip_blanks(p + 1, s->end);
    if (open && p == s->end)
        return 0;
    if (!open && p < s->end && *p == '}')
        return scan_end(s, p + 1, err);
    for (;;) {
        struct json_member m;
        p = scan_member(s, p, 1, &m);
        if (p == NULL)
            return report(s, err);
        int rc = fn != NULL ? fn(arg, &m, err) : 0;
        if (rc < 0)
            return rc;
        if (open && p == s->end)
            return 0;
        if (!open && p < s->end && *p == '}')
            return scan_end(s, p + 1, err);
        if (p == s->end || *p != ',') {
            fail(s, p, "',' or '}' is missing");
            return report(s, err);
        }
        p = skip_blanks(p + 1, s->end);
    }
}

int json_object_scan(struct span text, int max_depth, json_member_fn fn, void *arg, struct err *err)
{
    struct scanner s = scanner_of(text, max_depth);
    bytes p = skip_blanks(s.start, s.end);
    if (p == s.end || *p != '{')
        return wrong_kind(text, max_depth, "an object", err);
    return scan_outer_members(&s, p, false, fn, arg, err);
}

int json_open_object_scan(struct span text, int max_depth, json_member_fn fn, void *arg,
                          struct err *err)
{
    struct scanner s = scanner_of(text, max_depth);
    if (s.start == s.end || *s.start != '{') {
        fail(&s, s.start, "'{' is missing");
        return report(&s, err);
    }
    return scan_outer_members(&s, s.start, true, fn, arg, err);
}

int json_array_scan(struct span text, int max_depth, json_item_fn fn, void *arg, struct err *err)
{
    struct scanner s = scanner_of(text, max_depth);
    bytes p = skip_blanks(s.start, s.end);
    if (p == s.end || *p != '[')
        return wrong_kind(text, max_depth, "an array", err);
    if (s.max_depth < 1) {
        too_deep(&s, p);
        return report(&s, err);
    }
    p = skip_blanks(p + 1, s.end);
    if (p < s.end && *p == ']')
        return scan_end(&s, p + 1, err);
    for (;;) {
        enum json_kind kind;
        bytes item = p;
        p = scan_value(&s, p, 1, &kind);
        if (p == NULL)
            return report(&s, err);
        struct span value = {(const char *)item, (size_t)(p - item)};
        int rc = fn != NULL ? fn(arg, value, kind, err) : 0;
        if (rc < 0)
            return rc;
        p = skip_blanks(p, s.end);
        if (p < s.end && *p == ']')
            return scan_end(&s, p + 1, err);
        if (p == s.end || *p != ',') {
            fail(&s, p, "',' or ']' is missing");
            return report(&s, err);
        }
        p = skip_blanks(p + 1, s.end);
    }
}

int json_validate(struct span text, int max_depth, enum json_kind *ret_kind, struct err *err)
{
    struct scanner s = scanner_of(text, max_depth);
    enum json_kind kind;
    bytes p = scan_value(&s, skip_blanks(s.start, s.end), 0, &kind);
    if (p == NULL)
        return report(&s, err);
    int rc = scan_end(&s, p, err);
    if (rc == 0 && ret_kind != NULL)
        *ret_kind = kind;
    return rc;
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        [JK_OBJECT] = "an object", [JK_ARRAY] = "an array", [JK_STRING] = "a string",
        [JK_NUMBER] = "a number",  [JK_TRUE] = "true",      [JK_FALSE] = "false",
        [JK_NULL] = "null",
    };
    return (size_t)kind < ARRAY_COUNT(names) ? names[kind] : "?";
}
