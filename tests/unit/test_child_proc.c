/* How children end, and that what they leave behind is found. */
#include "tests/unit/child_modes.h"

#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- ends ---- */

static void a_dead_child_stays_a_zombie_until_reaped(void **state)
{
    (void)state;
    struct child_spec spec = {.new_session = true};
    pid_t pid = start_mode("--exit-3", &spec), seen = 0;
    assert_int_equal(child_wait_dead(pid, -1), 1);
    assert_int_equal(child_peek_dead(-1, &seen), 1);
    assert_int_equal(seen, pid);
    assert_int_equal(child_peek_dead(pid, &seen), 1); /* again: it was only looked at */
    assert_int_equal(getsid(pid), pid); /* and still holds its ids */
    struct child_end end;
    child_reap(pid, &end);
    assert_int_equal(end.pid, pid);
    assert_int_equal(end.exit_code, 3);
    assert_int_equal(end.signal, 0);
    seen = 7;
    assert_int_equal(child_peek_dead(-1, &seen), 0);
    assert_int_equal(seen, 7);
    assert_int_equal(kill(pid, 0), -1);
}

static void what_a_child_used_is_known(void **state)
{
    (void)state;
    struct child_spec spec = {.new_session = true};
    struct child_end end = wait_end(start_mode("--burn", &spec));
    assert_int_equal(end.exit_code, 0);
    assert_true(end.cpu_ms >= 30);
    assert_true(end.max_rss_bytes >= 16 << 20);
}

static void a_living_child_is_waited_for_in_vain(void **state)
{
    (void)state;
    struct child_spec spec = {.new_session = true};
    pid_t pid = start_mode("--pause", &spec), seen;
    assert_int_equal(child_wait_dead(pid, 0), 0);
    assert_int_equal(child_wait_dead(pid, 20), 0);
    assert_int_equal(child_peek_dead(pid, &seen), 0);
    end_by_kill(pid);
    assert_int_equal(child_wait_dead(pid, 0), 1); /* no child of ours: dead as can be */
}

static void ends_are_said_in_words(void **state)
{
    (void)state;
    char text[64];
    struct child_end e = {.exit_code = 3};
    assert_string_equal(child_end_format(&e, text, sizeof text), "exit 3");
    e = (struct child_end){.exit_code = -1, .signal = SIGSEGV, .core = true};
    assert_string_equal(child_end_format(&e, text, sizeof text),
                        "signal 11 (SIGSEGV), core dumped");
    e = (struct child_end){.exit_code = -1, .signal = SIGKILL};
    assert_string_equal(child_end_format(&e, text, sizeof text), "signal 9 (SIGKILL)");
    e = (struct child_end){.exit_code = -1, .signal = 50};
    assert_string_equal(child_end_format(&e, text, sizeof text), "signal 50");
    e = (struct child_end){.exit_code = -1};
    assert_string_equal(child_end_format(&e, text, sizeof text), "unknown end");
}

/* ---- groups, sessions, strays ---- */

static void a_group_is_killed_only_in_its_session(void **state)
{
    (void)state;
    struct child_spec spec = {.new_session = true};
    pid_t pid = start_mode("--pause", &spec);
    assert_int_equal(child_kill_group(pid, pid + 1, SIGKILL), -1);
    assert_int_equal(child_kill_group(-1, 0, SIGKILL), -1);
    assert_int_equal(child_kill_group(0, 0, SIGKILL), -1);
    assert_int_equal(child_kill_group(1, 0, SIGKILL), -1);
    assert_int_equal(child_wait_dead(pid, 0), 0);
    assert_int_equal(child_kill_group(pid, pid, SIGKILL), 0);
    assert_int_equal(child_wait_dead(pid, HANG_MS), 1);
    assert_int_equal(child_kill_group(pid, pid, SIGKILL), 0); /* a zombie still has its group */
    assert_int_equal(wait_end(pid).signal, SIGKILL);
    assert_int_equal(child_kill_group(pid, pid, SIGKILL), -1);
}

static void kill_a_session(void)
{
    struct err err = {0};
    MUST(child_become_subreaper(&err) == 0);
    pid_t pid = start_family("--two-groups"); /* itself, and one in another group */
    MUST(child_kill_sessions(&pid, 1, SIGKILL) == 2);
    int reaped = 0;
    while (waitpid(-1, NULL, 0) > 0)
        reaped++;
    MUST(reaped == 2);
    pid_t own = getsid(0);
    MUST(child_kill_sessions(&own, 1, SIGKILL) == 0);
}

static void a_session_is_killed_across_its_groups(void **state)
{
    (void)state;
    in_own_process(kill_a_session);
}

static bool is_this(void *arg, pid_t pid)
{
    return pid == *(pid_t *)arg;
}

static void kill_strays(void)
{
    struct err err = {0};
    MUST(child_become_subreaper(&err) == 0);
    pid_t ours = start_family("--two-groups"), litter = start_family("--litter");
    struct child_end end;
    MUST(child_wait_dead(litter, HANG_MS) == 1);
    child_reap(litter, &end);
    /* Two that it left, and one that comes to us when its own parent is killed. */
    MUST(child_kill_strays(is_this, &ours) == 3);
    for (pid_t pid; child_peek_dead(-1, &pid) == 1; child_reap(pid, &end))
        MUST(pid != ours && pid > 0);
    MUST(child_kill_strays(is_this, &ours) == 0);
    MUST(kill(ours, 0) == 0);
    MUST(child_kill_sessions(&ours, 1, SIGKILL) == 2);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    MUST(errno == ECHILD);
}

static void strays_are_killed_and_ours_are_not(void **state)
{
    (void)state;
    in_own_process(kill_strays);
}

/* ---- identity ---- */

static void a_process_is_known_by_its_start(void **state)
{
    (void)state;
    uint64_t ticks = child_start_ticks(getpid());
    assert_true(ticks > 0);
    assert_true(child_start_ticks(getpid()) == ticks);
    assert_true(child_start_ticks(0) == 0);
    assert_true(child_start_ticks(INT_MAX) == 0);
}

static void a_name_cannot_forge_the_start(void **state)
{
    (void)state;
    char saved[16];
    uint64_t ticks = child_start_ticks(getpid());
    prctl(PR_GET_NAME, saved);
    prctl(PR_SET_NAME, ") R 1 1 1 1");
    assert_true(child_start_ticks(getpid()) == ticks);
    prctl(PR_SET_NAME, saved);
}

static void the_own_executable_is_found(void **state)
{
    (void)state;
    struct err err = {0};
    setenv("BUCKETLINE_RUNNER_EXE", "/no/such/file", 1);
    assert_int_equal(child_open_self("test_child", &err), -ERR_SYSTEM);
    assert_non_null(strstr(err.text, "/no/such/file"));
    setenv("BUCKETLINE_RUNNER_EXE", "/bin/sh", 1);
    struct err again = {0};
    int fd = child_open_self("test_child", &again);
    unsetenv("BUCKETLINE_RUNNER_EXE");
    struct stat a, b;
    assert_true(fd >= 0 && fstat(fd, &a) == 0 && stat("/bin/sh", &b) == 0);
    assert_true(a.st_ino == b.st_ino && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0)
        return run_mode(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_child_stays_a_zombie_until_reaped),
        cmocka_unit_test(what_a_child_used_is_known),
        cmocka_unit_test(a_living_child_is_waited_for_in_vain),
        cmocka_unit_test(ends_are_said_in_words),
        cmocka_unit_test(a_group_is_killed_only_in_its_session),
        cmocka_unit_test(a_session_is_killed_across_its_groups),
        cmocka_unit_test(strays_are_killed_and_ours_are_not),
        cmocka_unit_test(a_process_is_known_by_its_start),
        cmocka_unit_test(a_name_cannot_forge_the_start),
        cmocka_unit_test(the_own_executable_is_found),
    };
    return cmocka_run_group_tests_name("child_proc", tests, NULL, NULL);
}
