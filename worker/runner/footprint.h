/* footprint.h - what a plugin's handler left behind in its process: the next job is not to find it.
 *
 * Nothing is put right: a process that differs from what it was after the plugins' setup() is replaced,
 * which costs some milliseconds and is always enough.  What is looked at: directory and root, umask,
 * signal mask and dispositions, environment, limits, nice value, users and groups, death signal,
 * timers, threads, the socket to the worker, and other descriptors (only when many were leaked: a kept
 * connection is nobody's harm).
 * Processes left behind are killed at once.
 *
 * A look is some 40 system calls, 50 us where each takes 1 us, so it is not taken after each of many
 * short jobs of one plugin: always after the first 32 of each type, before a job of another plugin or
 * program, after one that took longer (0.2 ms), after one that came alone (at most every 2 ms), once
 * nothing has come for 10 ms, and every 10 ms.  So a handler that always leaves a mess is caught at once;
 * what one leaves that was clean 32 times may meet jobs of its own plugin for 10 ms, never those of
 * another.
 */
#ifndef BL_WORKER_RUNNER_FOOTPRINT_H
#define BL_WORKER_RUNNER_FOOTPRINT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { FOOTPRINT_SIGNALS = 65, FOOTPRINT_LIMITS = 16, FOOTPRINT_LEAKED = 200 };

/* What becomes of each signal, as /proc/self/status has it: bit n - 1 is signal n.  The C library's own
 * two are left out. */
struct dispositions {
    bool known; /* false: it could not be read */
    uint64_t ignored, caught;
};

struct footprint {
    sigset_t mask;
    struct dispositions dispositions;
    struct sigaction actions[FOOTPRINT_SIGNALS];
    mode_t umask;
    dev_t root_dev, dir_dev, socket_dev;
    ino_t root_ino, dir_ino, socket_ino;
    int socket_fd; /* to the worker */
    struct rlimit limits[FOOTPRINT_LIMITS];
    int nice;
    uid_t uids[3];
    gid_t gids[3];
    int death_signal;
    uint64_t threads; /* links of /proc/self/task; 0 = unknown */
    int first_free_fd;
    uint64_t
        ticks; /* processes started at or after it are no helpers of a plugin's setup(); 0 = there
                     * are none */
    char **variables; /* where environ pointed */
    char **names; /* a copy of the pointers; NULL ends them */
    char **texts; /* copies of what they pointed to */
};

/* Notes how the process is now: after setup().  `socket_fd` leads to the worker. */
void footprint_take(struct footprint *f, int socket_fd);
void footprint_done(struct footprint *f);

/* NULL = as it was, else what differs, in a word or two (constant). */
const char *footprint_changed(const struct footprint *f);

/* Kills and reaps children that were started at or after `ticks` (child_start_ticks()) and what comes
 * to us from them, until nothing is found; `ret_left` (may be NULL) = that took too long, a second or
 * more, and something lives.  Returns how many kills it took. */
int footprint_kill_children(uint64_t ticks, bool *ret_left);

#endif
