/* child.c - child_start(): fork, put everything in order, exec, and tell the parent what failed.
 *
 * The order in the child is the point of this file:
 *   session or group -> signals -> descriptors -> limits -> user -> directory -> before_exec ->
 *   death signal -> is the parent still there? -> exec
 * Signals come first, blocked by the parent across fork(): a handler of the parent that ran in the
 * child would write to pipes both share.  Descriptors come before the limits, which would forbid
 * their renumbering.  The directory comes after the user, who must be allowed to enter it.  The
 * death signal is last because a change of user clears it.
 *
 * Whether exec succeeded is told by a pipe that exec closes.  Between fork and exec nothing
 * allocates or takes a lock: what needs memory (groups, the table of copies) is made before.
 * fork() and not vfork(): the child runs a good deal of code and must not do so on our stack.
 *
 * What happens to children afterwards is in child_proc.c.
 */
#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

enum {
    CHILD_PATH_BYTES = 4096,
    /* fs.nr_open of every kernel that is old enough to lack close_range(). */
    CHILD_OLD_FD_LIMIT = 1 << 20,
    CHILD_CPU_GRACE_S = 2, /* between SIGXCPU and SIGKILL */
    CHILD_SIGNALS = 64,
};

/* Where a child failed, as told to its parent. */
#define STEP_MAP(X)                                                                                \
    X(GROUP, "make its process group")                                                             \
    X(DESCRIPTORS, "arrange its descriptors")                                                      \
    X(DEV_NULL, "open /dev/null")                                                                  \
    X(LIMIT_MEMORY, "limit its memory")                                                            \
    X(LIMIT_CPU, "limit its CPU time")                                                             \
    X(LIMIT_FILES, "limit its open files")                                                         \
    X(LIMIT_CORE, "forbid core files")                                                             \
    X(NICE, "set its nice value")                                                                  \
    X(GROUPS, "set its groups")                                                                    \
    X(GID, "change its group")                                                                     \
    X(UID, "change its user")                                                                      \
    X(DIRECTORY, "change its directory")                                                           \
    X(DEATH_SIGNAL, "set its death signal")                                                        \
    X(EXEC, "execute it")

enum step {
    STEP_NONE = 0,
#define STEP_ENUM(name, text) STEP_##name,
    STEP_MAP(STEP_ENUM)
#undef STEP_ENUM
};

static const char *step_name(int step)
{
    switch ((enum step)step) {
    case STEP_NONE:
        break;
#define STEP_CASE(name, text)                                                                      \
    case STEP_##name:                                                                              \
        return text;
        STEP_MAP(STEP_CASE)
#undef STEP_CASE
    }
    return "do the impossible";
}

/* What goes through the pipe when something failed. */
struct failure {
    int step;
    int error;
};

/* Made by the parent before fork(), read by the child. */
struct plan {
    const struct child_spec *spec;
    pid_t parent;
    int report_fd;
    int first_free; /* above every number that the child is to have */
    int *copies; /* fd_count numbers */
    gid_t *groups; /* NULL = do not set */
    int group_count;
    const char *path; /* PATH for an `exe` without a slash */
};

/* ---- the child's side: async-signal-safe only ---- */

static _Noreturn void child_fail(const struct plan *p, enum step step)
{
    struct failure f = {.step = step, .error = errno};
    (void)!write(p->report_fd, &f, sizeof f); /* the exit code says it too */
    _exit(127);
}

/* A raw call, since the C library refuses the two signals it keeps for itself; an ignored one
 * would survive exec. */
static void signal_set_all(void (*handler)(int))
{
    /* As the kernel has it: handler, flags, restorer, mask; zero is right for all but the first. */
    struct {
        void (*handler)(int);
        unsigned long rest[7];
    } action = {.handler = handler};
    for (int sig = 1; sig <= CHILD_SIGNALS; sig++)
        (void)syscall(SYS_rt_sigaction, sig, &action, NULL, (size_t)8); /* KILL and STOP refuse */
}

/* Ignoring first throws away what arrived since fork(), such as a ^C for the parent's group. */
static void signals_reset(void)
{
    sigset_t none;
    signal_set_all(SIG_IGN);
    signal_set_all(SIG_DFL);
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
}

static void set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags != -1)
        (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC); /* it is open: cannot fail */
}

struct dirent64_head { /* of getdents64(); d_name follows */
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

/* opendir() allocates, hence the system call.  False without /proc. */
static bool cloexec_by_proc(void)
{
    _Alignas(struct dirent64_head) char block[2048];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir == -1)
        return false;
    for (;;) {
        long n = syscall(SYS_getdents64, dir, block, sizeof block);
        if (n <= 0) {
            close(dir);
            return n == 0;
        }
        for (long at = 0; at < n;) {
            const struct dirent64_head *e = (const void *)(block + at);
            int fd = 0;
            for (const char *c = e->name; *c >= '0' && *c <= '9'; c++)
                fd = fd * 10 + (*c - '0');
            if (e->name[0] != '.')
                set_cloexec(fd);
            at += e->len;
        }
    }
}

/* Marks every descriptor, so that exec closes all that is not renumbered afterwards. */
static void cloexec_all(void)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
#endif
    if (cloexec_by_proc())
        return;
    struct rlimit limit = {0};
    int end = CHILD_OLD_FD_LIMIT;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)end)
        end = (int)limit.rlim_max;
    for (int fd = 0; fd < end; fd++)
        set_cloexec(fd);
}

/* Two passes, first all to numbers nobody wants and then to where they belong: the rows may ask
 * for each other's numbers. */
static void descriptors_arrange(struct plan *p)
{
    const struct child_spec *s = p->spec;
    cloexec_all();
    int report = fcntl(p->report_fd, F_DUPFD_CLOEXEC, p->first_free);
    if (report == -1)
        child_fail(p, STEP_DESCRIPTORS);
    p->report_fd = report;
    for (int i = 0; i < s->fd_count; i++) {
        p->copies[i] = fcntl(s->fds[i].parent_fd, F_DUPFD_CLOEXEC, p->first_free);
        if (p->copies[i] == -1)
            child_fail(p, STEP_DESCRIPTORS);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int null_copy = null == -1 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, p->first_free);
    if (null_copy == -1)
        child_fail(p, STEP_DEV_NULL);
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(null_copy, fd) == -1)
            child_fail(p, STEP_DESCRIPTORS);
    for (int i = 0; i < s->fd_count; i++)
        if (dup2(p->copies[i], s->fds[i].child_fd) == -1)
            child_fail(p, STEP_DESCRIPTORS);
}

/* A limit that is already tighter stays: we may not raise it, and it holds what was asked. */
static int limit_set(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) == -1)
        return -1;
    if (hard > now.rlim_max)
        hard = now.rlim_max;
    if (soft > hard)
        soft = hard;
    return setrlimit((__rlimit_resource_t)what,
                     &(struct rlimit){.rlim_cur = soft, .rlim_max = hard});
}

static void limits_set(const struct plan *p)
{
    const struct child_limits *l = &p->spec->limits;
    if (l->memory_bytes > 0 &&
        limit_set(RLIMIT_AS, (rlim_t)l->memory_bytes, (rlim_t)l->memory_bytes) == -1)
        child_fail(p, STEP_LIMIT_MEMORY);
    if (l->cpu_ms > 0) {
        rlim_t seconds = (rlim_t)(l->cpu_ms / 1000 + (l->cpu_ms % 1000 != 0));
        if (limit_set(RLIMIT_CPU, seconds, seconds + CHILD_CPU_GRACE_S) == -1)
            child_fail(p, STEP_LIMIT_CPU);
    }
    if (l->files > 0 && limit_set(RLIMIT_NOFILE, (rlim_t)l->files, (rlim_t)l->files) == -1)
        child_fail(p, STEP_LIMIT_FILES);
    if (l->no_core && limit_set(RLIMIT_CORE, 0, 0) == -1)
        child_fail(p, STEP_LIMIT_CORE);
    if (l->nice != 0) {
        errno = 0;
        int now = getpriority(PRIO_PROCESS, 0);
        if (errno != 0 || setpriority(PRIO_PROCESS, 0, now + l->nice) == -1)
            child_fail(p, STEP_NICE);
    }
}

static void user_change(const struct plan *p)
{
    const struct child_spec *s = p->spec;
    if (!s->change_user)
        return;
    if (p->groups != NULL && setgroups((size_t)p->group_count, p->groups) == -1)
        child_fail(p, STEP_GROUPS);
    if (setresgid(s->gid, s->gid, s->gid) == -1)
        child_fail(p, STEP_GID);
    if (setresuid(s->uid, s->uid, s->uid) == -1)
        child_fail(p, STEP_UID);
    if (s->uid != 0 && setresuid(0, 0, 0) == 0) {
        errno = EPERM; /* kept capabilities would make the change worthless */
        child_fail(p, STEP_UID);
    }
}

/* A name without a slash is looked for along the child's own PATH. */
static void exec_by_path(const struct plan *p)
{
    const struct child_spec *s = p->spec;
    size_t name_len = strlen(s->exe);
    int worst = ENOENT;
    for (const char *dir = p->path; dir != NULL;) {
        const char *end = strchr(dir, ':');
        size_t dir_len = end != NULL ? (size_t)(end - dir) : strlen(dir);
        char full[CHILD_PATH_BYTES];
        /* An empty entry would mean the working directory: never wanted here. */
        if (dir_len > 0 && dir_len + 1 + name_len < sizeof full) {
            memcpy(full, dir, dir_len);
            full[dir_len] = '/';
            memcpy(full + dir_len + 1, s->exe, name_len + 1);
            (void)execve(full, s->argv, s->envp); /* returns only on failure */
            if (errno != ENOENT && errno != ENOTDIR)
                worst = errno;
        }
        dir = end != NULL ? end + 1 : NULL;
    }
    errno = worst;
}

static bool by_descriptor(const struct child_spec *s)
{
    return s->exe_fd > 0 || (s->exe_fd == 0 && s->exe == NULL);
}

static _Noreturn void child_run(struct plan *p)
{
    const struct child_spec *s = p->spec;
    if ((s->new_session ? setsid() : setpgid(0, 0)) == -1)
        child_fail(p, STEP_GROUP);
    signals_reset();
    descriptors_arrange(p);
    limits_set(p);
    user_change(p);
    if (s->directory != NULL && chdir(s->directory) == -1)
        child_fail(p, STEP_DIRECTORY);
    if (s->before_exec != NULL)
        s->before_exec(s->before_exec_arg);
    if (s->die_with_parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1)
            child_fail(p, STEP_DEATH_SIGNAL);
        /* It may have died before that.  Compared with its pid and not with 1, which may be its
         * rightful number in a container, or not the one who adopts. */
        if (getppid() != p->parent)
            _exit(127);
    }
    if (by_descriptor(s))
        (void)fexecve(s->exe_fd, s->argv, s->envp); /* returns only on failure */
    else if (strchr(s->exe, '/') != NULL)
        (void)execve(s->exe, s->argv, s->envp); /* likewise */
    else
        exec_by_path(p);
    child_fail(p, STEP_EXEC);
}

/* ---- the parent's side ---- */

static const char *env_path(char *const *envp)
{
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* The groups of the new user; looked up here because the name service allocates. */
static void plan_groups(struct plan *p)
{
    const struct child_spec *s = p->spec;
    if (!s->change_user || (geteuid() != 0 && s->uid == geteuid() && s->gid == getegid()))
        return;
    int count = 32;
    p->groups = xreallocarray(NULL, (size_t)count, sizeof *p->groups);
    p->groups[0] = s->gid;
    p->group_count = 1;
    if (s->user_name == NULL)
        return;
    while (getgrouplist(s->user_name, s->gid, p->groups, &count) == -1)
        p->groups = xreallocarray(p->groups, (size_t)count, sizeof *p->groups);
    p->group_count = count;
}

/* Above all numbers wanted, and above exe_fd where it must not be overwritten either. */
static int plan_first_free(const struct child_spec *s)
{
    int top = 2;
    for (int i = 0; i < s->fd_count; i++)
        if (s->fds[i].child_fd > top)
            top = s->fds[i].child_fd;
    return top + 1;
}

/* A missing executable would otherwise be told only by number. */
static const char *spec_name(const struct child_spec *s)
{
    if (s->exe != NULL)
        return s->exe;
    return s->argv != NULL && s->argv[0] != NULL ? s->argv[0] : "?";
}

/* Reads what the child says before exec: 0 = it executes, 1 = it failed and `*ret` says how. */
static int report_read(int fd, struct failure *ret)
{
    size_t got = 0;
    while (got < sizeof *ret) {
        ssize_t n = read(fd, (char *)ret + got, sizeof *ret - got);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got == sizeof *ret;
}

static pid_t fork_blocked(struct plan *p)
{
    sigset_t all, old;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* cannot fail with these arguments */
    pid_t pid = fork();
    if (pid == 0)
        child_run(p);
    int saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL); /* likewise */
    errno = saved;
    return pid;
}

int child_start(const struct child_spec *spec, pid_t *ret_pid, struct err *err)
{
    const char *name = spec_name(spec);
    int report[2] = {-1, -1}, exe_copy = -1;
    struct child_spec own = *spec;
    struct plan p = {.spec = &own, .parent = getpid(), .path = env_path(spec->envp)};
    int rc = 0;

    p.first_free = plan_first_free(spec);
    p.copies = xreallocarray(NULL, (size_t)spec->fd_count + 1, sizeof *p.copies);
    plan_groups(&p);
    if (by_descriptor(spec)) { /* where no row can overwrite it; closed by exec */
        exe_copy = fcntl(spec->exe_fd, F_DUPFD_CLOEXEC, p.first_free);
        if (exe_copy == -1) {
            rc = err_errno(err, ERR_SYSTEM, "cannot start %s: copy its descriptor", name);
            goto out;
        }
        own.exe_fd = exe_copy;
    }
    if (pipe2(report, O_CLOEXEC) == -1) {
        rc = err_errno(err, ERR_SYSTEM, "cannot start %s: make a pipe", name);
        goto out;
    }
    p.report_fd = report[1];
    pid_t pid = fork_blocked(&p);
    if (pid == -1) {
        rc = err_errno(err, ERR_SYSTEM, "cannot start %s: fork", name);
        goto out;
    }
    if (!spec->new_session) /* setsid() would be refused to a group's leader */
        (void)setpgid(pid, pid); /* the child does it too; whoever is first */
    close(report[1]);
    report[1] = -1;
    struct failure f;
    if (report_read(report[0], &f)) {
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
            ;
        errno = f.error;
        rc = err_errno(err, ERR_SYSTEM, "cannot start %s: cannot %s", name, step_name(f.step));
        goto out;
    }
    *ret_pid = pid;
out:
    for (int i = 0; i < 2; i++)
        if (report[i] != -1)
            close(report[i]);
    if (exe_copy != -1)
        close(exe_copy);
    free(p.groups);
    free(p.copies);
    return rc;
}
