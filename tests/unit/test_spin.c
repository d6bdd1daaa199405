#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/spin.h"

static void too_few_in_a_turn_do_not_keep_it_awake(void **state)
{
    (void)state;
    struct spin s = {0};
    for (int64_t now = 1; now < 1000000; now += SPIN_US / 2) {
        s.returned += SPIN_JOBS - 1;
        assert_false(spin_wanted(&s, now));
    }
}

static void many_at_once_keep_it_awake_for_a_while(void **state)
{
    (void)state;
    struct spin s = {.returned = SPIN_JOBS};
    assert_true(spin_wanted(&s, 1000));
    assert_true(spin_wanted(&s, 1000 + SPIN_US - 1));
    assert_false(spin_wanted(&s, 1000 + SPIN_US));
    assert_false(spin_wanted(&s, 1000 + SPIN_US + 1));
}

static void awake_it_adds_up_what_comes_in_pieces(void **state)
{
    (void)state;
    struct spin s = {.returned = SPIN_JOBS};
    int64_t now = 1000;
    assert_true(spin_wanted(&s, now));
    for (int i = 0; i < 100; i++) {
        now += SPIN_US / 4;
        s.returned += SPIN_JOBS / 2;
        assert_true(spin_wanted(&s, now));
    }
    now += SPIN_US / 2;
    s.returned = SPIN_JOBS - 1;
    assert_true(spin_wanted(&s, now));
    assert_false(spin_wanted(&s, now + SPIN_US)); /* too few in that time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_few_in_a_turn_do_not_keep_it_awake),
        cmocka_unit_test(many_at_once_keep_it_awake_for_a_while),
        cmocka_unit_test(awake_it_adds_up_what_comes_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
