#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/token.h"

#define HEX "0123456789abcdef0123456789abcdef"

static void incarnations_are_random_and_read_back(void **state)
{
    (void)state;
    struct incarnation a, b, again;
    struct err err = {0};
    assert_int_equal(incarnation_new(&a, &err), 0);
    assert_int_equal(incarnation_new(&b, &err), 0);
    assert_int_equal(strlen(a.hex), INCARNATION_BYTES);
    assert_false(incarnation_equal(&a, &b));
    assert_true(incarnation_parse(SPAN_OF_STR(a.hex), &again));
    assert_true(incarnation_equal(&a, &again));
}

static void only_32_lower_case_hex_digits_are_an_incarnation(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0",
        "0123456789abcdef0123456789abcde",
        HEX "0",
        "0123456789ABCDEF0123456789abcdef",
        "g123456789abcdef0123456789abcdef",
        " 123456789abcdef0123456789abcdef",
    };
    struct incarnation inc = {"untouched"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(incarnation_parse(SPAN_OF_STR(bad[i]), &inc));
    assert_string_equal(inc.hex, "untouched");
}

static void tokens_read_back_up_to_the_last_sequence_number(void **state)
{
    (void)state;
    static const uint64_t seqs[] = {0, 1, 9, 10, 4294967296, TOKEN_SEQ_MAX};
    struct incarnation inc = {HEX}, got;
    for (size_t i = 0; i < ARRAY_COUNT(seqs); i++) {
        char text[TOKEN_MAX_BYTES];
        uint64_t seq;
        size_t len = token_format(&inc, seqs[i], text);
        assert_int_equal(len, strlen(text));
        assert_true(token_parse((struct span){text, len}, &got, &seq));
        assert_true(seq == seqs[i]);
        assert_true(incarnation_equal(&got, &inc));
    }
}

static void a_token_has_one_spelling(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        HEX,
        HEX ":",
        HEX ":01",
        HEX ":00",
        HEX ":-1",
        HEX ":+1",
        HEX ": 1",
        HEX ":1 ",
        HEX ":1x",
        HEX "-1",
        HEX ":9007199254740992",
        HEX ":99999999999999999",
        HEX ":18446744073709551617",
        HEX ":123456789012345678901234567890",
        "X123456789abcdef0123456789abcdef:1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct incarnation inc = {"untouched"};
        uint64_t seq = 42;
        assert_false(token_parse(SPAN_OF_STR(bad[i]), &inc, &seq));
        assert_int_equal(seq, 42);
        assert_string_equal(inc.hex, "untouched");
    }
}

static uint64_t time_of(const char *uuid)
{
    unsigned long long high, low;
    assert_int_equal(sscanf(uuid, "%8llx-%4llx", &high, &low), 2);
    return high << 16 | low;
}

static void a_uuid_has_its_time_version_and_variant(void **state)
{
    (void)state;
    struct uuid_source src = {0};
    char id[UUID_BYTES + 1];
    assert_int_equal(uuid_v7(&src, 0x0123456789ab, id, NULL), 0);
    assert_int_equal(strlen(id), UUID_BYTES);
    assert_memory_equal(id, "01234567-89ab-7", 15);
    assert_non_null(strchr("89ab", id[19]));
    for (int i = 0; i < UUID_BYTES; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(id[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", id[i]));
}

static void uuids_ascend_while_the_clock_stands_or_steps_back(void **state)
{
    (void)state;
    static const int64_t steps[] = {1000, 1000, 1000, 1001, 999, 0, -5, 1001, 1002, 500};
    struct uuid_source src = {0};
    char last[UUID_BYTES + 1] = "", id[UUID_BYTES + 1];
    for (int round = 0; round < 1000; round++)
        for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
            assert_int_equal(uuid_v7(&src, steps[i], id, NULL), 0);
            assert_true(strcmp(last, id) < 0);
            memcpy(last, id, sizeof id);
        }
}

static void a_full_counter_borrows_the_next_millisecond(void **state)
{
    (void)state;
    struct uuid_source src = {.last_ms = 1000, .counter = (UINT64_C(1) << 42) - 2};
    char a[UUID_BYTES + 1], b[UUID_BYTES + 1];
    assert_int_equal(uuid_v7(&src, 1000, a, NULL), 0);
    assert_int_equal(time_of(a), 1000);
    assert_int_equal(uuid_v7(&src, 1000, b, NULL), 0);
    assert_int_equal(time_of(b), 1001);
    assert_true(strcmp(a, b) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(incarnations_are_random_and_read_back),
        cmocka_unit_test(only_32_lower_case_hex_digits_are_an_incarnation),
        cmocka_unit_test(tokens_read_back_up_to_the_last_sequence_number),
        cmocka_unit_test(a_token_has_one_spelling),
        cmocka_unit_test(a_uuid_has_its_time_version_and_variant),
        cmocka_unit_test(uuids_ascend_while_the_clock_stands_or_steps_back),
        cmocka_unit_test(a_full_counter_borrows_the_next_millisecond),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
