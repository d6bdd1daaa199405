/* document_build: what enqueue pushes, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/document_build.h"
#include "common/json_span.h"

static void assert_builds(const struct document_parts *parts, const char *expected)
{
    struct buf out = BUF_INIT;
    struct document parsed;
    struct err err = {0};
    struct document_limits limits = DOCUMENT_LIMITS_INIT;
    document_build(&out, parts);
    assert_string_equal(out.data, expected);
    if (document_parse(buf_span(&out), &limits, &parsed, &err) != 0)
        fail_msg("%s: %s", out.data, err.text);
    buf_done(&out);
}

static void test_only_the_type_is_needed(void **state)
{
    (void)state;
    struct document_parts p = DOCUMENT_PARTS_INIT;
    p.type = "noop";
    assert_builds(&p, "{\"type\":\"noop\"}");
}

static void test_args_pass_unchanged(void **state)
{
    (void)state;
    struct document_parts p = DOCUMENT_PARTS_INIT;
    p.type = "calc";
    p.id = "a\"b";
    p.args = SPAN_OF_STR("{\"n\":12345678901234567890, \"x\":0.1,\"e\":[] }");
    assert_builds(&p, "{\"type\":\"calc\",\"id\":\"a\\\"b\","
                      "\"args\":{\"n\":12345678901234567890, \"x\":0.1,\"e\":[] }}");
}

static void test_every_member(void **state)
{
    (void)state;
    const char *tags[] = {"a", "b c"};
    const char *keys[] = {"k", "traceparent"}, *values[] = {"v=1", ""};
    struct document_parts p = DOCUMENT_PARTS_INIT;
    p.type = "t";
    p.at_ms = 1795000000123;
    p.expires_at_ms = 1795000001000;
    p.retries = 0;
    p.backoff_type = "exp";
    p.backoff_base_ms = 1500;
    p.backoff_max_ms = 60000;
    p.timeout_ms = 90050;
    p.no_dead = true;
    p.unique_key = "order:42";
    p.unique_ttl_ms = 3600000;
    p.unique_until = "start";
    p.group = "g";
    p.keep_ms = 86400000;
    p.reply_to = "reply:1";
    p.on_success = SPAN_OF_STR("{\"type\":\"next\"}");
    p.on_failure = SPAN_OF_STR("{\"type\":\"sorry\"}");
    p.tags = tags;
    p.tag_count = 2;
    p.meta_keys = keys;
    p.meta_values = values;
    p.meta_count = 2;
    p.enqueued_at_ms = 1795000000000;
    assert_builds(&p, "{\"type\":\"t\",\"at\":1795000000123,\"expires_at\":1795000001000,"
                      "\"retry\":0,\"backoff\":{\"type\":\"exp\",\"base\":1.5,\"max\":60},"
                      "\"timeout\":90.05,\"dead\":false,"
                      "\"unique\":{\"key\":\"order:42\",\"ttl\":3600,\"until\":\"start\"},"
                      "\"group\":\"g\",\"keep\":86400,\"reply_to\":\"reply:1\","
                      "\"on_success\":{\"type\":\"next\"},\"on_failure\":{\"type\":\"sorry\"},"
                      "\"tags\":[\"a\",\"b c\"],\"meta\":{\"k\":\"v=1\",\"traceparent\":\"\"},"
                      "\"enqueued_at\":1795000000000}");
}

static void test_what_is_built_reads_back(void **state)
{
    (void)state;
    struct document_parts p = DOCUMENT_PARTS_INIT;
    struct document_limits limits = DOCUMENT_LIMITS_INIT;
    struct document d;
    struct buf out = BUF_INIT;
    p.type = "t";
    p.at_ms = 12345; /* early times must not be taken for milliseconds or the like */
    p.timeout_ms = 1;
    p.backoff_type = "fixed";
    p.backoff_base_ms = 250;
    p.retries = 7;
    document_build(&out, &p);
    assert_int_equal(document_parse(buf_span(&out), &limits, &d, NULL), 0);
    assert_int_equal(d.at_ms, 12345);
    assert_int_equal(d.timeout_ms, 1);
    assert_int_equal(d.backoff.base_ms, 250);
    assert_int_equal(d.backoff.type, BACKOFF_FIXED);
    assert_int_equal(d.retries, 7);
    buf_done(&out);
}

static void test_backoff_text(void **state)
{
    (void)state;
    struct document_parts p = DOCUMENT_PARTS_INIT;
    struct err err = {0};
    char type[8];
    assert_int_equal(document_parts_backoff(&p, "exp:2s:1h", type, &err), 0);
    assert_string_equal(p.backoff_type, "exp");
    assert_int_equal(p.backoff_base_ms, 2000);
    assert_int_equal(p.backoff_max_ms, 3600000);
    assert_int_equal(document_parts_backoff(&p, "poly", type, &err), 0);
    assert_int_equal(p.backoff_base_ms, -1);

    const char *bad[] = {"", "expo", "exponential:1s", "exp:", "exp:x", "exp:1s:2s:3s", ":1s"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct document_parts untouched = p;
        struct err why = {0};
        assert_true(document_parts_backoff(&p, bad[i], type, &why) < 0);
        assert_true(why.text[0] != '\0');
        assert_memory_equal(&p, &untouched, sizeof p);
    }
}

static void test_unique_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t key_len;
        int64_t ttl_ms;
    } cases[] = {
        {"k", 1, -1},      {"k:5m", 1, 300000}, {"order:42", 8, -1}, {"order:42:1h", 8, 3600000},
        {"a:5m:", 4, -1},  {":5m", 3, -1},      {"a:b", 3, -1},      {"a:1x", 4, -1},
        {"user:m", 6, -1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ttl;
        size_t len = document_split_unique(cases[i].text, &ttl);
        if (len != cases[i].key_len || ttl != cases[i].ttl_ms)
            fail_msg("%s: key of %zu, ttl %lld", cases[i].text, len, (long long)ttl);
    }
}

static void test_trim(void **state)
{
    (void)state;
    struct span s = json_trim(SPAN_OF_STR(" \t\r\n [1, 2] \n"));
    assert_int_equal(s.len, 6);
    assert_memory_equal(s.ptr, "[1, 2]", 6);
    assert_int_equal(json_trim(SPAN_OF_STR(" \n")).len, 0);
    assert_int_equal(json_trim((struct span){0}).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_type_is_needed),
        cmocka_unit_test(test_args_pass_unchanged),
        cmocka_unit_test(test_every_member),
        cmocka_unit_test(test_what_is_built_reads_back),
        cmocka_unit_test(test_backoff_text),
        cmocka_unit_test(test_unique_text),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
