#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/outcome.h"

static void every_outcome_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(outcome_name(OUTCOME_NONE), "none");
    assert_string_equal(outcome_name(OUTCOME_DONE), "done");
    assert_string_equal(outcome_name(OUTCOME_UNKNOWN_TYPE), "unknown-type");
}

/* The number comes from a page that untrusted code can write. */
static void what_is_no_outcome_is_a_question_mark(void **state)
{
    (void)state;
    assert_string_equal(outcome_name(OUTCOME_COUNT), "?");
    assert_string_equal(outcome_name((enum outcome)255), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome_has_its_name),
        cmocka_unit_test(what_is_no_outcome_is_a_question_mark),
    };
    return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
