/* The change itself needs root and is made in a process of its own; without root it is skipped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/privileges.h"

static void names_and_numbers_are_found(void **state)
{
    (void)state;
    struct privileges p;
    struct err err = {0};
    assert_int_equal(privileges_find("root", &p, &err), 0);
    assert_int_equal(p.uid, 0);
    assert_int_equal(p.gid, 0);
    assert_string_equal(p.name, "root");
    privileges_done(&p);
    assert_int_equal(privileges_find("0", &p, &err), 0);
    assert_string_equal(p.name, "root");
    privileges_done(&p);
    assert_int_equal(privileges_find("root:4242", &p, &err), 0);
    assert_int_equal(p.gid, 4242);
    privileges_done(&p);
    assert_int_equal(privileges_find("3999999999", &p, &err), 0); /* a container's, in no file */
    assert_true(p.uid == 3999999999U && p.gid == 3999999999U);
    assert_string_equal(p.home, "/");
    privileges_done(&p);
}

static void who_does_not_exist_is_named(void **state)
{
    (void)state;
    struct privileges p = {.name = NULL};
    static const struct {
        const char *user, *text;
    } cases[] = {
        {"no-such-user", "no-such-user"},
        {"root:no-such-group", "no-such-group"},
        {"", "user "},
        {"4294967295", "4294967295"}, /* -1: nobody's number */
        {"-1", "-1"},
        {"99999999999999999999", "99999999999999999999"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        assert_int_equal(privileges_find(cases[i].user, &p, &err), -ERR_NOT_FOUND);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_null(p.name);
    }
}

/* The exit code names what was not as it should be; 0 = all was. */
static int become_nobody(void)
{
    struct privileges p = {
        .uid = 65534, .gid = 65534, .name = (char[]){"nobody"}, .home = (char[]){"/nowhere"}};
    struct err err = {0};
    uid_t r, e, s;
    gid_t groups[32];
    setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
    gid_t extra[] = {0, 4};
    if (setgroups(2, extra) == -1 || privileges_change(&p, &err) != 0)
        return 1;
    if (getresuid(&r, &e, &s) == -1 || r != 65534 || e != 65534 || s != 65534)
        return 2;
    int n = getgroups(32, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] == 0 || groups[i] == 4)
            return 3;
    if (setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0)
        return 4;
    if (strcmp(getenv("HOME"), "/nowhere") != 0 || strcmp(getenv("USER"), "nobody") != 0 ||
        strcmp(getenv("LOGNAME"), "nobody") != 0 || getenv("XDG_RUNTIME_DIR") != NULL)
        return 5;
    if (privileges_change(&p, &err) != 0) /* already: nothing to do */
        return 6;
    p.uid = 65533;
    return privileges_change(&p, &err) == -ERR_PERMISSION ? 0 : 7;
}

static void the_change_is_whole_and_final(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0)
        _exit(become_nobody());
    int status;
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        ;
    assert_int_equal(status, 0);
}

static void only_root_can_change(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip();
    struct privileges p = {.uid = 0, .gid = 0, .name = (char[]){"root"}, .home = (char[]){"/"}};
    struct err err = {0};
    assert_int_equal(privileges_change(&p, &err), -ERR_PERMISSION);
    assert_non_null(strstr(err.text, "only root"));
}

static void root_without_a_user_is_warned_of(void **state)
{
    (void)state;
    assert_true(privileges_warn_root(0, NULL));
    assert_true(privileges_warn_root(0, ""));
    assert_false(privileges_warn_root(0, "root"));
    assert_false(privileges_warn_root(1000, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_found),
        cmocka_unit_test(who_does_not_exist_is_named),
        cmocka_unit_test(the_change_is_whole_and_final),
        cmocka_unit_test(only_root_can_change),
        cmocka_unit_test(root_without_a_user_is_warned_of),
    };
    return cmocka_run_group_tests_name("privileges", tests, NULL, NULL);
}
