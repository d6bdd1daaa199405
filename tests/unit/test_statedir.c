/* Two processes of one machine: one holds its lock, the other tries it.  Pipes say when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/slots.h"
#include "worker/child.h"
#include "worker/statedir.h"

extern char **environ;

static char root[64]; /* a fresh directory for each test */

static int each_setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/bl-statedir-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(path) == -1)
            remove_tree(path);
    }
    if (d != NULL)
        closedir(d);
    rmdir(dir);
}

static int each_teardown(void **state)
{
    (void)state;
    remove_tree(root);
    return 0;
}

static struct incarnation incarnation_of(char digit)
{
    struct incarnation inc = {.hex = ""};
    memset(inc.hex, digit, INCARNATION_BYTES);
    return inc;
}

static void put(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void put_of(const struct incarnation *inc, const char *suffix)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", inc->hex, suffix);
    put(name);
}

static int entry_count(void)
{
    int count = 0;
    DIR *d = opendir(root);
    assert_non_null(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count - 2;
}

/* ---- the directory ---- */

static void the_directory_is_made_for_us_alone(void **state)
{
    (void)state;
    char path[PATH_MAX], *dir = NULL;
    struct err err = {0};
    struct stat st;
    snprintf(path, sizeof path, "%s/a/b//c/", root);
    assert_int_equal(statedir_prepare(path, &dir, &err), 0);
    snprintf(path, sizeof path, "%s/a/b/c", root);
    assert_string_equal(dir, path);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    free(dir);
    assert_int_equal(statedir_prepare(path, &dir, &err), 0); /* again: it is there */
    free(dir);
}

static void the_users_default_follows_the_environment(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip(); /* root's place is not ours to make */
    char path[PATH_MAX], *dir = NULL;
    struct err err = {0};
    setenv("HOME", root, 1);
    setenv("XDG_STATE_HOME", "relative/is/ignored", 1);
    assert_int_equal(statedir_prepare(NULL, &dir, &err), 0);
    snprintf(path, sizeof path, "%s/.local/state/bucketline", root);
    assert_string_equal(dir, path);
    free(dir);
    snprintf(path, sizeof path, "%s/xdg", root);
    setenv("XDG_STATE_HOME", path, 1);
    assert_int_equal(statedir_prepare(NULL, &dir, &err), 0);
    snprintf(path, sizeof path, "%s/xdg/bucketline", root);
    assert_string_equal(dir, path);
    free(dir);
}

static void what_systemd_gives_is_taken(void **state)
{
    (void)state;
    char path[PATH_MAX], *dir = NULL;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/given:%s/second", root, root);
    setenv("STATE_DIRECTORY", path, 1);
    int rc = statedir_prepare(NULL, &dir, &err);
    unsetenv("STATE_DIRECTORY");
    assert_int_equal(rc, 0);
    snprintf(path, sizeof path, "%s/given", root);
    assert_string_equal(dir, path);
    free(dir);
}

static void none_is_none(void **state)
{
    (void)state;
    char *dir = root;
    struct err err = {0};
    assert_int_equal(statedir_prepare("", &dir, &err), 0);
    assert_null(dir);
}

static void a_directory_that_is_not_safe_is_refused(void **state)
{
    (void)state;
    char *dir = root;
    struct err writable = {0}, file = {0}, foreign = {0};
    assert_int_equal(chmod(root, 0720), 0);
    assert_int_equal(statedir_prepare(root, &dir, &writable), -ERR_PERMISSION);
    assert_non_null(strstr(writable.text, "chmod go-w"));
    assert_int_equal(chmod(root, 0750), 0); /* readable by others is theirs to know */
    char *good = NULL;
    assert_int_equal(statedir_prepare(root, &good, &file), 0);
    free(good);
    char path[PATH_MAX];
    put("file");
    snprintf(path, sizeof path, "%s/file", root);
    assert_true(statedir_prepare(path, &dir, &file) < 0);
    assert_non_null(strstr(file.text, path));
    if (geteuid() == 0) {
        assert_int_equal(chown(root, 4242, 4242), 0);
        assert_int_equal(statedir_prepare(root, &dir, &foreign), -ERR_PERMISSION);
        assert_non_null(strstr(foreign.text, "uid 4242"));
    }
    assert_ptr_equal(dir, root); /* outputs are untouched on failure */
}

static void root_makes_it_for_the_user_it_becomes(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    char path[PATH_MAX], *dir = NULL;
    struct err err = {0}, refused = {0};
    struct stat st;
    snprintf(path, sizeof path, "%s/lib/bucketline", root);
    assert_int_equal(statedir_make_for(path, 4242, 4343, &dir, &err), 0);
    assert_string_equal(dir, path);
    assert_int_equal(stat(dir, &st), 0);
    assert_true(st.st_uid == 4242 && st.st_gid == 4343 && (st.st_mode & 07777) == 0700);
    free(dir);
    assert_int_equal(statedir_make_for(path, 4242, 4343, &dir, &err), 0);
    free(dir);
    assert_int_equal(statedir_make_for("", 4242, 4343, &dir, &err), 0);
    assert_string_equal(dir, "");
    free(dir);
    /* What was there already is not given away. */
    assert_int_equal(statedir_make_for(root, 4242, 4343, &dir, &refused), -ERR_PERMISSION);
}

static void network_file_systems_are_known(void **state)
{
    (void)state;
    assert_string_equal(statedir_network_name(0x6969), "NFS");
    assert_string_equal(statedir_network_name(0xff534d42), "CIFS");
    assert_null(statedir_network_name(0xef53)); /* ext4 */
    assert_null(statedir_network_name(0x01021994)); /* tmpfs */
    assert_null(statedir_network_name(0x794c7630)); /* overlay */
}

/* ---- locks ---- */

/* A worker: takes the lock, says so, and stays until killed. */
static pid_t holder_start(const struct incarnation *inc)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = {0};
        bool good = statedir_lock(root, inc, &err) >= 0 && write(ends[1], "x", 1) == 1;
        while (good)
            pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return pid;
}

static void holder_kill(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
        ;
}

static void a_lock_is_free_when_its_holder_was_killed(void **state)
{
    (void)state;
    struct incarnation inc = incarnation_of('a');
    pid_t holder = holder_start(&inc);
    assert_int_equal(statedir_lock_try(root, &inc), -1);
    holder_kill(holder);
    int fd = statedir_lock_try(root, &inc);
    assert_true(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    /* Now it is ours: a third one is too late. */
    assert_int_equal(statedir_lock_try(root, &inc), -1);
    close(fd);
}

static void nothing_but_the_lock_file_is_left_of_locking(void **state)
{
    (void)state;
    struct incarnation inc = incarnation_of('b');
    struct err err = {0};
    struct stat st;
    char path[PATH_MAX];
    int fd = statedir_lock(root, &inc, &err);
    assert_true(fd >= 0);
    slots_path(path, sizeof path, root, &inc, ".lock");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(entry_count(), 1);
    close(fd);
}

static void children_do_not_hold_the_lock(void **state)
{
    (void)state;
    struct incarnation inc = incarnation_of('c');
    struct err err = {0};
    int fd = statedir_lock(root, &inc, &err);
    assert_true(fd >= 0);
    char *argv[] = {"sleep", "1000", NULL};
    struct child_spec spec = {.exe = "sleep", .argv = argv, .envp = environ, .new_session = true};
    pid_t pid;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    close(fd); /* as the worker's death would */
    fd = statedir_lock_try(root, &inc);
    assert_true(fd >= 0);
    close(fd);
    holder_kill(pid);
}

static void a_lock_that_was_removed_meanwhile_is_nobodys(void **state)
{
    (void)state;
    struct incarnation inc = incarnation_of('d');
    char path[PATH_MAX];
    slots_path(path, sizeof path, root, &inc, ".lock");
    put_of(&inc, ".lock");
    int early = open(path, O_RDWR | O_CLOEXEC); /* opened before another took over, and was done */
    statedir_remove(root, &inc);
    assert_int_equal(flock(early, LOCK_EX | LOCK_NB), 0); /* the lock alone would prove nothing */
    assert_int_equal(statedir_lock_try(root, &inc), -1);
    close(early);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(statedir_lock_try(root, &inc), -1);
}

/* ---- listing and removing ---- */

static void others_are_listed_by_their_locks(void **state)
{
    (void)state;
    struct incarnation own = incarnation_of('0'), a = incarnation_of('1'), b = incarnation_of('2'),
                       c = incarnation_of('3'), *list = NULL;
    put_of(&own, ".lock");
    put_of(&a, ".lock");
    put_of(&b, ".lock");
    put_of(&b, ".journal");
    put_of(&c, ".journal"); /* without a lock: its worker may live */
    put_of(&c, ".lock.bak");
    put("README.lock");
    put(".lock");
    int count = statedir_list(root, &own, &list);
    assert_int_equal(count, 2);
    bool first = incarnation_equal(&list[0], &a);
    assert_true(incarnation_equal(&list[0], first ? &a : &b));
    assert_true(incarnation_equal(&list[1], first ? &b : &a));
    free(list);
    assert_int_equal(statedir_list("/no/such/directory", &own, &list), 0);
    assert_null(list);
}

static void all_files_of_one_are_removed_and_no_others(void **state)
{
    (void)state;
    struct incarnation a = incarnation_of('1'), b = incarnation_of('2');
    static const char *const suffixes[] = {".lock", ".journal", ".0.0.out", ".12.255.out",
                                           ".1.1.out.new"};
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        put_of(&a, suffixes[i]);
        put_of(&b, suffixes[i]);
    }
    put("notes.txt");
    statedir_remove(root, &a);
    assert_int_equal(entry_count(), (int)ARRAY_COUNT(suffixes) + 1);
    statedir_remove(root, &a); /* nothing left: fine */
    statedir_remove(root, &b);
    assert_int_equal(entry_count(), 1);
}

static void locks_that_were_never_born_are_swept(void **state)
{
    (void)state;
    struct incarnation dead = incarnation_of('1'), slow = incarnation_of('2');
    char path[PATH_MAX], *dir = NULL;
    struct err err = {0};
    put_of(&dead, ".lock.new");
    put_of(&slow, ".lock.new");
    slots_path(path, sizeof path, root, &slow, ".lock.new");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0); /* about to rename it */
    assert_int_equal(statedir_prepare(root, &dir, &err), 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(entry_count(), 1);
    close(fd);
    free(dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, each_setup, each_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_directory_is_made_for_us_alone),
        TEST(the_users_default_follows_the_environment),
        TEST(what_systemd_gives_is_taken),
        TEST(none_is_none),
        TEST(a_directory_that_is_not_safe_is_refused),
        TEST(root_makes_it_for_the_user_it_becomes),
        TEST(network_file_systems_are_known),
        TEST(a_lock_is_free_when_its_holder_was_killed),
        TEST(nothing_but_the_lock_file_is_left_of_locking),
        TEST(children_do_not_hold_the_lock),
        TEST(a_lock_that_was_removed_meanwhile_is_nobodys),
        TEST(others_are_listed_by_their_locks),
        TEST(all_files_of_one_are_removed_and_no_others),
        TEST(locks_that_were_never_born_are_swept),
    };
    return cmocka_run_group_tests_name("statedir", tests, NULL, NULL);
}
