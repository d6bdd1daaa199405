/* spin.h - after busy turns the loop looks again for a while before it sleeps.
 *
 * To sleep and be woken takes as long as a hundred jobs that do nothing, and a kernel likes to wake the
 * sleeper where the waker runs: on the core on which Redis still works.  So every SPIN_JOBS jobs that
 * return in one turn, or while it looks, are worth SPIN_US without sleep: the one place that polls.  At
 * R jobs a second it takes at most R / 128,000 of a core, and nothing where jobs return one by one.
 * (docs/performance.md has what it gains.)
 */
#ifndef BL_WORKER_SPIN_H
#define BL_WORKER_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum { SPIN_JOBS = 64, SPIN_US = 500 };

struct spin {
    int returned; /* jobs since it was last set to 0; the caller counts */
    int64_t until_us; /* CLOCK_MONOTONIC */
};

/* Asked after each look at the sockets: look again at once?  false = sleep until something comes. */
bool spin_wanted(struct spin *s, int64_t now_mono_us);

#endif
