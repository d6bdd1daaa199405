/* when.h - times and durations as people and producers write them.  Pure.
 *
 * A duration is a number of seconds (fraction allowed) or text: "90s", "5m", "2h", "7d",
 * "1500ms", "1h30m", "1.5s"; no sign, no blank, larger units first.  A time is a number (seconds
 * since the epoch, fraction allowed; >= 1e11 means milliseconds) or RFC 3339 text
 * ("2026-11-22T10:00:00Z", "2026-11-22 10:00:00.5+01:00").  Used by document, config and enqueue.
 */
#ifndef BL_COMMON_WHEN_H
#define BL_COMMON_WHEN_H

#include <stdint.h>

#include "common/err.h"
#include "common/mem.h"

/* Longest duration and latest time: 100 years; year 9999. */
#define WHEN_MAX_DURATION_MS INT64_C(3155760000000)
#define WHEN_MAX_TIME_MS     INT64_C(253402300799999)

/* Text to ms.  A bare number in the text counts as seconds.  -ERR_SYNTAX, -ERR_RANGE. */
MUST_CHECK int duration_parse(struct span text, int64_t *ret_ms, struct err *err);
/* Seconds to ms, rounded to nearest; negative, NaN, infinite or too long: -ERR_RANGE. */
MUST_CHECK int duration_from_seconds(double seconds, int64_t *ret_ms, struct err *err);
/* Text to ms since the epoch: RFC 3339, or a bare number as time_from_number(). */
MUST_CHECK int time_parse(struct span text, int64_t *ret_ms, struct err *err);
MUST_CHECK int time_from_number(double number, int64_t *ret_ms, struct err *err);

/* "1h30m", "1m1.5s", "250ms", "0s": exact, parsed back by duration_parse().  `out` >= 48. */
const char *duration_format(int64_t ms, char *out);

#endif
