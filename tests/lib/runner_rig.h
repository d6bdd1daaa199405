/* runner_rig.h - plays the worker for one real `worker --runner`: a socket pair, a shared page, a
 * configuration, and nothing of the worker itself.  Binary and plugins come from $BUCKETLINE_BUILD
 * (default "build").  Failures end the test through cmocka.
 */
#ifndef BL_TESTS_LIB_RUNNER_RIG_H
#define BL_TESTS_LIB_RUNNER_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/slots.h"
#include "common/wire.h"

struct rig {
    char dir[64]; /* temporary; holds the configuration's files, the log and .out files */
    char build[1024];
    pid_t pid; /* 0 = it has ended and was reaped */
    int status; /* of waitpid(), then */
    int fd; /* our end; -1 = closed */
    struct slots *slots;
    struct incarnation inc;
    struct buf in, taken; /* received; the frame handed out last */
    uint64_t last_seq;
    int next_slot;
    uint32_t handlers; /* as HELLO said */
    struct buf fatal; /* texts of FATAL frames, one a line */
};

/* How one job ended, as the frames and the page said.  Owned by whoever has it (rig_job_done). */
struct rig_job {
    int slot;
    uint64_t seq;
    bool returned;
    struct slot page; /* a copy, once it returned */
    struct buf result, message, stderr_tail;
    bool has_result, result_cut;
    int progress_frames, percent; /* the last one's */
};

/* Makes the directory and the page; nothing runs yet. */
void rig_init(struct rig *r);
/* Writes a file into the directory. */
void rig_write_file(const struct rig *r, const char *name, const char *text, int mode);
/* Starts the runner with `yaml` after a minimal configuration ("%D" in it is the directory, "%B" the
 * build directory, absolute), and reads HELLO.  `with_out` gives it --out-dir. */
void rig_start(struct rig *r, const char *yaml, bool with_out);
/* Ends the runner if it still runs, and removes everything.  The runner's log is printed if
 * `show_log`. */
void rig_done(struct rig *r, bool show_log);

/* Queues a job without waiting.  `meta` may be NULL. */
void rig_send(struct rig *r, const char *type, const char *args, const char *meta,
              struct rig_job *ret);
/* Only the frame's half or the page's half of that, for what is out of the ordinary. */
void rig_send_bytes(struct rig *r, struct span bytes);
/* Reads frames until DONE names the job; frees its slot. */
void rig_await(struct rig *r, struct rig_job *job);
/* Both. */
void rig_run(struct rig *r, const char *type, const char *args, struct rig_job *ret);
void rig_job_done(struct rig_job *job);

/* The next frame; false when the stream ends.  Borrowed until the next call. */
bool rig_read(struct rig *r, struct wire_frame *ret);
/* Waits until the slot's state is `state`. */
void rig_await_state(struct rig *r, const struct rig_job *job, enum slot_state state);
/* Waits for its end: exit code, or -signal. */
int rig_await_exit(struct rig *r);

/* The runner's log so far; caller owns (free). */
char *rig_log(const struct rig *r);
/* Waits until a line of the log holds `text`. */
void rig_await_log(const struct rig *r, const char *text);
/* Waits until the file in the directory has content; returns it; caller owns (free). */
char *rig_await_file(const struct rig *r, const char *name);

/* Gives others a moment; ends the test after 30 s of a wait that began at `*started_ms` (0 = now). */
void rig_pause(int64_t *started_ms, const char *what);

#endif
