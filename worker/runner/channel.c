#include "worker/runner/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

enum {
    RECEIVE_BYTES = 256 * 1024,
    KEEP_BYTES = 1024 * 1024,
    STOPPED_WAIT_MS = 500, /* for an answer, once the job should stop */
};

void channel_init(struct channel *ch, int fd)
{
    *ch = (struct channel){.fd = fd, .in = BUF_INIT, .later = BUF_INIT, .out = BUF_INIT};
    int flags = fcntl(fd, F_GETFL);
    if (flags != -1)
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); /* on a socket of ours it cannot fail */
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* nor can this */
}

void channel_done(struct channel *ch)
{
    close(ch->fd);
    buf_done(&ch->in);
    buf_done(&ch->later);
    buf_done(&ch->out);
    ch->fd = -1;
}

static void end_of_stream(struct channel *ch)
{
    ch->eof = ch->drain = true;
}

/* One recv() into `b`; `flags` as recv() takes them.  Sets eof.  A signal ends it, and is no end: a
 * plugin's timer that ticks faster than the socket's time-out must not make the wait endless. */
static bool receive_once(struct channel *ch, struct buf *b, int flags)
{
    ssize_t n = recv(ch->fd, buf_reserve(b, RECEIVE_BYTES), RECEIVE_BYTES, flags);
    if (n > 0)
        buf_grown(b, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK))
        end_of_stream(ch);
    return n > 0;
}

/* Looks at the headers of what is new for a DRAIN.  A bad frame is left for channel_peek() to find. */
static void scan_for_drain(struct channel *ch)
{
    while (!ch->drain) {
        struct span rest = {ch->in.data + ch->scanned, ch->in.len - ch->scanned};
        struct wire_frame f;
        int64_t n = wire_read(rest, WIRE_PAYLOAD_MAX, &f, NULL);
        if (n <= 0)
            return;
        ch->drain = f.type == WIRE_DRAIN;
        ch->scanned += (size_t)n;
    }
}

int channel_peek(struct channel *ch, struct wire_frame *ret, struct err *err)
{
    struct span rest = {ch->in.data + ch->pos, ch->in.len - ch->pos};
    int64_t n = wire_read(rest, WIRE_PAYLOAD_MAX, ret, err);
    return n < 0 ? (int)n : n > 0;
}

void channel_take(struct channel *ch, const struct wire_frame *f)
{
    ch->pos += WIRE_HEADER_BYTES + f->payload.len;
}

/* The socket's own time-out, which stays until the next: poll() before recv() would be a call more, and
 * a timer of high resolution, for every wake-up.  False: a plugin's seccomp filter refuses it. */
static bool set_wait(struct channel *ch, int ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    if (ms != ch->wait_ms && setsockopt(ch->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0)
        ch->wait_ms = ms;
    return ms == ch->wait_ms;
}

void channel_receive(struct channel *ch, int timeout_ms)
{
    if (ch->split)
        BUG("receiving over a running job");
    if (timeout_ms != 0 && !set_wait(ch, timeout_ms < 0 ? 0 : timeout_ms)) {
        struct pollfd p = {.fd = ch->fd, .events = POLLIN};
        if (poll(&p, 1, timeout_ms) <= 0)
            return;
    }
    if (ch->pos >= ch->in.len / 2) { /* otherwise the jobs at hand would be moved time and again */
        buf_consume(&ch->in, ch->pos);
        ch->scanned -= ch->pos < ch->scanned ? ch->pos : ch->scanned;
        ch->pos = 0;
        if (ch->in.len == 0)
            buf_trim(&ch->in, KEEP_BYTES);
    }
    if (receive_once(ch, &ch->in, timeout_ms == 0 ? MSG_DONTWAIT : 0))
        scan_for_drain(ch);
}

void channel_note(struct channel *ch, uint16_t slot, uint64_t seq)
{
    if (ch->note_count == CHANNEL_NOTES)
        BUG("more than %d notes", CHANNEL_NOTES);
    ch->notes[ch->note_count++] = (struct wire_done){slot, seq};
}

void channel_write(struct channel *ch, enum wire_type type, uint8_t flags, uint16_t slot,
                   uint64_t seq, struct span payload)
{
    wire_write(&ch->out, type, flags, slot, seq, payload);
}

void channel_flush(struct channel *ch, int64_t now_mono_us)
{
    ch->flushed_us = now_mono_us;
    if (ch->note_count > 0)
        wire_write_done(&ch->out, ch->notes, ch->note_count);
    ch->note_count = 0;
    size_t sent = 0;
    while (sent < ch->out.len && !ch->eof) {
        ssize_t n = send(ch->fd, ch->out.data + sent, ch->out.len - sent, MSG_NOSIGNAL);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            end_of_stream(ch);
        else
            sent += (size_t)n;
    }
    buf_clear(&ch->out);
    buf_trim(&ch->out, KEEP_BYTES);
}

/* From here on bytes go to `later`: the job's strings stay where they are. */
static void split(struct channel *ch)
{
    if (ch->split)
        return;
    buf_add(&ch->later, ch->in.data + ch->pos, ch->in.len - ch->pos);
    ch->split = true;
}

void channel_job_ended(struct channel *ch)
{
    if (!ch->split)
        return;
    struct buf done = ch->in;
    ch->in = ch->later;
    ch->later = done;
    buf_clear(&ch->later);
    buf_trim(&ch->later, KEEP_BYTES);
    ch->pos = ch->scanned = 0;
    ch->split = false;
    scan_for_drain(ch);
}

int channel_cancelled(struct channel *ch, uint16_t slot, uint64_t seq)
{
    split(ch);
    while (!ch->eof && receive_once(ch, &ch->later, MSG_DONTWAIT))
        ;
    int found = 0;
    for (size_t at = 0;;) {
        struct span rest = {ch->later.data + at, ch->later.len - at};
        struct wire_frame f;
        int64_t n = wire_read(rest, WIRE_PAYLOAD_MAX, &f, NULL);
        if (n <= 0)
            return found;
        if (f.type == WIRE_CANCEL && f.slot == slot && f.seq == seq)
            return 1;
        if (f.type == WIRE_CANCEL)
            found = -1;
        at += (size_t)n;
    }
}

/* Takes the ENQUEUED frame of slot/seq out of `later`: 1, 0 = not there yet, -ERR_PROTOCOL. */
static int take_enqueued(struct channel *ch, uint16_t slot, uint64_t seq, struct buf *ret_answer,
                         struct err *err)
{
    for (size_t at = 0;;) {
        struct span rest = {ch->later.data + at, ch->later.len - at};
        struct wire_frame f;
        int64_t n = wire_read(rest, WIRE_PAYLOAD_MAX, &f, err);
        if (n <= 0)
            return (int)n;
        if (f.type != WIRE_ENQUEUED) {
            at += (size_t)n;
            continue;
        }
        bool wanted = f.slot == slot && f.seq == seq && ch->unanswered == 0;
        if (wanted)
            buf_add_span(ret_answer, f.payload);
        else if (ch->unanswered > 0)
            ch->unanswered--;
        memmove(ch->later.data + at, ch->later.data + at + n, ch->later.len - at - (size_t)n);
        ch->later.len -= (size_t)n;
        ch->later.data[ch->later.len] = '\0';
        if (wanted)
            return 1;
    }
}

int channel_await_enqueued(struct channel *ch, uint16_t slot, uint64_t seq,
                           const volatile int *stop, struct buf *ret_answer, struct err *err)
{
    split(ch);
    int64_t give_up_mono_ms = INT64_MAX;
    for (;;) {
        int rc = take_enqueued(ch, slot, seq, ret_answer, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        if (ch->eof)
            return err_set(err, ERR_CLOSED, "the worker is gone");
        if (*stop && give_up_mono_ms == INT64_MAX)
            give_up_mono_ms = mono_ms() + STOPPED_WAIT_MS;
        if (mono_ms() >= give_up_mono_ms) {
            ch->unanswered++;
            return err_set(err, ERR_TIMEOUT, "stopped while waiting; it may be stored or not");
        }
        /* With a time-out, since the signal may come just before poll(). */
        struct pollfd p = {.fd = ch->fd, .events = POLLIN};
        if (poll(&p, 1, 100) > 0)
            (void)receive_once(ch, &ch->later, MSG_DONTWAIT); /* eof is looked at above */
    }
}
