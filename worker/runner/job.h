/* job.h - the job a runner runs now, and what becomes of it.
 *
 *   job_start()  reads the frame, QUEUED -> BEGUN (or says that it was revoked)
 *   job_run()    calls the plugin's handler, or runs the program
 *   job_end()    sends or writes what does not fit into the slot, BEGUN -> RETURNED
 */
#ifndef BL_WORKER_RUNNER_JOB_H
#define BL_WORKER_RUNNER_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/log.h"
#include "common/outcome.h"
#include "common/slots.h"
#include "common/wire.h"
#include "jobs/bucketline.h"
#include "worker/runner/channel.h"
#include "worker/runner/footprint.h"
#include "worker/runner/plugin.h"

enum {
    JOB_MESSAGE_BYTES = 2048, /* of a failure's text */
    JOB_TAIL_BYTES = 4096, /* of a program's stderr */
    JOB_RESULT_BYTES = 1024 * 1024, /* of a plugin's result; the cap of result_max_bytes too */
};

/* The clocks, read at most once a ms while short jobs follow each other: reading them all for each
 * would cost more than such a job. */
struct runner_clocks {
    int64_t now_us; /* monotonic, the end of the job before; 0 = it may be older than that */
    int64_t read_us; /* monotonic, when those below were read; 0 = never */
    int64_t wall_ms, boot_ms;
};

/* The process; one of it, made by runner_main(). */
struct runner {
    int index;
    pid_t pid;
    const char *out_dir; /* NULL = none */
    struct config config;
    struct plugins plugins;
    struct slots *slots;
    struct runner_page *page;
    struct channel channel;
    struct runner_clocks clocks;
    const volatile char *original; /* 0 there: this is a copy of the process, made by fork() */
    struct footprint footprint; /* how the process was before its first job */
    struct plugin_handler
        *last; /* plugin's handler that ran and was not looked after yet; or NULL */
    int unseen; /* how many jobs of plugins ran since then */
    int64_t looked_us; /* when its footprint was last looked at, monotonic */
};

struct job {
    struct bl_job view; /* what a handler sees */
    struct runner *runner;
    struct plugin_handler *handler; /* NULL = unknown type */
    struct slot *slot;
    uint16_t slot_index;
    uint64_t seq;
    struct wire_job wire; /* borrowed from the channel */
    enum outcome outcome;
    int64_t delay_ms; /* -1 = not said */
    struct buf message; /* why it failed */
    struct buf stderr_tail; /* of a program */
    struct buf result;
    bool has_result, result_cut;
    bool cancelled; /* it was told to stop, and that was meant for it */
    int64_t begun_us;
    int64_t progress_us; /* when progress was last sent; 0 = never */
};

/* The buffers are kept from job to job. */
void job_init(struct job *j, struct runner *r);
void job_done(struct job *j);

/* The clocks as of now, or of the end of the job before. */
const struct runner_clocks *job_clocks(struct runner *r);

/* 1 = it has begun, 0 = it was revoked, 2 = not begun: what the job before left behind has this process
 * end first, -ERR_PROTOCOL.  The frame's bytes must stay until
 * job_end(). */
MUST_CHECK int job_start(struct job *j, const struct wire_frame *f, struct err *err);
void job_run(struct job *j);
/* Did the last job leave the process as it was (footprint.h)?  Logs what it did not. */
bool job_left_clean(struct job *j);
/* Does its handler usually end so soon that not even one system call should be spent on a run? */
bool job_is_fast(const struct job *j);
/* Notes the process' CPU time on the page: what a job used is the difference. */
void job_note_cpu(struct runner *r);
/* Ends the process when a handler calls exit().  Once, before any plugin is loaded: exit handlers run
 * in reverse order.  -ERR_SYSTEM. */
MUST_CHECK int job_guard(struct runner *r, struct err *err);

/* The slot is RETURNED when this returns, and noted at the channel.  Returns the time, monotonic us. */
int64_t job_end(struct job *j);

/* Appends to the failure's text, cut at JOB_MESSAGE_BYTES. */
void job_say(struct job *j, struct span text);

/* A line in the log with what names the job. */
void job_log(const struct job *j, enum log_level level, const char *msg, const char *key,
             struct span text);

/* Has the current job been told to stop?  Set by SIGTERM, cleared by job_start(). */
extern volatile sig_atomic_t job_stop_flag;
/* The same, unless a CANCEL frame says that the signal was meant for a job that is gone. */
bool job_stopped(struct job *j);

#endif
