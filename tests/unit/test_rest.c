/* Two real processes and the page between them: who wakes whom where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/rest.h"

enum { MEETINGS = 500, MEETINGS_MAX = 100000, SPIN_MAX = 100000 };

struct shared {
    struct runner_page page;
    cpu_set_t asked_for; /* by the runner at last */
};

struct pair {
    struct shared *shared;
    struct runner_page *page; /* of it */
    cpu_set_t cores; /* what this process may use */
    pid_t pid; /* of the child that plays the runner */
    int fd; /* to it */
};

/* Called once a set is in force, before its caller knows. */
static void (*when_set)(pid_t pid, const cpu_set_t *set);
static bool refused;

/* Takes the place of the C library's: the system call, and what a test has to do with it. */
int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
    if (refused) {
        errno = EPERM;
        return -1;
    }
    int rc = (int)syscall(SYS_sched_setaffinity, pid, size, set);
    if (rc == 0 && when_set != NULL)
        when_set(pid, set);
    return rc;
}

static struct shared *of_runner;

static void note_what_is_asked_for(pid_t pid, const cpu_set_t *set)
{
    (void)pid;
    of_runner->asked_for = *set;
}

static void spin(void)
{
    for (volatile int i = rand() % SPIN_MAX; i > 0; i--)
        ;
}

/* The runner does what it is told: one letter, answered by the same when it is done. */
static _Noreturn void play_runner(struct shared *shared, int fd)
{
    struct runner_page *page = &shared->page;
    char c;
    of_runner = shared;
    when_set = note_what_is_asked_for;
    srand((unsigned)getpid()); /* not in step with the other */
    while (read(fd, &c, 1) == 1) {
        if (c == 'r')
            rest_begin(page);
        else if (c == 'w')
            rest_end(page);
        else if (c == 'i')
            rest_init(page);
        else if (c == 'x')
            refused = true;
        else if (c == 'm') { /* to meet a call: answered first */
            rest_begin(page);
            if (write(fd, &c, 1) != 1)
                _exit(1);
            spin();
            rest_end(page);
        }
        if (write(fd, &c, 1) != 1)
            _exit(1);
    }
    _exit(0);
}

static int set_up(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    int fds[2];
    assert_non_null(p);
    assert_int_equal(sched_getaffinity(0, sizeof p->cores, &p->cores), 0);
    p->shared =
        mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p->shared != MAP_FAILED);
    p->page = &p->shared->page;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    rest_init(p->page);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        close(fds[0]);
        play_runner(p->shared, fds[1]);
    }
    close(fds[1]);
    p->fd = fds[0];
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;
    int status;
    close(p->fd);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_int_equal(status, 0);
    munmap(p->shared, sizeof *p->shared);
    when_set = NULL;
    free(p);
    return 0;
}

static void hear(const struct pair *p, char what)
{
    char c = 0;
    assert_int_equal(read(p->fd, &c, 1), 1);
    assert_int_equal(c, what);
}

static void tell(const struct pair *p, char what)
{
    assert_int_equal(write(p->fd, &what, 1), 1);
    hear(p, what);
}

static cpu_set_t cores_of(const struct pair *p)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(p->pid, sizeof set, &set), 0);
    return set;
}

static bool has_ours(const struct pair *p)
{
    cpu_set_t set = cores_of(p);
    return CPU_EQUAL(&set, &p->cores);
}

static void need_cores(const struct pair *p)
{
    if (CPU_COUNT(&p->cores) < 2)
        skip(); /* nothing to choose from */
}

static void restrict_to(pid_t pid, int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    assert_int_equal(sched_setaffinity(pid, sizeof set, &set), 0);
}

static int some_core(const struct pair *p)
{
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &p->cores))
            return core;
    fail();
    return -1;
}

/* As by restrict_to(p->pid, some_core(p)). */
static void assert_is_restricted(const struct pair *p)
{
    cpu_set_t set = cores_of(p);
    assert_int_equal(CPU_COUNT(&set), 1);
    assert_true(CPU_ISSET(some_core(p), &set));
}

static void called_it_is_bound_until_it_wakes(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    for (int i = 0; i < 3; i++) {
        tell(p, 'r');
        assert_true(has_ours(p));
        assert_true(rest_call(p->page, p->pid));
        cpu_set_t set = cores_of(p);
        assert_int_equal(CPU_COUNT(&set), 1);
        CPU_AND(&set, &set, &p->cores);
        assert_int_equal(CPU_COUNT(&set), 1);
        tell(p, 'w');
        assert_true(has_ours(p));
    }
}

static void it_is_called_once(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    tell(p, 'r');
    assert_true(rest_call(p->page, p->pid));
    assert_false(rest_call(p->page, p->pid));
    tell(p, 'w');
    assert_true(has_ours(p));
}

static void awake_it_is_not_called(void **state)
{
    struct pair *p = *state;
    assert_false(rest_call(p->page, p->pid));
    assert_true(has_ours(p));
    tell(p, 'r');
    tell(p, 'w');
    assert_false(rest_call(p->page, p->pid));
    assert_true(has_ours(p));
}

static void what_somebody_bound_stays_where_it_is(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    restrict_to(p->pid, some_core(p));
    tell(p, 'r');
    assert_false(rest_call(p->page, p->pid));
    tell(p, 'w');
    assert_is_restricted(p);
}

static void with_one_core_there_is_nothing_to_call_to(void **state)
{
    struct pair *p = *state;
    restrict_to(0, some_core(p));
    restrict_to(p->pid, some_core(p));
    tell(p, 'r');
    bool called = rest_call(p->page, p->pid);
    assert_int_equal(sched_setaffinity(0, sizeof p->cores, &p->cores), 0);
    assert_false(called);
}

static void what_was_called_before_its_start_does_not_count(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    tell(p, 'r');
    assert_true(rest_call(p->page, p->pid));
    rest_init(p->page);
    restrict_to(p->pid, some_core(p)); /* as whoever runs here now may be */
    tell(p, 'w');
    cpu_set_t set = cores_of(p);
    assert_int_equal(CPU_COUNT(&set), 1);
    assert_false(rest_call(p->page, p->pid));
}

static void one_that_is_gone_is_not_called(void **state)
{
    struct pair *p = *state;
    tell(p, 'r');
    pid_t gone = fork();
    assert_true(gone >= 0);
    if (gone == 0)
        _exit(0);
    assert_int_equal(waitpid(gone, NULL, 0), gone);
    assert_false(rest_call(p->page, gone));
    tell(p, 'w');
    assert_true(has_ours(p));
}

static struct {
    const struct pair *pair;
    const char *letters; /* told to the runner as soon as it is bound */
} meeting;

static void when_bound(pid_t pid, const cpu_set_t *set)
{
    if (pid == meeting.pair->pid && CPU_COUNT(set) == 1)
        for (const char *c = meeting.letters; *c != '\0'; c++)
            tell(meeting.pair, *c);
}

static bool call_while(const struct pair *p, const char *letters)
{
    meeting.pair = p;
    meeting.letters = letters;
    when_set = when_bound;
    return rest_call(p->page, p->pid);
}

static void waking_while_it_is_bound_it_is_free(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    tell(p, 'r');
    assert_false(call_while(p, "w"));
    assert_true(has_ours(p));
    assert_false(rest_call(p->page, p->pid));
}

static void asleep_again_meanwhile_it_is_called(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    tell(p, 'r');
    assert_true(call_while(p, "wr"));
    assert_false(has_ours(p));
    tell(p, 'w');
    assert_true(has_ours(p));
}

/* A choice of cores would stay when an operator gives them more, or others. */
static void free_it_has_chosen_no_cores(void **state)
{
    struct pair *p = *state;
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    need_cores(p);
    tell(p, 'r');
    assert_true(rest_call(p->page, p->pid));
    tell(p, 'w');
    assert_true(has_ours(p));
    assert_true(CPU_EQUAL(&p->shared->asked_for, &all));
}

static void cores_that_were_chosen_outlast_its_start(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    restrict_to(p->pid, some_core(p));
    tell(p, 'i');
    assert_is_restricted(p);
}

static void one_that_may_not_choose_its_cores_is_not_called(void **state)
{
    struct pair *p = *state;
    tell(p, 'x');
    tell(p, 'i');
    for (int i = 0; i < 3; i++) {
        tell(p, 'r');
        assert_false(rest_call(p->page, p->pid));
        assert_true(has_ours(p));
        tell(p, 'w');
    }
}

static void however_they_meet_it_is_free_afterwards(void **state)
{
    struct pair *p = *state;
    need_cores(p);
    int called = 0, missed = 0;
    while (called + missed < MEETINGS || called == 0 || missed == 0) {
        assert_true(called + missed < MEETINGS_MAX);
        tell(p, 'm');
        spin();
        if (rest_call(p->page, p->pid))
            called++;
        else
            missed++;
        hear(p, 'm');
        assert_true(has_ours(p));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(called_it_is_bound_until_it_wakes),
        TEST(it_is_called_once),
        TEST(awake_it_is_not_called),
        TEST(what_somebody_bound_stays_where_it_is),
        TEST(with_one_core_there_is_nothing_to_call_to),
        TEST(what_was_called_before_its_start_does_not_count),
        TEST(one_that_is_gone_is_not_called),
        TEST(waking_while_it_is_bound_it_is_free),
        TEST(asleep_again_meanwhile_it_is_called),
        TEST(free_it_has_chosen_no_cores),
        TEST(cores_that_were_chosen_outlast_its_start),
        TEST(one_that_may_not_choose_its_cores_is_not_called),
        TEST(however_they_meet_it_is_free_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
