/* The table of held claims, its lists, the bitmap of settled numbers, the choice of a queue, and what is
 * claimed from it at a time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "worker/claim.h"
#include "worker/claims.h"
#include "worker/queue.h"
#include "worker/settled.h"
#include "worker/worker.h"

static void test_claims_are_found_by_number(void **state)
{
    (void)state;
    struct claims c;
    claims_init(&c);
    for (uint64_t seq = 1; seq <= 5000; seq++)
        claims_add(&c, seq * 3, NULL, SPAN_OF_STR("x"));
    assert_int_equal(c.count, 5000);
    for (uint64_t seq = 1; seq <= 15000; seq++) {
        struct claim *found = claims_find(&c, seq);
        assert_int_equal(found != NULL, seq % 3 == 0);
        if (found != NULL && seq % 2 == 0)
            claims_remove(&c, found);
    }
    assert_int_equal(c.count, 2500);
    assert_null(claims_find(&c, 6));
    assert_non_null(claims_find(&c, 3));
    claims_done(&c);
}

static void test_lists_keep_order_and_count(void **state)
{
    (void)state;
    struct claims c;
    struct claim_list a = {0}, b = {0};
    claims_init(&c);
    struct claim *one = claims_add(&c, 1, NULL, SPAN_OF_STR("1"));
    struct claim *two = claims_add(&c, 2, NULL, SPAN_OF_STR("2"));
    struct claim *three = claims_add(&c, 3, NULL, SPAN_OF_STR("3"));
    claim_list_append(&a, one);
    claim_list_append(&a, two);
    claim_list_prepend(&a, three);
    assert_ptr_equal(a.first, three);
    assert_ptr_equal(a.last, two);
    claim_list_append(&b, one); /* leaves a */
    assert_int_equal(a.count, 2);
    assert_ptr_equal(claim_list_pop(&a), three);
    assert_ptr_equal(claim_list_pop(&a), two);
    assert_null(claim_list_pop(&a));
    claims_remove(&c, one); /* leaves b */
    assert_int_equal(b.count, 0);
    assert_null(b.first);
    claims_done(&c);
}

static void test_the_window_of_settled_numbers_slides(void **state)
{
    (void)state;
    struct settled s = {0};
    assert_false(settled_has(&s, 1));
    settled_add(&s, 1);
    settled_add(&s, 3);
    assert_true(settled_has(&s, 1));
    assert_false(settled_has(&s, 2));
    assert_true(settled_has(&s, 3));
    settled_add(&s, 1 + SETTLED_BITS); /* the same bit as 1 */
    assert_false(settled_has(&s, 1));
    assert_true(settled_has(&s, 3));
    assert_true(settled_has(&s, 1 + SETTLED_BITS));
    assert_false(settled_has(&s, SETTLED_BITS));
    settled_add(&s, UINT64_C(10) * SETTLED_BITS);
    assert_false(settled_has(&s, 3));
    settled_add(&s, 5); /* older than the window: forgotten, not misplaced */
    assert_false(settled_has(&s, 5));
    settled_done(&s);
}

static void test_strict_queues_go_in_order(void **state)
{
    (void)state;
    struct queue q[3] = {{.maybe = true}, {.maybe = true}, {.maybe = true}};
    struct queue *list[] = {&q[0], &q[1], &q[2]};
    assert_ptr_equal(queue_pick(list, 3, 100), &q[0]);
    q[0].maybe = false;
    assert_ptr_equal(queue_pick(list, 3, 100), &q[1]);
    q[1].blocked_until_mono_ms = 200;
    assert_ptr_equal(queue_pick(list, 3, 100), &q[2]);
    assert_ptr_equal(queue_pick(list, 3, 200), &q[1]);
    q[1].retired = q[2].retired = true;
    assert_null(queue_pick(list, 3, 300));
}

static void test_weighted_queues_share_by_weight(void **state)
{
    (void)state;
    struct queue q[3] = {
        {.maybe = true, .weight = 5}, {.maybe = true, .weight = 2}, {.maybe = true, .weight = 1}};
    struct queue *list[] = {&q[0], &q[1], &q[2]};
    int picks[3] = {0};
    for (int i = 0; i < 800; i++) {
        struct queue *picked = queue_pick(list, 3, 0);
        assert_ptr_equal(queue_pick(list, 3, 0), picked); /* to ask is no turn */
        queue_picked(list, 3, picked, 0);
        picks[picked - q]++;
    }
    assert_int_equal(picks[0], 500);
    assert_int_equal(picks[1], 200);
    assert_int_equal(picks[2], 100);
}

static void test_estimates_rise_at_once_and_fall_slowly(void **state)
{
    (void)state;
    assert_int_equal(estimate_us(0, 10), 10);
    assert_int_equal(estimate_us(10, 100000), 100000);
    int64_t us = 100000;
    for (int i = 0; i < 200; i++)
        us = estimate_us(us, 10);
    assert_in_range(us, 10, 20);
}

static void test_large_records_are_claimed_in_small_lots(void **state)
{
    (void)state;
    assert_int_equal(queue_claim_count(1000, 0), STORE_CLAIM_MAX); /* unknown */
    assert_int_equal(queue_claim_count(1000, 320), STORE_CLAIM_MAX);
    assert_int_equal(queue_claim_count(1000, 321), 64);
    assert_int_equal(queue_claim_count(1000, 1024), 64);
    assert_int_equal(queue_claim_count(1000, 1500), 43);
    assert_int_equal(queue_claim_count(1000, 2048), 32);
    assert_int_equal(queue_claim_count(1000, SIZE_MAX), 32); /* the limit of bytes makes it less */
    assert_int_equal(queue_claim_count(40, 1000), 40); /* never more than there is room for */
    assert_int_equal(queue_claim_count(1, 10000), 1);
}

static void test_a_claim_is_a_share_of_a_lot(void **state)
{
    (void)state;
    struct queue q = {.left = 1000, .record_bytes = 100};
    assert_int_equal(claim_share(&q, 256), CLAIM_LOT);
    assert_int_equal(claim_share(&q, 64), CLAIM_LOT / 4);
    q.record_bytes = 1000;
    assert_int_equal(claim_share(&q, 64), CLAIM_LOT);
    q.left = 64;
    assert_int_equal(claim_share(&q, 64), CLAIM_LOT);
    q.left = 63;
    assert_int_equal(claim_share(&q, 64), 0); /* brings less than it asks for */
}

/* One of `share` beside the first `n` of `r`, at 1000 ms. */
static bool fits(struct request *r, size_t n, int share)
{
    for (size_t i = 0; i < n; i++)
        r[i].next = i + 1 < n ? &r[i + 1] : NULL;
    return claim_fits(n == 0 ? NULL : r, share, 1000);
}

static void test_two_lots_are_under_way(void **state)
{
    (void)state;
    struct request lots[2] = {{.share = CLAIM_LOT, .sent_mono_ms = 999},
                              {.share = CLAIM_LOT, .sent_mono_ms = 1000}};
    assert_true(fits(lots, 0, CLAIM_LOT));
    assert_true(fits(lots, 1, CLAIM_LOT));
    assert_false(fits(lots, 1, CLAIM_LOT + 1));
    assert_false(fits(lots, 2, 1));
    assert_true(fits(lots, 2, 0)); /* who knows whether that brings anything */
    struct request halves[3] = {{.share = CLAIM_LOT / 2, .sent_mono_ms = 1000},
                                {.share = CLAIM_LOT / 2, .sent_mono_ms = 1000},
                                {.share = CLAIM_LOT / 2, .sent_mono_ms = 1000}};
    assert_true(fits(halves, 3, CLAIM_LOT / 2));
    assert_false(fits(halves, 3, CLAIM_LOT / 2 + 1));
}

static void test_more_is_under_way_where_redis_is_far_or_has_little(void **state)
{
    (void)state;
    struct request r[4] = {{.share = CLAIM_LOT, .sent_mono_ms = 998},
                           {.share = CLAIM_LOT, .sent_mono_ms = 998},
                           {.share = CLAIM_LOT, .sent_mono_ms = 999},
                           {.share = 0, .sent_mono_ms = 1000}};
    assert_true(fits(r, 3, CLAIM_LOT)); /* the first two are under way for long */
    assert_false(fits(r, 4, 0)); /* never more than four */
    r[0].sent_mono_ms = 999;
    assert_false(fits(r, 3, CLAIM_LOT));
    assert_true(fits(r, 3, 0));
    r[0].share = r[1].share = 0;
    assert_true(fits(r, 3, CLAIM_LOT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_are_found_by_number),
        cmocka_unit_test(test_lists_keep_order_and_count),
        cmocka_unit_test(test_the_window_of_settled_numbers_slides),
        cmocka_unit_test(test_strict_queues_go_in_order),
        cmocka_unit_test(test_weighted_queues_share_by_weight),
        cmocka_unit_test(test_estimates_rise_at_once_and_fall_slowly),
        cmocka_unit_test(test_large_records_are_claimed_in_small_lots),
        cmocka_unit_test(test_a_claim_is_a_share_of_a_lot),
        cmocka_unit_test(test_two_lots_are_under_way),
        cmocka_unit_test(test_more_is_under_way_where_redis_is_far_or_has_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
