#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/runner/footprint.h"

/* SIGTERM has a handler and SIGUSR2 is ignored when the footprint is taken, as in a runner. */
struct place {
    struct footprint footprint;
    int sockets[2];
};

static void on_signal(int sig)
{
    (void)sig;
}

static void on_signal_otherwise(int sig)
{
    (void)sig;
}

static void act(int sig, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    assert_int_equal(sigaction(sig, &action, NULL), 0);
}

static int arrive(void **state)
{
    static struct place p;
    act(SIGTERM, on_signal, SA_RESTART);
    act(SIGUSR2, SIG_IGN, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p.sockets), 0);
    footprint_take(&p.footprint, p.sockets[0]);
    *state = &p;
    return 0;
}

static int leave(void **state)
{
    struct place *p = *state;
    footprint_done(&p->footprint);
    close(p->sockets[0]);
    close(p->sockets[1]);
    act(SIGTERM, SIG_DFL, 0);
    act(SIGUSR2, SIG_DFL, 0);
    return 0;
}

static void assert_clean(struct place *p)
{
    const char *what = footprint_changed(&p->footprint);
    if (what != NULL)
        fail_msg("changed: %s", what);
}

static void assert_changed(struct place *p, const char *expected)
{
    const char *what = footprint_changed(&p->footprint);
    assert_non_null(what);
    assert_string_equal(what, expected);
}

struct deed {
    int sig;
    void (*handler)(int);
    int flags;
};

/* Each differs from what is found; it is undone once it was seen. */
static const struct deed deeds[] = {
    {SIGUSR1, SIG_IGN, 0},
    {SIGUSR1, on_signal, 0},
    {SIGUSR2, SIG_DFL, 0},
    {SIGUSR2, on_signal, 0},
    {SIGTERM, SIG_DFL, 0},
    {SIGTERM, SIG_IGN, 0},
    {SIGTERM, on_signal_otherwise, SA_RESTART},
    {SIGTERM, on_signal, 0},
    {SIGCHLD, SIG_IGN, 0},
    {SIGCHLD, SIG_DFL, SA_NOCLDWAIT},
};

static void see_each_deed(struct place *p)
{
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        struct sigaction before;
        sigaction(deeds[i].sig, NULL, &before);
        act(deeds[i].sig, deeds[i].handler, deeds[i].flags);
        assert_changed(p, "signal disposition");
        sigaction(deeds[i].sig, &before, NULL);
    }
}

static void what_becomes_of_each_signal_is_seen(void **state)
{
    struct place *p = *state;
    assert_true(p->footprint.dispositions.known);
    assert_clean(p);
    see_each_deed(p);
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) {
        act(sig, SIG_IGN, 0);
        assert_changed(p, "signal disposition");
        act(sig, SIG_DFL, 0);
    }
    assert_clean(p);
}

static void it_is_seen_without_a_descriptor_to_read_proc_with(void **state)
{
    struct place *p = *state;
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    see_each_deed(p);
    assert_changed(p, "limits"); /* which are looked at later */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_clean(p);
}

static void it_is_seen_where_proc_could_not_be_read_at_first(void **state)
{
    struct place *p = *state;
    p->footprint.dispositions = (struct dispositions){0};
    assert_clean(p);
    see_each_deed(p);
    assert_clean(p);
}

static void *on_thread(void *arg)
{
    return arg;
}

/* With the first thread the C library takes a signal for itself. */
static void a_thread_that_has_ended_is_no_change(void **state)
{
    struct place *p = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, on_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_clean(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_becomes_of_each_signal_is_seen, arrive, leave),
        cmocka_unit_test_setup_teardown(it_is_seen_without_a_descriptor_to_read_proc_with, arrive,
                                        leave),
        cmocka_unit_test_setup_teardown(it_is_seen_where_proc_could_not_be_read_at_first, arrive,
                                        leave),
        cmocka_unit_test_setup_teardown(a_thread_that_has_ended_is_no_change, arrive, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
