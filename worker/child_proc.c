/* child_proc.c - the rest of child.h: how children end, what they leave behind, who they are.
 *
 * Looking and reaping are two steps.  A zombie keeps its process id, and so the ids of its group
 * and session, from being given to someone else: kill what it left first, reap then.
 */
#include "worker/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/small_file.h"

enum {
    PROC_STAT_BYTES = 1024,
    PROC_PATH_BYTES = 4096,
    STRAY_ROUNDS = 16, /* generations of strays below strays */
    STRAY_WAIT_MS = 50, /* for one of them to die, so that its own children come to us */
    NAP_MAX_MS = 20,
};

/* ---- how they end ---- */

int child_peek_dead(pid_t pid, pid_t *ret_pid)
{
    siginfo_t info = {.si_pid = 0};
    int rc;
    do
        rc = waitid(pid == -1 ? P_ALL : P_PID, pid == -1 ? 0 : (id_t)pid, &info,
                    WEXITED | WNOHANG | WNOWAIT);
    while (rc == -1 && errno == EINTR);
    if (rc == -1 || info.si_pid == 0)
        return 0;
    *ret_pid = info.si_pid;
    return 1;
}

static int64_t timeval_ms(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_usec / 1000;
}

void child_reap(pid_t pid, struct child_end *ret_end)
{
    struct rusage use = {0};
    int status = 0;
    pid_t got;
    do
        got = wait4(pid, &status, 0, &use);
    while (got == -1 && errno == EINTR);
    struct child_end end = {.pid = pid, .exit_code = -1};
    if (got == pid) {
        if (WIFEXITED(status))
            end.exit_code = WEXITSTATUS(status);
        if (WIFSIGNALED(status)) {
            end.signal = WTERMSIG(status);
            end.core = WCOREDUMP(status);
        }
        end.max_rss_bytes = (int64_t)use.ru_maxrss * 1024;
        end.cpu_ms = timeval_ms(use.ru_utime) + timeval_ms(use.ru_stime);
    }
    *ret_end = end;
}

/* Dead, or no child of ours (any more). */
static bool is_dead(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    int rc;
    do
        rc = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    while (rc == -1 && errno == EINTR);
    return rc == -1 || info.si_pid == pid;
}

/* A descriptor that becomes readable at its death; -1 on kernels before 5.3. */
static int pidfd_of(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    errno = ENOSYS;
    return -1;
#endif
}

int child_wait_dead(pid_t pid, int64_t timeout_ms)
{
    if (is_dead(pid))
        return 1;
    if (timeout_ms < 0) {
        siginfo_t info;
        while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == -1 && errno == EINTR)
            ;
        return 1;
    }
    int64_t end = mono_ms() + timeout_ms;
    int fd = pidfd_of(pid);
    int nap = 1; /* doubling naps stand in for a missing pidfd */
    for (;;) {
        int64_t left = end - mono_ms();
        if (left <= 0)
            break;
        int wait_ms = left > 60000 ? 60000 : (int)left;
        if (fd == -1) {
            wait_ms = wait_ms > nap ? nap : wait_ms;
            nap = nap * 2 > NAP_MAX_MS ? NAP_MAX_MS : nap * 2;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, fd == -1 ? 0 : 1, wait_ms); /* whatever it says, is_dead() decides */
        if (is_dead(pid))
            break;
    }
    if (fd != -1)
        close(fd);
    return is_dead(pid);
}

/* strsignal() speaks the user's language and sigabbrev_np() is young. */
static const char *signal_name(int sig)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},     {SIGILL, "SIGILL"},
        {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},       {SIGFPE, "SIGFPE"},
        {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"},     {SIGUSR2, "SIGUSR2"},
        {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},     {SIGXCPU, "SIGXCPU"},
        {SIGXFSZ, "SIGXFSZ"}, {SIGPROF, "SIGPROF"}, {SIGVTALRM, "SIGVTALRM"}, {SIGSYS, "SIGSYS"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (names[i].number == sig)
            return names[i].name;
    return NULL;
}

const char *child_end_format(const struct child_end *e, char *out, size_t size)
{
    const char *core = e->core ? ", core dumped" : "";
    const char *name = signal_name(e->signal);
    if (e->exit_code >= 0)
        snprintf(out, size, "exit %d", e->exit_code);
    else if (e->signal == 0)
        snprintf(out, size, "unknown end");
    else if (name != NULL)
        snprintf(out, size, "signal %d (%s)%s", e->signal, name, core);
    else
        snprintf(out, size, "signal %d%s", e->signal, core);
    return out;
}

const char *child_signal_words(int sig)
{
    static const struct {
        int number;
        const char *words;
    } rows[] = {
        {SIGSEGV, "it used memory that is not its own"},
        {SIGBUS, "it used memory that is not there"},
        {SIGABRT, "it gave up (abort, a failed assertion, a broken heap)"},
        {SIGFPE, "an arithmetic error"},
        {SIGILL, "an instruction the processor does not know"},
        {SIGXCPU, "over its limit of processor time"},
        {SIGXFSZ, "over its limit of file size"},
        {SIGPIPE, "it wrote where nobody reads"},
        {SIGSYS, "a forbidden system call"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (rows[i].number == sig)
            return rows[i].words;
    return "";
}

/* ---- who they are ---- */

struct proc_stat {
    char state;
    pid_t parent;
    pid_t group;
    pid_t session;
    uint64_t start_ticks;
};

/* /proc/PID/stat; 0 or -1.  The name stands in parentheses and may hold any byte, so the fields
 * are counted from the last of them. */
static int proc_stat_read(pid_t pid, struct proc_stat *ret)
{
    char path[64], text[PROC_STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (small_file_read(path, text, sizeof text) < 0)
        return -1;
    const char *name_end = strrchr(text, ')');
    int parent, group, session;
    unsigned long long ticks;
    char state;
    if (name_end == NULL ||
        sscanf(name_end + 1,
               " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &parent, &group, &session, &ticks) != 5)
        return -1;
    *ret = (struct proc_stat){state, parent, group, session, ticks};
    return 0;
}

uint64_t child_start_ticks(pid_t pid)
{
    struct proc_stat s;
    return pid > 0 && proc_stat_read(pid, &s) == 0 ? s.start_ticks : 0;
}

/* ---- what they leave behind ---- */

int child_kill_group(pid_t pgid, pid_t session, int sig)
{
    if (pgid <= 1) /* -1 would be everybody, 0 ourselves */
        return -1;
    if (session > 0 && getsid(pgid) != session)
        return -1;
    return kill(-pgid, sig);
}

/* Calls `each` for every process there is, until it returns false. */
static void proc_each(bool (*each)(void *arg, pid_t pid, const struct proc_stat *s), void *arg)
{
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return;
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        struct proc_stat s;
        if (*end != '\0' || pid <= 0 || proc_stat_read((pid_t)pid, &s) == -1)
            continue;
        if (!each(arg, (pid_t)pid, &s))
            break;
    }
    closedir(dir);
}

struct session_kill {
    const pid_t *sessions;
    int session_count;
    int sig;
    pid_t own;
    int count;
};

static bool session_kill_one(void *arg, pid_t pid, const struct proc_stat *s)
{
    struct session_kill *k = arg;
    if (s->session <= 1 || s->session == k->own || s->state == 'Z' || s->state == 'X')
        return true;
    for (int i = 0; i < k->session_count; i++)
        if (k->sessions[i] == s->session && kill(pid, k->sig) == 0)
            k->count++;
    return true;
}

int child_kill_sessions(const pid_t *sessions, int count, int sig)
{
    struct session_kill k = {
        .sessions = sessions, .session_count = count, .sig = sig, .own = getsid(0)};
    if (count > 0)
        proc_each(session_kill_one, &k);
    return k.count;
}

struct strays {
    bool (*is_ours)(void *arg, pid_t pid);
    void *arg;
    pid_t self;
    pid_t *killed; /* in this round */
    size_t count;
    size_t cap;
};

static bool stray_kill_one(void *arg, pid_t pid, const struct proc_stat *s)
{
    struct strays *k = arg;
    if (s->parent != k->self || s->state == 'Z' || s->state == 'X' || k->is_ours(k->arg, pid))
        return true;
    if (kill(pid, SIGKILL) == -1)
        return true;
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 16 : k->cap * 2;
        k->killed = xreallocarray(k->killed, k->cap, sizeof *k->killed);
    }
    k->killed[k->count++] = pid;
    return true;
}

/* In rounds: when a stray dies its own children become ours.  One that takes long to die ends the
 * search: what it leaves is looked for when it is reaped. */
int child_kill_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg)
{
    struct strays k = {.is_ours = is_ours, .arg = arg, .self = getpid()};
    int total = 0;
    for (int round = 0; round < STRAY_ROUNDS; round++) {
        k.count = 0;
        proc_each(stray_kill_one, &k);
        if (k.count == 0)
            break;
        total += (int)k.count;
        bool all_dead = true;
        for (size_t i = 0; i < k.count && all_dead; i++)
            all_dead = child_wait_dead(k.killed[i], STRAY_WAIT_MS) == 1;
        if (!all_dead)
            break;
    }
    free(k.killed);
    return total;
}

int child_kill_all_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg, int looks,
                          bool *ret_left)
{
    int total = 0, found;
    do {
        found = child_kill_strays(is_ours, arg);
        total += found;
    } while (found > 0 && --looks > 0);
    if (ret_left != NULL)
        *ret_left = found > 0;
    return total;
}

int child_reap_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg)
{
    int count = 0;
    pid_t pid;
    while (child_peek_dead(-1, &pid) == 1 && !is_ours(arg, pid)) {
        struct child_end end;
        child_reap(pid, &end);
        count++;
    }
    return count;
}

int child_become_subreaper(struct err *err)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
        return err_errno(err, ERR_UNSUPPORTED, "cannot adopt orphaned processes");
    return 0;
}

/* ---- ourselves ---- */

static int open_executable(const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd != -1 && (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EACCES;
        return -1;
    }
    return fd;
}

/* The link's text before the link itself: valgrind answers readlink() with the program's path but
 * opens its own executable.  A file that was replaced meanwhile is reached by the link only. */
static int open_by_proc(void)
{
    char path[PROC_PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return -1;
    path[n] = '\0';
    int fd = strstr(path, " (deleted)") == NULL ? open_executable(path) : -1;
    return fd != -1 ? fd : open_executable("/proc/self/exe");
}

static int open_along_path(const char *name)
{
    const char *dir = getenv("PATH");
    while (dir != NULL) {
        char full[PROC_PATH_BYTES];
        size_t len = strcspn(dir, ":");
        int n = snprintf(full, sizeof full, "%.*s/%s", (int)len, len > 0 ? dir : ".", name);
        if (n > 0 && (size_t)n < sizeof full && access(full, X_OK) == 0)
            return open_executable(full);
        dir = dir[len] == ':' ? dir + len + 1 : NULL;
    }
    errno = ENOENT;
    return -1;
}

int child_open_self(const char *argv0, struct err *err)
{
    const char *given = getenv("BUCKETLINE_RUNNER_EXE");
    if (given != NULL && *given != '\0') {
        int fd = open_executable(given);
        return fd != -1 ? fd
                        : err_errno(err, ERR_SYSTEM, "cannot open BUCKETLINE_RUNNER_EXE %s", given);
    }
    int fd = open_by_proc();
    if (fd == -1 && argv0 != NULL)
        fd = strchr(argv0, '/') != NULL ? open_executable(argv0) : open_along_path(argv0);
    return fd != -1 ? fd
                    : err_errno(err, ERR_SYSTEM, "cannot open my own executable (%s)",
                                argv0 != NULL ? argv0 : "no name");
}
