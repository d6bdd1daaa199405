#include "common/ranges.h"

#include <errno.h>
#include <stdlib.h>

void ranges_done(struct ranges *r)
{
    free(r->items);
    *r = (struct ranges)RANGES_INIT;
}

void ranges_append(struct ranges *r, int64_t first, int64_t last)
{
    if (first > last || first <= ranges_last(r))
        BUG("range %lld-%lld does not follow %lld", (long long)first, (long long)last,
            (long long)ranges_last(r));
    if (r->count > 0 && r->items[r->count - 1].last + 1 == first) {
        r->items[r->count - 1].last = last;
        return;
    }
    r->items = xreallocarray(r->items, r->count + 1, sizeof *r->items);
    r->items[r->count++] = (struct range){first, last};
}

bool ranges_pass(struct ranges *r, int64_t number)
{
    while (r->cursor < r->count && r->items[r->cursor].last < number)
        r->cursor++;
    return r->cursor < r->count && r->items[r->cursor].first <= number;
}

int64_t ranges_last(const struct ranges *r)
{
    return r->count > 0 ? r->items[r->count - 1].last : 0;
}

static bool read_number(const char **text, int64_t *ret)
{
    if (**text < '0' || **text > '9')
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(*text, &end, 10);
    if (errno != 0)
        return false;
    *text = end;
    *ret = v;
    return true;
}

int ranges_parse(const char *text, struct ranges *ret, struct err *err)
{
    struct ranges r = RANGES_INIT;
    const char *p = text;
    int rc = 0;
    do {
        int64_t first = 1, last;
        if (!read_number(&p, &last))
            goto bad;
        if (*p == '-') {
            p++;
            first = last;
            if (!read_number(&p, &last))
                goto bad;
        } else if (r.count > 0) {
            first = last; /* a single line; only at the front a number means "the first n" */
        }
        if (*p != '\0' && *p != ',')
            goto bad;
        if (r.count == 0 && first == 1 && last == 0)
            continue; /* "0": the first none */
        if (first < 1 || first > last || first <= ranges_last(&r) || r.count == RANGES_MAX) {
            rc = err_set(err, ERR_RANGE, "line ranges must ascend from 1: \"%s\"", text);
            goto out;
        }
        ranges_append(&r, first, last);
    } while (*p++ == ',');
    *ret = r;
    return 0;
bad:
    rc =
        err_set(err, ERR_SYNTAX, "not a list of lines like 1000 or 1-1000,1501-2000: \"%s\"", text);
out:
    ranges_done(&r);
    return rc;
}

void ranges_show(const struct ranges *r, const char *separator, struct buf *out)
{
    if (r->count == 0)
        buf_add_str(out, "none");
    for (size_t i = 0; i < r->count; i++) {
        if (i > 0)
            buf_add_str(out, separator);
        buf_add_int(out, r->items[i].first);
        /* A single number at the front would read as "the first n". */
        if (i == 0 || r->items[i].last > r->items[i].first) {
            buf_add_char(out, '-');
            buf_add_int(out, r->items[i].last);
        }
    }
}
