/* death.h - a process of ours has ended: who, why, and what becomes of the job it was running.
 *
 * Judged by its wait status alone, after reading its socket to the end: frames count, then the slot
 * page, then blame.  Its groups are killed while the zombie holds the id, then it is reaped.
 */
#ifndef BL_WORKER_DEATH_H
#define BL_WORKER_DEATH_H

#include <uv.h>

struct worker;

/* SIGCHLD: looks at every process of ours, and reaps the strangers this subreaper inherited. */
void death_on_sigchld(uv_signal_t *handle, int signum);

/* For the end, when no runner lives: kills what they left to us, and what those leave in turn, until
 * nothing is found, or one has not died for a few seconds. */
void death_of_strays(struct worker *w);

#endif
