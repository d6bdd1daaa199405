/* rest.h - a runner sleeps until a job comes; for a single short one it wakes on the worker's core.
 *
 * A core that idles takes long to begin anything: first it must be woken itself, in a virtual machine by
 * the host.  The kernel prefers it all the same to the core of the worker, which writes one job and then
 * sleeps.  So the worker calls the runner: it binds it to its own core, then writes the job, and the
 * runner takes the binding off before it begins anything.  (docs/performance.md has what it gains.)
 *
 *   runner: AWAKE -> RESTING     rest_begin(), before it waits for a job
 *   worker: RESTING -> CALLED    rest_call(), once it is bound, before the job is written
 *   runner: RESTING -> AWAKE     rest_end(), after it waited
 *           CALLED -> AWAKE      the same, and it takes the binding off
 *
 * A gain in time and nothing else: when something is refused or goes wrong here, the runner wakes where
 * the kernel likes.  A runner whose cores are not the worker's own is left alone: somebody chose them, an
 * operator or a plugin.  So is one that may not choose its own cores, which is found out at its start
 * (it stays SHUT), and every runner on a machine with more than SLOTS_CORES cores.
 */
#ifndef BL_WORKER_REST_H
#define BL_WORKER_REST_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/slots.h"

/* By the runner.  At its start, after plugins were set up: may it choose its cores?  What the one before
 * it in this page left does not count. */
void rest_init(struct runner_page *page);
void rest_begin(struct runner_page *page);
void rest_end(struct runner_page *page);

/* By the worker, for the runner `pid` of this page, when it has no job.  true = it is bound to the core
 * we are on, until it wakes. */
bool rest_call(struct runner_page *page, pid_t pid);

#endif
