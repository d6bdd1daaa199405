/* Who is dead, without clocks: windows of healthy observation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "worker/liveness.h"
#include "worker/observe.h"

static struct incarnation named(char c)
{
    struct incarnation inc;
    memset(inc.hex, c, INCARNATION_BYTES);
    inc.hex[INCARNATION_BYTES] = '\0';
    return inc;
}

/* A look that sees `inc` at `counter` (OBSERVE_ABSENT = not at all). */
static void look(struct observe *o, char c, int64_t counter, int64_t now_ms)
{
    struct incarnation inc = named(c);
    observe_begin(o);
    if (counter != OBSERVE_ABSENT)
        observe_see(o, &inc, counter);
    observe_end(o, now_ms);
}

static int dead_count(const struct observe *o, int64_t after_ms)
{
    int index = 0, n = 0;
    while (observe_dead(o, &index, after_ms) != NULL)
        n++;
    return n;
}

static void test_a_still_counter_is_dead_after_the_window(void **state)
{
    (void)state;
    struct observe o;
    observe_init(&o);
    for (int i = 0; i <= 10; i++) {
        assert_int_equal(dead_count(&o, 10000), 0);
        look(&o, 'a', 7, 1000 + i * 1000);
    }
    assert_int_equal(dead_count(&o, 10000), 1);
    observe_done(&o);
}

static void test_a_beat_begins_the_window_anew(void **state)
{
    (void)state;
    struct observe o;
    observe_init(&o);
    for (int i = 0; i < 100; i++) {
        look(&o, 'a', i / 9, 1000 + i * 1000); /* beats every 9 s */
        assert_int_equal(dead_count(&o, 10000), 0);
    }
    observe_done(&o);
}

static void test_a_gap_begins_all_windows_anew(void **state)
{
    (void)state;
    struct observe o;
    observe_init(&o);
    for (int i = 0; i < 10; i++)
        look(&o, 'a', 7, 1000 + i * 1000);
    observe_gap(&o);
    for (int i = 10; i < 20; i++) {
        look(&o, 'a', 7, 1000 + i * 1000);
        assert_int_equal(dead_count(&o, 10000), 0);
    }
    look(&o, 'a', 7, 21000);
    assert_int_equal(dead_count(&o, 10000), 1);
    observe_done(&o);
}

static void test_a_long_pause_between_looks_is_a_gap(void **state)
{
    (void)state;
    struct observe o;
    observe_init(&o);
    look(&o, 'a', 7, 1000);
    look(&o, 'a', 7, 1000 + 3600 * 1000); /* suspended for an hour */
    assert_int_equal(dead_count(&o, 10000), 0);
    observe_done(&o);
}

static void test_one_that_leaves_is_forgotten(void **state)
{
    (void)state;
    struct observe o;
    observe_init(&o);
    look(&o, 'a', 7, 1000);
    look(&o, 'a', OBSERVE_ABSENT, 2000);
    assert_int_equal(o.count, 0);
    observe_done(&o);
}

static void test_an_unlisted_owner_is_dead_when_it_stays_absent(void **state)
{
    (void)state;
    struct observe o;
    struct incarnation a = named('a');
    observe_init(&o);
    look(&o, 'b', 1, 1000);
    observe_unlisted(&o, &a, OWNER_SILENT);
    for (int i = 2; i < 12; i++)
        look(&o, 'b', i, i * 1000);
    assert_int_equal(dead_count(&o, 10000), 0);
    look(&o, 'b', 12, 12000);
    int index = 0;
    const struct observe_peer *p = observe_dead(&o, &index, 10000);
    assert_non_null(p);
    assert_int_equal(p->counter, OBSERVE_ABSENT);
    assert_true(incarnation_equal(&p->inc, &a));
    observe_done(&o);
}

static void test_an_unlisted_owner_that_beats_is_alive(void **state)
{
    (void)state;
    struct observe o;
    struct incarnation a = named('a');
    observe_init(&o);
    look(&o, 'b', 1, 1000);
    observe_unlisted(&o, &a, OWNER_SILENT);
    for (int i = 2; i < 40; i++) {
        look(&o, 'a', i, i * 1000);
        assert_int_equal(dead_count(&o, 10000), 0);
    }
    observe_done(&o);
}

static void test_the_silence_of_a_hands_owner_counts_from_when_it_was_first_named(void **state)
{
    (void)state;
    struct observe o;
    struct incarnation a = named('a');
    observe_init(&o);
    look(&o, 'b', 1, 1000);
    observe_unlisted(&o, &a, OWNER_SILENT);
    for (int i = 2; i < 8; i++)
        look(&o, 'b', i, i * 1000);
    observe_unlisted(&o, &a, OWNER_DIED); /* it may have died only now */
    for (int i = 8; i < 18; i++) {
        look(&o, 'b', i, i * 1000);
        observe_unlisted(&o, &a, OWNER_DIED);
        assert_int_equal(dead_count(&o, 10000), 0);
    }
    look(&o, 'b', 18, 18000);
    int index = 0;
    const struct observe_peer *p = observe_dead(&o, &index, 10000);
    assert_non_null(p);
    assert_int_equal(p->named, OWNER_DIED);
    observe_done(&o);
}

static void test_an_owner_that_leaves_is_not_dead_for_its_tokens(void **state)
{
    (void)state;
    struct observe o;
    struct incarnation a = named('a');
    for (int known = 0; known < 2; known++) { /* its tokens are seen before it is, or after */
        observe_init(&o);
        look(&o, known ? 'a' : 'b', 1, 1000);
        observe_unlisted(&o, &a, OWNER_SILENT);
        look(&o, 'a', 2, 2000);
        for (int i = 3; i < 40; i++) {
            look(&o, 'b', i, i * 1000);
            assert_int_equal(dead_count(&o, 10000), 0);
        }
        observe_done(&o);
    }
}

static void test_what_a_beat_says(void **state)
{
    (void)state;
    assert_int_equal(beat_judge(-1, 1, 1, true), BEAT_GOOD);
    assert_int_equal(beat_judge(-1, 3, 2, true), BEAT_GOOD); /* two were lost on the way */
    assert_int_equal(beat_judge(-1, 1, 2, true), BEAT_CLONE);
    assert_int_equal(beat_judge(10, 1, 11, true), BEAT_GOOD);
    assert_int_equal(beat_judge(10, 3, 12, true), BEAT_GOOD);
    assert_int_equal(beat_judge(10, 1, 12, true), BEAT_CLONE);
    assert_int_equal(beat_judge(10, 1, 10, true), BEAT_BEHIND);
    assert_int_equal(beat_judge(10, 1, 1, true), BEAT_BEHIND);
    assert_int_equal(beat_judge(1, 1, 499, true), BEAT_CLONE);
    assert_int_equal(beat_judge(1, 1, 499, false), BEAT_BEHIND); /* a failover to an older state */
    assert_int_equal(beat_judge(10, 1, 11, false), BEAT_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_still_counter_is_dead_after_the_window),
        cmocka_unit_test(test_a_beat_begins_the_window_anew),
        cmocka_unit_test(test_a_gap_begins_all_windows_anew),
        cmocka_unit_test(test_a_long_pause_between_looks_is_a_gap),
        cmocka_unit_test(test_one_that_leaves_is_forgotten),
        cmocka_unit_test(test_an_unlisted_owner_is_dead_when_it_stays_absent),
        cmocka_unit_test(test_an_unlisted_owner_that_beats_is_alive),
        cmocka_unit_test(test_the_silence_of_a_hands_owner_counts_from_when_it_was_first_named),
        cmocka_unit_test(test_an_owner_that_leaves_is_not_dead_for_its_tokens),
        cmocka_unit_test(test_what_a_beat_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
