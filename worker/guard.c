/* guard.c - see guard.h for what it does and why it is a process.
 *
 * It is ended by nothing but the end of its pipe: a TERM meant for a whole control group must not
 * take away the one who cleans up.  Whom it kills is decided anew each time from the page; the
 * runners' pids are the worker's word, the programs' groups the runners', so those count only
 * inside the runner's session.
 *
 * Each condition is acted on once: a stamp that has been acted on is remembered, and only another
 * stamp makes a new condition.  A worker that wakes up again must not find its new runners killed
 * by what was said about the old ones.
 */
#include "worker/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/slots.h"
#include "worker/child.h"

enum {
    DEFAULT_SOFT_MS = 6000,
    DEFAULT_HARD_MS = 8000,
    SHORTEST_WAKE_MS = 20,
    SWEEPS = 50, /* at most, until nothing of the sessions is alive */
    SWEEP_PAUSE_MS = 10,
};

struct guard {
    struct slots *slots;
    int parent_fd;
    bool stop_when_lost;
    int64_t soft_ms, hard_ms;
    /* The stamps that were acted on; -1 = none. */
    int64_t frozen_done, soft_done, hard_done;
};

/* Is this runner's pid still the process the worker means?  A zombie counts, and so does one that
 * is gone altogether: what it left may still carry its session. */
static bool runner_is_itself(pid_t pid, uint64_t start)
{
    uint64_t now = child_start_ticks(pid);
    if (start != 0 && now != 0 && now != start)
        return false;
    pid_t session = getsid(pid);
    return session == pid || (session == -1 && errno == ESRCH);
}

/* Signals all groups on the page; with `sweep`, then looks for what left those groups until
 * nothing of the sessions is alive.  Returns how many runners it concerned. */
static int signal_all(struct guard *g, int sig, bool sweep)
{
    const struct slots_header *h = slots_header(g->slots);
    pid_t sessions[SLOTS_MAX_RUNNERS];
    int count = 0;
    for (uint32_t i = 0; i < h->runner_max && i < SLOTS_MAX_RUNNERS; i++) {
        pid_t pid = h->runner_pid[i];
        if (pid <= 1 || !runner_is_itself(pid, h->runner_start[i]))
            continue;
        const struct runner_page *page = slots_runner_page(g->slots, (int)i);
        /* The runner first: see runner_kill(). */
        (void)child_kill_group(pid, pid, sig); /* nothing there: fine */
        (void)child_kill_group(page->program_pgid, pid, sig); /* likewise */
        sessions[count++] = pid;
    }
    for (int i = 0; sweep && i < SWEEPS && child_kill_sessions(sessions, count, sig) > 0; i++)
        (void)poll(NULL, 0, SWEEP_PAUSE_MS); /* for the killed ones to be gone */
    return count;
}

static void act(struct guard *g, int sig, const char *why, int64_t stamp_age_ms)
{
    int count = signal_all(g, sig, sig == SIGKILL);
    if (count > 0)
        log_msg(LOG_WARN, why, KV_INT("runners", count), KV_INT("signal", sig),
                KV_INT("age_ms", stamp_age_ms));
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The loop's stamp; returns in how many ms to look again. */
static int64_t check_loop(struct guard *g, int64_t now)
{
    int64_t loop = slots_header(g->slots)->loop_boot_ms;
    if (loop <= 0 || loop == g->frozen_done)
        return g->hard_ms;
    int64_t left = loop + g->hard_ms - now;
    if (left > 0)
        return left;
    g->frozen_done = loop;
    act(g, SIGKILL, "the worker is frozen, killing what it runs", now - loop);
    return g->hard_ms;
}

/* The last good beat's stamp, likewise. */
static int64_t check_beat(struct guard *g, int64_t now)
{
    int64_t beat = slots_header(g->slots)->good_beat_boot_ms;
    if (!g->stop_when_lost || beat <= 0 || beat == g->hard_done)
        return g->soft_ms;
    int64_t soft_left = beat + g->soft_ms - now, hard_left = beat + g->hard_ms - now;
    if (hard_left <= 0) {
        g->hard_done = beat;
        act(g, SIGKILL, "Redis is out of reach, killing what runs", now - beat);
        return g->soft_ms;
    }
    if (soft_left <= 0 && beat != g->soft_done) {
        g->soft_done = beat;
        act(g, SIGTERM, "Redis is out of reach, stopping what runs", now - beat);
    }
    return soft_left > 0 ? sooner(soft_left, hard_left) : hard_left;
}

/* Nothing is ever written to the pipe; should it be, it is not the end. */
static bool parent_is_gone(struct guard *g)
{
    char byte;
    ssize_t n = read(g->parent_fd, &byte, 1);
    return n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN);
}

static int guard_watch(struct guard *g)
{
    for (;;) {
        int64_t now = boot_ms();
        int64_t wake = sooner(check_loop(g, now), check_beat(g, now));
        struct pollfd p = {.fd = g->parent_fd, .events = POLLIN};
        int n = poll(&p, 1, wake < SHORTEST_WAKE_MS ? SHORTEST_WAKE_MS : (int)wake);
        if (n == 1 && parent_is_gone(g)) {
            CRASH_POINT("guard.orphaned");
            act(g, SIGKILL, "the worker is gone, killing what it ran",
                boot_ms() - slots_header(g->slots)->loop_boot_ms);
            return EX_OK;
        }
    }
}

static bool number(const char *text, int64_t least, int64_t most, int64_t *ret)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || *text == '\0' || *end != '\0' || v < least || v > most)
        return false;
    *ret = v;
    return true;
}

struct options {
    int64_t slots_fd, parent_fd, soft_ms, hard_ms;
    enum log_level level;
    enum log_format format;
    bool stop;
};

static bool options_parse(int argc, char **argv, struct options *ret)
{
    static const struct option table[] = {
        {"slots-fd", required_argument, NULL, 's'},   {"parent-fd", required_argument, NULL, 'p'},
        {"on-lost", required_argument, NULL, 'o'},    {"soft-ms", required_argument, NULL, 'S'},
        {"hard-ms", required_argument, NULL, 'H'},    {"log-level", required_argument, NULL, 'l'},
        {"log-format", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0},
    };
    struct options o = {.slots_fd = -1,
                        .parent_fd = -1,
                        .soft_ms = DEFAULT_SOFT_MS,
                        .hard_ms = DEFAULT_HARD_MS,
                        .level = LOG_INFO};
    bool good = true;
    int c;
    optind = 1;
    while (good && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 's')
            good = number(optarg, 0, 1 << 20, &o.slots_fd);
        else if (c == 'p')
            good = number(optarg, 0, 1 << 20, &o.parent_fd);
        else if (c == 'S')
            good = number(optarg, 1, 86400000, &o.soft_ms);
        else if (c == 'H')
            good = number(optarg, 1, 86400000, &o.hard_ms);
        else if (c == 'l')
            good = log_level_parse(optarg, &o.level) == 0;
        else if (c == 'f')
            good = log_format_parse(optarg, &o.format) == 0;
        else if (c == 'o' && (strcmp(optarg, "stop") == 0 || strcmp(optarg, "finish") == 0))
            o.stop = strcmp(optarg, "stop") == 0;
        else
            good = false;
    }
    if (good && optind == argc && o.slots_fd >= 0 && o.parent_fd >= 0)
        *ret = o;
    else
        good = false;
    return good;
}

int guard_main(int argc, char **argv)
{
    struct options o;
    if (!options_parse(argc, argv, &o)) {
        log_msg(LOG_ERROR, "the guard was started with wrong options");
        return EX_USAGE;
    }
    log_setup(o.level, o.format);
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);

    struct err err = {0};
    struct guard g = {.parent_fd = (int)o.parent_fd,
                      .stop_when_lost = o.stop,
                      .soft_ms = o.soft_ms,
                      .hard_ms = o.hard_ms,
                      .frozen_done = -1,
                      .soft_done = -1,
                      .hard_done = -1};
    /* Neither the directory we were started in nor a blocking read may hold us. */
    if (chdir("/") == -1 || fcntl(g.parent_fd, F_SETFL, O_NONBLOCK) == -1 ||
        slots_attach((int)o.slots_fd, -1, &g.slots, &err) < 0) {
        log_msg(LOG_ERROR, "the guard cannot watch",
                KV_STR("error", err.code != 0 ? err.text : strerror(errno)));
        return EX_SOFTWARE;
    }
    CRASH_POINT("guard.watching");
    int rc = guard_watch(&g);
    slots_free(g.slots);
    return rc;
}
