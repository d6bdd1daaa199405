#include "worker/takeover.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/small_file.h"
#include "worker/child.h"
#include "worker/recover.h"
#include "worker/statedir.h"
#include "worker/worker.h"

enum { KILL_LOOK_MS = 5, KILL_MAX_MS = 10000 };

/* A dead worker of this machine, its lock in our hands. */
struct takeover {
    struct worker *worker;
    struct incarnation inc;
    int lock_fd;
    struct slots *journal; /* handed on to the recovery once everything of it is dead */
    int64_t since_mono_ms;
    bool recovering;
    struct takeover *next;
};

static bool in_hand(const struct worker *w, const struct incarnation *inc)
{
    for (const struct takeover *t = w->takeovers; t != NULL; t = t->next)
        if (incarnation_equal(&t->inc, inc))
            return true;
    return false;
}

static void release(struct takeover *t)
{
    struct takeover **link = &t->worker->takeovers;
    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    close(t->lock_fd);
    slots_free(t->journal);
    free(t);
}

/* Is the runner's id still that of the runner, or of nobody?  Its session keeps the number from being
 * given to someone else as long as anything of it lives. */
static bool still_its_own(pid_t pid, uint64_t ticks)
{
    uint64_t now = child_start_ticks(pid);
    return now == 0 || ticks == 0 || now == ticks;
}

/* Without /proc: the groups that the page names; true when they are gone. */
static bool kill_groups(struct takeover *t, int block, pid_t pid)
{
    pid_t pgid = slots_runner_page(t->journal, block)->program_pgid;
    bool alive = child_kill_group(pid, pid, SIGKILL) == 0;
    return !(pgid > 1 && child_kill_group(pgid, pid, SIGKILL) == 0) && !alive;
}

/* Kills what is left of its runners and their programs; true when nothing of them is alive. */
static bool all_dead(struct takeover *t)
{
    struct slots_header *h = slots_header(t->journal);
    char boot[40];
    boot_id_read(boot, sizeof boot);
    if (strncmp(boot, h->boot_id, sizeof h->boot_id) != 0)
        return true; /* the machine was started anew since: those pids are strangers */
    bool has_proc = child_start_ticks(getpid()) != 0;
    pid_t *sessions = xcalloc(h->runner_max, sizeof *sessions);
    int count = 0;
    bool dead = true;
    for (uint32_t b = 0; b < h->runner_max; b++) {
        pid_t pid = h->runner_pid[b];
        if (pid <= 1 || !still_its_own(pid, h->runner_start[b]))
            continue;
        if (has_proc)
            sessions[count++] = pid;
        else
            dead &= kill_groups(t, (int)b, pid);
    }
    if (child_kill_sessions(sessions, count, SIGKILL) > 0)
        dead = false; /* looked at again in a moment */
    free(sessions);
    return dead;
}

static void on_recovered(struct worker *w, void *arg)
{
    struct takeover *t = arg;
    CRASH_POINT("takeover.recovered");
    statedir_remove(w->state_dir, &t->inc);
    CRASH_POINT("takeover.unlinked");
    release(t);
}

static void take(struct worker *w, const struct incarnation *inc, int lock_fd)
{
    char path[4096];
    struct err err = {0};
    struct takeover *t = xcalloc(1, sizeof *t);
    t->worker = w;
    t->inc = *inc;
    t->lock_fd = lock_fd;
    t->since_mono_ms = mono_ms();
    slots_path(path, sizeof path, w->state_dir, inc, ".journal");
    if (slots_open(path, &t->journal, &err) < 0) {
        log_msg(LOG_WARN, "a dead worker left no readable journal; its jobs count as begun",
                KV_STR("incarnation", inc->hex), KV_STR("error", err.text));
        t->journal = NULL;
    }
    t->next = w->takeovers;
    w->takeovers = t;
    CRASH_POINT("takeover.locked");
    log_msg(LOG_INFO, "taking over from a dead worker of this machine",
            KV_STR("incarnation", inc->hex));
}

static void look(struct worker *w)
{
    struct incarnation *others = NULL;
    int count = statedir_list(w->state_dir, &w->inc, &others);
    for (int i = 0; i < count; i++) {
        if (in_hand(w, &others[i]) || recover_under_way(w, &others[i]))
            continue;
        int fd = statedir_lock_try(w->state_dir, &others[i]);
        if (fd >= 0)
            take(w, &others[i], fd);
    }
    free(others);
}

int64_t takeover_run(struct worker *w, int64_t now_mono_ms)
{
    int64_t next = INT64_MAX;
    if (w->state_dir == NULL || w->phase > PHASE_QUIET)
        return next;
    if (now_mono_ms >= w->takeover_mono_ms) {
        look(w);
        w->takeover_mono_ms = now_mono_ms + TAKEOVER_LOOK_MS;
    }
    next = w->takeover_mono_ms;
    for (struct takeover *t = w->takeovers; t != NULL; t = t->next) {
        if (t->recovering)
            continue;
        bool late = now_mono_ms - t->since_mono_ms > KILL_MAX_MS;
        if (t->journal != NULL && !all_dead(t) && !late) {
            next = now_mono_ms + KILL_LOOK_MS;
            continue;
        }
        if (late)
            log_msg(LOG_ERROR, "something a dead worker left cannot be killed; its jobs run again",
                    KV_STR("incarnation", t->inc.hex));
        CRASH_POINT("takeover.all-dead");
        t->recovering = true;
        struct slots *journal = t->journal;
        t->journal = NULL;
        recover_start(w, &t->inc, journal, RECOVER_ANY_COUNTER, OWNER_DIED, on_recovered, t);
    }
    return next;
}

void takeover_stop(struct worker *w)
{
    while (w->takeovers != NULL)
        release(w->takeovers);
}
