/* A real runner with plugins: its jobs, its slots, its frames, and what it does when a handler does
 * what it should not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/slots_out.h"
#include "tests/lib/runner_rig.h"

static const char samples[] = "plugins: ['%B/jobs/*.so']\n";

static int set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);
    rig_init(r);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    rig_done(*state, getenv("SHOW_LOG") != NULL);
    free(*state);
    return 0;
}

static enum slot_state state_of(struct rig *r, const struct rig_job *j)
{
    return slot_word_state(atomic_load(&slots_get(r->slots, 1, j->slot)->word));
}

static void noop_is_done(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    assert_true(r->handlers >= 5);
    struct rig_job j;
    rig_run(r, "noop", "null", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_int_equal(j.page.message_len, 0);
    assert_int_equal(j.page.exit_code, -1);
    assert_true(j.page.begun_us > 0 && j.page.returned_us >= j.page.begun_us);
    assert_false(j.has_result);
    assert_int_equal(atomic_load(&slots_runner_page(r->slots, 1)->current_slot), -1);
    rig_job_done(&j);
}

static void echo_hands_back_the_very_bytes(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, true);
    static const char args[] = "{\"n\":12345678901234567890,\"x\":0.1,\"e\":[]}";
    struct rig_job j;
    rig_run(r, "echo", args, &j);
    assert_true(j.has_result);
    assert_string_equal(j.result.data, args);
    assert_int_equal(j.page.has_out, 1);
    struct buf storage = BUF_INIT;
    struct slots_out out;
    struct err err = {0};
    assert_int_equal(slots_out_read(r->dir, r->inc.hex, 1, j.slot, j.seq, &storage, &out, &err), 0);
    assert_int_equal(out.result.len, strlen(args));
    assert_memory_equal(out.result.ptr, args, out.result.len);
    buf_done(&storage);
    rig_job_done(&j);
}

static void a_result_nobody_wants_is_not_sent(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, true);
    struct rig_job j = {
        .slot = 9, .seq = 77, .result = BUF_INIT, .message = BUF_INIT, .stderr_tail = BUF_INIT};
    struct wire_job w = {.attempt = 1,
                         .timeout_ms = 1000,
                         .id = SPAN_OF_STR("i"),
                         .queue = SPAN_OF_STR("q"),
                         .type = SPAN_OF_STR("echo"),
                         .args = SPAN_OF_STR("1"),
                         .no_result = true};
    slot_queue(slots_get(r->slots, 1, 9), 77, 0);
    struct buf b = BUF_INIT;
    wire_write_job(&b, 9, 77, &w);
    rig_send_bytes(r, buf_span(&b));
    buf_done(&b);
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_false(j.has_result);
    assert_int_equal(j.page.has_out, 0);
    rig_job_done(&j);
}

static void a_failure_has_its_message_and_delay(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    static const struct {
        const char *args;
        enum outcome outcome;
        int64_t delay_ms;
        const char *message;
    } rows[] = {
        {"{\"message\":\"no luck\"}", OUTCOME_RETRY, -1, "no luck"},
        {"{\"result\":\"dead\"}", OUTCOME_DEAD, -1, "failed as asked"},
        {"{\"result\":\"snooze\",\"after_ms\":2500}", OUTCOME_SNOOZE, 2500, "failed as asked"},
        {"{\"result\":\"drop\"}", OUTCOME_DROP, -1, "failed as asked"},
        {"{\"times\":2}", OUTCOME_RETRY, -1, "failed as asked"},
        {"{\"times\":1}", OUTCOME_DONE, -1, ""}, /* the rig's jobs are at attempt 2 */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rig_job j;
        rig_run(r, "fail", rows[i].args, &j);
        assert_int_equal(j.page.outcome, rows[i].outcome);
        assert_int_equal(j.page.delay_ms, rows[i].delay_ms);
        assert_string_equal(j.message.data, rows[i].message);
        rig_job_done(&j);
    }
}

static void a_long_message_is_whole_in_its_frame_and_file(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, true);
    char args[1000] = "{\"message\":\"";
    size_t start = strlen(args);
    memset(args + start, 'm', 800);
    strcpy(args + start + 800, "\"}");
    struct rig_job j;
    rig_run(r, "fail", args, &j);
    assert_int_equal(j.page.message_len, SLOT_MESSAGE_BYTES);
    assert_int_equal(j.message.len, 800);
    assert_int_equal(j.page.has_out, 1);
    struct buf storage = BUF_INIT;
    struct slots_out out;
    struct err err = {0};
    assert_int_equal(slots_out_read(r->dir, r->inc.hex, 1, j.slot, j.seq, &storage, &out, &err), 0);
    assert_int_equal(out.message.len, 800);
    buf_done(&storage);
    rig_job_done(&j);
}

static void a_crash_leaves_the_job_begun(void **state)
{
    static const struct {
        const char *args;
        int end;
    } rows[] = {
        {"{\"mode\":\"segv\"}", -SIGSEGV},
        {"{\"mode\":\"abort\"}", -SIGABRT},
        {"{\"mode\":\"stack\"}", -SIGSEGV},
        {"{\"mode\":\"exit0\"}", 70}, /* not the 0 the handler asked for */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rig *r = *state;
        if (i > 0) {
            tear_down(state);
            set_up(state);
            r = *state;
        }
        rig_start(r, samples, false);
        struct rig_job before, j;
        rig_run(r, "echo", "1", &before);
        rig_send(r, "crash", rows[i].args, NULL, &j);
        assert_int_equal(rig_await_exit(r), rows[i].end);
        assert_int_equal(state_of(r, &j), SLOT_BEGUN);
        assert_true(slot_plausible(slots_get(r->slots, 1, j.slot), j.seq));
        assert_int_equal(atomic_load(&slots_runner_page(r->slots, 1)->current_slot), j.slot);
        rig_job_done(&before);
        rig_job_done(&j);
    }
}

static void what_was_done_before_a_crash_is_not_lost(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false); /* no out-dir: the RESULT frame is all there is */
    struct rig_job a, b;
    struct buf frames = BUF_INIT;
    rig_run(r, "echo", "0", &a); /* echo is known to be fast from now on */
    rig_job_done(&a);
    rig_send(r, "echo", "{\"kept\":true}", NULL, &a);
    rig_send(r, "crash", "{\"mode\":\"segv\"}", NULL, &b);
    rig_await(r, &a);
    assert_string_equal(a.result.data, "{\"kept\":true}");
    assert_int_equal(rig_await_exit(r), -SIGSEGV);
    buf_done(&frames);
    rig_job_done(&a);
    rig_job_done(&b);
}

static void an_unknown_type_says_so(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job j;
    rig_run(r, "no.such.type", "{}", &j);
    assert_int_equal(j.page.outcome, OUTCOME_UNKNOWN_TYPE);
    assert_string_equal(j.message.data, "there is no handler for the type no.such.type");
    rig_job_done(&j);
}

static void many_jobs_ahead_all_return_in_order(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job jobs[SLOTS_PER_RUNNER];
    for (int i = 0; i < SLOTS_PER_RUNNER; i++)
        rig_send(r, i % 3 == 0 ? "echo" : "noop", "[1,2,3]", NULL, &jobs[i]);
    int next = 0;
    struct wire_frame f;
    while (next < SLOTS_PER_RUNNER) {
        assert_true(rig_read(r, &f));
        if (f.type != WIRE_DONE)
            continue;
        for (int i = 0; i < wire_done_count(f.payload, NULL); i++) {
            assert_int_equal(wire_done_at(f.payload, i).slot, jobs[next].slot);
            assert_int_equal(wire_done_at(f.payload, i).seq, jobs[next].seq);
            assert_int_equal(state_of(r, &jobs[next]), SLOT_RETURNED);
            next++;
        }
    }
    for (int i = 0; i < SLOTS_PER_RUNNER; i++)
        rig_job_done(&jobs[i]);
}

static void a_large_job_arrives_whole(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    size_t size = 1024 * 1024;
    char *args = xmalloc(size + 1);
    memset(args, 'x', size);
    args[0] = args[size - 1] = '"';
    args[size] = '\0';
    struct rig_job j;
    rig_run(r, "echo", args, &j);
    assert_int_equal(j.result.len, size);
    assert_memory_equal(j.result.data, args, size);
    free(args);
    rig_job_done(&j);
}

static void a_revoked_job_is_skipped(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job first, revoked, last;
    rig_send(r, "sleep", "{\"ms\":100}", NULL, &first);
    rig_await_state(r, &first, SLOT_BEGUN);
    rig_send(r, "echo", "1", NULL, &revoked);
    rig_send(r, "noop", "1", NULL, &last);
    struct slot *s = slots_get(r->slots, 1, revoked.slot);
    assert_true(slot_revoke(s, revoked.seq));
    slot_free(s);
    rig_await(r, &first);
    rig_await(r, &last);
    assert_int_equal(state_of(r, &revoked), SLOT_FREE);
    assert_int_equal(last.page.outcome, OUTCOME_DONE);
    rig_job_done(&first);
    rig_job_done(&revoked);
    rig_job_done(&last);
}

static void a_slow_job_does_not_hold_back_earlier_reports(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job fast, slow;
    rig_send(r, "noop", "1", NULL, &fast);
    rig_send(r, "sleep", "{\"ms\":60000}", NULL, &slow);
    rig_await(r, &fast);
    rig_await_state(r, &slow, SLOT_BEGUN);
    rig_job_done(&fast);
    rig_job_done(&slow);
}

static void a_stale_beat_stops_beginning(void **state)
{
    struct rig *r = *state;
    struct slots_header *h = slots_header(r->slots);
    atomic_store(&h->good_beat_boot_ms, boot_ms() - 7000);
    rig_start(r, samples, false);
    struct rig_job j, revoked;
    rig_send(r, "noop", "1", NULL, &revoked);
    rig_send(r, "noop", "1", NULL, &j);
    /* It reads on meanwhile: 100 more frames than any socket buffer keeps for it go through. */
    for (int i = 0; i < 100; i++) {
        struct buf b = BUF_INIT;
        char *text = xcalloc(1, 100000);
        wire_write(&b, WIRE_CANCEL, 0, 200, 1, (struct span){text, 100000});
        rig_send_bytes(r, buf_span(&b));
        buf_done(&b);
        free(text);
    }
    assert_int_equal(state_of(r, &revoked), SLOT_QUEUED);
    assert_int_equal(state_of(r, &j), SLOT_QUEUED);
    assert_true(slot_revoke(slots_get(r->slots, 1, revoked.slot), revoked.seq));
    atomic_store(&h->good_beat_boot_ms, boot_ms());
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
    rig_job_done(&revoked);
}

static void drain_finishes_what_has_begun(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job begun, queued;
    rig_send(r, "sleep", "{\"ms\":300}", NULL, &begun);
    rig_await_state(r, &begun, SLOT_BEGUN);
    rig_send(r, "noop", "1", NULL, &queued);
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_DRAIN, 0, 0, 0, (struct span){NULL, 0});
    rig_send_bytes(r, buf_span(&b));
    buf_done(&b);
    rig_await(r, &begun);
    assert_int_equal(begun.page.outcome, OUTCOME_DONE);
    assert_int_equal(rig_await_exit(r), 0);
    assert_int_equal(state_of(r, &queued), SLOT_QUEUED);
    rig_job_done(&begun);
    rig_job_done(&queued);
}

static void an_idle_runner_drains_at_once(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_DRAIN, 0, 0, 0, (struct span){NULL, 0});
    rig_send_bytes(r, buf_span(&b));
    buf_done(&b);
    assert_int_equal(rig_await_exit(r), 0);
}

static void the_end_of_the_stream_is_a_drain(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job j;
    rig_send(r, "sleep", "{\"ms\":200}", NULL, &j);
    rig_await_state(r, &j, SLOT_BEGUN);
    close(r->fd);
    r->fd = -1;
    assert_int_equal(rig_await_exit(r), 0);
    assert_int_equal(state_of(r, &j), SLOT_RETURNED);
    rig_job_done(&j);
}

static void a_bad_frame_ends_the_runner(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    rig_send_bytes(r, (struct span){"\xff\xff\xff\xff\x63xxxxxxxxxxxxx", 18});
    assert_int_equal(rig_await_exit(r), 70);
    rig_await_log(r, "unknown type 99");
}

static void sigterm_asks_the_running_job_to_stop(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job j;
    rig_send(r, "sleep", "{\"ms\":60000}", NULL, &j);
    rig_await_state(r, &j, SLOT_BEGUN);
    kill(r->pid, SIGTERM);
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_string_equal(j.message.data, "woken before the time was over");
    rig_job_done(&j);
    kill(r->pid, SIGTERM); /* with no job: nothing happens, also not to the next */
    kill(r->pid, SIGINT);
    rig_run(r, "sleep", "{\"ms\":1}", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
}

static void a_signal_meant_for_another_job_is_ignored(void **state)
{
    struct rig *r = *state;
    rig_start(r, samples, false);
    struct rig_job j;
    rig_send(r, "sleep", "{\"ms\":500}", NULL, &j);
    rig_await_state(r, &j, SLOT_BEGUN);
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_CANCEL, 0, (uint16_t)(j.slot + 1), j.seq + 1000, (struct span){NULL, 0});
    rig_send_bytes(r, buf_span(&b));
    kill(r->pid, SIGTERM);
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);

    rig_send(r, "sleep", "{\"ms\":60000}", NULL, &j);
    rig_await_state(r, &j, SLOT_BEGUN);
    buf_clear(&b);
    wire_write(&b, WIRE_CANCEL, 0, (uint16_t)j.slot, j.seq, (struct span){NULL, 0});
    rig_send_bytes(r, buf_span(&b));
    kill(r->pid, SIGTERM);
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    buf_done(&b);
    rig_job_done(&j);
}

static void a_runner_of_another_parent_does_nothing(void **state)
{
    struct rig *r = *state;
    pid_t pid = fork();
    if (pid == 0) {
        char exe[1200];
        snprintf(exe, sizeof exe, "%s/worker", r->build);
        execl(exe, "runner", "--runner", "--index", "0", "--socket-fd", "3", "--slots-fd", "4",
              "--config-fd", "5", "--parent", "1", (char *)NULL);
        _exit(98);
    }
    r->pid = pid;
    assert_int_equal(rig_await_exit(r), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(noop_is_done),
        TEST(echo_hands_back_the_very_bytes),
        TEST(a_result_nobody_wants_is_not_sent),
        TEST(a_failure_has_its_message_and_delay),
        TEST(a_long_message_is_whole_in_its_frame_and_file),
        TEST(a_crash_leaves_the_job_begun),
        TEST(what_was_done_before_a_crash_is_not_lost),
        TEST(an_unknown_type_says_so),
        TEST(many_jobs_ahead_all_return_in_order),
        TEST(a_large_job_arrives_whole),
        TEST(a_revoked_job_is_skipped),
        TEST(a_slow_job_does_not_hold_back_earlier_reports),
        TEST(a_stale_beat_stops_beginning),
        TEST(drain_finishes_what_has_begun),
        TEST(an_idle_runner_drains_at_once),
        TEST(the_end_of_the_stream_is_a_drain),
        TEST(a_bad_frame_ends_the_runner),
        TEST(sigterm_asks_the_running_job_to_stop),
        TEST(a_signal_meant_for_another_job_is_ignored),
        TEST(a_runner_of_another_parent_does_nothing),
    };
    return cmocka_run_group_tests_name("runner", tests, NULL, NULL);
}
