/* ranges.h - a set of line numbers as ascending ranges: which lines of a bulk are stored, which are
 * to be skipped.  Neighbours merge, so a million lines stored in order are one item.  Pure.
 */
#ifndef BL_COMMON_RANGES_H
#define BL_COMMON_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct range {
    int64_t first, last; /* both included, 1-based */
};
struct ranges {
    struct range *items; /* ascending, never touching; ours */
    size_t count;
    size_t cursor; /* where ranges_pass() stands */
};
#define RANGES_INIT                                                                                \
    {                                                                                              \
        0                                                                                          \
    }

enum { RANGES_MAX = 10000 }; /* of ranges_parse() */

void ranges_done(struct ranges *r);

/* Adds first..last, which lies above everything in the set. */
void ranges_append(struct ranges *r, int64_t first, int64_t last);

/* Is `number` in the set?  For numbers asked in ascending order: looks at each range once. */
bool ranges_pass(struct ranges *r, int64_t number);

int64_t ranges_last(const struct ranges *r); /* the greatest number; 0 = empty */

/* "1000" (the first 1000), "1-1000,1501-2000".  -ERR_SYNTAX, -ERR_RANGE (not ascending). */
MUST_CHECK int ranges_parse(const char *text, struct ranges *ret, struct err *err);

/* Appends "1-1000, 1501" with `separator` between the ranges; "none" for an empty set.  With ","
 * it is what ranges_parse() reads. */
void ranges_show(const struct ranges *r, const char *separator, struct buf *out);

#endif
