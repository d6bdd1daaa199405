#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"

#define NOW_MS INT64_C(1795342272123)
#define TS     "2026-11-22T10:11:12.123Z"

static const struct log_kv pairs[] = {
    {.key = "pid", .kind = LOG_KV_INT, .num = -7},
    {.key = "queue", .kind = LOG_KV_SPAN, .text = {"default", 7}},
    {.key = "text", .kind = LOG_KV_SPAN, .text = {"a b=\"c\"\n\x1b[31m", 13}},
    {.key = "none", .kind = LOG_KV_SPAN, .text = {"", 0}},
    {.key = "bytes", .kind = LOG_KV_SPAN, .text = {"\xff\0x", 3}},
    {.key = NULL},
};

static void a_logfmt_line_quotes_what_needs_it(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    log_render(&b, NOW_MS, LOG_LOGFMT, LOG_INFO, "runner started", pairs);
    assert_string_equal(b.data, "ts=" TS " level=info msg=\"runner started\" pid=-7 queue=default "
                                "text=\"a b=\\\"c\\\"\\n\\u001b[31m\" none=\"\" "
                                "bytes=\"\xef\xbf\xbd\\u0000x\"\n");
    buf_done(&b);
}

static void a_json_line_is_an_object(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    log_render(&b, NOW_MS, LOG_JSON, LOG_ERROR, "runner \"x\"", pairs);
    assert_string_equal(b.data,
                        "{\"ts\":\"" TS "\",\"level\":\"error\",\"msg\":\"runner \\\"x\\\"\","
                        "\"pid\":-7,\"queue\":\"default\","
                        "\"text\":\"a b=\\\"c\\\"\\n\\u001b[31m\",\"none\":\"\","
                        "\"bytes\":\"\xef\xbf\xbd\\u0000x\"}\n");
    buf_done(&b);
}

static void a_line_may_have_no_pairs(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    log_render(&b, NOW_MS, LOG_LOGFMT, LOG_WARN, "alone", NULL);
    log_render(&b, NOW_MS, LOG_LOGFMT, LOG_DEBUG, "again", NULL);
    assert_string_equal(b.data,
                        "ts=" TS " level=warn msg=alone\nts=" TS " level=debug msg=again\n");
    buf_done(&b);
}

static void a_long_value_is_cut_between_characters(void **state)
{
    (void)state;
    struct buf value = BUF_INIT, line = BUF_INIT;
    buf_add_char(&value, 'x');
    for (int i = 0; i < 10000; i++)
        buf_add_str(&value, "\xe2\x82\xac");
    struct log_kv kvs[] = {KV_SPAN("v", buf_span(&value)), {.key = NULL}};
    for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        buf_clear(&line);
        log_render(&line, NOW_MS, (enum log_format)format, LOG_WARN, "m", kvs);
        assert_true(line.len < 9000);
        assert_null(strstr(line.data, "\xef\xbf\xbd"));
        assert_non_null(strstr(line.data, "\xe2\x82\xac...\""));
    }
    buf_done(&value);
    buf_done(&line);
}

/* What log_msg() sends to stderr, read through a pipe. */
static size_t captured(enum log_level level, char *out, size_t size)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    errno = ENOENT;
    log_msg(level, "event", KV_INT("n", 1), KV_STR("s", "t u"));
    int after = errno;
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], out, size - 1);
    assert_true(n >= 0);
    close(pipe_fds[0]);
    out[n] = '\0';
    assert_int_equal(after, ENOENT);
    return (size_t)n;
}

static void only_levels_that_are_on_are_written(void **state)
{
    (void)state;
    char out[512];
    log_setup(LOG_WARN, LOG_LOGFMT);
    assert_int_equal(captured(LOG_INFO, out, sizeof out), 0);
    assert_true(captured(LOG_WARN, out, sizeof out) > 0);
    assert_non_null(strstr(out, " level=warn msg=event n=1 s=\"t u\"\n"));
    log_setup(LOG_DEBUG, LOG_JSON);
    assert_true(log_on(LOG_DEBUG));
    assert_true(captured(LOG_DEBUG, out, sizeof out) > 0);
    assert_non_null(strstr(out, "\"level\":\"debug\",\"msg\":\"event\",\"n\":1,\"s\":\"t u\"}\n"));
    log_setup(LOG_WARN, LOG_LOGFMT);
}

static void names_read_back(void **state)
{
    (void)state;
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        enum log_level got;
        assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &got), 0);
        assert_int_equal(got, i);
    }
    for (int i = LOG_LOGFMT; i <= LOG_JSON; i++) {
        enum log_format got;
        assert_int_equal(log_format_parse(log_format_name((enum log_format)i), &got), 0);
        assert_int_equal(got, i);
    }
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_JSON;
    assert_int_equal(log_level_parse("INFO", &level), -ERR_UNKNOWN);
    assert_int_equal(log_level_parse("", &level), -ERR_UNKNOWN);
    assert_int_equal(log_format_parse("text", &format), -ERR_UNKNOWN);
    assert_int_equal(level, LOG_INFO);
    assert_int_equal(format, LOG_JSON);
}

static void a_gate_opens_once_per_period_and_counts_what_it_held(void **state)
{
    (void)state;
    struct log_gate g = {0};
    int64_t skipped = -1;
    assert_true(log_gate(&g, 1000, 5000, &skipped));
    assert_int_equal(skipped, 0);
    assert_false(log_gate(&g, 1000, 5000, &skipped));
    assert_false(log_gate(&g, 5999, 5000, &skipped));
    assert_int_equal(skipped, 0);
    assert_true(log_gate(&g, 6000, 5000, &skipped));
    assert_int_equal(skipped, 2);
    assert_true(log_gate(&g, 20000, 5000, &skipped));
    assert_int_equal(skipped, 0);
}

static void a_budget_is_spent_and_comes_back(void **state)
{
    (void)state;
    struct log_budget b;
    int64_t now = 1000000;
    log_budget_start(&b, now);
    int lines = 0;
    while (log_budget_take(&b, 4096 - 128, now))
        lines++;
    assert_int_equal(lines, 16); /* 64 KiB, what surrounds each line included */
    assert_false(log_budget_take(&b, 4096 - 128, now + 249000));
    assert_true(log_budget_take(&b, 4096 - 128, now + 250000)); /* 16 KiB a second */
    now += INT64_C(3600) * 1000000;
    for (lines = 0; log_budget_take(&b, 4096 - 128, now);)
        lines++;
    assert_int_equal(lines, 16); /* never more than at the start */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_is_spent_and_comes_back),
        cmocka_unit_test(a_logfmt_line_quotes_what_needs_it),
        cmocka_unit_test(a_json_line_is_an_object),
        cmocka_unit_test(a_line_may_have_no_pairs),
        cmocka_unit_test(a_long_value_is_cut_between_characters),
        cmocka_unit_test(only_levels_that_are_on_are_written),
        cmocka_unit_test(names_read_back),
        cmocka_unit_test(a_gate_opens_once_per_period_and_counts_what_it_held),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
