/* One loop over four pipes.  The program's death is what ends it, told by SIGCHLD, not the end of
 * its pipes: a grandchild may hold those for ever.  Both signals that matter here are blocked but
 * for the time in ppoll(), so none is missed. */
#include "worker/runner/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/child.h"
#include "worker/oom.h"
#include "worker/runner/capture.h"
#include "worker/runner/footprint.h"
#include "worker/runner/job.h"
#include "worker/runner/sandbox.h"

enum {
    EXIT_DEAD = 65,
    EXIT_SNOOZE = 75,
    EXIT_PARK = 78,
    LEFTOVER_WAIT_MS = 100, /* for pipes that outlive the program */
    READ_BYTES = 64 * 1024,
    PIPES = 4, /* stdin, stdout, stderr, descriptor 3 */
};

struct program {
    struct job *job;
    pid_t pid;
    int ends[PIPES]; /* ours; -1 = closed */
    int theirs[PIPES]; /* until it is started */
    size_t fed; /* bytes of args written */
    struct capture capture;
    bool stop_sent;
    int64_t oom_kills; /* of our cgroup, before it was started */
    bool dead;
    int64_t dead_mono_ms;
    sigset_t old_mask;
    struct sigaction old_child;
};

static void close_end(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

static int open_pipes(struct program *p, struct err *err)
{
    for (int i = 0; i < PIPES; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) == -1)
            return err_errno(err, ERR_SYSTEM, "cannot make a pipe");
        p->ends[i] = ends[i == 0 ? 1 : 0];
        p->theirs[i] = ends[i == 0 ? 0 : 1];
        if (fcntl(p->ends[i], F_SETFL, O_NONBLOCK) == -1)
            return err_errno(err, ERR_SYSTEM, "cannot set up a pipe");
    }
    return 0;
}

/* In the child: whoever must kill it finds its group even if we are gone by then. */
static void on_before_exec(void *arg)
{
    struct runner_page *page = arg;
    atomic_store(&page->program_pgid, (int32_t)getpid());
}

static int start(struct program *p, const struct config_handler *h, struct err *err)
{
    struct job *j = p->job;
    struct sandbox box;
    int rc = sandbox_init(&box, j, h, err);
    if (rc == 0)
        rc = open_pipes(p, err);
    struct child_fd fds[PIPES];
    for (int i = 0; i < PIPES; i++)
        fds[i] = (struct child_fd){.parent_fd = p->theirs[i], .child_fd = i};
    const struct child_spec spec = {
        .exe_fd = -1,
        .exe = h->exec[0],
        .argv = h->exec,
        .envp = box.env,
        .directory = h->directory != NULL ? h->directory : j->runner->config.directory,
        .fds = fds,
        .fd_count = PIPES,
        .die_with_parent = true,
        .change_user = box.change_user,
        .uid = box.uid,
        .gid = box.gid,
        .user_name = box.user,
        .limits = box.limits,
        .before_exec = on_before_exec,
        .before_exec_arg = j->runner->page,
    };
    if (rc == 0)
        rc = child_start(&spec, &p->pid, err);
    if (rc < 0)
        atomic_store(&j->runner->page->program_pgid, 0);
    for (int i = 0; i < PIPES; i++)
        close_end(&p->theirs[i]);
    sandbox_done(&box);
    return rc;
}

static void on_child_signal(int sig)
{
    (void)sig; /* it is there to end ppoll() */
}

static void block_signals(struct program *p)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, &p->old_mask);
    struct sigaction action = {.sa_handler = on_child_signal};
    sigaction(SIGCHLD, &action, &p->old_child);
}

/* The disposition is put back for plugins, which may count on the default one. */
static void restore_signals(const struct program *p)
{
    sigaction(SIGCHLD, &p->old_child, NULL);
    pthread_sigmask(SIG_SETMASK, &p->old_mask, NULL);
}

static void feed(struct program *p)
{
    struct span args = p->job->wire.args;
    while (p->fed < args.len) {
        ssize_t n = write(p->ends[0], args.ptr + p->fed, args.len - p->fed);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n == -1)
            break; /* it does not read all of it: its right */
        p->fed += (size_t)n;
    }
    close_end(&p->ends[0]);
}

/* One read per round and pipe, so that no stream starves another. */
static void drain(struct program *p, int i, int64_t now_us)
{
    char bytes[READ_BYTES];
    ssize_t n = read(p->ends[i], bytes, sizeof bytes);
    if (n == -1 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        close_end(&p->ends[i]);
        return;
    }
    struct span s = {bytes, (size_t)n};
    if (i == 1)
        capture_stdout(&p->capture, s);
    else if (i == 2)
        capture_stderr(&p->capture, s, now_us);
    else
        capture_report(&p->capture, s);
}

static bool any_output_open(const struct program *p)
{
    return p->ends[1] != -1 || p->ends[2] != -1 || p->ends[3] != -1;
}

/* The mask of ppoll(): as it was, with both signals let through. */
static sigset_t waiting_mask(const struct program *p)
{
    sigset_t set = p->old_mask;
    sigdelset(&set, SIGTERM);
    sigdelset(&set, SIGCHLD);
    return set;
}

static void wait_and_move(struct program *p)
{
    struct pollfd fds[PIPES];
    for (int i = 0; i < PIPES; i++)
        fds[i] = (struct pollfd){.fd = p->ends[i], .events = i == 0 ? POLLOUT : POLLIN};
    struct timespec timeout = {0};
    if (p->dead) {
        int64_t left = p->dead_mono_ms + LEFTOVER_WAIT_MS - mono_ms();
        timeout.tv_nsec = left > 0 ? left * 1000000 : 0;
    }
    sigset_t mask = waiting_mask(p);
    if (ppoll(fds, PIPES, p->dead ? &timeout : NULL, &mask) <= 0)
        return;
    int64_t now_us = mono_us();
    if (fds[0].revents != 0)
        feed(p);
    for (int i = 1; i < PIPES; i++)
        if (fds[i].revents != 0)
            drain(p, i, now_us);
}

static void run_to_end(struct program *p)
{
    for (;;) {
        pid_t pid;
        if (!p->dead && child_peek_dead(p->pid, &pid) == 1) {
            p->dead = true;
            p->dead_mono_ms = mono_ms();
            close_end(&p->ends[0]);
        }
        if (p->dead && (!any_output_open(p) || mono_ms() >= p->dead_mono_ms + LEFTOVER_WAIT_MS))
            return;
        if (!p->dead && !p->stop_sent && job_stopped(p->job)) {
            p->stop_sent = true;
            child_kill_group(p->pid, 0, SIGTERM);
        }
        wait_and_move(p);
    }
}

/* While the zombie holds the number, its group can be nobody else's. */
static void clean_up(struct program *p, struct child_end *ret_end)
{
    child_kill_group(p->pid, 0, SIGKILL);
    child_reap(p->pid, ret_end);
    atomic_store(&p->job->runner->page->program_pgid, 0);
    /* A helper that a plugin's setup() started stays. */
    int killed = footprint_kill_children(p->job->runner->footprint.ticks, NULL);
    if (killed > 0)
        log_msg(LOG_INFO, "killed what a program left behind", KV_INT("processes", killed),
                KV_SPAN("job", p->job->wire.id), KV_SPAN("type", p->job->wire.type));
}

static enum outcome judge(const struct child_end *e, bool snooze_said)
{
    switch (e->exit_code) {
    case 0:
        return snooze_said ? OUTCOME_SNOOZE : OUTCOME_DONE;
    case EXIT_DEAD:
        return OUTCOME_DEAD;
    case EXIT_SNOOZE:
        return OUTCOME_SNOOZE;
    case EXIT_PARK:
        return OUTCOME_PARK;
    }
    return OUTCOME_RETRY;
}

static void explain(struct program *p, const struct child_end *e)
{
    char how[64];
    struct job *j = p->job;
    const char *words = child_signal_words(e->signal);
    if (j->slot->oom)
        job_say(j, SPAN_OF_STR("killed: out of memory, "));
    else if (e->signal != 0)
        job_say(j, SPAN_OF_STR("killed by "));
    job_say(j, SPAN_OF_STR(child_end_format(e, how, sizeof how)));
    if (words[0] != '\0') {
        job_say(j, SPAN_OF_STR(": "));
        job_say(j, SPAN_OF_STR(words));
    }
    struct span why = buf_span(&p->capture.fail);
    if (why.len == 0 && e->signal == 0)
        why = capture_last_lines(&p->capture);
    if (why.len == 0)
        return;
    job_say(j, SPAN_OF_STR(": "));
    job_say(j, why);
}

static void settle(struct program *p, const struct child_end *e)
{
    struct job *j = p->job;
    struct slot *s = j->slot;
    s->exit_code = e->exit_code;
    s->signal = e->signal;
    s->max_rss_bytes = e->max_rss_bytes;
    s->cpu_ms = e->cpu_ms;
    s->oom =
        e->signal == SIGKILL && !p->stop_sent && p->oom_kills >= 0 && oom_kills() > p->oom_kills;
    j->outcome = judge(e, p->capture.snooze_ms >= 0);
    if (j->outcome == OUTCOME_SNOOZE)
        j->delay_ms = p->capture.snooze_ms;
    if (j->outcome != OUTCOME_DONE && j->outcome != OUTCOME_SNOOZE)
        explain(p, e);
}

void program_run(struct job *j, const struct config_handler *h)
{
    struct program p = {.job = j, .ends = {-1, -1, -1, -1}, .theirs = {-1, -1, -1, -1}};
    struct err err = {0};
    capture_init(&p.capture, j, mono_us());
    block_signals(&p);
    p.oom_kills = oom_kills();
    if (start(&p, h, &err) == 0) {
        struct child_end end;
        run_to_end(&p);
        clean_up(&p, &end);
        capture_end(&p.capture, mono_us());
        settle(&p, &end);
    } else {
        j->outcome = OUTCOME_RETRY;
        job_say(j, SPAN_OF_STR(err.text));
    }
    restore_signals(&p);
    for (int i = 0; i < PIPES; i++)
        close_end(&p.ends[i]);
    capture_done(&p.capture);
}
