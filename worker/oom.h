/* oom.h - did the kernel end a process for lack of memory?  A process that the kernel kills for that
 * gets the same SIGKILL as from anyone; the kernel only counts it: in the cgroup's `memory.events`
 * (version 2) or `memory.oom_control` (version 1), and outside of any in /proc/vmstat.
 *
 * Used by the worker, for its runners, and by a runner, for its programs.  All of them share one
 * cgroup.  Cheap enough for once a second and for each program's start (two small files).
 */
#ifndef BL_WORKER_OOM_H
#define BL_WORKER_OOM_H

#include <stdbool.h>
#include <stdint.h>

/* How many processes of this cgroup the kernel has killed so far; -1 = not told here. */
int64_t oom_kills(void);

/* The last two looks at the counter, so that a kill is still news when its SIGCHLD is handled. */
struct oom_watch {
    int64_t kills, kills_before; /* -1 = unknown */
    int64_t look_mono_ms; /* when it is looked at next */
};
#define OOM_WATCH_INIT                                                                             \
    {                                                                                              \
        .kills = -1, .kills_before = -1                                                            \
    }

/* Looks if a second has passed; returns when the next look is due. */
int64_t oom_watch_run(struct oom_watch *o, int64_t now_mono_ms);
/* Looks now: was anything killed for memory within the last one or two seconds?  Which process it
 * was the kernel does not say; the caller asks only about one that died of a SIGKILL not its own. */
bool oom_watch_fresh(const struct oom_watch *o);

#endif
