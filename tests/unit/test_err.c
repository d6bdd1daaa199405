#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

static void the_first_error_wins(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_TYPE, "first %d", 1), -ERR_TYPE);
    assert_int_equal(err_set(&err, ERR_RANGE, "second"), -ERR_RANGE);
    assert_int_equal(err.code, ERR_TYPE);
    assert_string_equal(err.text, "first 1");
}

static void an_error_may_be_nobodys(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_TYPE, "x"), -ERR_TYPE);
    assert_int_equal(err_errno(NULL, ERR_SYSTEM, "x"), -ERR_SYSTEM);
    assert_int_equal(err_at(NULL, ERR_SYNTAX, "f", 1, 1, "x"), -ERR_SYNTAX);
    err_prefix(NULL, "x");
}

static void newlines_in_a_message_become_blanks(void **state)
{
    (void)state;
    struct err err = {0};
    (void)err_set(&err, ERR_TYPE, "a\nb\rc"); /* its code is not the matter here */
    assert_string_equal(err.text, "a b c");
}

static void errno_is_spelt_out(void **state)
{
    (void)state;
    struct err err = {0};
    errno = ENOENT;
    (void)err_errno(&err, ERR_SYSTEM, "open %s", "x"); /* the text is the matter here */
    char want[200];
    snprintf(want, sizeof want, "open x: %s", strerror(ENOENT));
    assert_string_equal(err.text, want);
}

static void prefixes_pile_up_and_never_overflow(void **state)
{
    (void)state;
    struct err err = {0};
    err_prefix(&err, "nothing to say yet");
    assert_string_equal(err.text, "");
    (void)err_set(&err, ERR_TYPE, "inner"); /* as above */
    err_prefix(&err, "middle");
    err_prefix(&err, "outer");
    assert_string_equal(err.text, "outer: middle: inner");

    char big[2 * ERR_TEXT_BYTES];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    err_prefix(&err, "%s", big);
    assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
    err_prefix(&err, "again");
    assert_int_equal(strncmp(err.text, "again: xxx", 10), 0);
    assert_true(strlen(err.text) < ERR_TEXT_BYTES);
}

static void a_place_is_shown_as_far_as_it_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int line, col;
        const char *want;
    } cases[] = {
        {"a.yaml", 3, 7, "a.yaml:3:7: bad"},
        {"a.yaml", 3, 0, "a.yaml:3: bad"},
        {"a.yaml", 0, 0, "a.yaml: bad"},
        {"", 3, 7, "bad"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        char out[100];
        assert_int_equal(
            err_at(&err, ERR_SYNTAX, cases[i].file, cases[i].line, cases[i].col, "bad"),
            -ERR_SYNTAX);
        assert_string_equal(err_format(&err, out, sizeof out), cases[i].want);
        assert_string_equal(err_format(&err, out, 4)[0] == '\0' ? "" : "cut", "cut");
        assert_int_equal(strlen(out), 3);
    }
}

static void codes_have_names_of_either_sign(void **state)
{
    (void)state;
    assert_string_equal(err_name(0), "NONE");
    assert_string_equal(err_name(ERR_SYNTAX), "SYNTAX");
    assert_string_equal(err_name(-ERR_CLOSED), "CLOSED");
    assert_string_equal(err_name(10000), "?");
    assert_string_equal(err_name(-10000), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(an_error_may_be_nobodys),
        cmocka_unit_test(newlines_in_a_message_become_blanks),
        cmocka_unit_test(errno_is_spelt_out),
        cmocka_unit_test(prefixes_pile_up_and_never_overflow),
        cmocka_unit_test(a_place_is_shown_as_far_as_it_is_known),
        cmocka_unit_test(codes_have_names_of_either_sign),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
