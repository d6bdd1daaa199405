/* child_modes.h - what the tests of worker/child.h share: this program, started again, is the
 * child.  Its modes tell what they find, or do what a handler might do. */
#ifndef BL_TESTS_UNIT_CHILD_MODES_H
#define BL_TESTS_UNIT_CHILD_MODES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/child.h"

enum { HANG_MS = 30000 };

extern char **environ;

static inline int self_fd(void)
{
    struct err err = {0};
    int fd = child_open_self(NULL, &err);
    assert_true(fd >= 0);
    return fd;
}

/* Starts this program as `mode`; ends the test if that fails. */
static inline pid_t start_mode(const char *mode, struct child_spec *spec)
{
    char *argv[] = {"test_child", (char *)(uintptr_t)mode, NULL};
    struct err err = {0};
    pid_t pid = -1;
    spec->exe_fd = self_fd();
    spec->argv = argv;
    spec->envp = environ;
    int rc = child_start(spec, &pid, &err);
    close(spec->exe_fd);
    if (rc != 0)
        fail_msg("%s", err.text);
    return pid;
}

static inline struct child_end wait_end(pid_t pid)
{
    struct child_end end;
    assert_int_equal(child_wait_dead(pid, HANG_MS), 1);
    child_reap(pid, &end);
    return end;
}

static inline void end_by_kill(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(wait_end(pid).signal, SIGKILL);
}

/* Runs `body` in a process of its own, whose children and filters are not ours. */
static inline void in_own_process(void (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    struct child_end end = wait_end(pid);
    char text[64];
    if (end.exit_code != 0)
        fail_msg("the process ended with %s", child_end_format(&end, text, sizeof text));
}

/* In such a process cmocka's assertions cannot be used. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Starts a mode that makes processes, and returns once it says that all of them are there. */
static inline pid_t start_family(const char *mode)
{
    int ends[2];
    char byte;
    MUST(pipe2(ends, O_CLOEXEC) == 0);
    char *argv[] = {"test_child", (char *)(uintptr_t)mode, NULL};
    struct child_fd row = {ends[1], 1};
    struct err err = {0};
    struct child_spec spec = {.exe_fd = child_open_self(NULL, &err),
                              .argv = argv,
                              .envp = environ,
                              .fds = &row,
                              .fd_count = 1,
                              .new_session = true};
    pid_t pid;
    MUST(child_start(&spec, &pid, &err) == 0);
    close(ends[1]);
    MUST(read(ends[0], &byte, 1) == 1);
    close(ends[0]);
    close(spec.exe_fd);
    return pid;
}

/* ---- the modes ---- */

static inline int mode_inspect(void)
{
    printf("fds");
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            printf(" %d", fd);
    printf("\n");
    struct stat st;
    for (int fd = 0; fd < 1024; fd++)
        if (fstat(fd, &st) == 0)
            printf("fd %d is %lu:%lu\n", fd, (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    char line[256];
    unsigned long long value;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "SigIgn: %llx", &value) == 1)
            printf("ignored %016llx\n", value);
        if (sscanf(line, "SigBlk: %llx", &value) == 1)
            printf("blocked %016llx\n", value);
    }
    if (f != NULL)
        fclose(f);
    uid_t u[3];
    gid_t g[3], groups[64];
    getresuid(&u[0], &u[1], &u[2]);
    getresgid(&g[0], &g[1], &g[2]);
    int n = getgroups(64, groups);
    printf("uid %d %d %d gid %d %d %d root_again %s groups", u[0], u[1], u[2], g[0], g[1], g[2],
           u[0] != 0 && setuid(0) == 0 ? "yes" : "no");
    for (int i = 0; i < n; i++)
        printf(" %d", groups[i]);
    printf("\n");
    return fflush(stdout) == 0 ? 0 : 1;
}

static inline _Noreturn void pause_forever(void)
{
    for (;;)
        pause();
}

static inline int mode_burn(void)
{
    struct rusage use;
    char *block = malloc(16 << 20);
    if (block == NULL)
        return 1;
    for (volatile char *p = block; p < block + (16 << 20); p += 1024)
        *p = 1;
    do
        getrusage(RUSAGE_SELF, &use);
    while (use.ru_utime.tv_sec * 1000000 + use.ru_utime.tv_usec < 40000);
    free(block);
    return 0;
}

/* One child in another group of the same session; both stay. */
static inline void mode_two_groups(void)
{
    pid_t pid = fork();
    if (pid == 0)
        pause_forever();
    if (setpgid(pid, pid) == 0 && write(1, "x", 1) == 1)
        pause_forever();
}

/* Two that have left session and group, one of them with a child; then it ends. */
static inline int mode_litter(void)
{
    int ends[2];
    char bytes[3];
    if (pipe(ends) == -1)
        return 1;
    for (int i = 0; i < 2; i++) {
        if (fork() != 0)
            continue;
        setsid();
        if (i == 1 && fork() == 0)
            setsid();
        if (write(ends[1], "x", 1) == 1)
            pause_forever();
    }
    for (size_t got = 0; got < sizeof bytes;) {
        ssize_t n = read(ends[0], bytes, sizeof bytes - got);
        if (n <= 0)
            return 1;
        got += (size_t)n;
    }
    return write(1, "x", 1) == 1 ? 0 : 1;
}

static inline int run_mode(const char *mode)
{
    if (strcmp(mode, "--inspect") == 0)
        return mode_inspect();
    if (strcmp(mode, "--exit-3") == 0)
        return 3;
    if (strcmp(mode, "--burn") == 0)
        return mode_burn();
    if (strcmp(mode, "--two-groups") == 0)
        mode_two_groups();
    if (strcmp(mode, "--litter") == 0)
        return mode_litter();
    if (strcmp(mode, "--pause") == 0)
        pause_forever();
    return 2;
}

#endif
