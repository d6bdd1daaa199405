#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static void an_empty_buffer_is_an_empty_string_and_owns_nothing(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    assert_string_equal(b.data, "");
    assert_int_equal(b.cap, 0);
    buf_add(&b, NULL, 0);
    buf_clear(&b);
    buf_consume(&b, 0);
    buf_done(&b);
    buf_done(&b);
    assert_string_equal(b.data, "");
}

static void appended_bytes_are_kept_in_order_with_a_nul_behind(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_add(&b, "a\0b", 3);
    buf_add_str(&b, "cd");
    buf_add_char(&b, 'e');
    buf_add_span(&b, (struct span){"fgh", 2});
    buf_printf(&b, "%d-%s", 7, "x");
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "a\0bcdefg7-x", 12);
    buf_done(&b);
}

static void growth_keeps_what_was_there(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, (char)('a' + i % 26));
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_int_equal(b.data[b.len], 0);
    buf_done(&b);
}

static void integers_are_written_to_their_limits(void **state)
{
    (void)state;
    static const struct {
        int64_t v;
        const char *want;
    } cases[] = {{0, "0"},
                 {-1, "-1"},
                 {1234567890, "1234567890"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        buf_add_int(&b, cases[i].v);
        assert_string_equal(b.data, cases[i].want);
        buf_done(&b);
    }
    char longest[DECIMAL_BYTES_MAX];
    assert_ptr_equal(decimal_write(longest, UINT64_MAX), longest + sizeof longest);
    assert_memory_equal(longest, "18446744073709551615", sizeof longest);
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_add_str(&b, "hello world");
    buf_consume(&b, 6);
    assert_string_equal(b.data, "world");
    buf_consume(&b, 5);
    assert_string_equal(b.data, "");
    buf_done(&b);
}

static void trimming_gives_memory_back_only_if_the_content_fits(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_reserve(&b, 10000);
    buf_add_str(&b, "abc");
    buf_trim(&b, 3);
    assert_true(b.cap > 10000);
    buf_trim(&b, 100);
    assert_int_equal(b.cap, 100);
    assert_string_equal(b.data, "abc");
    buf_clear(&b);
    buf_trim(&b, 10);
    assert_int_equal(b.cap, 0);
    assert_string_equal(b.data, "");
}

static void detached_memory_is_the_callers(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    char *nothing = buf_detach(&b);
    assert_string_equal(nothing, "");
    free(nothing);
    buf_add_str(&b, "text");
    char *text = buf_detach(&b);
    assert_string_equal(text, "text");
    assert_int_equal(b.len, 0);
    free(text);
}

static void json_strings_are_escaped_and_always_utf8(void **state)
{
    (void)state;
    static const struct {
        struct span in;
        const char *want;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\n\t\r\x01\x7f\0", 6}, "\"\\n\\t\\u000d\\u0001\\u007f\\u0000\""},
        {{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {{"a\xff", 2}, "\"a\xef\xbf\xbd\""},
        {{"\xc0\xaf", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong */
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
        {{"\xf4\x90\x80\x80", 1}, "\"\xef\xbf\xbd\""}, /* cut short */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        buf_add_json_string(&b, cases[i].in);
        assert_string_equal(b.data, cases[i].want);
        buf_done(&b);
    }
}

static void base64_pads_to_groups_of_four(void **state)
{
    (void)state;
    static const struct {
        struct span in;
        const char *want;
    } cases[] = {{{"", 0}, ""},        {{"f", 1}, "Zg=="},        {{"fo", 2}, "Zm8="},
                 {{"foo", 3}, "Zm9v"}, {{"foob", 4}, "Zm9vYg=="}, {{"\xff\xfe\xfd", 3}, "//79"},
                 {{"\0\0", 2}, "AAA="}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        buf_add_base64(&b, cases[i].in);
        assert_string_equal(b.data, cases[i].want);
        buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_an_empty_string_and_owns_nothing),
        cmocka_unit_test(appended_bytes_are_kept_in_order_with_a_nul_behind),
        cmocka_unit_test(growth_keeps_what_was_there),
        cmocka_unit_test(integers_are_written_to_their_limits),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(trimming_gives_memory_back_only_if_the_content_fits),
        cmocka_unit_test(detached_memory_is_the_callers),
        cmocka_unit_test(json_strings_are_escaped_and_always_utf8),
        cmocka_unit_test(base64_pads_to_groups_of_four),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
