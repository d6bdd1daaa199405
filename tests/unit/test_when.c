#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/when.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static void durations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want_ms;
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"90", 90 * SECOND},
        {"1.5", 1500},
        {"0.0004", 0},
        {"0.0005", 1},
        {"90s", 90 * SECOND},
        {"5m", 5 * MINUTE},
        {"2h", 2 * HOUR},
        {"7d", 7 * DAY},
        {"1500ms", 1500},
        {"1h30m", 90 * MINUTE},
        {"1d2h3m4s5ms", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + 5},
        {"1.5h", 90 * MINUTE},
        {"1m1.5s", 61500},
        {"0.5d", 12 * HOUR},
        {"007s", 7 * SECOND},
        {"3155760000", WHEN_MAX_DURATION_MS},
        {"36525d", WHEN_MAX_DURATION_MS},
        {"0.9999999999999999999s", SECOND},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ms = -1;
        struct err err = {0};
        assert_int_equal(duration_parse(SPAN_OF_STR(cases[i].text), &ms, &err), 0);
        assert_int_equal(ms, cases[i].want_ms);
    }
}

static void what_is_no_duration_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"", ERR_SYNTAX},
        {" ", ERR_SYNTAX},
        {"s", ERR_SYNTAX},
        {"-1s", ERR_SYNTAX},
        {"+1s", ERR_SYNTAX},
        {"1 s", ERR_SYNTAX},
        {" 1s", ERR_SYNTAX},
        {"1s ", ERR_SYNTAX},
        {"1x", ERR_SYNTAX},
        {"1S", ERR_SYNTAX},
        {"1sec", ERR_SYNTAX},
        {"1.s", ERR_SYNTAX},
        {".5s", ERR_SYNTAX},
        {"1..5s", ERR_SYNTAX},
        {"1e3", ERR_SYNTAX},
        {"0x10", ERR_SYNTAX},
        {"30m1h", ERR_SYNTAX},
        {"1h1h", ERR_SYNTAX},
        {"1h30", ERR_SYNTAX},
        {"inf", ERR_SYNTAX},
        {"nan", ERR_SYNTAX},
        {"1,5s", ERR_SYNTAX},
        {"1mm", ERR_SYNTAX},
        {"36526d", ERR_RANGE},
        {"3155760000.001", ERR_RANGE},
        {"36525d1ms", ERR_RANGE},
        {"99999999999999999999999999999999d", ERR_RANGE},
        {"9223372036854775807s", ERR_RANGE},
        {"18446744073709551617ms", ERR_RANGE},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ms = 42;
        struct err err = {0};
        assert_int_equal(duration_parse(SPAN_OF_STR(cases[i].text), &ms, &err), -cases[i].want);
        assert_int_equal(ms, 42);
        assert_int_equal(err.code, cases[i].want);
        assert_true(err.text[0] != '\0');
    }
    int64_t ms = 42;
    assert_int_equal(duration_parse((struct span){"5m\0", 3}, &ms, NULL), -ERR_SYNTAX);
}

static void seconds_are_rounded_and_kept_in_range(void **state)
{
    (void)state;
    int64_t ms = 42;
    assert_int_equal(duration_from_seconds(0.0015, &ms, NULL), 0);
    assert_int_equal(ms, 2);
    assert_int_equal(duration_from_seconds(-0.0, &ms, NULL), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(duration_from_seconds(3155760000.0, &ms, NULL), 0);
    assert_int_equal(ms, WHEN_MAX_DURATION_MS);
    ms = 42;
    static const double bad[] = {-0.001, -1e300, 3155760000.1, 1e300, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(duration_from_seconds(bad[i], &ms, NULL), -ERR_RANGE);
    assert_int_equal(ms, 42);
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want_ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1970-01-01t01:00:00+01:00", 0},
        {"1969-12-31 23:00:00-01:00", 0},
        {"2026-11-22T10:00:00Z", INT64_C(1795341600000)},
        {"2026-11-22 10:00:00.5+01:00", INT64_C(1795338000500)},
        {"2026-11-22T10:00:00z", INT64_C(1795341600000)},
        {"2026-11-22T10:00:00-00:00", INT64_C(1795341600000)},
        {"2026-11-22T10:00:00.123456789Z", INT64_C(1795341600123)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000)},
        {"2024-02-29T23:59:59+00:00", INT64_C(1709251199000)},
        {"2038-01-19T03:14:08Z", INT64_C(2147483648000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
        {"2017-01-01T08:59:60+09:00", INT64_C(1483228800000)},
        {"2016-12-31T15:59:60.5-08:00", INT64_C(1483228800500)},
        {"9999-12-31T23:59:59.999Z", WHEN_MAX_TIME_MS},
        {"9999-12-31T23:59:59.9999999Z", WHEN_MAX_TIME_MS},
        {"2026-11-22T23:59:59+23:59", INT64_C(1795305659000)},
        {"0", 0},
        {"1795341600", INT64_C(1795341600000)},
        {"1795341600.25", INT64_C(1795341600250)},
        {"1795341600250", INT64_C(1795341600250)},
        {"99999999999", INT64_C(99999999999000)},
        {"100000000000", INT64_C(100000000000)},
        {"253402300799999", WHEN_MAX_TIME_MS},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ms = -1;
        struct err err = {0};
        if (time_parse(SPAN_OF_STR(cases[i].text), &ms, &err) < 0 || ms != cases[i].want_ms)
            fail_msg("%s: %lld, not %lld (%s)", cases[i].text, (long long)ms,
                     (long long)cases[i].want_ms, err.text);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"", ERR_SYNTAX},
        {"now", ERR_SYNTAX},
        {"-1", ERR_SYNTAX},
        {"1e9", ERR_SYNTAX},
        {"2026-11-22", ERR_SYNTAX},
        {"2026-11-22T10:00:00", ERR_SYNTAX}, /* whose time would it be? */
        {"2026-11-22T10:00Z", ERR_SYNTAX},
        {"2026-11-22T10:00:00Z ", ERR_SYNTAX},
        {" 2026-11-22T10:00:00Z", ERR_SYNTAX},
        {"2026-11-22T10:00:00.Z", ERR_SYNTAX},
        {"2026-11-22T10:00:00+0100", ERR_SYNTAX},
        {"2026-11-22T10:00:00+1:00", ERR_SYNTAX},
        {"2026-11-22T10:00:00+24:00", ERR_SYNTAX},
        {"2026-11-22T10:00:00+01:60", ERR_SYNTAX},
        {"2026-00-01T00:00:00Z", ERR_SYNTAX},
        {"2026-13-01T00:00:00Z", ERR_SYNTAX},
        {"2026-11-00T00:00:00Z", ERR_SYNTAX},
        {"2026-11-31T00:00:00Z", ERR_SYNTAX},
        {"2026-02-29T00:00:00Z", ERR_SYNTAX},
        {"2100-02-29T00:00:00Z", ERR_SYNTAX},
        {"2026-11-22T24:00:00Z", ERR_SYNTAX},
        {"2026-11-22T10:60:00Z", ERR_SYNTAX},
        {"2026-11-22T10:00:61Z", ERR_SYNTAX},
        {"2026-11-22T10:00:60Z", ERR_SYNTAX}, /* leap seconds end a day of UTC */
        {"2016-12-31T23:59:60+01:00", ERR_SYNTAX},
        {"20026-11-22T10:00:00Z", ERR_SYNTAX},
        {"0001-01-01T00:00:00Z", ERR_RANGE},
        {"1969-12-31T23:59:59Z", ERR_RANGE},
        {"1970-01-01T00:00:00+00:01", ERR_RANGE},
        {"9999-12-31T23:59:60Z", ERR_RANGE},
        {"9999-12-31T23:59:59-00:01", ERR_RANGE},
        {"253402300800000", ERR_RANGE},
        {"99999999999999999999999999999999999999", ERR_RANGE},
        {"999999999999999999999999999999999999999999999999", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ms = 42;
        struct err err = {0};
        int rc = time_parse(SPAN_OF_STR(cases[i].text), &ms, &err);
        if (rc != -cases[i].want)
            fail_msg("%s: %s, not %s", cases[i].text, err_name(rc), err_name(cases[i].want));
        assert_int_equal(ms, 42);
    }
}

static void numbers_are_times_in_range_only(void **state)
{
    (void)state;
    int64_t ms = 42;
    static const double bad[] = {-1, -0.001, 1e300, NAN, INFINITY, -INFINITY, 253402300800000.0};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(time_from_number(bad[i], &ms, NULL), -ERR_RANGE);
    assert_int_equal(ms, 42);
    assert_int_equal(time_from_number(1795341600.1234, &ms, NULL), 0);
    assert_int_equal(ms, INT64_C(1795341600123));
}

/* Every day of eight centuries, against the C library. */
static void every_day_agrees_with_the_calendar(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 292200; day++) {
        char text[CLOCK_TEXT_BYTES];
        int64_t ms = -1, want_ms = day * DAY + day % 86400 * SECOND + day % 1000;
        wall_format(want_ms, text);
        assert_int_equal(time_parse(SPAN_OF_STR(text), &ms, NULL), 0);
        assert_int_equal(ms, want_ms);
    }
}

static void durations_are_written_to_be_read_back(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *want;
    } cases[] = {
        {0, "0s"},
        {-5, "0s"},
        {1, "1ms"},
        {250, "250ms"},
        {1000, "1s"},
        {1500, "1.5s"},
        {1005, "1.005s"},
        {90000, "1m30s"},
        {61500, "1m1.5s"},
        {5 * MINUTE, "5m"},
        {HOUR, "1h"},
        {90 * MINUTE, "1h30m"},
        {DAY, "1d"},
        {DAY + 1, "1d0.001s"},
        {36525 * DAY, "36525d"},
    };
    char out[48];
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_string_equal(duration_format(cases[i].ms, out), cases[i].want);
    assert_true(strlen(duration_format(INT64_MAX, out)) < sizeof out);

    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        int64_t want_ms = (int64_t)((seed >> 20) % (uint64_t)(WHEN_MAX_DURATION_MS >> seed % 40));
        int64_t ms = -1;
        duration_format(want_ms, out);
        assert_int_equal(duration_parse(SPAN_OF_STR(out), &ms, NULL), 0);
        assert_int_equal(ms, want_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(what_is_no_duration_is_refused),
        cmocka_unit_test(seconds_are_rounded_and_kept_in_range),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(numbers_are_times_in_range_only),
        cmocka_unit_test(every_day_agrees_with_the_calendar),
        cmocka_unit_test(durations_are_written_to_be_read_back),
    };
    return cmocka_run_group_tests_name("when", tests, NULL, NULL);
}
