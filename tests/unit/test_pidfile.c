#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/pidfile.h"

struct place {
    char dir[32], path[64];
};

static void place_make(struct place *p)
{
    strcpy(p->dir, "/tmp/bl-pidfile-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/worker.pid", p->dir);
}

static void place_remove(struct place *p)
{
    unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0); /* nothing else was left there */
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void assert_holds(const char *path, const char *expected)
{
    char text[64] = "";
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_string_equal(text, expected);
}

static void it_is_written_whole_and_readable_by_all(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    struct stat st;
    place_make(&p);
    mode_t old = umask(077);
    put(p.path, "999999999 a stale and longer one\n");
    assert_int_equal(pidfile_write(p.path, 4711, &err), 0);
    umask(old);
    assert_holds(p.path, "4711\n");
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    place_remove(&p);
}

static void what_a_killed_namesake_left_is_no_hindrance(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    char beside[96];
    place_make(&p);
    snprintf(beside, sizeof beside, "%s.4711.new", p.path);
    put(beside, "47");
    assert_int_equal(pidfile_write(p.path, 4711, &err), 0);
    assert_holds(p.path, "4711\n");
    place_remove(&p);
}

static void only_our_own_is_removed(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    place_make(&p);
    assert_int_equal(pidfile_write(p.path, 4711, &err), 0);
    pidfile_remove(p.path, 471);
    pidfile_remove(p.path, 47110);
    assert_holds(p.path, "4711\n");
    pidfile_remove(p.path, 4711);
    assert_int_equal(access(p.path, F_OK), -1);
    pidfile_remove(p.path, 4711); /* gone: fine */
    put(p.path, "4711 not a pidfile\n");
    pidfile_remove(p.path, 4711);
    assert_holds(p.path, "4711 not a pidfile\n");
    place_remove(&p);
}

static void a_failure_names_the_file_and_leaves_nothing(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    place_make(&p);
    assert_int_equal(pidfile_write("/no/such/directory/x.pid", 1, &err), -ERR_SYSTEM);
    assert_non_null(strstr(err.text, "/no/such/directory/x.pid"));
    struct err again = {0};
    assert_int_equal(mkdir(p.path, 0700), 0); /* cannot be renamed over */
    assert_int_equal(pidfile_write(p.path, 1, &again), -ERR_SYSTEM);
    assert_int_equal(rmdir(p.path), 0);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_written_whole_and_readable_by_all),
        cmocka_unit_test(what_a_killed_namesake_left_is_no_hindrance),
        cmocka_unit_test(only_our_own_is_removed),
        cmocka_unit_test(a_failure_names_the_file_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("pidfile", tests, NULL, NULL);
}
