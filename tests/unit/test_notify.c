/* Against a real datagram socket, which is all that a service manager is here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/notify.h"

enum { HANG_MS = 30000 };

struct manager {
    int fd;
    char name[64]; /* as NOTIFY_SOCKET spells it */
    char dir[32];
};

static void manager_start(struct manager *m, bool abstract)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(m->dir, "/tmp/bl-notify-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->name, sizeof m->name, "%s%s/s", abstract ? "@" : "", m->dir);
    strcpy(a.sun_path, m->name);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m->name));
    if (abstract)
        a.sun_path[0] = '\0';
    else
        len++;
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&a, len), 0);
    setenv("NOTIFY_SOCKET", m->name, 1);
}

static void manager_stop(struct manager *m)
{
    close(m->fd);
    unlink(m->name);
    rmdir(m->dir);
}

/* The next message, in `text` (>= 1024). */
static char *next_message(struct manager *m, char *text)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, HANG_MS), 1);
    ssize_t n = recv(m->fd, text, 1023, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void tell_everything(bool abstract)
{
    struct manager m;
    struct notify n;
    struct err err = {0};
    char text[1024];
    manager_start(&m, abstract);
    assert_int_equal(notify_init(&n, &err), 0);
    assert_true(notify_is_on(&n));
    notify_ready(&n);
    assert_string_equal(next_message(&m, text), "READY=1");
    notify_status(&n, "%d runners,\nqueue %s", 4, "default");
    assert_string_equal(next_message(&m, text), "STATUS=4 runners, queue default");
    notify_watchdog(&n);
    assert_string_equal(next_message(&m, text), "WATCHDOG=1");
    notify_reloading(&n);
    long long usec = 0;
    assert_int_equal(sscanf(next_message(&m, text), "RELOADING=1\nMONOTONIC_USEC=%lld", &usec), 1);
    assert_true(usec > 0);
    notify_stopping(&n, 8000);
    assert_string_equal(next_message(&m, text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000");
    notify_done(&n);
    assert_false(notify_is_on(&n));
    notify_ready(&n); /* nobody to tell any more: fine */
    manager_stop(&m);
}

static void messages_reach_a_socket_with_a_path(void **state)
{
    (void)state;
    tell_everything(false);
}

static void messages_reach_an_abstract_socket(void **state)
{
    (void)state;
    tell_everything(true);
}

static void without_a_manager_nothing_is_said(void **state)
{
    (void)state;
    struct notify n;
    struct err err = {0};
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000000", 1);
    assert_int_equal(notify_init(&n, &err), 0);
    assert_false(notify_is_on(&n));
    assert_int_equal(n.watchdog_ms, 0);
    notify_ready(&n);
    notify_status(&n, "nobody hears %s", "this");
    notify_done(&n);
}

static void handlers_do_not_inherit_the_socket(void **state)
{
    (void)state;
    struct manager m;
    struct notify n;
    struct err err = {0};
    manager_start(&m, false);
    setenv("WATCHDOG_USEC", "3000000", 1);
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_init(&n, &err), 0);
    assert_int_equal(n.watchdog_ms, 3000);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_true((fcntl(n.fd, F_GETFD) & FD_CLOEXEC) != 0);
    notify_done(&n);
    manager_stop(&m);
}

static void a_watchdog_for_another_is_not_ours(void **state)
{
    (void)state;
    static const char *const odd[] = {"", "x", "0", "-5", "10x", "99999999999999999999"};
    struct manager m;
    struct notify n;
    struct err err = {0};
    manager_start(&m, false);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_init(&n, &err), 0);
    assert_int_equal(n.watchdog_ms, 0);
    notify_done(&n);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        setenv("NOTIFY_SOCKET", m.name, 1);
        setenv("WATCHDOG_USEC", odd[i], 1);
        assert_int_equal(notify_init(&n, &err), 0);
        assert_int_equal(n.watchdog_ms, 0);
        notify_done(&n);
    }
    manager_stop(&m);
}

static void a_socket_that_cannot_be_is_said_and_survived(void **state)
{
    (void)state;
    char longest[200];
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const odd[] = {"relative", "@", "/", longest};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct notify n;
        struct err err = {0};
        setenv("NOTIFY_SOCKET", odd[i], 1);
        assert_int_equal(notify_init(&n, &err), -ERR_INVALID);
        assert_false(notify_is_on(&n));
        assert_null(getenv("NOTIFY_SOCKET"));
        notify_ready(&n);
        notify_done(&n);
    }
}

static void a_manager_that_is_gone_or_slow_holds_nobody(void **state)
{
    (void)state;
    struct manager m;
    struct notify n;
    struct err err = {0};
    manager_start(&m, false);
    assert_int_equal(notify_init(&n, &err), 0);
    for (int i = 0; i < 10000; i++) /* more than its queue holds; it reads none */
        notify_watchdog(&n);
    manager_stop(&m);
    notify_ready(&n);
    notify_done(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_reach_a_socket_with_a_path),
        cmocka_unit_test(messages_reach_an_abstract_socket),
        cmocka_unit_test(without_a_manager_nothing_is_said),
        cmocka_unit_test(handlers_do_not_inherit_the_socket),
        cmocka_unit_test(a_watchdog_for_another_is_not_ours),
        cmocka_unit_test(a_socket_that_cannot_be_is_said_and_survived),
        cmocka_unit_test(a_manager_that_is_gone_or_slow_holds_nobody),
    };
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
