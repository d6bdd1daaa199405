/* What follows the end of an attempt: the whole table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "worker/decide.h"

enum { NOW_MS = 1700000000 };

static const struct decide_policy normal = {
    .retry = {.retries = 2, .backoff = {.type = BACKOFF_FIXED, .base_ms = 5000, .max_ms = 60000}},
    .dead = true,
    .max_snoozes = 3,
};

struct row {
    const char *name;
    enum ending_kind kind;
    enum outcome outcome;
    int attempt, crashes, lost, snoozes; /* of the record before */
    int64_t asked_ms;
    bool forget; /* policy.dead = false */
    enum settle_action action;
    int64_t delay_ms; /* -1 = do not look */
    const char *reason;
    bool failed;
};

static const struct row rows[] = {
    {"done is acknowledged", ENDING_OUTCOME, OUTCOME_DONE, 0, 0, 0, 0, -1, false, SETTLE_ACK, -1,
     "", false},
    {"dropped is acknowledged and counts as failed", ENDING_OUTCOME, OUTCOME_DROP, 0, 0, 0, 0, -1,
     false, SETTLE_ACK, -1, "", true},
    {"first failure is retried after the policy's delay", ENDING_OUTCOME, OUTCOME_RETRY, 0, 0, 0, 0,
     -1, false, SETTLE_RETRY, 5000, "", false},
    {"the handler's own delay goes before the policy's", ENDING_OUTCOME, OUTCOME_RETRY, 0, 0, 0, 0,
     77, false, SETTLE_RETRY, 77, "", false},
    {"last retry is still a retry", ENDING_OUTCOME, OUTCOME_RETRY, 1, 0, 0, 0, -1, false,
     SETTLE_RETRY, 5000, "", false},
    {"spent retries bury", ENDING_OUTCOME, OUTCOME_RETRY, 2, 0, 0, 0, -1, false, SETTLE_DEAD, -1,
     "retries-spent", true},
    {"a handler's delay does not make one more retry", ENDING_OUTCOME, OUTCOME_RETRY, 2, 0, 0, 0, 5,
     false, SETTLE_DEAD, -1, "retries-spent", true},
    {"dead: false forgets when retries are spent", ENDING_OUTCOME, OUTCOME_RETRY, 2, 0, 0, 0, -1,
     true, SETTLE_ACK, -1, "", true},
    {"dead buries at once", ENDING_OUTCOME, OUTCOME_DEAD, 0, 0, 0, 0, -1, false, SETTLE_DEAD, -1,
     "failed", true},
    {"snooze spends no attempt and has a floor", ENDING_OUTCOME, OUTCOME_SNOOZE, 0, 0, 0, 0, 10,
     false, SETTLE_SCHEDULE, 1000, "", false},
    {"snooze takes the handler's longer time", ENDING_OUTCOME, OUTCOME_SNOOZE, 0, 0, 0, 0, 90000,
     false, SETTLE_SCHEDULE, 90000, "", false},
    {"too many snoozes bury", ENDING_OUTCOME, OUTCOME_SNOOZE, 0, 0, 0, 3, -1, false, SETTLE_DEAD,
     -1, "snoozed-too-often", true},
    {"park waits for the handler", ENDING_OUTCOME, OUTCOME_PARK, 0, 0, 0, 0, -1, false, SETTLE_PARK,
     -1, "handler", false},
    {"a type the runner does not know is parked", ENDING_OUTCOME, OUTCOME_UNKNOWN_TYPE, 0, 0, 0, 0,
     -1, false, SETTLE_PARK, -1, "unknown-type", false},
    {"no outcome is a crash", ENDING_OUTCOME, OUTCOME_NONE, 0, 0, 0, 0, -1, false, SETTLE_BACK, -1,
     "", false},
    {"the first crash goes back at once", ENDING_CRASH, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_BACK, -1, "", false},
    {"the second crash waits", ENDING_CRASH, OUTCOME_NONE, 0, 1, 0, 0, -1, false, SETTLE_RETRY,
     5000, "", false},
    {"a crash spends no retry", ENDING_CRASH, OUTCOME_NONE, 2, 1, 0, 0, -1, false, SETTLE_RETRY,
     5000, "", false},
    {"the third crash is poison", ENDING_CRASH, OUTCOME_NONE, 0, 2, 0, 0, -1, false, SETTLE_DEAD,
     -1, "poison", true},
    {"a kill for lack of memory is a crash", ENDING_OOM_KILL, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_BACK, -1, "", false},
    {"the third kill for lack of memory is poison", ENDING_OOM_KILL, OUTCOME_NONE, 0, 2, 0, 0, -1,
     false, SETTLE_DEAD, -1, "poison", true},
    {"no memory for the runner spends a retry", ENDING_NO_MEMORY, OUTCOME_NONE, 0, 0, 0, 0, -1,
     false, SETTLE_RETRY, 5000, "", false},
    {"a timeout spends a retry", ENDING_TIMEOUT, OUTCOME_NONE, 0, 0, 0, 0, -1, false, SETTLE_RETRY,
     5000, "", false},
    {"the last timeout buries", ENDING_TIMEOUT, OUTCOME_NONE, 2, 0, 0, 0, -1, false, SETTLE_DEAD,
     -1, "retries-spent", true},
    {"a shutdown blames nobody", ENDING_INTERRUPTED, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_BACK, -1, "", false},
    {"lost with its worker goes back", ENDING_LOST, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_BACK, -1, "", false},
    {"the tenth worker lost with it is poison", ENDING_LOST, OUTCOME_NONE, 0, 0, 9, 0, -1, false,
     SETTLE_DEAD, -1, "poison", true},
    {"never begun goes back as it is", ENDING_UNBEGUN, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_BACK, -1, "", false},
    {"no document is a dead letter", ENDING_BAD_DOCUMENT, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_DEAD, -1, "malformed", true},
    {"no handler is parked", ENDING_UNKNOWN_TYPE, OUTCOME_NONE, 0, 0, 0, 0, -1, false, SETTLE_PARK,
     -1, "unknown-type", false},
    {"newer than us is parked untouched", ENDING_NEWER, OUTCOME_NONE, 0, 0, 0, 0, -1, false,
     SETTLE_PARK, -1, "", false},
    {"expired is dropped", ENDING_EXPIRED, OUTCOME_NONE, 0, 0, 0, 0, -1, false, SETTLE_ACK, -1, "",
     false},
};

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct row *t = &rows[i];
        struct record rec = RECORD_INIT;
        struct ending e = ENDING_INIT;
        struct decide_policy policy = normal;
        struct decision d;
        struct buf storage = BUF_INIT;
        rec.attempt = t->attempt;
        rec.crashes = t->crashes;
        rec.lost = t->lost;
        rec.snoozes = t->snoozes;
        policy.dead = !t->forget;
        e.kind = t->kind;
        e.outcome = t->outcome;
        e.delay_ms = t->asked_ms;
        e.failure.message = SPAN_OF_STR("why");
        decide(&rec, &e, &policy, 0.0, NOW_MS, &storage, &d);
        if (d.action != t->action || strcmp(rec.reason, t->reason) != 0 || d.failed != t->failed ||
            (t->delay_ms >= 0 && d.delay_ms != t->delay_ms))
            fail_msg("%s: %s after %lld ms, reason \"%s\", failed %d", t->name,
                     settle_action_name(d.action), (long long)d.delay_ms, rec.reason, d.failed);
        buf_done(&storage);
    }
}

static void test_a_failure_is_written_on_the_record(void **state)
{
    (void)state;
    struct record rec = RECORD_INIT;
    struct ending e = ENDING_INIT;
    struct decision d;
    struct buf storage = BUF_INIT;
    e.outcome = OUTCOME_RETRY;
    e.failure.message = SPAN_OF_STR("disk full");
    e.failure.exit_code = 3;
    decide(&rec, &e, &normal, 0.0, NOW_MS, &storage, &d);
    assert_true(d.rewrite);
    assert_int_equal(rec.attempt, 1);
    assert_int_equal(rec.failed_at_ms, NOW_MS);
    assert_int_equal(rec.first_failed_at_ms, NOW_MS);
    assert_non_null(memmem(rec.error.ptr, rec.error.len, "disk full", 9));
    buf_done(&storage);
}

static void test_not_due_goes_to_its_time(void **state)
{
    (void)state;
    struct record rec = RECORD_INIT;
    struct ending e = ENDING_INIT;
    struct decision d;
    struct buf storage = BUF_INIT;
    e.kind = ENDING_NOT_DUE;
    e.due_ms = NOW_MS + 500;
    decide(&rec, &e, &normal, 0.0, NOW_MS, &storage, &d);
    assert_int_equal(d.action, SETTLE_SCHEDULE);
    assert_int_equal(d.at_ms, NOW_MS + 500);
    assert_true(d.rewrite); /* a zset holds only wrapped records */
    e.due_relative = true;
    e.due_ms = 700;
    decide(&rec, &e, &normal, 0.0, NOW_MS, &storage, &d);
    assert_int_equal(d.at_ms, -1);
    assert_int_equal(d.delay_ms, 700);
    buf_done(&storage);
}

static void test_unbegun_is_given_back_byte_for_byte(void **state)
{
    (void)state;
    struct record rec = RECORD_INIT;
    struct ending e = ENDING_INIT;
    struct decision d;
    struct buf storage = BUF_INIT;
    e.kind = ENDING_UNBEGUN;
    decide(&rec, &e, &normal, 0.0, NOW_MS, &storage, &d);
    assert_int_equal(d.action, SETTLE_BACK);
    assert_false(d.rewrite);
    buf_done(&storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_a_failure_is_written_on_the_record),
        cmocka_unit_test(test_not_due_goes_to_its_time),
        cmocka_unit_test(test_unbegun_is_given_back_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
