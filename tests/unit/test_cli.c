/* cli: one table for reading options and for --help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/cli.h"

enum { OPT_LONG = CLI_LONG_ONLY, OPT_FLAG };

static const struct cli_option table[] = {
    CLI_HEADING("First:"),
    {'u', "url", "URL", "Where.", 0},
    {OPT_LONG, "long-name-with-value", "VALUE", "Far right.\nSecond line.", 1},
    CLI_HEADING_OF(2, "Second:"),
    {OPT_FLAG, "flag", NULL, "A flag.", 2},
    CLI_END,
};

static void test_options_and_operands_mix(void **state)
{
    (void)state;
    char *argv[] = {"prog", "one", "--url=x", "two", "--flag", "-u", "y", "--", "-z", NULL};
    struct cli c;
    struct err err = {0};
    char *value;
    cli_init(&c, table, 9, argv);
    assert_int_equal(cli_next(&c, &value, &err), 'u');
    assert_string_equal(value, "x");
    assert_int_equal(cli_next(&c, &value, &err), OPT_FLAG);
    assert_null(value);
    assert_int_equal(cli_next(&c, &value, &err), 'u');
    assert_string_equal(value, "y");
    assert_int_equal(cli_next(&c, &value, &err), 0);
    int first = cli_operands(&c);
    assert_int_equal(first, 6);
    assert_string_equal(argv[first], "one");
    assert_string_equal(argv[first + 1], "two");
    assert_string_equal(argv[first + 2], "-z");
    cli_done(&c);
}

static void assert_refused(char *word, int code, const char *text)
{
    char *argv[] = {"prog", word, NULL};
    struct cli c;
    struct err err = {0};
    char *value;
    cli_init(&c, table, 2, argv);
    assert_int_equal(cli_next(&c, &value, &err), -code);
    assert_string_equal(err.text, text);
    cli_done(&c);
}

static void test_bad_options_are_named(void **state)
{
    (void)state;
    assert_refused("--nope", ERR_UNKNOWN, "no such option: --nope");
    assert_refused("--nope=secret", ERR_UNKNOWN, "no such option: --nope");
    assert_refused("-x", ERR_UNKNOWN, "no such option: -x");
    assert_refused("--url", ERR_MISSING, "option --url needs a value (URL)");
    assert_refused("-u", ERR_MISSING, "option --url needs a value (URL)");
    assert_refused("--flag=1", ERR_INVALID, "option --flag takes no value");
}

static void test_help_follows_the_table(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    cli_help_options(&out, table, 0);
    assert_string_equal(out.data, "\nFirst:\n"
                                  "  -u, --url URL               Where.\n"
                                  "      --long-name-with-value VALUE\n"
                                  "                              Far right.\n"
                                  "                              Second line.\n"
                                  "\nSecond:\n"
                                  "      --flag                  A flag.\n");
    buf_clear(&out);
    cli_help_options(&out, table, 1);
    assert_null(strstr(out.data, "--flag"));
    assert_non_null(strstr(out.data, "--long-name"));
    buf_done(&out);
}

static void test_integers(void **state)
{
    (void)state;
    struct err err = {0};
    int64_t v = 7;
    assert_int_equal(cli_int("42", "--n", 0, 100, &v, &err), 0);
    assert_int_equal(v, 42);
    const char *bad[] = {"", "-", "x", "1x", " 1", "+1", "101", "-1", "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err why = {0};
        assert_true(cli_int(bad[i], "--n", 0, 100, &v, &why) < 0);
        assert_non_null(strstr(why.text, "--n"));
        assert_int_equal(v, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_operands_mix),
        cmocka_unit_test(test_bad_options_are_named),
        cmocka_unit_test(test_help_follows_the_table),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
