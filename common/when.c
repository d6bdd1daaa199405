#include "common/when.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* From here on a number is ms: as seconds it would be the year 5138, as ms it is 1973. */
static const double first_ms_number = 1e11;

static int bad_text(struct err *err, const char *what, struct span text, const char *why)
{
    struct buf shown = BUF_INIT;
    struct span head = {text.ptr, text.len < 64 ? text.len : 64};
    buf_add_json_string(&shown, head);
    int rc = err_set(err, ERR_SYNTAX, "%s is no %s: %s", shown.data, what, why);
    buf_done(&shown);
    return rc;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A position in text; `p` stops at the first byte that was not taken. */
struct cursor {
    const char *p, *end;
};

/* digits [ '.' digits ].  The whole part saturates; of the fraction nine digits count. */
struct decimal {
    int64_t whole;
    int64_t nanos;
};

static bool take_decimal(struct cursor *c, struct decimal *ret)
{
    struct decimal d = {0};
    if (c->p == c->end || !is_digit(*c->p))
        return false;
    for (; c->p < c->end && is_digit(*c->p); c->p++)
        if (d.whole <= WHEN_MAX_DURATION_MS)
            d.whole = d.whole * 10 + (*c->p - '0');
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (c->p == c->end || !is_digit(*c->p))
            return false;
        int64_t scale = 100000000;
        for (; c->p < c->end && is_digit(*c->p); c->p++) {
            d.nanos += (*c->p - '0') * scale;
            scale /= 10;
        }
    }
    *ret = d;
    return true;
}

/* Units in the order in which they may follow each other. */
static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", DAY_MS}, {"h", HOUR_MS}, {"m", MINUTE_MS}, {"s", SECOND_MS}, {"ms", 1}};

static int take_unit(struct cursor *c, size_t first)
{
    const char *start = c->p;
    while (c->p < c->end && !is_digit(*c->p) && *c->p != '.')
        c->p++;
    size_t len = (size_t)(c->p - start);
    for (size_t i = first; i < ARRAY_COUNT(units); i++)
        if (strlen(units[i].name) == len && memcmp(units[i].name, start, len) == 0)
            return (int)i;
    return -1;
}

int duration_parse(struct span text, int64_t *ret_ms, struct err *err)
{
    static const char why[] = "write it like 90s, 5m, 1h30m, 250ms or as seconds";
    struct cursor c = {text.ptr, text.ptr + text.len};
    int64_t total_ms = 0;
    size_t next_unit = 0;
    bool bare = false;
    if (text.len == 0)
        return bad_text(err, "duration", text, why);
    while (c.p < c.end) {
        struct decimal d;
        if (bare || !take_decimal(&c, &d))
            return bad_text(err, "duration", text, why);
        int64_t unit_ms = SECOND_MS;
        if (c.p == c.end && next_unit == 0) {
            bare = true;
        } else {
            int unit = take_unit(&c, next_unit);
            if (unit < 0)
                return bad_text(err, "duration", text, why);
            unit_ms = units[unit].ms;
            next_unit = (size_t)unit + 1;
        }
        if (d.whole > WHEN_MAX_DURATION_MS / unit_ms)
            return err_set(err, ERR_RANGE, "a duration above 100 years");
        /* nanos < 10^9 and a day has 8.64e7 ms: the product fits */
        total_ms += d.whole * unit_ms + (d.nanos * unit_ms + 500000000) / 1000000000;
        if (total_ms > WHEN_MAX_DURATION_MS)
            return err_set(err, ERR_RANGE, "a duration above 100 years");
    }
    *ret_ms = total_ms;
    return 0;
}

int duration_from_seconds(double seconds, int64_t *ret_ms, struct err *err)
{
    if (!(seconds >= 0))
        return err_set(err, ERR_RANGE, "a duration below zero");
    if (!(seconds <= (double)WHEN_MAX_DURATION_MS / 1000))
        return err_set(err, ERR_RANGE, "a duration above 100 years");
    *ret_ms = (int64_t)llround(seconds * 1000);
    return 0;
}

int time_from_number(double number, int64_t *ret_ms, struct err *err)
{
    if (!(number >= 0))
        return err_set(err, ERR_RANGE, "a time before 1970");
    double ms = number >= first_ms_number ? number : number * 1000;
    if (!(ms <= (double)WHEN_MAX_TIME_MS))
        return err_set(err, ERR_RANGE, "a time after the year 9999");
    *ret_ms = (int64_t)llround(ms);
    return 0;
}

/* Exactly `count` digits. */
static bool take_digits(struct cursor *c, int count, int *ret)
{
    int v = 0;
    for (int i = 0; i < count; i++, c->p++) {
        if (c->p == c->end || !is_digit(*c->p))
            return false;
        v = v * 10 + (*c->p - '0');
    }
    *ret = v;
    return true;
}

static bool take_char(struct cursor *c, const char *any_of)
{
    if (c->p == c->end || *c->p == '\0' || strchr(any_of, *c->p) == NULL)
        return false;
    c->p++;
    return true;
}

/* Days since 1970-01-01 in the Gregorian calendar, by counting years from March. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

struct rfc3339 {
    int year, month, day, hour, minute, second;
    int fraction_ms;
    int offset_minutes;
};

static bool take_offset(struct cursor *c, int *ret_minutes)
{
    if (take_char(c, "Zz")) {
        *ret_minutes = 0;
        return true;
    }
    int sign = c->p < c->end && *c->p == '-' ? -1 : 1;
    int hours, minutes;
    if (!take_char(c, "+-") || !take_digits(c, 2, &hours) || !take_char(c, ":") ||
        !take_digits(c, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool take_fraction(struct cursor *c, int *ret_ms)
{
    *ret_ms = 0;
    if (!take_char(c, "."))
        return true;
    if (c->p == c->end || !is_digit(*c->p))
        return false;
    for (int scale = 100; c->p < c->end && is_digit(*c->p); c->p++, scale /= 10)
        *ret_ms += (*c->p - '0') * scale;
    return true;
}

static bool take_rfc3339(struct cursor *c, struct rfc3339 *t)
{
    return take_digits(c, 4, &t->year) && take_char(c, "-") && take_digits(c, 2, &t->month) &&
           take_char(c, "-") && take_digits(c, 2, &t->day) && take_char(c, "Tt ") &&
           take_digits(c, 2, &t->hour) && take_char(c, ":") && take_digits(c, 2, &t->minute) &&
           take_char(c, ":") && take_digits(c, 2, &t->second) &&
           take_fraction(c, &t->fraction_ms) && take_offset(c, &t->offset_minutes) &&
           c->p == c->end;
}

/* digits [ '.' digits ], short enough that its double is what was meant. */
static bool read_number(struct span text, double *ret)
{
    char copy[40];
    struct cursor c = {text.ptr, text.ptr + text.len};
    struct decimal ignored;
    if (text.len >= sizeof copy || !take_decimal(&c, &ignored) || c.p != c.end)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *ret = strtod(copy, NULL);
    return true;
}

int time_parse(struct span text, int64_t *ret_ms, struct err *err)
{
    static const char why[] = "write it like 2026-11-22T10:00:00Z or as seconds since the epoch";
    double number;
    if (read_number(text, &number))
        return time_from_number(number, ret_ms, err);

    struct rfc3339 t;
    struct cursor c = {text.ptr, text.ptr + text.len};
    if (!take_rfc3339(&c, &t))
        return bad_text(err, "time", text, why);
    if (t.month < 1 || t.month > 12 || t.day < 1 || t.day > days_in_month(t.year, t.month) ||
        t.hour > 23 || t.minute > 59 || t.second > 60)
        return bad_text(err, "time", text, "no such day or time of day");

    int64_t minutes =
        (days_of(t.year, t.month, t.day) * 24 + t.hour) * 60 + t.minute - t.offset_minutes;
    /* A leap second is the last of a UTC day; it counts as the second after it. */
    if (t.second == 60 && (minutes % (24 * 60) + 24 * 60) % (24 * 60) != 24 * 60 - 1)
        return bad_text(err, "time", text, "a leap second only ends a day of UTC");
    int64_t ms = minutes * MINUTE_MS + t.second * SECOND_MS + t.fraction_ms;
    if (ms < 0)
        return err_set(err, ERR_RANGE, "a time before 1970");
    if (ms > WHEN_MAX_TIME_MS)
        return err_set(err, ERR_RANGE, "a time after the year 9999");
    *ret_ms = ms;
    return 0;
}

const char *duration_format(int64_t ms, char *out)
{
    enum { OUT_BYTES = 48 };
    if (ms <= 0) {
        snprintf(out, OUT_BYTES, "0s");
        return out;
    }
    if (ms < SECOND_MS) {
        snprintf(out, OUT_BYTES, "%dms", (int)ms);
        return out;
    }
    size_t used = 0;
    for (size_t i = 0; i < 3; i++) {
        int64_t count = ms / units[i].ms;
        ms %= units[i].ms;
        if (count > 0)
            used += (size_t)snprintf(out + used, OUT_BYTES - used, "%" PRId64 "%s", count,
                                     units[i].name);
    }
    if (ms > 0) {
        int fraction = (int)(ms % SECOND_MS), digits = 3;
        used += (size_t)snprintf(out + used, OUT_BYTES - used, "%d", (int)(ms / SECOND_MS));
        for (; fraction > 0 && fraction % 10 == 0; digits--)
            fraction /= 10;
        if (fraction > 0)
            used += (size_t)snprintf(out + used, OUT_BYTES - used, ".%0*d", digits, fraction);
        snprintf(out + used, OUT_BYTES - used, "s");
    }
    return out;
}
