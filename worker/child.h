/* child.h - starts, signals and reaps processes of ours, the way PROTOCOL wants it.  Used by the
 * worker (for runners, the guard and --describe) and by a runner (for programs).
 *
 * Why not uv_spawn or posix_spawn: group, session, death signal, descriptors and masks must be
 * right from the first instant, and a dead child must stay a zombie until its group was killed.
 *
 * A child gets: its own session or group, every descriptor but the named ones closed, signal mask
 * empty and dispositions default, PDEATHSIG set last and the parent checked by getppid() after it.
 * Start children from the main thread only (PDEATHSIG belongs to the thread).
 */
#ifndef BL_WORKER_CHILD_H
#define BL_WORKER_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct child_fd {
    int parent_fd; /* here */
    int child_fd; /* there; may be any number, also one that another row uses as parent_fd */
};

struct child_limits {
    int64_t memory_bytes; /* RLIMIT_AS; 0 = leave */
    int64_t cpu_ms; /* RLIMIT_CPU, rounded up to seconds; 0 = leave */
    int files; /* RLIMIT_NOFILE; 0 = leave */
    int nice; /* 0 = leave */
    bool no_core; /* RLIMIT_CORE 0 */
};

struct child_spec {
    int exe_fd; /* > 0, or 0 without `exe`: execute through this descriptor */
    const char *exe; /* else this path; no slash in it: along PATH of `envp`.  Beside
                                   * an exe_fd it is only the name in messages */
    char *const *argv;
    char *const *envp;
    const char *directory; /* NULL = stay */
    const struct child_fd *fds; /* 0, 1 and 2 too: those not named become /dev/null */
    int fd_count;
    bool new_session; /* setsid(): runners.  Else setpgid(0,0): programs */
    bool die_with_parent; /* PDEATHSIG SIGKILL */
    uid_t uid; /* with `change_user` */
    gid_t gid;
    const char *user_name; /* for initgroups */
    bool change_user;
    struct child_limits limits;
    void (*before_exec)(void *arg); /* in the child, async-signal-safe only; NULL = none */
    void *before_exec_arg;
};

/* 0 and the pid, when exec has succeeded; -ERR_SYSTEM (text names path and step) when the child
 * could not be made or could not exec: it is then already reaped. */
MUST_CHECK int child_start(const struct child_spec *spec, pid_t *ret_pid, struct err *err);

/* How a child ended. */
struct child_end {
    pid_t pid;
    int exit_code; /* -1 = by signal */
    int signal; /* 0 = exited */
    bool core;
    int64_t max_rss_bytes, cpu_ms; /* from its rusage */
};

/* The next dead child that was not reaped yet, left a zombie (waitid WNOWAIT), so that its group
 * can be killed first: 1 and the pid, or 0 when there is none.  `pid` -1 = any. */
int child_peek_dead(pid_t pid, pid_t *ret_pid);
/* Reaps it (it is dead). */
void child_reap(pid_t pid, struct child_end *ret_end);
/* Waits up to `timeout_ms` (-1 = for ever) for it to die, without reaping: 1 dead, 0 time-out. */
int child_wait_dead(pid_t pid, int64_t timeout_ms);

/* "exit 3", "signal 11 (SIGSEGV), core dumped".  `out` >= 64. */
const char *child_end_format(const struct child_end *e, char *out, size_t size);

/* What a program did to earn that signal, in a few words; "" = nothing to add. */
const char *child_signal_words(int sig);

/* kill(-pgid, sig) if pgid > 1 and, when `session` > 0, getsid(pgid) is that session.  0 sent,
 * -1 nothing there or not ours. */
int child_kill_group(pid_t pgid, pid_t session, int sig);
/* Signals every process of these sessions, whatever its group, orphans included, by looking
 * through /proc once (without it: nobody).  Never our own session.  Returns how many live ones it
 * found.  A session's id is not given to a new process while it has members. */
int child_kill_sessions(const pid_t *sessions, int count, int sig);
/* Kills with SIGKILL every child of this process that `is_ours(arg, pid)` does not know: what dead
 * children left behind and this subreaper inherited.  Needs /proc; without it does nothing.
 * Waits a moment (50 ms each at most) for them to die, since their own children come to us then.
 * Returns how many; they are zombies that the caller reaps. */
int child_kill_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg);
/* The same again until nothing is found, `looks` times at most: a look ends when one of them takes
 * longer to die.  Returns how many kills it took; `ret_left` (may be NULL) = the last look still found
 * something. */
int child_kill_all_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg, int looks,
                          bool *ret_left);
/* Reaps dead children until there is none, or one that is_ours() knows.  Returns how many. */
int child_reap_strays(bool (*is_ours)(void *arg, pid_t pid), void *arg);

/* PR_SET_CHILD_SUBREAPER; where the kernel does not know it: -ERR_UNSUPPORTED. */
MUST_CHECK int child_become_subreaper(struct err *err);

/* Start time of a process in clock ticks since boot, from /proc; 0 = unknown or gone. */
uint64_t child_start_ticks(pid_t pid);

/* Opens the running executable for later child_start(exe_fd): BUCKETLINE_RUNNER_EXE, else
 * /proc/self/exe, else argv[0] through PATH.  CLOEXEC.  fd >= 0 or -ERR_SYSTEM. */
MUST_CHECK int child_open_self(const char *argv0, struct err *err);

#endif
