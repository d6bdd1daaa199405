/* report.h - what enqueue tells its user while many jobs go out, and when they do not. */
#ifndef BL_ENQUEUE_REPORT_H
#define BL_ENQUEUE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "enqueue/batch.h"

/* A line on a terminal that is rewritten at most ten times a second. */
struct progress {
    bool on; /* standard error is a terminal */
    bool shown;
    int64_t start_mono_ms, next_mono_ms;
};
void progress_start(struct progress *p);
/* `sent` jobs have been handed to Redis. */
void progress_step(struct progress *p, int64_t sent);
void progress_end(struct progress *p); /* clears the line */

/* Appends what happened and how to go on, for people, one line each. `noun` is "line" or "job";
 * `complete` = all documents had been read and handed on. */
void report_failure(struct buf *out, const struct batch_account *a, const char *noun,
                    bool complete);

/* "OOM ..." and the like in words.  Appends one line. */
void report_answer(struct buf *out, enum store_answer answer, const char *text);

/* The exit code for a failed push. */
int report_exit_code(enum store_answer answer);

#endif
