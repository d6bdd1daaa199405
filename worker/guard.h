/* guard.h - the small process that kills what is left when a worker freezes or dies.
 *
 * `worker --guard --slots-fd P --parent-fd F [--on-lost finish|stop] [--soft-ms 6000]
 * [--hard-ms 8000] [--log-level L] [--log-format F]`, one per worker, started first.  It holds the
 * shared page (read-only header, runner pages) and the read end of a pipe whose write end only the
 * worker has.
 *   - the pipe ends (the worker is gone, however): SIGKILL to every runner's group and its
 *     program's group, at once.  PDEATHSIG covers the direct children; this covers what they
 *     started, and the moment in which a PDEATHSIG was not yet set.
 *   - the loop's stamp is hard-ms old (frozen, stopped): the same, and it goes on watching.
 *   - on_lost stop, and the last good beat is soft-ms old: SIGTERM to those groups; hard-ms: SIGKILL.
 * Stamps are CLOCK_BOOTTIME.  A group is killed only if the page's runner pid is a session leader
 * (getsid(pid) == pid, or the runner is gone and the program's getsid is the runner's pid) and its
 * start time matches where /proc tells it.  It sleeps until a stamp can be too old, and
 * acts on each stamp once.  TERM, INT and HUP do not end it; the pipe does.
 *
 * Why a process and not a timer in each runner: handlers may block signals, spin or stop; and
 * timer signals would interrupt their system calls.
 */
#ifndef BL_WORKER_GUARD_H
#define BL_WORKER_GUARD_H

int guard_main(int argc, char **argv);

#endif
