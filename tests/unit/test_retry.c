#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <math.h>

#include "common/mem.h"
#include "common/retry.h"
#include "common/when.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static const double almost_one = 0.9999999999999999;

static void delays_follow_the_curve_of_their_type(void **state)
{
    (void)state;
    static const struct {
        enum backoff_type type;
        int64_t base_ms, max_ms;
        int n;
        int64_t want_ms;
    } cases[] = {
        {BACKOFF_POLY, 15000, 30 * DAY_MS, 1, 15000},
        {BACKOFF_POLY, 15000, 30 * DAY_MS, 2, 16000},
        {BACKOFF_POLY, 15000, 30 * DAY_MS, 3, 31000},
        {BACKOFF_POLY, 15000, 30 * DAY_MS, 25, 331776000 + 15000},
        {BACKOFF_POLY, 15000, 20000, 3, 20000},
        {BACKOFF_FIXED, 5000, DAY_MS, 1, 5000},
        {BACKOFF_FIXED, 5000, DAY_MS, 1000, 5000},
        {BACKOFF_EXP, 1000, DAY_MS, 1, 1000},
        {BACKOFF_EXP, 1000, DAY_MS, 2, 2000},
        {BACKOFF_EXP, 1000, DAY_MS, 11, 1024000},
        {BACKOFF_EXP, 1000, DAY_MS, 1000, DAY_MS},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct retry_policy p = {.retries = RETRY_MAX,
                                 .backoff = {.type = cases[i].type,
                                             .base_ms = cases[i].base_ms,
                                             .max_ms = cases[i].max_ms,
                                             .jitter = 0}};
        assert_int_equal(retry_delay_ms(&p, cases[i].n, 0), cases[i].want_ms);
        assert_int_equal(retry_delay_ms(&p, cases[i].n, almost_one), cases[i].want_ms);
    }
}

static void the_default_spends_25_retries_over_20_days(void **state)
{
    (void)state;
    struct retry_policy p = RETRY_POLICY_INIT;
    int64_t total_ms = 0;
    for (int n = 1; n <= 25; n++)
        total_ms += retry_delay_ms(&p, n, 0);
    assert_true(total_ms > 20 * DAY_MS && total_ms < 21 * DAY_MS);
    assert_int_equal(retry_delay_ms(&p, 26, 0), -ERR_EXHAUSTED);
}

static void no_retries_are_exhausted_at_once(void **state)
{
    (void)state;
    struct retry_policy p = RETRY_POLICY_INIT;
    p.retries = 0;
    assert_int_equal(retry_delay_ms(&p, 1, 0.5), -ERR_EXHAUSTED);
    p.retries = 1;
    assert_true(retry_delay_ms(&p, 1, 0.5) > 0);
    assert_int_equal(retry_delay_ms(&p, 2, 0.5), -ERR_EXHAUSTED);
}

static void jitter_only_adds_and_keeps_its_bounds(void **state)
{
    (void)state;
    for (int type = BACKOFF_POLY; type <= BACKOFF_EXP; type++)
        for (int n = 1; n <= 30; n++) {
            struct retry_policy p = {.retries = RETRY_MAX,
                                     .backoff = {.type = (enum backoff_type)type,
                                                 .base_ms = 2000,
                                                 .max_ms = DAY_MS,
                                                 .jitter = 0.25}};
            int64_t extra_ms = type == BACKOFF_POLY ? 2000 : 0;
            int64_t low_ms = retry_delay_ms(&p, n, 0);
            int64_t last_ms = low_ms;
            for (double rnd = 0; rnd < 1; rnd += 0.05) {
                int64_t ms = retry_delay_ms(&p, n, rnd);
                assert_true(ms >= last_ms);
                assert_true(ms <= low_ms + low_ms / 4 + extra_ms);
                last_ms = ms;
            }
        }
}

/* Nothing here may overflow, whatever a record or a configuration claims. */
static void extreme_policies_saturate(void **state)
{
    (void)state;
    static const int64_t times_ms[] = {INT64_MIN, -1,           0, 1, 15000, WHEN_MAX_DURATION_MS,
                                       INT64_MAX, INT64_MAX / 2};
    static const int counts[] = {INT_MIN, -1, 0, 1, 2, 1000, 1000000, INT_MAX};
    static const double jitters[] = {-1, 0, 1, 1e300, NAN, INFINITY, -INFINITY};
    static const double rnds[] = {-1, 0, 0.5, 1, 2, NAN, INFINITY};
    for (int type = BACKOFF_POLY; type <= BACKOFF_EXP; type++)
        for (size_t b = 0; b < ARRAY_COUNT(times_ms); b++)
            for (size_t m = 0; m < ARRAY_COUNT(times_ms); m++)
                for (size_t n = 0; n < ARRAY_COUNT(counts); n++)
                    for (size_t j = 0; j < ARRAY_COUNT(jitters); j++)
                        for (size_t r = 0; r < ARRAY_COUNT(rnds); r++) {
                            struct retry_policy p = {.retries = INT_MAX,
                                                     .backoff = {.type = (enum backoff_type)type,
                                                                 .base_ms = times_ms[b],
                                                                 .max_ms = times_ms[m],
                                                                 .jitter = jitters[j]}};
                            int64_t ms = retry_delay_ms(&p, counts[n], rnds[r]);
                            assert_true(ms >= 0 && ms <= WHEN_MAX_DURATION_MS);
                        }
}

static void delays_never_shrink_from_retry_to_retry(void **state)
{
    (void)state;
    for (int type = BACKOFF_POLY; type <= BACKOFF_EXP; type++) {
        struct retry_policy p = {.retries = INT_MAX,
                                 .backoff = {.type = (enum backoff_type)type,
                                             .base_ms = 1,
                                             .max_ms = WHEN_MAX_DURATION_MS}};
        int64_t last_ms = 0;
        for (int n = 1; n < 100000; n += n < 200 ? 1 : 997) {
            int64_t ms = retry_delay_ms(&p, n, 0);
            assert_true(ms >= last_ms);
            last_ms = ms;
        }
    }
}

static void snoozes_have_a_growing_floor(void **state)
{
    (void)state;
    static const struct {
        int64_t asked_ms;
        int snoozes;
        int64_t want_ms;
    } cases[] = {
        {-1, 0, 1000},
        {0, 0, 1000},
        {1500, 0, 1500},
        {-1, 1, 2000},
        {-1, 5, 32000},
        {-1, 6, 60000},
        {-1, 7, 60000},
        {-1, INT_MAX, 60000},
        {-1, INT_MIN, 1000},
        {3600000, 9, 3600000},
        {INT64_MAX, 0, WHEN_MAX_DURATION_MS},
        {INT64_MIN, 3, 8000},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(snooze_delay_ms(cases[i].asked_ms, cases[i].snoozes), cases[i].want_ms);
}

static void types_read_back_by_name(void **state)
{
    (void)state;
    for (int type = BACKOFF_POLY; type <= BACKOFF_EXP; type++) {
        enum backoff_type got;
        assert_int_equal(backoff_type_parse(backoff_type_name((enum backoff_type)type), &got), 0);
        assert_int_equal(got, type);
    }
    enum backoff_type untouched = BACKOFF_EXP;
    assert_int_equal(backoff_type_parse("linear", &untouched), -ERR_UNKNOWN);
    assert_int_equal(untouched, BACKOFF_EXP);
    assert_string_equal(backoff_type_name((enum backoff_type)9), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_follow_the_curve_of_their_type),
        cmocka_unit_test(the_default_spends_25_retries_over_20_days),
        cmocka_unit_test(no_retries_are_exhausted_at_once),
        cmocka_unit_test(jitter_only_adds_and_keeps_its_bounds),
        cmocka_unit_test(extreme_policies_saturate),
        cmocka_unit_test(delays_never_shrink_from_retry_to_retry),
        cmocka_unit_test(snoozes_have_a_growing_floor),
        cmocka_unit_test(types_read_back_by_name),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
