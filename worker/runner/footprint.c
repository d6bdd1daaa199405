#include "worker/runner/footprint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/small_file.h"
#include "worker/child.h"

extern char **environ;

enum {
    RESTORER = 0x04000000, /* SA_RESTORER, which the headers do not tell */
    KILL_LOOKS = 20, /* each waits up to 50 ms for one to die */
    STATUS_BYTES = 4096, /* of /proc/self/status; what is wanted comes before its long lines */
};

/* 32 and 33, with which it cancels threads and lets all of them change their user. */
static const uint64_t LIBRARY_SIGNALS = 0x180000000;

static mode_t umask_now(void)
{
    mode_t now = umask(077);
    umask(now);
    return now;
}

static bool signals_after(const char *text, const char *name, uint64_t *ret)
{
    const char *at = strstr(text, name);
    if (at == NULL)
        return false;
    at += strlen(name);
    char *end;
    *ret = strtoull(at, &end, 16) & ~LIBRARY_SIGNALS;
    return end != at;
}

static struct dispositions dispositions_now(void)
{
    struct dispositions now = {0};
    char text[STATUS_BYTES];
    if (small_file_read("/proc/self/status", text, sizeof text) < 0)
        return now;
    now.known = signals_after(text, "\nSigIgn:", &now.ignored) &&
                signals_after(text, "\nSigCgt:", &now.caught);
    return now;
}

/* Threads are the links of this directory, less two. */
static uint64_t thread_links(void)
{
    struct stat st;
    return stat("/proc/self/task", &st) == 0 ? st.st_nlink : 0;
}

static int first_free_fd(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd == -1)
        fd = open("/", O_PATH | O_CLOEXEC); /* its stderr is closed */
    if (fd != -1)
        close(fd);
    return fd;
}

static int nice_now(void)
{
    errno = 0;
    int n = getpriority(PRIO_PROCESS, 0);
    return errno == 0 ? n : 0;
}

static int death_signal_now(void)
{
    int sig = 0;
    (void)prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0); /* where it is unknown it stays 0 */
    return sig;
}

static bool dir_now(const char *path, dev_t *ret_dev, ino_t *ret_ino)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return false;
    *ret_dev = st.st_dev;
    *ret_ino = st.st_ino;
    return true;
}

static bool in_dir(const char *path, dev_t dev, ino_t ino)
{
    dev_t now_dev;
    ino_t now_ino;
    return dir_now(path, &now_dev, &now_ino) && now_dev == dev && now_ino == ino;
}

static bool has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

static void take_environment(struct footprint *f)
{
    size_t n = 0;
    while (environ != NULL && environ[n] != NULL)
        n++;
    f->variables = environ;
    f->names = xcalloc(n + 1, sizeof *f->names);
    f->texts = xcalloc(n + 1, sizeof *f->texts);
    for (size_t i = 0; i < n; i++) {
        f->names[i] = environ[i];
        f->texts[i] = xstrdup(environ[i]);
    }
}

static bool same_environment(const struct footprint *f)
{
    if (environ != f->variables)
        return false;
    if (environ == NULL)
        return true;
    size_t i = 0;
    for (; f->names[i] != NULL; i++)
        if (environ[i] != f->names[i] || strcmp(environ[i], f->texts[i]) != 0)
            return false;
    return environ[i] == NULL;
}

static bool same_socket(const struct footprint *f)
{
    struct stat st;
    return fstat(f->socket_fd, &st) == 0 && st.st_dev == f->socket_dev &&
           st.st_ino == f->socket_ino;
}

void footprint_take(struct footprint *f, int socket_fd)
{
    struct stat st = {0};
    *f = (struct footprint){.umask = umask_now(), .nice = nice_now(), .socket_fd = socket_fd};
    (void)fstat(socket_fd, &st); /* if it fails now it fails later, too */
    f->socket_dev = st.st_dev;
    f->socket_ino = st.st_ino;
    sigprocmask(SIG_BLOCK, NULL, &f->mask);
    f->dispositions = dispositions_now();
    for (int sig = 1; sig < FOOTPRINT_SIGNALS; sig++)
        (void)sigaction(sig, NULL, &f->actions[sig]); /* the C library's own two stay zero */
    (void)dir_now("/", &f->root_dev, &f->root_ino); /* if it fails now it fails later, too */
    (void)dir_now(".", &f->dir_dev, &f->dir_ino);
    for (int i = 0; i < FOOTPRINT_LIMITS; i++)
        (void)getrlimit((__rlimit_resource_t)i, &f->limits[i]);
    (void)getresuid(&f->uids[0], &f->uids[1], &f->uids[2]);
    (void)getresgid(&f->gids[0], &f->gids[1], &f->gids[2]);
    f->death_signal = death_signal_now();
    f->threads = thread_links();
    f->first_free_fd = first_free_fd();
    long hz = sysconf(_SC_CLK_TCK);
    if (has_children())
        f->ticks = (uint64_t)(boot_ms() * (hz > 0 ? hz : 100) / 1000) + 1;
    take_environment(f);
}

void footprint_done(struct footprint *f)
{
    for (size_t i = 0; f->texts != NULL && f->texts[i] != NULL; i++)
        free(f->texts[i]);
    free(f->texts);
    free(f->names);
    *f = (struct footprint){0};
}

static bool same_action(const struct footprint *f, int sig)
{
    struct sigaction now;
    const struct sigaction *then = &f->actions[sig];
    if (sigaction(sig, NULL, &now) == -1)
        return true;
    const int ours = ~RESTORER; /* the C library adds it when an action is set again */
    return now.sa_handler == then->sa_handler && (now.sa_flags & ours) == (then->sa_flags & ours);
}

/* Which signals are ignored or have a handler stands in one file; which handler only sigaction() tells,
 * and whether dead children are waited for.  Without that file all signals are asked for. */
static bool same_dispositions(const struct footprint *f)
{
    const struct dispositions *then = &f->dispositions;
    struct dispositions now = dispositions_now();
    bool known = now.known && then->known;
    if (known && (now.ignored != then->ignored || now.caught != then->caught))
        return false;
    for (int sig = 1; sig < FOOTPRINT_SIGNALS; sig++) {
        bool caught = (then->caught >> (sig - 1)) & 1;
        if ((caught || sig == SIGCHLD || !known) && !same_action(f, sig))
            return false;
    }
    return true;
}

static bool same_mask(const struct footprint *f)
{
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    for (int sig = 1; sig < FOOTPRINT_SIGNALS; sig++)
        if (sigismember(&now, sig) != sigismember(&f->mask, sig))
            return false;
    return true;
}

static bool timer_runs(int which)
{
    struct itimerval now;
    return getitimer((__itimer_which_t)which, &now) == 0 &&
           (now.it_value.tv_sec != 0 || now.it_value.tv_usec != 0);
}

static bool same_limits(const struct footprint *f)
{
    for (int i = 0; i < FOOTPRINT_LIMITS; i++) {
        struct rlimit now;
        if (getrlimit((__rlimit_resource_t)i, &now) == 0 &&
            (now.rlim_cur != f->limits[i].rlim_cur || now.rlim_max != f->limits[i].rlim_max))
            return false;
    }
    return true;
}

static bool same_users(const struct footprint *f)
{
    uid_t u[3];
    gid_t g[3];
    return getresuid(&u[0], &u[1], &u[2]) == 0 && getresgid(&g[0], &g[1], &g[2]) == 0 &&
           memcmp(u, f->uids, sizeof u) == 0 && memcmp(g, f->gids, sizeof g) == 0;
}

const char *footprint_changed(const struct footprint *f)
{
    bool left;
    (void)footprint_kill_children(f->ticks, &left);
    if (left)
        return "processes";
    if (!same_mask(f))
        return "signal mask";
    if (!same_dispositions(f))
        return "signal disposition";
    if (!same_socket(f))
        return "connection to the worker";
    if (umask_now() != f->umask)
        return "umask";
    if (!in_dir(".", f->dir_dev, f->dir_ino))
        return "directory";
    if (!in_dir("/", f->root_dev, f->root_ino))
        return "root directory";
    if (!same_environment(f))
        return "environment";
    if (timer_runs(ITIMER_REAL) || timer_runs(ITIMER_VIRTUAL) || timer_runs(ITIMER_PROF))
        return "timer";
    if (!same_limits(f))
        return "limits";
    if (nice_now() != f->nice)
        return "nice value";
    if (!same_users(f))
        return "user or group";
    if (death_signal_now() != f->death_signal)
        return "death signal";
    if (thread_links() > f->threads && f->threads > 0)
        return "threads";
    int fd = first_free_fd();
    if (fd == -1 || fd - f->first_free_fd > FOOTPRINT_LEAKED)
        return "leaked descriptors";
    return NULL;
}

static bool is_older(void *arg, pid_t pid)
{
    uint64_t ticks = child_start_ticks(pid);
    return ticks != 0 && ticks < *(const uint64_t *)arg;
}

int footprint_kill_children(uint64_t ticks, bool *ret_left)
{
    if (ret_left != NULL)
        *ret_left = false;
    if (!has_children())
        return 0;
    int killed = child_kill_all_strays(is_older, &ticks, KILL_LOOKS, ret_left);
    (void)child_reap_strays(is_older, &ticks);
    return killed;
}
