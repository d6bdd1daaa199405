/* channel.h - a runner's end of the socket to its worker: frames in, frames out, blocking.
 *
 * While a job runs its strings lie in `in`, handed to the handler where they were received.  So
 * whatever must be received meanwhile (an answer to ENQUEUE, a CANCEL) goes to `later`, which takes
 * the place of `in` when the job has ended.
 *
 * DRAIN is noticed as soon as it is received, ahead of JOB frames that came before it: those were
 * not begun and must not be.  The end of the stream counts as DRAIN.
 */
#ifndef BL_WORKER_RUNNER_CHANNEL_H
#define BL_WORKER_RUNNER_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/wire.h"

enum { CHANNEL_NOTES = 64 };

struct channel {
    int fd;
    int wait_ms; /* how long its recv() waits for the first byte; 0 = for ever */
    bool drain; /* begin nothing any more */
    bool eof; /* the worker is gone */
    struct buf in; /* received; frames before `pos` are done with */
    size_t pos;
    size_t scanned; /* frames before it were searched for DRAIN */
    bool split; /* a job runs and the bytes after it were moved to `later` */
    struct buf later;
    struct buf out; /* frames not sent yet */
    struct wire_done notes[CHANNEL_NOTES]; /* jobs that returned and that no DONE frame names yet */
    int note_count;
    int64_t flushed_us; /* monotonic */
    int unanswered; /* ENQUEUED frames to come that nobody waits for any more */
};

/* Takes `fd`.  It is made blocking and CLOEXEC. */
void channel_init(struct channel *ch, int fd);
void channel_done(struct channel *ch);

/* The frame at the front without taking it: 1, 0 = more bytes are needed, -ERR_PROTOCOL.  It is
 * borrowed until the next call that receives. */
MUST_CHECK int channel_peek(struct channel *ch, struct wire_frame *ret, struct err *err);
/* Takes the frame that channel_peek() showed; its payload stays until the next channel_receive(). */
void channel_take(struct channel *ch, const struct wire_frame *f);

/* Receives what there is, waiting at most `timeout_ms` (-1 = for ever; to a few ms) for the first byte,
 * or until a signal comes.  Sets `eof` and `drain`.  Not while a job runs. */
void channel_receive(struct channel *ch, int timeout_ms);

/* A job has returned: said at the next flush. */
void channel_note(struct channel *ch, uint16_t slot, uint64_t seq);
/* Appends a frame, which goes out at the next flush, before any slot returns. */
void channel_write(struct channel *ch, enum wire_type type, uint8_t flags, uint16_t slot,
                   uint64_t seq, struct span payload);
/* Sends notes and frames, and waits until the kernel has taken them. */
void channel_flush(struct channel *ch, int64_t now_mono_us);

/* While the job slot/seq runs: */

/* Is there a CANCEL for it (1), only one for another job (-1), or none at all (0)?  Receives what
 * has arrived, never waits. */
int channel_cancelled(struct channel *ch, uint16_t slot, uint64_t seq);
/* Waits for the answer to an ENQUEUE that was flushed: appends the worker's text to `ret_answer`
 * (empty = stored).  -ERR_CLOSED, -ERR_PROTOCOL, -ERR_TIMEOUT when `*stop` is
 * true and it still does not come. */
MUST_CHECK int channel_await_enqueued(struct channel *ch, uint16_t slot, uint64_t seq,
                                      const volatile int *stop, struct buf *ret_answer,
                                      struct err *err);
/* The job has ended: what was received meanwhile is next. */
void channel_job_ended(struct channel *ch);

#endif
