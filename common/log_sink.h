/* log_sink.h - where log lines go: stderr, without ever waiting long for whoever reads it.
 *
 * A pipe that nobody empties (a stopped log collector, a terminal held by ^S) must not stop a worker.
 * stderr is shared with other processes, so it is not made non-blocking itself: a pipe or terminal
 * is opened anew, a socket is sent to with MSG_DONTWAIT.  A reader that is merely slow is waited for,
 * LOG_SINK_PATIENCE_MS; one that takes nothing in that time is not waited for again until it does.
 * Lines that are dropped are counted, and told in front of the next that gets through.
 *
 * Used by log.c alone, in worker, runners, guard and commands.
 */
#ifndef BL_COMMON_LOG_SINK_H
#define BL_COMMON_LOG_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mem.h"

enum { LOG_SINK_PATIENCE_MS = 100 };

/* Opens stderr now (else with the first line): before a process gives up the right to. */
void log_sink_open(void);
/* Lines go to `fd` from now on, which stays open: a runner's stderr is its plugins'. */
void log_sink_to(int fd);
/* Writes a line, or drops it whole.  Returns false if it was dropped.  What the kernel takes only in
 * part is finished before the next line. */
bool log_sink_write(struct span line);
/* Lines dropped since this was last called; what could not be told is put back. */
uint64_t log_sink_take_dropped(void);
void log_sink_add_dropped(uint64_t count);

#endif
