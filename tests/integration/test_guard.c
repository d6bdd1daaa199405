/* The real guard, `$BUCKETLINE_BUILD/worker --guard`, watching a page and families of processes of
 * ours: a runner, its program in a group of its own, and a grandchild that left that group too.
 * All of a family hold one pipe; its end is their death.  Nothing is timed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/slots.h"
#include "worker/child.h"

enum {
    HANG_MS = 30000,
    RUNNERS = 4,
    FD_LIFE = 5,
    FD_TERM = 6,
    HOUR_MS = 3600000,
};

extern char **environ;

/* ---- a family ---- */

static void on_term(int sig)
{
    (void)sig;
    (void)!write(FD_TERM, "T", 1); /* a full pipe says enough */
}

static _Noreturn void pause_forever(void)
{
    for (;;)
        pause();
}

/* A fork that pauses, and does not outlive a test that was ended half-way. */
static pid_t fork_pausing(void)
{
    pid_t self = getpid();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 || getppid() != self)
            _exit(1);
        pause_forever();
    }
    return pid;
}

/* The runner's end: tells the program's group and stays. */
static int family_main(void)
{
    int ends[2];
    char byte;
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    if (pipe(ends) == -1)
        return 1;
    pid_t program = fork();
    if (program == 0) {
        setpgid(0, 0);
        if (fork() == 0)
            setpgid(0, 0); /* in no group that anyone knows of */
        if (write(ends[1], "x", 1) == 1)
            pause_forever();
    }
    for (int i = 0; i < 2; i++) /* both have said that they are there */
        if (read(ends[0], &byte, 1) != 1)
            return 1;
    if (write(STDOUT_FILENO, &program, sizeof program) != sizeof program)
        return 1;
    pause_forever();
}

struct family {
    pid_t runner, program;
    int life_fd, term_fd; /* ours to read */
};

static struct family family_start(struct slots *page, int index)
{
    struct family f;
    int told[2], life[2], term[2];
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    assert_int_equal(pipe2(term, O_CLOEXEC), 0);
    struct child_fd rows[] = {{told[1], 1}, {2, 2}, {life[1], FD_LIFE}, {term[1], FD_TERM}};
    char *argv[] = {"family", "--family", NULL};
    struct err err = {0};
    struct child_spec spec = {.argv = argv,
                              .envp = environ,
                              .fds = rows,
                              .fd_count = (int)ARRAY_COUNT(rows),
                              .new_session = true,
                              .die_with_parent = true};
    spec.exe_fd = child_open_self(NULL, &err);
    assert_true(spec.exe_fd >= 0);
    assert_int_equal(child_start(&spec, &f.runner, &err), 0);
    close(spec.exe_fd), close(told[1]), close(life[1]), close(term[1]);
    assert_int_equal(read(told[0], &f.program, sizeof f.program), sizeof f.program);
    close(told[0]);
    f.life_fd = life[0];
    f.term_fd = term[0];
    struct slots_header *h = slots_header(page);
    h->runner_start[index] = child_start_ticks(f.runner);
    atomic_store(&h->runner_pid[index], f.runner);
    /* A runner writes this itself. */
    atomic_store(&slots_runner_page(page, index)->program_pgid, f.program);
    return f;
}

static bool readable_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void reap_all(void)
{
    pid_t pid;
    struct child_end end;
    while (child_peek_dead(-1, &pid) == 1)
        child_reap(pid, &end);
}

static void assert_family_dies(struct family *f)
{
    assert_true(readable_within(f->life_fd, HANG_MS)); /* only ever its end: nobody writes there */
    close(f->life_fd), close(f->term_fd);
    assert_int_equal(child_wait_dead(f->runner, HANG_MS), 1);
}

static void assert_family_lives_then_end_it(struct family *f)
{
    assert_false(readable_within(f->life_fd, 0));
    assert_int_equal(kill(f->runner, 0), 0);
    assert_int_equal(kill(f->program, 0), 0);
    assert_int_equal(child_kill_sessions(&f->runner, 1, SIGKILL), 3);
    assert_family_dies(f);
}

/* ---- the guard ---- */

struct setup {
    struct slots *page;
    pid_t guard;
    int pipe_fd; /* the worker's end */
};

static void setup_start(struct setup *s, const char *on_lost, const char *soft, const char *hard)
{
    struct incarnation inc;
    struct err err = {0};
    assert_int_equal(child_become_subreaper(&err), 0);
    assert_int_equal(incarnation_new(&inc, &err), 0);
    assert_int_equal(slots_create(NULL, &inc, RUNNERS, NULL, 0, &s->page, &err), 0);
    slots_header(s->page)->loop_boot_ms = boot_ms() + HOUR_MS; /* as alive as can be */

    const char *build = getenv("BUCKETLINE_BUILD");
    char exe[4096];
    snprintf(exe, sizeof exe, "%s/worker", build != NULL ? build : "build");
    char *argv[] = {"bucketline-guard",
                    "--guard",
                    "--slots-fd",
                    "3",
                    "--parent-fd",
                    "4",
                    "--on-lost",
                    (char *)(uintptr_t)on_lost,
                    "--soft-ms",
                    (char *)(uintptr_t)soft,
                    "--hard-ms",
                    (char *)(uintptr_t)hard,
                    "--log-level",
                    "error",
                    NULL};
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct child_fd rows[] = {{2, 2}, {slots_fd(s->page), 3}, {ends[0], 4}};
    struct child_spec spec = {.exe_fd = -1,
                              .exe = exe,
                              .argv = argv,
                              .envp = environ,
                              .fds = rows,
                              .fd_count = (int)ARRAY_COUNT(rows),
                              .new_session = true};
    if (child_start(&spec, &s->guard, &err) != 0)
        fail_msg("%s", err.text);
    close(ends[0]);
    s->pipe_fd = ends[1];
}

/* Lets the guard see the end of its pipe and waits for its own. */
static void guard_end(struct setup *s)
{
    struct child_end end;
    if (s->pipe_fd != -1)
        close(s->pipe_fd);
    assert_int_equal(child_wait_dead(s->guard, HANG_MS), 1);
    child_reap(s->guard, &end);
    assert_int_equal(end.exit_code, 0);
    slots_free(s->page);
    reap_all();
}

/* ---- the tests ---- */

static void a_killed_worker_leaves_nothing_running(void **state)
{
    (void)state;
    struct setup s;
    setup_start(&s, "finish", "6000", "8000");
    struct family a = family_start(s.page, 0), b = family_start(s.page, 3);
    pid_t worker = fork_pausing(); /* from now on the only one with the pipe */
    close(s.pipe_fd);
    s.pipe_fd = -1;
    assert_false(readable_within(a.life_fd, 0));
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_family_dies(&a);
    assert_family_dies(&b);
    guard_end(&s);
}

static void a_programs_group_goes_when_its_runner_is_gone(void **state)
{
    (void)state;
    struct setup s;
    setup_start(&s, "finish", "6000", "8000");
    struct family f = family_start(s.page, 1);
    struct child_end end;
    assert_int_equal(kill(f.runner, SIGKILL), 0);
    assert_int_equal(child_wait_dead(f.runner, HANG_MS), 1);
    child_reap(f.runner, &end);
    assert_false(readable_within(f.life_fd, 0)); /* its program goes on */
    close(s.pipe_fd);
    s.pipe_fd = -1;
    assert_family_dies(&f);
    guard_end(&s);
}

static void a_frozen_worker_loses_its_runners_and_is_watched_on(void **state)
{
    (void)state;
    struct setup s;
    setup_start(&s, "finish", "100", "200");
    struct family f = family_start(s.page, 0);
    slots_header(s.page)->loop_boot_ms = boot_ms(); /* and never again */
    assert_family_dies(&f);
    reap_all();
    struct family next = family_start(s.page, 0); /* the stamp has been acted on */
    assert_int_equal(kill(s.guard, SIGTERM), 0); /* and this does not end it */
    slots_header(s.page)->loop_boot_ms = boot_ms();
    assert_family_dies(&next);
    reap_all();
    assert_int_equal(child_wait_dead(s.guard, 0), 0);
    guard_end(&s);
}

static void without_redis_stop_means_first_softly_then_hard(void **state)
{
    (void)state;
    struct setup s;
    char byte;
    setup_start(&s, "stop", "100", "3000");
    struct family f = family_start(s.page, 2);
    slots_header(s.page)->good_beat_boot_ms = boot_ms();
    assert_true(readable_within(f.term_fd, HANG_MS));
    assert_int_equal(read(f.term_fd, &byte, 1), 1);
    assert_int_equal(byte, 'T');
    assert_family_dies(&f);
    guard_end(&s);
}

static void without_redis_finish_lets_go_on_and_a_foreign_process_is_spared(void **state)
{
    (void)state;
    struct setup s;
    setup_start(&s, "finish", "100", "200");
    struct family f = family_start(s.page, 0);
    slots_header(s.page)->good_beat_boot_ms = 1;
    slots_header(s.page)->runner_start[0]++; /* another process has this number now */
    guard_end(&s);
    assert_family_lives_then_end_it(&f);
    reap_all();
}

static void a_pid_that_leads_no_session_is_spared(void **state)
{
    (void)state;
    struct setup s;
    setup_start(&s, "finish", "6000", "8000");
    struct family f = family_start(s.page, 0);
    atomic_store(&slots_header(s.page)->runner_pid[0], f.program);
    slots_header(s.page)->runner_start[0] = child_start_ticks(f.program);
    /* Nor does a runner's page make the guard kill what is not in that runner's session. */
    pid_t stranger = fork(); /* in our session, which it does not lead */
    assert_true(stranger >= 0);
    if (stranger == 0) {
        for (int fd = 0; fd < 256; fd++)
            close(fd); /* above all the guard's pipe, whose end it waits for */
        pause_forever();
    }
    slots_header(s.page)->runner_start[1] = child_start_ticks(stranger);
    atomic_store(&slots_header(s.page)->runner_pid[1], stranger);
    atomic_store(&slots_runner_page(s.page, 1)->program_pgid, f.program);
    guard_end(&s);
    assert_int_equal(child_wait_dead(stranger, 0), 0); /* alive */
    assert_int_equal(kill(stranger, SIGKILL), 0);
    assert_int_equal(child_wait_dead(stranger, HANG_MS), 1);
    assert_family_lives_then_end_it(&f);
    reap_all();
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    const char *build = getenv("BUCKETLINE_BUILD");
    char exe[4096];
    snprintf(exe, sizeof exe, "%s/worker", build != NULL ? build : "build");
    char *argv[] = {"bucketline-guard", "--guard", "--slots-fd", "x", NULL};
    struct child_spec spec = {.exe_fd = -1, .exe = exe, .argv = argv, .envp = environ};
    struct err err = {0};
    struct child_end end;
    pid_t pid;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(child_wait_dead(pid, HANG_MS), 1);
    child_reap(pid, &end);
    assert_int_equal(end.exit_code, 64);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--family") == 0)
        return family_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_worker_leaves_nothing_running),
        cmocka_unit_test(a_programs_group_goes_when_its_runner_is_gone),
        cmocka_unit_test(a_frozen_worker_loses_its_runners_and_is_watched_on),
        cmocka_unit_test(without_redis_stop_means_first_softly_then_hard),
        cmocka_unit_test(without_redis_finish_lets_go_on_and_a_foreign_process_is_spared),
        cmocka_unit_test(a_pid_that_leads_no_session_is_spared),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
