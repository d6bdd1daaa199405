#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_span.h"
#include "common/record.h"
#include "common/when.h"

#define DEPTH 64
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static struct record parsed(struct span bytes)
{
    struct record r;
    record_parse(bytes, DEPTH, &r);
    return r;
}

static void assert_same_bytes(struct span a, struct span b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.ptr, b.ptr, a.len);
}

static void assert_same(const struct record *a, const struct record *b)
{
    assert_same_bytes(a->job, b->job);
    assert_int_equal(a->raw64, b->raw64);
    assert_int_equal(a->raw_bytes, b->raw_bytes);
    assert_string_equal(a->uid, b->uid);
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->crashes, b->crashes);
    assert_int_equal(a->lost, b->lost);
    assert_int_equal(a->snoozes, b->snoozes);
    assert_int_equal(a->interrupted, b->interrupted);
    assert_int_equal(a->first_failed_at_ms, b->first_failed_at_ms);
    assert_int_equal(a->failed_at_ms, b->failed_at_ms);
    assert_int_equal(a->parked_at_ms, b->parked_at_ms);
    assert_int_equal(a->dead_at_ms, b->dead_at_ms);
    assert_string_equal(a->reason, b->reason);
    assert_same_bytes(a->error, b->error);
    assert_same_bytes(a->history, b->history);
    assert_same_bytes(a->queue, b->queue);
}

static void a_document_is_its_own_record(void **state)
{
    (void)state;
    static const char text[] = "{\"type\":\"t\",\"args\":1.10}";
    struct record r = parsed(SPAN_OF_STR(text));
    assert_int_equal(r.kind, RECORD_PLAIN);
    assert_ptr_equal(r.job.ptr, text);
    assert_int_equal(r.job.len, sizeof text - 1);
}

static void a_full_record_has_this_form(void **state)
{
    (void)state;
    static const char job[] = "{\"type\":\"t\",\"args\":[1.10]}";
    struct record r = {
        .kind = RECORD_WRAPPED,
        .job = SPAN_OF_STR(job),
        .uid = "0123:1",
        .id = "j\"1",
        .attempt = 2,
        .crashes = 1,
        .lost = 3,
        .snoozes = 4,
        .interrupted = 5,
        .first_failed_at_ms = 1000,
        .failed_at_ms = 2000,
        .parked_at_ms = 3000,
        .dead_at_ms = 4000,
        .reason = "poison",
        .error = SPAN_OF_STR("{\"kind\":\"crash\"}"),
        .history = SPAN_OF_STR("[{}]"),
        .queue = SPAN_OF_STR("\"default\""),
    };
    struct buf b = BUF_INIT;
    record_write(&b, &r);
    assert_string_equal(
        b.data, "{\"v\":1,\"job_bytes\":26,\"uid\":\"0123:1\",\"id\":\"j\\\"1\",\"attempt\":2,"
                "\"crashes\":1,\"lost\":3,\"snoozes\":4,\"interrupted\":5,"
                "\"first_failed_at\":1000,\"failed_at\":2000,\"parked_at\":3000,\"dead_at\":4000,"
                "\"reason\":\"poison\",\"queue\":\"default\",\"error\":{\"kind\":\"crash\"},"
                "\"history\":[{}],\"job\":{\"type\":\"t\",\"args\":[1.10]}}");
    struct record again = parsed(buf_span(&b));
    assert_int_equal(again.kind, RECORD_WRAPPED);
    assert_same(&r, &again);
    buf_done(&b);
}

static void what_is_zero_is_left_out(void **state)
{
    (void)state;
    struct record r = {.job = SPAN_OF_STR("{}"), .attempt = -1, .dead_at_ms = -1};
    struct buf b = BUF_INIT;
    record_write(&b, &r);
    assert_string_equal(b.data, "{\"v\":1,\"job_bytes\":2,\"job\":{}}");
    buf_done(&b);
}

/* The bytes of a document, whatever they are, come out as they went in, any number of times. */
static void documents_survive_wrapping_byte_for_byte(void **state)
{
    (void)state;
    static const struct span jobs[] = {
        T("{\"type\":\"t\"}"),
        T(" {\"n\":123456789012345678901234567890,\"f\":1.10,\"e\":[],\"z\":1e400} \n"),
        T("{\"v\":1,\"job_bytes\":2,\"job\":{}}"),
        T("{\"a\":\",\\\"job\\\":\"}"),
        T("},\"job\":{}"),
        T(""),
        T("}"),
        T("\xff\0\xfe"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(jobs); i++) {
        struct record r = {.kind = RECORD_PLAIN, .job = jobs[i], .uid = "u"};
        struct buf b = BUF_INIT, out = BUF_INIT;
        for (int attempt = 1; attempt < 5; attempt++) {
            struct buf next = BUF_INIT;
            r.attempt = attempt;
            record_write(&next, &r);
            buf_done(&b);
            b = next;
            r = parsed(buf_span(&b));
            assert_int_equal(r.kind, RECORD_WRAPPED);
            assert_int_equal(r.attempt, attempt);
            assert_same_bytes(r.job, jobs[i]);
        }
        assert_int_equal(record_unwrap(&r, &out, NULL), 0);
        assert_same_bytes(buf_span(&out), jobs[i]);
        buf_done(&b);
        buf_done(&out);
    }
}

static void what_only_looks_like_a_wrapper_is_a_document(void **state)
{
    (void)state;
    static const struct span cases[] = {
        T(""),
        T("{"),
        T("{\"v\":"),
        T("{\"v\":1"),
        T("{\"v\":1}"),
        T("{\"v\":1,\"type\":\"t\"}"),
        T("{\"v\":2,\"type\":\"t\"}"),
        T("{\"v\":1,\"job_bytes\":"),
        T("{\"v\":1,\"job_bytes\":2}"),
        T("{\"v\":1,\"job_bytes\":2,\"job\":{}"),
        T("{\"v\":1,\"job_bytes\":2,\"job\":{}} "),
        T(" {\"v\":1,\"job_bytes\":2,\"job\":{}}"),
        T("{ \"v\":1,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\": 1,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\": 2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2 ,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"job\": {}}"),
        T("{\"v\":1,\"job_bytes\":2, \"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":3,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":1,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":02,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":-2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2.0,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":\"2\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":999999999999999999,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":9999999999999999999,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":18446744073709551618,\"job\":{}}"),
        T("{\"v\":01,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":0,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":-1,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":1.0,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":4294967297,\"job_bytes\":2,\"job\":{}}"),
        T("{\"job_bytes\":2,\"v\":1,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"uid\":5,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"uid\":null,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"uid\":\"a\\u0000\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"attempt\":\"1\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"attempt\":1.5,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"attempt\":1e3,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"attempt\":1,\"attempt\":2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"attempt\":1,\"\\u0061ttempt\":2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"dead_at\":\"2026\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"error\":\"x\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"history\":{},\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"queue\":1,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"v\":1,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"job_bytes\":2,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"job\":{},\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"raw\":\"x\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,x,\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"a\":1},\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"a\":\"\xff\",\"job\":{}}"),
        T("{\"v\":1,\"job_bytes\":2,\"a\":\"\0\",\"job\":{}}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":\"xy\"}"),
        T("{\"v\":1,\"raw_bytes\":2,\"raw\":\"x\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":x}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":1}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":\"x\",\"uid\":\"u\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":\"x\",\"raw\":\"x\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":\"x\",\"raw64\":\"eA==\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"uid\":\"u\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"job\":\"x\"}"),
        T("{\"v\":1,\"raw_bytes\":1,\"raw\":\"x\"} "),
        T("[\"v\",1]"),
        T("\xff"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *copy = xmemdup(cases[i].ptr, cases[i].len);
        struct span bytes = {copy, cases[i].len};
        struct record r = parsed(bytes);
        if (r.kind != RECORD_PLAIN)
            fail_msg("taken for a wrapper: %s", cases[i].ptr);
        assert_same_bytes(r.job, bytes);
        struct record nothing = {.job = bytes};
        assert_same(&r, &nothing);
        free(copy);
    }
}

static void counters_and_times_are_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t counter, time_ms;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"7", 7, 7},
        {"-1", 0, 0},
        {"-9223372036854775808", 0, 0},
        {"1000000", 1000000, 1000000},
        {"1000001", 1000000, 1000001},
        {"9223372036854775807", 1000000, WHEN_MAX_TIME_MS},
        {"99999999999999999999999", 1000000, WHEN_MAX_TIME_MS},
        {"-99999999999999999999999", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *n = cases[i].text;
        struct buf b = BUF_INIT;
        buf_printf(&b,
                   "{\"v\":1,\"job_bytes\":2,\"attempt\":%s,\"crashes\":%s,\"lost\":%s,"
                   "\"snoozes\":%s,\"interrupted\":%s,\"dead_at\":%s,\"failed_at\":%s,\"job\":{}}",
                   n, n, n, n, n, n, n);
        struct record r = parsed(buf_span(&b));
        assert_int_equal(r.kind, RECORD_WRAPPED);
        assert_int_equal(r.attempt, cases[i].counter);
        assert_int_equal(r.crashes, cases[i].counter);
        assert_int_equal(r.lost, cases[i].counter);
        assert_int_equal(r.snoozes, cases[i].counter);
        assert_int_equal(r.interrupted, cases[i].counter);
        assert_int_equal(r.dead_at_ms, cases[i].time_ms);
        assert_int_equal(r.failed_at_ms, cases[i].time_ms);
        buf_done(&b);
    }
    struct record big = {.job = SPAN_OF_STR("{}"), .attempt = INT_MAX};
    struct buf b = BUF_INIT;
    record_write(&b, &big);
    assert_non_null(strstr(b.data, "\"attempt\":1000000,"));
    buf_done(&b);
}

static void unknown_members_of_our_version_are_ignored(void **state)
{
    (void)state;
    struct record r = parsed(SPAN_OF_STR("{\"v\":1,\"job_bytes\":2,\"uid\":\"u\",\"later\":{\"a\":"
                                         "[1]},\"later\":2,\"attempt\":3,\"job\":{}}"));
    assert_int_equal(r.kind, RECORD_WRAPPED);
    assert_string_equal(r.uid, "u");
    assert_int_equal(r.attempt, 3);
    assert_same_bytes(r.job, SPAN_OF_STR("{}"));
}

static void a_newer_version_is_kept_whole(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"v\":2,\"job_bytes\":2,\"job\":{}}",
        "{\"v\":999999999,\"job_bytes\":2,\"uid\":{},\"something\":{}}",
        "{\"v\":2,\"raw_bytes\":2,\"raw\":\"ab\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct record r = parsed(SPAN_OF_STR(cases[i]));
        assert_int_equal(r.kind, RECORD_NEWER);
        struct buf b = BUF_INIT;
        assert_int_equal(record_unwrap(&r, &b, NULL), 0);
        assert_string_equal(b.data, cases[i]);
        buf_done(&b);
    }
}

static void a_head_has_its_limit(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct buf b = BUF_INIT;
        buf_add_str(&b, "{\"v\":1,\"job_bytes\":2,\"x\":\"");
        size_t fill = RECORD_HEAD_BYTES - b.len - 1 + (size_t)over;
        memset(buf_reserve(&b, fill), 'x', fill);
        buf_grown(&b, fill);
        buf_add_str(&b, "\",\"job\":{}}");
        assert_int_equal(parsed(buf_span(&b)).kind, over ? RECORD_PLAIN : RECORD_WRAPPED);
        buf_done(&b);
    }
}

/* limits.nesting is about documents; what we wrote stays readable below it. */
static void a_low_depth_limit_does_not_hide_our_wrapper(void **state)
{
    (void)state;
    struct record r;
    record_parse(SPAN_OF_STR("{\"v\":1,\"job_bytes\":2,\"history\":[{\"a\":{}}],\"job\":{}}"), 1,
                 &r);
    assert_int_equal(r.kind, RECORD_WRAPPED);
}

static void bytes_that_are_no_json_are_kept(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        bool raw64;
        const char *want;
    } cases[] = {
        {T(""), false, "{\"v\":1,\"raw_bytes\":0,\"uid\":\"u\",\"raw\":\"\"}"},
        {T("hello \"you\"\n"), false,
         "{\"v\":1,\"raw_bytes\":12,\"uid\":\"u\",\"raw\":\"hello \\\"you\\\"\\n\"}"},
        {T("{\"type\":"), false,
         "{\"v\":1,\"raw_bytes\":8,\"uid\":\"u\",\"raw\":\"{\\\"type\\\":\"}"},
        {T("\xc3\xa4\x7f\x01"), false,
         "{\"v\":1,\"raw_bytes\":4,\"uid\":\"u\",\"raw\":\"\xc3\xa4\\u007f\\u0001\"}"},
        {T("a\0b"), true, "{\"v\":1,\"raw_bytes\":3,\"uid\":\"u\",\"raw64\":\"YQBi\"}"},
        {T("\xff\xfe"), true, "{\"v\":1,\"raw_bytes\":2,\"uid\":\"u\",\"raw64\":\"//4=\"}"},
        {T("\xed\xa0\x80"), true, "{\"v\":1,\"raw_bytes\":3,\"uid\":\"u\",\"raw64\":\"7aCA\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf storage = BUF_INIT, b = BUF_INIT, out = BUF_INIT;
        struct record r;
        record_from_raw(cases[i].bytes, &storage, &r);
        assert_int_equal(r.kind, RECORD_RAW);
        assert_int_equal(r.raw64, cases[i].raw64);
        memcpy(r.uid, "u", 2);
        record_write(&b, &r);
        assert_string_equal(b.data, cases[i].want);
        assert_int_equal(json_validate(buf_span(&b), DEPTH, NULL, NULL), 0);
        struct record again = parsed(buf_span(&b));
        assert_int_equal(again.kind, RECORD_RAW);
        assert_same(&r, &again);
        assert_int_equal(record_unwrap(&again, &out, NULL), 0);
        assert_same_bytes(buf_span(&out), cases[i].bytes);
        buf_done(&storage);
        buf_done(&b);
        buf_done(&out);
    }
}

static void every_byte_survives_as_raw(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 2000; round++) {
        char bytes[64];
        size_t len = (size_t)round % sizeof bytes;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (char)(round % 2 ? seed >> 24 : (seed >> 24) % 127 + 1);
        }
        struct buf storage = BUF_INIT, b = BUF_INIT, out = BUF_INIT;
        struct record r;
        record_from_raw((struct span){bytes, len}, &storage, &r);
        record_write(&b, &r);
        struct record again = parsed(buf_span(&b));
        assert_int_equal(again.kind, RECORD_RAW);
        assert_int_equal(record_unwrap(&again, &out, NULL), 0);
        assert_same_bytes(buf_span(&out), (struct span){bytes, len});
        buf_done(&storage);
        buf_done(&b);
        buf_done(&out);
    }
}

static void what_is_no_base64_is_not_unwrapped(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "e", "eA", "eA=", "eB==", "=eA=", "e===", "eA==eA==", "eHg=", "e A=", "e*A=", "", "eA=A"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct buf b = BUF_INIT, out = BUF_INIT;
        struct err err = {0};
        buf_printf(&b, "{\"v\":1,\"raw_bytes\":1,\"raw64\":\"%s\"}", bad[i]);
        buf_add_str(&out, "before");
        struct record r = parsed(buf_span(&b));
        assert_int_equal(r.kind, RECORD_RAW);
        assert_int_equal(record_unwrap(&r, &out, &err), -ERR_SYNTAX);
        assert_string_equal(err.text, "member \"raw64\" is no base64 of 1 bytes");
        assert_int_equal(out.len, 6);
        assert_string_equal(out.data, "before");
        buf_done(&b);
        buf_done(&out);
    }
}

static void a_failure_says_what_is_known(void **state)
{
    (void)state;
    struct buf storage = BUF_INIT;
    struct record r = {.job = SPAN_OF_STR("{}")};
    struct failure little = FAILURE_INIT;
    little.attempt = 1;
    little.at_ms = 1000;
    record_add_failure(&r, &little, &storage);
    struct failure all = {
        .kind = "exit",
        .message = T("no \"luck\"\n"),
        .attempt = 2,
        .at_ms = 2000,
        .exit_code = 0,
        .signal = 11,
        .run_ms = 5,
        .max_rss_bytes = 4096,
        .cpu_ms = 0,
        .stderr_tail = T("oops\xff"),
    };
    record_add_failure(&r, &all, &storage);
    static const char common[] =
        "{\"kind\":\"exit\",\"message\":\"no \\\"luck\\\"\\n\",\"attempt\":2,\"at\":2000,"
        "\"exit_code\":0,\"signal\":11,\"run_ms\":5,\"max_rss_bytes\":4096,\"cpu_ms\":0";
    struct buf want = BUF_INIT;
    buf_printf(&want, "%s,\"stderr\":\"oops\xef\xbf\xbd\"}", common);
    assert_same_bytes(r.error, buf_span(&want));
    buf_clear(&want);
    buf_printf(&want, "[{\"kind\":\"failed\",\"attempt\":1,\"at\":1000},%s}]", common);
    assert_same_bytes(r.history, buf_span(&want));
    buf_done(&want);
    buf_done(&storage);
}

struct attempts {
    int count, first;
};

static int on_attempt(void *arg, const struct json_member *m, struct err *err)
{
    struct attempts *a = arg;
    int64_t n;
    (void)err;
    if (json_key_is(m->key, "attempt") && json_number_int64(m->value, &n)) {
        if (a->count++ == 0)
            a->first = (int)n;
        assert_int_equal(n, a->first + a->count - 1);
    }
    return 0;
}

static int on_history(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    assert_int_equal(kind, JK_OBJECT);
    return json_object_scan(item, DEPTH, on_attempt, arg, err);
}

static void history_keeps_the_last_ten_in_order(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    buf_add_str(&bytes, "{\"type\":\"t\"}");
    for (int n = 1; n <= 25; n++) {
        struct record r = parsed(buf_span(&bytes));
        struct buf storage = BUF_INIT, next = BUF_INIT;
        struct failure f = FAILURE_INIT;
        f.attempt = n;
        f.at_ms = n;
        record_add_failure(&r, &f, &storage);
        r.attempt = n;
        record_write(&next, &r);
        buf_done(&bytes);
        buf_done(&storage);
        bytes = next;

        r = parsed(buf_span(&bytes));
        struct attempts a = {0};
        assert_int_equal(json_array_scan(r.history, DEPTH, on_history, &a, NULL), 0);
        assert_int_equal(a.count, n < RECORD_HISTORY_MAX ? n : RECORD_HISTORY_MAX);
        assert_int_equal(a.first, n - a.count + 1);
        assert_same_bytes(r.job, SPAN_OF_STR("{\"type\":\"t\"}"));
    }
    buf_done(&bytes);
}

/* The worst of messages, ten times over, leaves a record that is read back whole. */
static void the_largest_failures_fit_the_head(void **state)
{
    (void)state;
    enum { NOISE_BYTES = 100000 };
    static const int fillers[] = {0x01, 0xff, '"', 'x'};
    char *noise = xmalloc(NOISE_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(fillers); i++) {
        memset(noise, fillers[i], NOISE_BYTES);
        struct record r = {.job = SPAN_OF_STR("{}")};
        memset(r.uid, 1, RECORD_UID_BYTES);
        memset(r.id, 1, sizeof r.id - 1);
        memset(r.reason, 1, RECORD_REASON_BYTES);
        struct buf storage = BUF_INIT, b = BUF_INIT;
        for (int n = 0; n < 12; n++) {
            struct failure f = {
                .kind = "interrupted",
                .message = {noise, NOISE_BYTES},
                .stderr_tail = {noise, NOISE_BYTES},
                .attempt = INT_MAX,
                .at_ms = INT64_MAX,
                .exit_code = INT_MAX,
                .signal = INT_MAX,
                .run_ms = INT64_MAX,
                .max_rss_bytes = INT64_MAX,
                .cpu_ms = INT64_MAX,
            };
            record_add_failure(&r, &f, &storage);
        }
        record_write(&b, &r);
        struct record again = parsed(buf_span(&b));
        assert_int_equal(again.kind, RECORD_WRAPPED);
        assert_same(&r, &again);
        buf_done(&storage);
        buf_done(&b);
    }
    free(noise);
}

static void a_message_is_cut_between_characters(void **state)
{
    (void)state;
    struct buf text = BUF_INIT, storage = BUF_INIT;
    buf_add_char(&text, 'x');
    for (int i = 0; i < 3000; i++)
        buf_add_str(&text, "\xf0\x9f\x98\x80");
    struct record r = {.job = SPAN_OF_STR("{}")};
    struct failure f = FAILURE_INIT;
    f.message = buf_span(&text);
    f.stderr_tail = (struct span){text.data, text.len - 3};
    record_add_failure(&r, &f, &storage);
    /* one replacement: the tail's last character was cut before it came here */
    const char *bad = strstr(storage.data, "\xef\xbf\xbd");
    assert_non_null(bad);
    assert_null(strstr(bad + 3, "\xef\xbf\xbd"));
    assert_int_equal(strncmp(bad, "\xef\xbf\xbd\"}", 5), 0);
    buf_done(&text);
    buf_done(&storage);
}

static void a_head_that_grew_too_long_loses_history_first(void **state)
{
    (void)state;
    struct buf history = BUF_INIT, error = BUF_INIT, b = BUF_INIT;
    buf_add_str(&history, "[\"");
    buf_add_str(&error, "{\"message\":\"");
    for (int i = 0; i < 60000; i++)
        buf_add_char(&history, 'h');
    for (int i = 0; i < 10000; i++)
        buf_add_char(&error, 'e');
    buf_add_str(&history, "\"]");
    buf_add_str(&error, "\"}");
    struct record r = {.job = SPAN_OF_STR("{}"),
                       .uid = "u",
                       .error = buf_span(&error),
                       .history = buf_span(&history)};
    record_write(&b, &r);
    struct record again = parsed(buf_span(&b));
    assert_int_equal(again.kind, RECORD_WRAPPED);
    assert_int_equal(again.history.len, 0);
    assert_same_bytes(again.error, r.error);
    assert_string_equal(again.uid, "u");
    buf_done(&history);
    buf_done(&error);
    buf_done(&b);
}

static void spans_follow_their_storage_when_it_moves(void **state)
{
    (void)state;
    struct buf storage = BUF_INIT, out = BUF_INIT;
    struct record r;
    record_from_raw(SPAN_OF_STR("not json"), &storage, &r);
    for (int n = 1; n < 100; n++) {
        struct failure f = FAILURE_INIT;
        f.attempt = n;
        f.message = SPAN_OF_STR("a message that makes the storage grow");
        record_add_failure(&r, &f, &storage);
        assert_same_bytes(r.job, SPAN_OF_STR("\"not json\""));
        assert_int_equal(json_validate(r.error, DEPTH, NULL, NULL), 0);
        assert_int_equal(json_validate(r.history, DEPTH, NULL, NULL), 0);
    }
    assert_int_equal(record_unwrap(&r, &out, NULL), 0);
    assert_string_equal(out.data, "not json");
    buf_done(&storage);
    buf_done(&out);
}

static void every_prefix_of_a_record_is_a_document(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"v\":1,\"job_bytes\":12,\"uid\":\"u:1\",\"attempt\":2,\"error\":{\"kind\":\"x\"},"
        "\"history\":[{}],\"job\":{\"type\":\"t\"}}",
        "{\"v\":1,\"raw_bytes\":3,\"uid\":\"u:1\",\"raw\":\"abc\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_int_not_equal(parsed(SPAN_OF_STR(texts[i])).kind, RECORD_PLAIN);
        for (size_t len = 0; len < strlen(texts[i]); len++) {
            char *copy = xmemdup(texts[i], len);
            struct record r = parsed((struct span){copy, len});
            assert_int_equal(r.kind, RECORD_PLAIN);
            free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_its_own_record),
        cmocka_unit_test(a_full_record_has_this_form),
        cmocka_unit_test(what_is_zero_is_left_out),
        cmocka_unit_test(documents_survive_wrapping_byte_for_byte),
        cmocka_unit_test(what_only_looks_like_a_wrapper_is_a_document),
        cmocka_unit_test(counters_and_times_are_clamped),
        cmocka_unit_test(unknown_members_of_our_version_are_ignored),
        cmocka_unit_test(a_newer_version_is_kept_whole),
        cmocka_unit_test(a_head_has_its_limit),
        cmocka_unit_test(a_low_depth_limit_does_not_hide_our_wrapper),
        cmocka_unit_test(bytes_that_are_no_json_are_kept),
        cmocka_unit_test(every_byte_survives_as_raw),
        cmocka_unit_test(what_is_no_base64_is_not_unwrapped),
        cmocka_unit_test(a_failure_says_what_is_known),
        cmocka_unit_test(history_keeps_the_last_ten_in_order),
        cmocka_unit_test(the_largest_failures_fit_the_head),
        cmocka_unit_test(a_message_is_cut_between_characters),
        cmocka_unit_test(a_head_that_grew_too_long_loses_history_first),
        cmocka_unit_test(spans_follow_their_storage_when_it_moves),
        cmocka_unit_test(every_prefix_of_a_record_is_a_document),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
