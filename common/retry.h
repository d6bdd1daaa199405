/* retry.h - when does a failed job run again?  Pure; used by the worker's settle decision, by
 * document and config (which read policies) and by jobctl (which shows them).
 */
#ifndef BL_COMMON_RETRY_H
#define BL_COMMON_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum backoff_type { BACKOFF_POLY = 0, BACKOFF_FIXED, BACKOFF_EXP };
const char *backoff_type_name(enum backoff_type type); /* "poly", "fixed", "exp" */
MUST_CHECK int backoff_type_parse(const char *name, enum backoff_type *ret_type);

enum { RETRY_DEFAULT = 25, RETRY_MAX = 1000 };

/* Delay before retry n = 1, 2, ...:
 *   poly   (n-1)^4 seconds + base    the field's curve: 25 retries over 20 days
 *   fixed  base
 *   exp    base * 2^(n-1)
 * cut at max, then spread upwards: see retry_delay_ms(). */
struct backoff {
    enum backoff_type type;
    int64_t base_ms; /* > 0; default 15 s */
    int64_t max_ms; /* >= base_ms; default 24 h for exp and fixed; poly: 30 days */
    double jitter; /* 0..1, default 0.1 */
};
#define BACKOFF_INIT                                                                               \
    {                                                                                              \
        .type = BACKOFF_POLY, .base_ms = 15000, .max_ms = INT64_C(30) * 86400 * 1000,              \
        .jitter = 0.1                                                                              \
    }

struct retry_policy {
    int retries; /* after the first attempt: 0..RETRY_MAX; 0 = straight to the dead */
    struct backoff backoff;
};
#define RETRY_POLICY_INIT                                                                          \
    {                                                                                              \
        .retries = RETRY_DEFAULT, .backoff = BACKOFF_INIT                                          \
    }

/* Delay before retry `n` (>= 1) with `rnd` in [0,1): result in [d, d * (1 + jitter)] plus, for
 * poly, up to 3 s but no more than base, saturating at 100 years; jitter 0 spreads nothing.
 * Returns ms >= 0, or -ERR_EXHAUSTED when n > p->retries. */
MUST_CHECK int64_t retry_delay_ms(const struct retry_policy *p, int n, double rnd);

/* Snoozes spend no attempt but have a floor: 1 s, doubling with each of `snoozes` (>= 0) in a row
 * up to 60 s.  Returns the larger of that and `asked_ms` (< 0 = not said). */
int64_t snooze_delay_ms(int64_t asked_ms, int snoozes);

#endif
