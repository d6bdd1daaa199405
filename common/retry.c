#include "common/retry.h"

#include <string.h>

#include "common/mem.h"
#include "common/when.h"

/* Retries that failed together should not come back together, even the first, which the
 * proportional spread alone would keep within a second or two. */
enum { POLY_SPREAD_MS = 3000 };

enum { SNOOZE_FLOOR_MS = 1000, SNOOZE_FLOOR_MAX_MS = 60000 };

static const char *const type_names[] = {"poly", "fixed", "exp"};

const char *backoff_type_name(enum backoff_type type)
{
    return (size_t)type < ARRAY_COUNT(type_names) ? type_names[type] : "?";
}

int backoff_type_parse(const char *name, enum backoff_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_COUNT(type_names); i++)
        if (strcmp(name, type_names[i]) == 0) {
            *ret_type = (enum backoff_type)i;
            return 0;
        }
    return -ERR_UNKNOWN;
}

static int64_t clamp_ms(int64_t ms)
{
    return ms < 0 ? 0 : ms > WHEN_MAX_DURATION_MS ? WHEN_MAX_DURATION_MS : ms;
}

static int64_t poly_ms(int64_t base_ms, int n)
{
    int64_t ms = 1000;
    for (int i = 0; i < 4; i++)
        if (__builtin_mul_overflow(ms, (int64_t)n - 1, &ms))
            return WHEN_MAX_DURATION_MS;
    if (__builtin_add_overflow(ms, base_ms, &ms))
        return WHEN_MAX_DURATION_MS;
    return ms;
}

static int64_t exp_ms(int64_t base_ms, int n)
{
    /* base_ms is at most 2^42, so that 20 doublings cannot overflow, and 100 years come sooner */
    int64_t ms = base_ms;
    for (int i = 1; i < n && ms > 0 && ms < WHEN_MAX_DURATION_MS; i++)
        ms *= 2;
    return ms;
}

int64_t retry_delay_ms(const struct retry_policy *p, int n, double rnd)
{
    if (n > p->retries)
        return -ERR_EXHAUSTED;
    if (n < 1)
        n = 1;
    if (!(rnd >= 0)) /* NaN too */
        rnd = 0;
    if (rnd > 1)
        rnd = 1;

    const struct backoff *b = &p->backoff;
    int64_t base_ms = clamp_ms(b->base_ms);
    int64_t ms = base_ms;
    switch (b->type) {
    case BACKOFF_POLY:
        ms = poly_ms(base_ms, n);
        break;
    case BACKOFF_FIXED:
        break;
    case BACKOFF_EXP:
        ms = exp_ms(base_ms, n);
        break;
    }
    ms = clamp_ms(ms);
    if (ms > b->max_ms)
        ms = clamp_ms(b->max_ms);

    double jitter = b->jitter > 0 ? (b->jitter < 1 ? b->jitter : 1) : 0;
    double spread_ms = (double)ms * jitter;
    if (b->type == BACKOFF_POLY && jitter > 0)
        spread_ms += (double)(base_ms < POLY_SPREAD_MS ? base_ms : POLY_SPREAD_MS);
    return clamp_ms(ms + (int64_t)(spread_ms * rnd));
}

int64_t snooze_delay_ms(int64_t asked_ms, int snoozes)
{
    int64_t floor_ms = SNOOZE_FLOOR_MS;
    for (int i = 0; i < snoozes && floor_ms < SNOOZE_FLOOR_MAX_MS; i++)
        floor_ms *= 2;
    if (floor_ms > SNOOZE_FLOOR_MAX_MS)
        floor_ms = SNOOZE_FLOOR_MAX_MS;
    return clamp_ms(asked_ms > floor_ms ? asked_ms : floor_ms);
}
