#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/refused_call.h"
#include "worker/runner/channel.h"

struct pair {
    struct channel runner;
    int worker; /* the other end */
};

static int setup(void **state)
{
    struct pair *p = xcalloc(1, sizeof *p);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    channel_init(&p->runner, fds[0]);
    p->worker = fds[1];
    *state = p;
    return 0;
}

static void hang_up(struct pair *p)
{
    close(p->worker);
    p->worker = -1;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    channel_done(&p->runner);
    if (p->worker != -1)
        close(p->worker);
    free(p);
    return 0;
}

static void send_all(struct pair *p, struct span bytes)
{
    assert_int_equal(send(p->worker, bytes.ptr, bytes.len, MSG_NOSIGNAL), bytes.len);
}

/* Frames of 1,000 bytes, each filled with a letter of its seq. */
static void add(struct buf *b, enum wire_type type, uint64_t seq)
{
    char payload[1000 - WIRE_HEADER_BYTES];
    memset(payload, 'a' + (int)(seq % 26), sizeof payload);
    wire_write(b, type, 0, 7, seq, (struct span){payload, type == WIRE_JOB ? sizeof payload : 0});
}

static void send_frame(struct pair *p, enum wire_type type, uint64_t seq)
{
    struct buf b = BUF_INIT;
    add(&b, type, seq);
    send_all(p, buf_span(&b));
    buf_done(&b);
}

static void send_jobs(struct pair *p, uint64_t from, int count)
{
    struct buf b = BUF_INIT;
    for (int i = 0; i < count; i++)
        add(&b, WIRE_JOB, from + (uint64_t)i);
    send_all(p, buf_span(&b));
    buf_done(&b);
}

static void check_payload(struct span payload, uint64_t seq)
{
    assert_int_equal(payload.len, 1000 - WIRE_HEADER_BYTES);
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(payload.ptr[i], 'a' + (int)(seq % 26));
}

static struct wire_frame take(struct pair *p, enum wire_type type, uint64_t seq)
{
    struct wire_frame f;
    struct err err = {0};
    assert_int_equal(channel_peek(&p->runner, &f, &err), 1);
    assert_int_equal(f.type, type);
    assert_int_equal(f.seq, seq);
    if (type == WIRE_JOB)
        check_payload(f.payload, seq);
    channel_take(&p->runner, &f);
    return f;
}

/* Sends jobs 1 to `count`, and takes the first as if it were to run. */
static struct wire_frame run_first(struct pair *p, int count)
{
    send_jobs(p, 1, count);
    channel_receive(&p->runner, -1);
    return take(p, WIRE_JOB, 1);
}

static void assert_empty(struct pair *p)
{
    struct wire_frame f;
    struct err err = {0};
    assert_int_equal(channel_peek(&p->runner, &f, &err), 0);
}

static void jobs_at_hand_stay_whole_while_more_is_received(void **state)
{
    struct pair *p = *state;
    uint64_t sent = 1, taken = 1;
    send_jobs(p, sent, 8);
    sent += 8;
    channel_receive(&p->runner, -1);
    /* One taken, one more received, then three for one and back: what is at hand lies before the
     * middle of the buffer and behind it. */
    for (int round = 0; round < 300; round++) {
        int step = round % 40 < 20 ? 1 : 3;
        for (int i = 0; i < step && taken < sent - 1; i++)
            take(p, WIRE_JOB, taken++);
        send_jobs(p, sent, step == 1 ? 2 : 1);
        sent += step == 1 ? 2 : 1;
        channel_receive(&p->runner, 0);
        assert_false(p->runner.drain);
    }
    assert_true(sent - taken > 2);
    send_frame(p, WIRE_DRAIN, 0);
    channel_receive(&p->runner, 0);
    assert_true(p->runner.drain); /* all headers up to it were looked at where they lie now */
    while (taken < sent)
        take(p, WIRE_JOB, taken++);
    take(p, WIRE_DRAIN, 0);
    assert_empty(p);
}

static void what_was_taken_is_forgotten(void **state)
{
    struct pair *p = *state;
    for (uint64_t seq = 1; seq < 5000; seq++) { /* never empty: one is always at hand */
        send_jobs(p, seq, 1);
        channel_receive(&p->runner, -1);
        if (seq > 1)
            take(p, WIRE_JOB, seq - 1);
    }
    assert_true(p->runner.in.len < 10 * 1000);
}

static void a_drain_is_noticed_before_the_jobs_ahead_of_it(void **state)
{
    struct pair *p = *state;
    send_jobs(p, 1, 8);
    channel_receive(&p->runner, -1);
    assert_false(p->runner.drain);
    take(p, WIRE_JOB, 1); /* the others stay where they are */
    send_jobs(p, 9, 1);
    send_frame(p, WIRE_DRAIN, 0);
    channel_receive(&p->runner, 0);
    assert_true(p->runner.drain);
    assert_false(p->runner.eof);
    for (uint64_t seq = 2; seq <= 9; seq++)
        take(p, WIRE_JOB, seq);
    take(p, WIRE_DRAIN, 0);
    assert_empty(p);
}

static void a_frame_may_come_byte_by_byte(void **state)
{
    struct pair *p = *state;
    struct buf b = BUF_INIT;
    add(&b, WIRE_JOB, 1);
    add(&b, WIRE_DRAIN, 0);
    for (size_t i = 0; i < b.len; i++) {
        if (i < 1000)
            assert_empty(p);
        assert_false(p->runner.drain);
        send_all(p, (struct span){b.data + i, 1});
        channel_receive(&p->runner, -1);
    }
    buf_done(&b);
    assert_true(p->runner.drain);
    take(p, WIRE_JOB, 1);
    take(p, WIRE_DRAIN, 0);
    assert_empty(p);
}

static void a_bad_frame_is_found_behind_good_ones(void **state)
{
    struct pair *p = *state;
    struct wire_frame f;
    struct err err = {0};
    send_jobs(p, 1, 1);
    send_all(p, (struct span){"\0\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\0", WIRE_HEADER_BYTES});
    channel_receive(&p->runner, -1);
    take(p, WIRE_JOB, 1);
    assert_int_equal(channel_peek(&p->runner, &f, &err), -ERR_PROTOCOL);
}

static void nothing_to_receive_is_no_end(void **state)
{
    struct pair *p = *state;
    channel_receive(&p->runner, 0);
    channel_receive(&p->runner, 1);
    assert_false(p->runner.eof || p->runner.drain);
    assert_empty(p);
    hang_up(p);
    channel_receive(&p->runner, 1000);
    assert_true(p->runner.eof && p->runner.drain);
}

static long socket_wait_us(const struct pair *p)
{
    struct timeval t;
    socklen_t size = sizeof t;
    assert_int_equal(getsockopt(p->runner.fd, SOL_SOCKET, SO_RCVTIMEO, &t, &size), 0);
    return t.tv_sec * 1000000 + t.tv_usec;
}

static void a_wait_for_some_time_leaves_others_as_they_are(void **state)
{
    struct pair *p = *state;
    channel_receive(&p->runner, 1);
    assert_empty(p);
    send_jobs(p, 1, 1);
    channel_receive(&p->runner, -1); /* one that lasts until something comes, from here on */
    assert_int_equal(socket_wait_us(p), 0);
    take(p, WIRE_JOB, 1);
    channel_receive(&p->runner, 0); /* and this one does not wait at all */
    assert_empty(p);
    assert_false(p->runner.eof || p->runner.drain);
}

static void on_tick(int sig)
{
    (void)sig;
}

/* Ticks of `us` microseconds, as a plugin's own timer may send them; 0 = no more. */
static void tick(int us)
{
    struct sigaction action = {.sa_handler = on_tick};
    struct itimerval every = {{0, us}, {0, us}};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static void a_signal_ends_a_wait_and_is_no_end(void **state)
{
    struct pair *p = *state;
    tick(1000);
    channel_receive(&p->runner, 1000); /* would last for ever, were it begun anew each time */
    channel_receive(&p->runner, -1);
    tick(0);
    assert_false(p->runner.eof || p->runner.drain);
    assert_empty(p);
    send_jobs(p, 1, 1);
    channel_receive(&p->runner, -1);
    take(p, WIRE_JOB, 1);
}

/* In a process of its own, since the filter stays. */
static void a_wait_ends_where_its_option_is_refused(void **state)
{
    struct pair *p = *state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!refuse_call(SYS_setsockopt, EPERM))
            _exit(2);
        channel_receive(&p->runner, 1);
        _exit(socket_wait_us(p) == 0 && !p->runner.eof && p->runner.in.len == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_running_jobs_strings_stay_where_they_are(void **state)
{
    struct pair *p = *state;
    struct wire_frame job = run_first(p, 3);
    assert_int_equal(channel_cancelled(&p->runner, 7, 1), 0);
    for (uint64_t seq = 4; seq < 604; seq++) { /* more than any buffer had room for */
        send_jobs(p, seq, 1);
        assert_int_equal(channel_cancelled(&p->runner, 7, 1), 0);
    }
    send_frame(p, WIRE_CANCEL, 2);
    assert_int_equal(channel_cancelled(&p->runner, 7, 1), -1);
    send_frame(p, WIRE_CANCEL, 1);
    send_frame(p, WIRE_DRAIN, 0);
    assert_int_equal(channel_cancelled(&p->runner, 7, 1), 1);
    check_payload(job.payload, 1);
    assert_false(p->runner.drain);
    channel_job_ended(&p->runner);
    assert_true(p->runner.drain);
    for (uint64_t seq = 2; seq < 604; seq++)
        take(p, WIRE_JOB, seq);
    take(p, WIRE_CANCEL, 2);
    take(p, WIRE_CANCEL, 1);
    take(p, WIRE_DRAIN, 0);
    assert_empty(p);
}

static void answer(struct pair *p, uint64_t seq, const char *text)
{
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_ENQUEUED, 0, 7, seq, SPAN_OF_STR(text));
    send_all(p, buf_span(&b));
    buf_done(&b);
}

static void an_answer_is_awaited_past_other_frames(void **state)
{
    struct pair *p = *state;
    volatile int stop = 0;
    struct buf text = BUF_INIT;
    struct err err = {0};
    struct wire_frame job = run_first(p, 2);
    send_jobs(p, 3, 1);
    answer(p, 1, "queue is full");
    assert_int_equal(channel_await_enqueued(&p->runner, 7, 1, &stop, &text, &err), 0);
    assert_string_equal(text.data, "queue is full");
    check_payload(job.payload, 1);
    channel_job_ended(&p->runner);
    take(p, WIRE_JOB, 2);
    take(p, WIRE_JOB, 3);
    assert_empty(p);
    buf_done(&text);
}

static void an_answer_nobody_awaits_any_more_is_no_other_ones(void **state)
{
    struct pair *p = *state;
    volatile int stop = 1;
    struct buf text = BUF_INIT;
    struct err err = {0};
    run_first(p, 1);
    assert_int_equal(channel_await_enqueued(&p->runner, 7, 1, &stop, &text, &err), -ERR_TIMEOUT);
    stop = 0;
    answer(p, 1, "of the first");
    answer(p, 1, "of the second");
    assert_int_equal(channel_await_enqueued(&p->runner, 7, 1, &stop, &text, &err), 0);
    assert_string_equal(text.data, "of the second");
    hang_up(p);
    assert_int_equal(channel_await_enqueued(&p->runner, 7, 1, &stop, &text, &err), -ERR_CLOSED);
    assert_true(p->runner.eof);
    buf_done(&text);
}

static void notes_follow_what_was_written_before_them(void **state)
{
    struct pair *p = *state;
    char bytes[256];
    channel_note(&p->runner, 3, 30);
    channel_write(&p->runner, WIRE_RESULT, 0, 4, 40, SPAN_OF_STR("r"));
    channel_note(&p->runner, 4, 40);
    channel_flush(&p->runner, 12345);
    assert_int_equal(p->runner.flushed_us, 12345);
    ssize_t n = recv(p->worker, bytes, sizeof bytes, 0);
    assert_true(n > 0);
    struct wire_frame result, done;
    struct err err = {0};
    int64_t first = wire_read((struct span){bytes, (size_t)n}, WIRE_REPLY_MAX, &result, &err);
    assert_true(first > 0);
    struct span rest = {bytes + first, (size_t)(n - first)};
    assert_int_equal(wire_read(rest, WIRE_REPLY_MAX, &done, &err), rest.len);
    assert_int_equal(result.type, WIRE_RESULT);
    assert_int_equal(done.type, WIRE_DONE);
    assert_int_equal(wire_done_count(done.payload, &err), 2);
    assert_int_equal(wire_done_at(done.payload, 0).seq, 30);
    assert_int_equal(wire_done_at(done.payload, 1).slot, 4);
    channel_flush(&p->runner, 12346); /* nothing is said twice */
    assert_int_equal(recv(p->worker, bytes, sizeof bytes, 0), -1);
}

static void a_worker_that_is_gone_ends_a_flush(void **state)
{
    struct pair *p = *state;
    hang_up(p);
    channel_note(&p->runner, 1, 1);
    channel_flush(&p->runner, 1);
    assert_true(p->runner.eof && p->runner.drain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_at_hand_stay_whole_while_more_is_received),
        TEST(what_was_taken_is_forgotten),
        TEST(a_drain_is_noticed_before_the_jobs_ahead_of_it),
        TEST(a_frame_may_come_byte_by_byte),
        TEST(a_bad_frame_is_found_behind_good_ones),
        TEST(nothing_to_receive_is_no_end),
        TEST(a_wait_for_some_time_leaves_others_as_they_are),
        TEST(a_signal_ends_a_wait_and_is_no_end),
        TEST(a_wait_ends_where_its_option_is_refused),
        TEST(a_running_jobs_strings_stay_where_they_are),
        TEST(an_answer_is_awaited_past_other_frames),
        TEST(an_answer_nobody_awaits_any_more_is_no_other_ones),
        TEST(notes_follow_what_was_written_before_them),
        TEST(a_worker_that_is_gone_ends_a_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
