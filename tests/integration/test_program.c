/* A real runner with programs: what they get, what is made of their end, and that nothing of theirs
 * is left or without bound. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/slots_out.h"
#include "tests/lib/runner_rig.h"

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

/* Starts a runner whose type "p" is the shell script `body`; `more` are further lines of that
 * handler. */
static void start_script(struct rig *r, const char *body, const char *more)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "#!/bin/sh\n%s\n", body);
    rig_write_file(r, "script", b.data, 0755);
    buf_clear(&b);
    buf_printf(&b, "handlers:\n  p:\n    exec: [./script, one, 'two words']\n%s", more);
    rig_start(r, b.data, true);
    buf_done(&b);
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static pid_t await_pid(struct rig *r, const char *name)
{
    char *text = rig_await_file(r, name);
    pid_t pid = (pid_t)atol(text);
    assert_true(pid > 1);
    free(text);
    return pid;
}

static void await_gone(pid_t pid)
{
    int64_t started = 0;
    while (is_alive(pid))
        rig_pause(&started, "a process to be gone");
}

static void assert_nothing_left(struct rig *r)
{
    assert_int_equal(atomic_load(&slots_runner_page(r->slots, 1)->program_pgid), 0);
}

static void it_reads_the_very_bytes(void **state)
{
    struct rig *r = *state;
    start_script(r, "cat", "");
    static const char args[] = "{\"n\":12345678901234567890,\"x\":0.1,\"e\":[]}";
    struct rig_job j;
    rig_run(r, "p", args, &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_int_equal(j.page.exit_code, 0);
    assert_int_equal(j.page.signal, 0);
    assert_true(j.page.max_rss_bytes > 0);
    assert_true(j.page.cpu_ms >= 0);
    assert_string_equal(j.result.data, args);
    assert_false(j.result_cut);
    assert_nothing_left(r);
    rig_job_done(&j);
}

static void large_arguments_and_output_do_not_block_each_other(void **state)
{
    struct rig *r = *state;
    start_script(r, "cat", "result_max: 1MiB\n");
    size_t size = 900000;
    char *args = xmalloc(size + 1);
    memset(args, '7', size);
    args[size] = '\0';
    struct rig_job j;
    rig_run(r, "p", args, &j);
    assert_int_equal(j.result.len, size);
    assert_memory_equal(j.result.data, args, size);
    rig_job_done(&j);
    free(args);
}

static void it_need_not_read_its_input(void **state)
{
    struct rig *r = *state;
    start_script(r, "exec <&-; exit 0", "");
    size_t size = 900000;
    char *args = xmalloc(size + 1);
    memset(args, '7', size);
    args[size] = '\0';
    struct rig_job j;
    rig_run(r, "p", args, &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_false(j.has_result);
    rig_job_done(&j);
    free(args);
}

static void exit_codes_mean_what_they_should(void **state)
{
    struct rig *r = *state;
    start_script(r, "exit $(cat)", "");
    static const struct {
        const char *args;
        enum outcome outcome;
        const char *message;
    } rows[] = {
        {"0", OUTCOME_DONE, ""},         {"1", OUTCOME_RETRY, "exit 1"},
        {"3", OUTCOME_RETRY, "exit 3"},  {"64", OUTCOME_RETRY, "exit 64"},
        {"65", OUTCOME_DEAD, "exit 65"}, {"75", OUTCOME_SNOOZE, ""},
        {"78", OUTCOME_PARK, "exit 78"}, {"255", OUTCOME_RETRY, "exit 255"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rig_job j;
        rig_run(r, "p", rows[i].args, &j);
        assert_int_equal(j.page.outcome, rows[i].outcome);
        assert_int_equal(j.page.exit_code, atoi(rows[i].args));
        assert_int_equal(j.page.delay_ms, -1);
        assert_string_equal(j.message.data, rows[i].message);
        rig_job_done(&j);
    }
}

static void a_signal_is_a_failure_with_its_name(void **state)
{
    struct rig *r = *state;
    start_script(r, "kill -$(cat) $$", "");
    struct rig_job j;
    rig_run(r, "p", "9", &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_int_equal(j.page.signal, SIGKILL);
    assert_int_equal(j.page.exit_code, -1);
    assert_string_equal(j.message.data, "killed by signal 9 (SIGKILL)");
    rig_job_done(&j);
}

static void the_end_of_stderr_explains_a_failure(void **state)
{
    struct rig *r = *state;
    start_script(r,
                 "i=0; while [ $i -lt 2000 ]; do echo \"line $i\" >&2; i=$((i+1)); done; "
                 "printf 'the last word' >&2; exit 3",
                 "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_string_equal(j.message.data, "exit 3: line 1998\nline 1999\nthe last word");
    assert_int_equal(j.stderr_tail.len, 4096);
    assert_non_null(strstr(j.stderr_tail.data, "line 1999\nthe last word"));
    struct buf storage = BUF_INIT;
    struct slots_out out;
    struct err err = {0};
    assert_int_equal(slots_out_read(r->dir, r->inc.hex, 1, j.slot, j.seq, &storage, &out, &err), 0);
    assert_int_equal(out.stderr_tail.len, 4096);
    buf_done(&storage);
    rig_await_log(r, "stream=stderr text=\"line 7\" job=job-7 type=p queue=default attempt=2");
    rig_await_log(r, "lines of a program were left out"); /* 16 KiB/s after the first 64 KiB */
    rig_job_done(&j);
}

static void a_long_line_of_stderr_is_cut(void **state)
{
    struct rig *r = *state;
    start_script(r, "printf '%05000d\\n' 1 >&2; echo next >&2", "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_await_log(r, "text=next");
    char *log = rig_log(r);
    const char *zeros = strstr(log, "text=0000");
    assert_non_null(zeros);
    assert_int_equal(strspn(zeros + 5, "0"), 4096);
    free(log);
    assert_int_equal(j.stderr_tail.len, 0); /* nothing to explain */
    rig_job_done(&j);
}

static void endless_output_is_cut_and_read_on(void **state)
{
    struct rig *r = *state;
    start_script(r, "yes | head -c 20000000", "result_max: 1000\n");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_true(j.result_cut);
    assert_true(j.result.len == 1000);
    rig_job_done(&j);
}

static void descriptor_3_speaks_json_lines(void **state)
{
    struct rig *r = *state;
    start_script(r,
                 "echo noise; "
                 "echo '{\"progress\":40,\"text\":\"half\"}' >&3; echo 'no json' >&3; "
                 "echo '{\"other\":1}' >&3; echo '{\"snooze\":\"soon\"}' >&3; "
                 "printf '{\"result\": {\"n\":12345678901234567890} }' >&3",
                 "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_string_equal(j.result.data, "{\"n\":12345678901234567890}");
    assert_int_equal(j.progress_frames, 1);
    assert_int_equal(j.percent, 40);
    rig_await_log(r, "a line on descriptor 3 was not understood");
    rig_await_log(r, "none of progress, text, result, snooze, fail is in it");
    rig_await_log(r, "must be a number of seconds, not a string");
    rig_job_done(&j);
}

static void a_snooze_and_a_reason_can_be_said(void **state)
{
    struct rig *r = *state;
    start_script(r,
                 "code=$(cat); echo '{\"snooze\":2.5}' >&3; echo '{\"fail\":\"no \\u20ac\"}' >&3; "
                 "echo noise >&2; exit $code",
                 "");
    static const struct {
        const char *args;
        enum outcome outcome;
        int64_t delay_ms;
        const char *message;
    } rows[] = {
        {"0", OUTCOME_SNOOZE, 2500, ""},
        {"75", OUTCOME_SNOOZE, 2500, ""},
        {"3", OUTCOME_RETRY, -1, "exit 3: no \xe2\x82\xac"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rig_job j;
        rig_run(r, "p", rows[i].args, &j);
        assert_int_equal(j.page.outcome, rows[i].outcome);
        assert_int_equal(j.page.delay_ms, rows[i].delay_ms);
        assert_string_equal(j.message.data, rows[i].message);
        rig_job_done(&j);
    }
}

static void a_runaway_line_on_descriptor_3_is_bounded(void **state)
{
    struct rig *r = *state;
    start_script(
        r, "yes x | tr -d '\\n' | head -c 5000000 >&3; echo >&3; echo '{\"result\":1}' >&3", "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_string_equal(j.result.data, "1");
    rig_await_log(r, "a line that is too long");
    rig_job_done(&j);
}

static void its_environment_is_scrubbed(void **state)
{
    struct rig *r = *state;
    setenv("SECRET", "do not tell", 1);
    setenv("LANG", "C.UTF-8", 1);
    setenv("REDIS_URL", "redis://:password@nowhere", 1);
    start_script(r, "env", "    env: {EXTRA: 'a b', TZ: Mars}\n");
    unsetenv("SECRET");
    unsetenv("REDIS_URL");
    struct rig_job j;
    rig_send(r, "p", "1", "{\"traceparent\":\"00-ab-cd-01\",\"x\":\"y\"}", &j);
    rig_await(r, &j);
    static const char *const expected[] = {"EXTRA=a b\n",
                                           "JOB_ATTEMPT=2\n",
                                           "JOB_ID=job-7\n",
                                           "JOB_QUEUE=default\n",
                                           "JOB_TYPE=p\n",
                                           "JOB_DEADLINE=",
                                           "LANG=C.UTF-8\n",
                                           "PATH=/",
                                           "TRACEPARENT=00-ab-cd-01\n",
                                           "TZ=Mars\n"};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        if (strstr(j.result.data, expected[i]) == NULL)
            fail_msg("%s is not in %s", expected[i], j.result.data);
    static const char *const allowed[] = {"EXTRA",  "HOME",  "JOB_",        "LANG", "PATH", "PWD",
                                          "OLDPWD", "SHLVL", "TRACEPARENT", "TZ",   "USER", "_="};
    for (const char *line = j.result.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        bool fine = false;
        for (size_t i = 0; i < ARRAY_COUNT(allowed); i++)
            fine = fine || strncmp(line, allowed[i], strlen(allowed[i])) == 0;
        if (!fine)
            fail_msg("it sees %.40s", line);
    }
    rig_job_done(&j);
}

static void it_has_four_descriptors(void **state)
{
    struct rig *r = *state;
    rig_start(r, "handlers:\n  p:\n    exec: [ls, /proc/self/fd]\n", false);
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_string_equal(j.result.data, "0\n1\n2\n3\n4\n"); /* 4 is the directory being listed */
    rig_job_done(&j);
}

static void it_has_its_arguments_directory_and_signals(void **state)
{
    struct rig *r = *state;
    start_script(
        r, "echo \"$# $2\"; pwd; for s in SigBlk SigIgn; do grep $s /proc/self/status; done", "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    char want[200];
    snprintf(want, sizeof want, "2 two words\n%s\nSigBlk:\t%016d\nSigIgn:\t%016d\n", r->dir, 0, 0);
    assert_string_equal(j.result.data, want);
    rig_job_done(&j);
}

static void a_program_that_is_not_there_is_a_failure(void **state)
{
    struct rig *r = *state;
    rig_write_file(r, "plain", "no program", 0644);
    rig_start(
        r,
        "handlers:\n  gone:\n    exec: [%D/gone]\n  nowhere:\n    exec: [bl-no-such-program]\n"
        "  plain:\n    exec: [./plain]\n  found:\n    exec: [\"true\"]\n",
        false);
    static const struct {
        const char *type, *path, *reason;
    } rows[] = {{"gone", "/gone", "No such file or directory"},
                {"nowhere", "bl-no-such-program", "No such file or directory"},
                {"plain", "/plain", "Permission denied"}};
    struct rig_job j;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        rig_run(r, rows[i].type, "1", &j);
        assert_int_equal(j.page.outcome, OUTCOME_RETRY);
        assert_int_equal(j.page.exit_code, -1);
        assert_non_null(strstr(j.message.data, rows[i].path));
        assert_non_null(strstr(j.message.data, rows[i].reason));
        assert_nothing_left(r);
        rig_job_done(&j);
    }
    rig_run(r, "found", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
}

static void a_grandchild_that_holds_the_pipes_is_killed(void **state)
{
    struct rig *r = *state;
    start_script(r,
                 "sleep 1000 & echo $! >same-group; "
                 "setsid sh -c 'echo $$ >own-session; sleep 1000; true' & "
                 "while ! [ -s own-session ]; do sleep 0.01; done; echo out",
                 "");
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    assert_string_equal(j.result.data, "out\n");
    await_gone(await_pid(r, "same-group"));
    await_gone(await_pid(r, "own-session"));
    assert_nothing_left(r);
    rig_await_log(r, "killed what a program left behind");
    char path[64]; /* nor did any stay a zombie */
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)r->pid, (int)r->pid);
    FILE *f = fopen(path, "r");
    assert_true(f == NULL || fgetc(f) == EOF);
    if (f != NULL)
        fclose(f);
    rig_job_done(&j);
}

static void its_group_stands_on_the_page_while_it_runs(void **state)
{
    struct rig *r = *state;
    start_script(r, "echo $$ >pid; exec sleep 1000", "");
    struct rig_job j;
    rig_send(r, "p", "1", NULL, &j);
    pid_t pid = await_pid(r, "pid");
    assert_int_equal(atomic_load(&slots_runner_page(r->slots, 1)->program_pgid), pid);
    assert_int_equal(getpgid(pid), pid);
    assert_int_equal(getsid(pid), r->pid);
    kill(-pid, SIGKILL);
    rig_await(r, &j);
    assert_int_equal(j.page.signal, SIGKILL);
    assert_nothing_left(r);
    rig_job_done(&j);
}

static void sigterm_is_handed_on(void **state)
{
    struct rig *r = *state;
    start_script(r, "trap 'echo stopped >&2; exit 9' TERM; sleep 1000 & echo $$ >pid; wait", "");
    struct rig_job j;
    rig_send(r, "p", "1", NULL, &j);
    await_pid(r, "pid");
    kill(r->pid, SIGTERM);
    rig_await(r, &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_string_equal(j.message.data, "exit 9: stopped");
    rig_job_done(&j);
    /* It was for that job alone. */
    rig_write_file(r, "script", "#!/bin/sh\nexit 0\n", 0755);
    rig_run(r, "p", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_DONE);
    rig_job_done(&j);
}

static void a_killed_runner_takes_its_program_along(void **state)
{
    struct rig *r = *state;
    start_script(r, "echo $$ >pid; exec sleep 1000", "");
    struct rig_job j;
    rig_send(r, "p", "1", NULL, &j);
    pid_t pid = await_pid(r, "pid");
    kill(r->pid, SIGKILL);
    assert_int_equal(rig_await_exit(r), -SIGKILL);
    await_gone(pid);
    rig_job_done(&j);
}

static void limits_hold(void **state)
{
    struct rig *r = *state;
    rig_start(r,
              "handlers:\n  p:\n    exec: [/bin/sh, -c, 'ulimit -n; ulimit -t; ulimit -v; nice']\n"
              "    limits: {memory: 512MiB, cpu: 7s, files: 33}\n    nice: 4\n",
              false);
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    char expected[64];
    snprintf(expected, sizeof expected, "33\n7\n524288\n%d\n", getpriority(PRIO_PROCESS, 0) + 4);
    assert_string_equal(j.result.data, expected);
    rig_job_done(&j);
}

static void a_user_can_be_named(void **state)
{
    struct rig *r = *state;
    if (geteuid() != 0)
        skip();
    rig_start(
        r,
        "handlers:\n  p:\n    exec: [/bin/sh, -c, 'id -un; echo $USER $HOME']\n    directory: /\n"
        "    user: nobody\n  q:\n    exec: [/bin/true]\n    user: no-such-user-here\n",
        false);
    struct rig_job j;
    rig_run(r, "p", "1", &j);
    assert_string_equal(j.result.data, "nobody\nnobody /nonexistent\n");
    rig_job_done(&j);
    rig_run(r, "q", "1", &j);
    assert_int_equal(j.page.outcome, OUTCOME_RETRY);
    assert_string_equal(j.message.data, "there is no user \"no-such-user-here\"");
    rig_job_done(&j);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_reads_the_very_bytes),
        TEST(large_arguments_and_output_do_not_block_each_other),
        TEST(it_need_not_read_its_input),
        TEST(exit_codes_mean_what_they_should),
        TEST(a_signal_is_a_failure_with_its_name),
        TEST(the_end_of_stderr_explains_a_failure),
        TEST(a_long_line_of_stderr_is_cut),
        TEST(endless_output_is_cut_and_read_on),
        TEST(descriptor_3_speaks_json_lines),
        TEST(a_snooze_and_a_reason_can_be_said),
        TEST(a_runaway_line_on_descriptor_3_is_bounded),
        TEST(its_environment_is_scrubbed),
        TEST(it_has_four_descriptors),
        TEST(it_has_its_arguments_directory_and_signals),
        TEST(a_program_that_is_not_there_is_a_failure),
        TEST(a_grandchild_that_holds_the_pipes_is_killed),
        TEST(its_group_stands_on_the_page_while_it_runs),
        TEST(sigterm_is_handed_on),
        TEST(a_killed_runner_takes_its_program_along),
        TEST(limits_hold),
        TEST(a_user_can_be_named),
    };
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
