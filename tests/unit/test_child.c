/* What a child is given, what is told when it cannot start, and that it dies with its parent. */
#include "tests/unit/child_modes.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/buf.h"
#include "tests/lib/refused_call.h"

enum { NOBODY = 65534 };

static void read_all(int fd, struct buf *out)
{
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 4096), 4096);
        if (n > 0)
            buf_grown(out, (size_t)n);
    } while (n > 0 || (n == -1 && errno == EINTR));
}

/* What "--inspect" says in a child started with these rows and an output of our own. */
static void inspect(struct child_spec *spec, struct buf *out)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct child_fd rows[16];
    assert_true(spec->fd_count < 15);
    for (int i = 0; i < spec->fd_count; i++)
        rows[i] = spec->fds[i];
    rows[spec->fd_count] = (struct child_fd){ends[1], 1};
    spec->fds = rows;
    spec->fd_count++;
    pid_t pid = start_mode("--inspect", spec);
    spec->fd_count--;
    close(ends[1]);
    read_all(ends[0], out);
    close(ends[0]);
    assert_int_equal(wait_end(pid).exit_code, 0);
}

PRINTF_LIKE(2, 3) static void assert_says(const struct buf *out, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (strstr(out->data, line) == NULL)
        fail_msg("no %s in\n%s", line, out->data);
}

/* "fd N is DEVICE:INODE", as the inspecting child says it of what it got. */
static void assert_is_file(const struct buf *out, int number, int ours)
{
    struct stat st;
    assert_int_equal(fstat(ours, &st), 0);
    assert_says(out, "fd %d is %lu:%lu\n", number, (unsigned long)st.st_dev,
                (unsigned long)st.st_ino);
}

/* ---- start ---- */

static void a_child_has_exactly_the_named_descriptors(void **state)
{
    (void)state;
    int a = memfd_create("a", 0), b = memfd_create("b", 0), c = memfd_create("c", MFD_CLOEXEC);
    int stray = dup2(a, 200); /* inheritable, high, not named */
    assert_true(a > 2 && b > 2 && c > 2 && stray == 200);
    /* a and b change places, c appears twice, once at a number in between */
    struct child_fd rows[] = {{a, b}, {b, a}, {c, 77}, {c, 0}};
    struct child_spec spec = {.fds = rows, .fd_count = (int)ARRAY_COUNT(rows)};
    struct buf out = BUF_INIT;
    inspect(&spec, &out);
    assert_is_file(&out, b, a);
    assert_is_file(&out, a, b);
    assert_is_file(&out, 77, c);
    assert_is_file(&out, 0, c);
    int low = a < b ? a : b, high = a < b ? b : a;
    assert_says(&out, "fds 0 1 2 %d %d 77\n", low, high);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_is_file(&out, 2, null);
    close(null);
    buf_done(&out);
    close(a), close(b), close(c), close(stray);
}

static void start_without_close_range(void)
{
    MUST(refuse_call(SYS_close_range, ENOSYS));
    MUST(syscall(SYS_close_range, 5000, 5000, 0) == -1 && errno == ENOSYS);
    int stray = open("/dev/zero", O_RDONLY), ends[2];
    MUST(stray >= 0 && fcntl(stray, F_DUPFD, 300) >= 300 && pipe2(ends, O_CLOEXEC) == 0);
    char *argv[] = {"test_child", "--inspect", NULL};
    struct child_fd row = {ends[1], 1};
    struct err err = {0};
    struct child_spec spec = {.exe_fd = child_open_self(NULL, &err),
                              .argv = argv,
                              .envp = environ,
                              .fds = &row,
                              .fd_count = 1};
    pid_t pid;
    MUST(child_start(&spec, &pid, &err) == 0);
    close(ends[1]);
    struct buf out = BUF_INIT;
    read_all(ends[0], &out);
    MUST(strstr(out.data, "fds 0 1 2\n") != NULL);
    buf_done(&out);
}

static void descriptors_are_closed_on_old_kernels_too(void **state)
{
    (void)state;
    in_own_process(start_without_close_range);
}

/* As the kernel has it: the C library keeps 32 and 33 from us. */
static void ignore_raw(int sig)
{
    unsigned long action[8] = {(unsigned long)(uintptr_t)SIG_IGN};
    (void)syscall(SYS_rt_sigaction, sig, action, NULL, (size_t)8);
}

static void start_with_odd_signals(void)
{
    for (int sig = 1; sig <= 64; sig++)
        if (sig != SIGCHLD)
            ignore_raw(sig);
    sigset_t set;
    sigfillset(&set);
    MUST(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
    int ends[2];
    MUST(pipe2(ends, O_CLOEXEC) == 0);
    char *argv[] = {"test_child", "--inspect", NULL};
    struct child_fd row = {ends[1], 1};
    struct err err = {0};
    struct child_spec spec = {.exe_fd = child_open_self(NULL, &err),
                              .argv = argv,
                              .envp = environ,
                              .fds = &row,
                              .fd_count = 1};
    pid_t pid;
    MUST(child_start(&spec, &pid, &err) == 0);
    close(ends[1]);
    struct buf out = BUF_INIT;
    read_all(ends[0], &out);
    MUST(strstr(out.data, "ignored 0000000000000000\n") != NULL);
    MUST(strstr(out.data, "blocked 0000000000000000\n") != NULL);
    sigset_t now;
    MUST(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGTERM) == 1);
    buf_done(&out);
}

static void mask_and_dispositions_are_reset_in_the_child_only(void **state)
{
    (void)state;
    in_own_process(start_with_odd_signals);
}

static void a_runner_leads_a_session_and_a_program_a_group(void **state)
{
    (void)state;
    struct child_spec runner = {.new_session = true}, program = {.new_session = false};
    pid_t r = start_mode("--pause", &runner), p = start_mode("--pause", &program);
    assert_int_equal(getsid(r), r);
    assert_int_equal(getpgid(r), r);
    assert_int_equal(getsid(p), getsid(0));
    assert_int_equal(getpgid(p), p);
    end_by_kill(r);
    end_by_kill(p);
}

static void assert_start_fails(const struct child_spec *spec, const char *part1, const char *part2)
{
    struct err err = {0};
    pid_t pid = 4711;
    while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans of other tests, when we are pid 1 */
        ;
    assert_int_equal(child_start(spec, &pid, &err), -ERR_SYSTEM);
    assert_int_equal(pid, 4711);
    if (strstr(err.text, part1) == NULL || strstr(err.text, part2) == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing was left */
    assert_int_equal(errno, ECHILD);
}

static void what_failed_is_told_and_reaped(void **state)
{
    (void)state;
    char *argv[] = {"x", NULL}, *envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct child_spec spec = {.exe = "/no/such/program", .argv = argv, .envp = envp};
    assert_start_fails(&spec, "/no/such/program: cannot execute it", "No such file");
    spec.exe = "no-such-program-along-the-path";
    assert_start_fails(&spec, "cannot execute it", "No such file");
    spec.exe = "/etc/passwd";
    assert_start_fails(&spec, "/etc/passwd", "Permission denied");
    spec.exe = "true";
    spec.directory = "/no/such/directory";
    assert_start_fails(&spec, "true: cannot change its directory", "No such file");
    spec.directory = NULL;
    struct child_fd row = {12345, 5};
    spec.fds = &row;
    spec.fd_count = 1;
    assert_start_fails(&spec, "arrange its descriptors", "Bad file descriptor");
}

static void a_name_without_slash_is_found_along_the_childs_path(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "exit 3", NULL}, *envp[] = {"PATH=/nowhere:/usr/bin:/bin", NULL};
    struct child_spec spec = {.exe = "sh", .argv = argv, .envp = envp};
    struct err err = {0};
    pid_t pid;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(wait_end(pid).exit_code, 3);
    char *empty[] = {"PATH=:", NULL}; /* an empty entry is not the working directory */
    spec.envp = empty;
    assert_start_fails(&spec, "cannot execute it", "No such file");
}

static void limits_are_applied(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    char *argv[] = {"sh", "-c", "ulimit -v; ulimit -t; ulimit -n; ulimit -c; nice; pwd", NULL};
    char *envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct child_fd row = {ends[1], 1};
    struct child_spec spec = {
        .exe = "sh",
        .argv = argv,
        .envp = envp,
        .fds = &row,
        .fd_count = 1,
        .directory = "/",
        .limits = {
            .memory_bytes = 512 << 20, .cpu_ms = 1500, .files = 33, .nice = 3, .no_core = true}};
    struct err err = {0};
    struct buf out = BUF_INIT;
    pid_t pid;
    errno = 0;
    int nice_now = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    close(ends[1]);
    read_all(ends[0], &out);
    close(ends[0]);
    assert_int_equal(wait_end(pid).exit_code, 0);
    char expected[128];
    snprintf(expected, sizeof expected, "%d\n2\n33\n0\n%d\n/\n", 512 << 10,
             nice_now + 3 > 19 ? 19 : nice_now + 3);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void another_user_is_whole_and_final(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct child_spec spec = {.change_user = true, .uid = NOBODY, .gid = NOBODY};
    struct buf out = BUF_INIT;
    inspect(&spec, &out);
    assert_says(&out, "uid %d %d %d gid %d %d %d root_again no groups %d\n", NOBODY, NOBODY, NOBODY,
                NOBODY, NOBODY, NOBODY, NOBODY);
    buf_done(&out);
}

/* ---- death of the parent ---- */

static int told_pid_fd[2]; /* a child writes its pid here */
static int go_fd[2]; /* and waits here for a byte */

static struct child_spec mortal_spec(void)
{
    struct child_spec spec = {.new_session = true, .die_with_parent = true};
    if (geteuid() == 0) {
        spec.change_user = true; /* which clears the death signal where it is set too early */
        spec.uid = NOBODY;
        spec.gid = NOBODY;
    }
    return spec;
}

static void start_mortal_and_pause(void)
{
    struct child_spec spec = mortal_spec();
    char *argv[] = {"test_child", "--pause", NULL};
    struct err err = {0};
    pid_t pid;
    spec.exe_fd = child_open_self(NULL, &err);
    spec.argv = argv;
    spec.envp = environ;
    MUST(child_start(&spec, &pid, &err) == 0);
    MUST(write(told_pid_fd[1], &pid, sizeof pid) == sizeof pid);
    for (;;)
        pause();
}

/* Forks a process that runs `body` and returns its pid, and that of its child. */
static pid_t fork_parent(void (*body)(void), pid_t *ret_child)
{
    struct err err = {0};
    assert_int_equal(child_become_subreaper(&err), 0);
    assert_int_equal(pipe2(told_pid_fd, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go_fd, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        body();
        _exit(1);
    }
    close(told_pid_fd[1]);
    assert_int_equal(read(told_pid_fd[0], ret_child, sizeof *ret_child), sizeof *ret_child);
    close(told_pid_fd[0]);
    return parent;
}

static void a_child_dies_with_its_parent(void **state)
{
    (void)state;
    pid_t child, parent = fork_parent(start_mortal_and_pause, &child);
    end_by_kill(parent);
    assert_int_equal(wait_end(child).signal, SIGKILL); /* adopted by us, dead by its own signal */
    close(go_fd[0]), close(go_fd[1]);
}

static void tell_and_wait(void *arg)
{
    (void)arg;
    pid_t self = getpid();
    char byte;
    if (write(told_pid_fd[1], &self, sizeof self) != sizeof self || read(go_fd[0], &byte, 1) != 1)
        _exit(99);
}

static void start_mortal_that_waits(void)
{
    struct child_spec spec = mortal_spec();
    char *argv[] = {"test_child", "--pause", NULL};
    struct err err = {0};
    pid_t pid;
    spec.exe_fd = child_open_self(NULL, &err);
    spec.argv = argv;
    spec.envp = environ;
    spec.before_exec = tell_and_wait;
    MUST(child_start(&spec, &pid, &err) == 0);
}

static void a_child_whose_parent_died_too_early_does_not_run(void **state)
{
    (void)state;
    pid_t child, parent = fork_parent(start_mortal_that_waits, &child);
    end_by_kill(parent); /* the child has no death signal yet */
    assert_int_equal(write(go_fd[1], "g", 1), 1);
    assert_int_equal(wait_end(child).exit_code, 127);
    close(go_fd[0]), close(go_fd[1]);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0)
        return run_mode(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_has_exactly_the_named_descriptors),
        cmocka_unit_test(descriptors_are_closed_on_old_kernels_too),
        cmocka_unit_test(mask_and_dispositions_are_reset_in_the_child_only),
        cmocka_unit_test(a_runner_leads_a_session_and_a_program_a_group),
        cmocka_unit_test(what_failed_is_told_and_reaped),
        cmocka_unit_test(a_name_without_slash_is_found_along_the_childs_path),
        cmocka_unit_test(limits_are_applied),
        cmocka_unit_test(another_user_is_whole_and_final),
        cmocka_unit_test(a_child_dies_with_its_parent),
        cmocka_unit_test(a_child_whose_parent_died_too_early_does_not_run),
    };
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
