/* option_value.c - one value of an option: from text, to text, freed, compared.
 *
 * YAML's guesses at types are not followed: numbers are decimal, without leading zeros, signs or
 * exponents, and only true and false are booleans, so that no value means what nobody meant. */
#include "common/options.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/when.h"
#include "common/yaml_tree.h"

enum { NAME_BYTES_MAX = 200, KEY_BYTES_MAX = 512, TEXT_BYTES_MAX = 64 * 1024 };

static const struct {
    const char *name;
    int64_t bytes;
} byte_units[] = {
    /* for printing, the largest first */
    {"TiB", INT64_C(1) << 40},
    {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20},
    {"KiB", INT64_C(1) << 10},
    {"B", 1},
    {"TB", INT64_C(1000000000000)},
    {"GB", INT64_C(1000000000)},
    {"MB", INT64_C(1000000)},
    {"KB", INT64_C(1000)},
    {"kB", INT64_C(1000)},
};
enum { BINARY_UNITS = 4 };

static void *field(const struct option *o, void *base)
{
    return (char *)base + o->offset;
}

static const void *const_field(const struct option *o, const void *base)
{
    return (const char *)base + o->offset;
}

static int64_t get_number(const struct option *o, const void *base)
{
    const void *at = const_field(o, base);
    switch (o->type) {
    case OPTION_BOOL:
        return *(const bool *)at;
    case OPTION_INT:
        return *(const int *)at;
    case OPTION_ENUM:
        return *(const unsigned *)at;
    case OPTION_COUNT:
    case OPTION_DURATION:
    case OPTION_BYTES:
        return *(const int64_t *)at;
    case OPTION_FRACTION:
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_LIST:
    case OPTION_MAP:
    case OPTION_QUEUES:
    case OPTION_HANDLERS:
        break;
    }
    BUG("%s is no number", o->name);
}

static void set_number(const struct option *o, void *base, int64_t value)
{
    void *at = field(o, base);
    switch (o->type) {
    case OPTION_BOOL:
        *(bool *)at = value != 0;
        return;
    case OPTION_INT:
        *(int *)at = (int)value;
        return;
    case OPTION_ENUM:
        *(unsigned *)at = (unsigned)value;
        return;
    case OPTION_COUNT:
    case OPTION_DURATION:
    case OPTION_BYTES:
        *(int64_t *)at = value;
        return;
    case OPTION_FRACTION:
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_LIST:
    case OPTION_MAP:
    case OPTION_QUEUES:
    case OPTION_HANDLERS:
        break;
    }
    BUG("%s is no number", o->name);
}

/* The digits at the front of `text`: their number and where they end.  False when there are none,
 * a zero leads, or they are too many. */
static bool take_digits(const char *text, int64_t *ret_value, const char **ret_end)
{
    const char *p = text;
    int64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return false;
    if (p == text || (text[0] == '0' && p - text > 1))
        return false;
    *ret_value = value;
    *ret_end = p;
    return true;
}

/* A limit as the file would say it. */
static const char *show_limit(const struct option *o, int64_t value, char *out)
{
    enum { OUT_BYTES = 48 };
    snprintf(out, OUT_BYTES, "%" PRId64, value);
    if (o->type == OPTION_DURATION)
        return duration_format(value, out);
    for (size_t i = 0; o->type == OPTION_BYTES && value > 0 && i < BINARY_UNITS; i++)
        if (value % byte_units[i].bytes == 0) {
            snprintf(out, OUT_BYTES, "%" PRId64 "%s", value / byte_units[i].bytes,
                     byte_units[i].name);
            break;
        }
    return out;
}

static int in_range(const struct option *o, int64_t value, const char *text, struct err *err)
{
    if (value >= o->min && value <= o->max)
        return 0;
    char low[48], high[48], shown[YAML_TREE_SHOW_BYTES];
    return err_set(err, ERR_RANGE, "`%s` must be from %s to %s, not `%s`", option_label(o),
                   show_limit(o, o->min, low), show_limit(o, o->max, high),
                   yaml_tree_show(text, shown));
}

static int set_bool(const struct option *o, const char *text, bool plain, void *base,
                    struct err *err)
{
    char shown[YAML_TREE_SHOW_BYTES];
    bool yes = strcmp(text, "true") == 0;
    if (!plain || (!yes && strcmp(text, "false") != 0))
        return err_set(err, ERR_TYPE, "`%s` must be true or false%s, not `%s`", option_label(o),
                       plain ? "" : " without quotes", yaml_tree_show(text, shown));
    set_number(o, base, yes);
    return 0;
}

static int set_whole(const struct option *o, const char *text, bool plain, void *base,
                     struct err *err)
{
    char low[48], high[48], shown[YAML_TREE_SHOW_BYTES];
    int64_t value;
    const char *end = "x";
    bool minus = text[0] == '-';
    if (!plain || !take_digits(text + minus, &value, &end) || *end != '\0')
        return err_set(err, ERR_TYPE,
                       "`%s` must be a whole number from %s to %s, in decimal digits%s, not `%s`",
                       option_label(o), show_limit(o, o->min, low), show_limit(o, o->max, high),
                       plain ? "" : " without quotes", yaml_tree_show(text, shown));
    if (minus)
        value = -value;
    int rc = in_range(o, value, text, err);
    if (rc == 0)
        set_number(o, base, value);
    return rc;
}

static int set_duration(const struct option *o, const char *text, void *base, struct err *err)
{
    char shown[YAML_TREE_SHOW_BYTES];
    struct err why = {0};
    int64_t ms = 0;
    bool octal = text[0] == '0' && text[1] >= '0' && text[1] <= '9';
    int rc = octal ? -ERR_SYNTAX : duration_parse(SPAN_OF_STR(text), &ms, &why);
    if (rc == -ERR_RANGE)
        return err_set(err, ERR_RANGE, "`%s`: %s", option_label(o), why.text);
    if (rc < 0)
        return err_set(err, ERR_TYPE,
                       "`%s` must be a duration such as 30s, 5m, 1h30m or a number of seconds, "
                       "not `%s`",
                       option_label(o), yaml_tree_show(text, shown));
    rc = in_range(o, ms, text, err);
    if (rc == 0)
        set_number(o, base, ms);
    return rc;
}

static int set_bytes(const struct option *o, const char *text, void *base, struct err *err)
{
    char shown[YAML_TREE_SHOW_BYTES];
    int64_t value, factor = 0;
    const char *unit = "?";
    if (take_digits(text, &value, &unit)) {
        for (size_t i = 0; i < ARRAY_COUNT(byte_units); i++)
            if (strcmp(unit, byte_units[i].name) == 0)
                factor = byte_units[i].bytes;
        if (*unit == '\0')
            factor = 1;
    }
    if (factor == 0)
        return err_set(err, ERR_TYPE, "`%s` must be a size such as 64MiB, 64MB or 65536, not `%s`",
                       option_label(o), yaml_tree_show(text, shown));
    if (__builtin_mul_overflow(value, factor, &value))
        value = INT64_MAX;
    int rc = in_range(o, value, text, err);
    if (rc == 0)
        set_number(o, base, value);
    return rc;
}

/* Six decimals at most: then what is printed reads back as the same double. */
static int set_fraction(const struct option *o, const char *text, bool plain, void *base,
                        struct err *err)
{
    char shown[YAML_TREE_SHOW_BYTES];
    int64_t whole = 0, millionths = 0, scale = 1000000;
    const char *p = "x";
    bool ok = plain && take_digits(text, &whole, &p) && whole <= o->max;
    if (ok && *p == '.') {
        const char *digits = ++p;
        for (; *p >= '0' && *p <= '9' && scale > 1; p++)
            millionths += (*p - '0') * (scale /= 10);
        ok = p > digits;
    }
    if (!ok || *p != '\0' || whole * 1000000 + millionths > o->max * 1000000)
        return err_set(err, ERR_TYPE,
                       "`%s` must be a number from %" PRId64 " to %" PRId64
                       " with at most six decimals, not `%s`",
                       option_label(o), o->min, o->max, yaml_tree_show(text, shown));
    *(double *)field(o, base) = (double)(whole * 1000000 + millionths) / 1e6;
    return 0;
}

static int set_enum(const struct option *o, const char *text, void *base, struct err *err)
{
    struct buf all = BUF_INIT;
    for (int i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(text, o->choices[i]) == 0) {
            set_number(o, base, i);
            buf_done(&all);
            return 0;
        }
        buf_printf(&all, "%s%s", i > 0 ? (o->choices[i + 1] != NULL ? ", " : " or ") : "",
                   o->choices[i]);
    }
    char shown[YAML_TREE_SHOW_BYTES];
    const char *nearest = option_nearest_choice(o, text);
    int rc = err_set(err, ERR_UNKNOWN, "`%s` must be %s, not `%s`%s%s%s", option_label(o), all.data,
                     yaml_tree_show(text, shown), nearest != NULL ? "; did you mean `" : "",
                     nearest != NULL ? nearest : "", nearest != NULL ? "`?" : "");
    buf_done(&all);
    return rc;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._:/-", c) != NULL);
}

static int check_name(const struct option *o, const char *text, struct err *err)
{
    size_t len = strlen(text), i = 0;
    while (i < len && is_name_char(text[i]))
        i++;
    if (i == len && len > 0 && len <= NAME_BYTES_MAX)
        return 0;
    char shown[YAML_TREE_SHOW_BYTES];
    return err_set(err, ERR_INVALID, "`%s` must be 1 to %d of A-Z a-z 0-9 . _ : / -, not `%s`",
                   option_label(o), NAME_BYTES_MAX, yaml_tree_show(text, shown));
}

static int check_key(const struct option *o, const char *text, struct err *err)
{
    char shown[YAML_TREE_SHOW_BYTES];
    if (strlen(text) > KEY_BYTES_MAX)
        return err_set(err, ERR_TOO_BIG, "`%s` is longer than %d bytes", option_label(o),
                       KEY_BYTES_MAX);
    if (strpbrk(text, "{}") != NULL)
        return err_set(err, ERR_INVALID,
                       "`%s` must not hold `{` or `}`, which mean something in Redis keys: `%s`",
                       option_label(o), yaml_tree_show(text, shown));
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(err, ERR_INVALID, "`%s` must not hold control characters: `%s`",
                           option_label(o), yaml_tree_show(text, shown));
    return 0;
}

static int set_text(const struct option *o, const char *text, void *base, struct err *err)
{
    if (text[0] == '\0' && (o->flags & OPTION_EMPTY) == 0)
        return err_set(err, ERR_INVALID, "`%s` must not be empty", option_label(o));
    if (strlen(text) > TEXT_BYTES_MAX)
        return err_set(err, ERR_TOO_BIG, "`%s` is longer than %d bytes", option_label(o),
                       TEXT_BYTES_MAX);
    int rc = 0;
    if ((o->flags & OPTION_NAME) != 0)
        rc = check_name(o, text, err);
    else if ((o->flags & OPTION_KEY) != 0)
        rc = check_key(o, text, err);
    if (rc < 0)
        return rc;
    char **at = field(o, base);
    free(*at);
    *at = xstrdup(text);
    return 0;
}

int option_set(const struct option *o, const char *text, bool plain, void *base, struct err *err)
{
    switch (o->type) {
    case OPTION_BOOL:
        return set_bool(o, text, plain, base, err);
    case OPTION_INT:
    case OPTION_COUNT:
        return set_whole(o, text, plain, base, err);
    case OPTION_DURATION:
        return set_duration(o, text, base, err);
    case OPTION_BYTES:
        return set_bytes(o, text, base, err);
    case OPTION_FRACTION:
        return set_fraction(o, text, plain, base, err);
    case OPTION_ENUM:
        return set_enum(o, text, base, err);
    case OPTION_TEXT:
    case OPTION_PATH:
        return set_text(o, text, base, err);
    case OPTION_LIST:
    case OPTION_MAP:
    case OPTION_QUEUES:
    case OPTION_HANDLERS:
        break;
    }
    BUG("%s holds more than one value", o->name);
}

static bool is_compound(const struct option *o)
{
    return o->type >= OPTION_LIST;
}

void option_reset(const struct option *o, void *base)
{
    if (is_compound(o)) {
        *(void **)field(o, base) = NULL;
        *(int *)(void *)((char *)base + o->count_offset) = 0;
    } else if (o->type == OPTION_TEXT || o->type == OPTION_PATH) {
        *(char **)field(o, base) = o->fallback != NULL ? xstrdup(o->fallback) : NULL;
    } else if (o->fallback == NULL) {
        set_number(o, base, -1);
    } else {
        struct err err = {0};
        if (option_set(o, o->fallback, true, base, &err) < 0)
            BUG("default of %s: %s", o->name, err.text);
    }
}

void option_release(const struct option *o, void *base)
{
    if (o->type == OPTION_TEXT || o->type == OPTION_PATH) {
        char **at = field(o, base);
        free(*at);
        *at = NULL;
    } else if (o->type == OPTION_LIST || o->type == OPTION_MAP) {
        char ***at = field(o, base);
        for (char **item = *at; item != NULL && *item != NULL; item++)
            free(*item);
        free(*at);
        option_reset(o, base);
    }
}

static bool text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool option_equal(const struct option *o, const void *a, const void *b)
{
    if (o->type == OPTION_FRACTION)
        return fabs(*(const double *)const_field(o, a) - *(const double *)const_field(o, b)) < 1e-9;
    if (o->type == OPTION_TEXT || o->type == OPTION_PATH)
        return text_equal(*(char *const *)const_field(o, a), *(char *const *)const_field(o, b));
    if (!is_compound(o))
        return get_number(o, a) == get_number(o, b);
    if (o->type == OPTION_QUEUES || o->type == OPTION_HANDLERS)
        BUG("%s has rows of its own", o->name);
    char **x = *(char **const *)const_field(o, a), **y = *(char **const *)const_field(o, b);
    if (x == NULL || y == NULL)
        return x == y;
    for (; *x != NULL && *y != NULL; x++, y++)
        if (strcmp(*x, *y) != 0)
            return false;
    return *x == *y;
}

/* Texts YAML could take for something else get quotes; so does what looks odd without. */
static bool is_plain(const char *text)
{
    static const char inside[] = "._/-";
    if (!is_name_char(text[0]) || strchr(".:-", text[0]) != NULL || strcmp(text, "null") == 0)
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if (!(is_name_char(*p) && *p != ':') && strchr(inside, *p) == NULL)
            return false;
    return true;
}

enum { ESCAPE_BYTES = 12 };

/* Bytes at `p` of a character that YAML wants as an escape in double quotes, and which. */
static size_t take_escape(const unsigned char *p, char *ret_escape)
{
    if (*p == '\n' || *p == '\t') {
        snprintf(ret_escape, ESCAPE_BYTES, "\\%c", *p == '\n' ? 'n' : 't');
        return 1;
    }
    if (*p < 0x20 || *p == 0x7f) {
        snprintf(ret_escape, ESCAPE_BYTES, "\\x%02x", *p);
        return 1;
    }
    if (*p == '"' || *p == '\\') {
        snprintf(ret_escape, ESCAPE_BYTES, "\\%c", *p);
        return 1;
    }
    if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
        snprintf(ret_escape, ESCAPE_BYTES, "\\x%02x", p[1]);
        return 2;
    }
    if ((*p == 0xe2 || *p == 0xef) && p[1] != '\0') {
        unsigned point = (*p & 0xfU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
        if (point == 0x2028 || point == 0x2029 || point == 0xfeff || point >= 0xfffe) {
            snprintf(ret_escape, ESCAPE_BYTES, "\\u%04x", point);
            return 3;
        }
    }
    return 0;
}

void option_add_text(struct buf *out, const char *text)
{
    if (is_plain(text)) {
        buf_add_str(out, text);
        return;
    }
    buf_add_char(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        char escape[ESCAPE_BYTES];
        size_t taken = take_escape(p, escape);
        if (taken > 0) {
            buf_add_str(out, escape);
            p += taken;
        } else {
            buf_add_char(out, (char)*p++);
        }
    }
    buf_add_char(out, '"');
}

void option_show(const struct option *o, const void *base, struct buf *out)
{
    char number[48];
    if (o->type == OPTION_TEXT || o->type == OPTION_PATH) {
        const char *text = *(char *const *)const_field(o, base);
        if (text != NULL)
            option_add_text(out, text);
        return;
    }
    if (o->type == OPTION_FRACTION) {
        snprintf(number, sizeof number, "%.6f", *(const double *)const_field(o, base));
        size_t len = strlen(number);
        while (number[len - 1] == '0' && number[len - 2] != '.')
            len--;
        buf_add(out, number, len);
        return;
    }
    int64_t value = get_number(o, base);
    if (value < 0)
        return;
    if (o->type == OPTION_BOOL)
        buf_add_str(out, value != 0 ? "true" : "false");
    else if (o->type == OPTION_ENUM)
        buf_add_str(out, o->choices[value]);
    else
        buf_add_str(out, show_limit(o, value, number));
}
