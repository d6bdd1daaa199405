/* output.h - what a runner, that is a plugin's code in it, writes to stdout and stderr.
 *
 * Both are one pipe that the worker reads.  Lines go to the log, and the last of them are kept, so
 * that a handler that crashes leaves its last words on the record: "double free", an assertion, a
 * sanitizer's report.  The runner's own log lines go by another descriptor.
 *
 * A handler may write without end.  OUTPUT_BYTES are read in OUTPUT_REST_MS (1.3 MB a second), then it
 * is left alone for as long: the pipe is full, the handler waits, nobody else does.
 */
#ifndef BL_WORKER_OUTPUT_H
#define BL_WORKER_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"

struct runner;

enum {
    OUTPUT_BYTES = 64 * 1024,
    OUTPUT_REST_MS = 50,
    OUTPUT_TAIL_BYTES = 4096,
};

struct output {
    int fd; /* -1 = closed */
    uv_poll_t poll;
    bool poll_open; /* the handle exists: closing is asynchronous */
    int64_t rest_mono_ms; /* not read before this; 0 = it is read */
    int64_t since_mono_ms; /* bytes read since ... */
    int64_t bytes; /* ... are these */
    struct buf line; /* without its end yet */
    struct buf tail; /* of the present job */
    struct log_budget budget;
    int64_t unlogged; /* lines left out */
};

void output_init(struct output *o);
void output_free(struct output *o);
/* Takes `fd`, the read end, non-blocking, of the runner that was just started. */
void output_open(struct runner *r, int fd);
/* Reads what is there, logs a last line without its end, closes.  The tail stays. */
void output_close(struct runner *r);

/* Reads what is there (bounded) and returns the last the present job wrote, borrowed. */
struct span output_tail(struct runner *r);
/* What comes now is another job's.  LIMIT: what of the last one is in the pipe still counts as the
 * next one's; the pipe is usually read before the report that follows it. */
static inline void output_job_ended(struct output *o)
{
    if (o->tail.len > 0)
        buf_clear(&o->tail);
}
/* Reads on where the rest is over; returns when the next one is (INT64_MAX = none). */
int64_t output_resume(struct runner *r, int64_t now_mono_ms);

#endif
