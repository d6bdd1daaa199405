/* capture.h - what a program writes: stdout is its result, stderr goes to the log and its tail to the
 * failure, descriptor 3 speaks JSON lines to us:
 *
 *   {"progress":40,"text":"..."}   {"result":any}   {"snooze":seconds}   {"fail":"text"}
 *
 * All of it is bounded: a program may write for ever.  What is too much is read and thrown away.
 */
#ifndef BL_WORKER_RUNNER_CAPTURE_H
#define BL_WORKER_RUNNER_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"

struct job;

/* A line being put together; what is beyond its limit is left out. */
struct capture_line {
    struct buf bytes;
    bool cut;
};

struct capture {
    struct job *job; /* whose result and stderr_tail are filled */
    size_t result_max;
    struct capture_line error, report;
    struct buf said_result; /* by descriptor 3; replaces stdout */
    bool has_said_result;
    struct buf fail; /* by descriptor 3; "" = not said */
    int64_t snooze_ms; /* by descriptor 3; -1 = not said */
    struct log_budget budget;
    int64_t unlogged; /* lines of stderr left out of the log */
};

void capture_init(struct capture *c, struct job *j, int64_t now_mono_us);
void capture_done(struct capture *c);

void capture_stdout(struct capture *c, struct span bytes);
void capture_stderr(struct capture *c, struct span bytes, int64_t now_mono_us);
void capture_report(struct capture *c, struct span bytes);
/* Last lines without a newline, and the result. */
void capture_end(struct capture *c, int64_t now_mono_us);

/* The last lines of stderr for a one-line message, borrowed from the job. */
struct span capture_last_lines(const struct capture *c);

#endif
