#include "common/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"

enum how {
    HOW_UNKNOWN = 0,
    HOW_PLAIN, /* a file: it takes what there is, or fails */
    HOW_REOPENED, /* `fd` is the same pipe or terminal, non-blocking */
    HOW_SOCKET,
    HOW_POLL, /* a pipe that may not be opened anew: looked at first, small pieces */
};

static struct {
    int target; /* where lines are to go: stderr, or what took its place */
    enum how how;
    int fd; /* with HOW_REOPENED */
    dev_t dev; /* of the target that this was made for */
    ino_t ino;
    bool stalled; /* the reader took nothing for as long as we have patience */
    uint64_t dropped;
    struct buf rest; /* of a line of which a part was taken */
} sink = {.target = STDERR_FILENO, .fd = -1, .rest = BUF_INIT};

static void sink_open(const struct stat *st)
{
    if (sink.fd != -1)
        close(sink.fd);
    sink.fd = -1;
    sink.dev = st->st_dev;
    sink.ino = st->st_ino;
    sink.stalled = false;
    buf_done(&sink.rest);
    if (S_ISSOCK(st->st_mode)) {
        sink.how = HOW_SOCKET;
    } else if (S_ISFIFO(st->st_mode) || isatty(sink.target)) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", sink.target);
        sink.fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        sink.how = sink.fd != -1 ? HOW_REOPENED : HOW_POLL;
    } else {
        sink.how = HOW_PLAIN;
    }
}

/* stderr may have become another file (a test, a program that rotates its log by dup2()). */
void log_sink_open(void)
{
    struct stat st;
    int saved = errno;
    if (fstat(sink.target, &st) == 0 &&
        (sink.how == HOW_UNKNOWN || st.st_dev != sink.dev || st.st_ino != sink.ino))
        sink_open(&st);
    errno = saved;
}

void log_sink_to(int fd)
{
    sink.target = fd;
    log_sink_open();
}

static bool writable(int timeout_ms)
{
    struct pollfd p = {.fd = sink.target, .events = POLLOUT};
    return poll(&p, 1, timeout_ms) == 1;
}

static ssize_t put(const char *p, size_t len)
{
    switch (sink.how) {
    case HOW_REOPENED:
        return write(sink.fd, p, len);
    case HOW_SOCKET:
        return send(sink.target, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case HOW_POLL:
        if (!writable(0)) {
            errno = EAGAIN;
            return -1;
        }
        return write(sink.target, p, len < PIPE_BUF ? len : PIPE_BUF);
    case HOW_UNKNOWN:
    case HOW_PLAIN:
        break;
    }
    return write(sink.target, p, len);
}

/* Writes as much as there is room for, with patience; returns how much. */
static size_t put_all(const char *p, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = put(p + done, len - done);
        if (n > 0) {
            done += (size_t)n;
            sink.stalled = false;
            continue;
        }
        if (n == -1 && errno == EINTR)
            continue;
        bool full = n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (!full || sink.stalled || !writable(LOG_SINK_PATIENCE_MS)) {
            sink.stalled = full;
            break;
        }
    }
    return done;
}

bool log_sink_write(struct span line)
{
    int saved = errno;
    log_sink_open();
    buf_consume(&sink.rest, put_all(sink.rest.data, sink.rest.len));
    size_t done = sink.rest.len > 0 ? 0 : put_all(line.ptr, line.len);
    bool written = done > 0;
    if (written && done < line.len)
        buf_add(&sink.rest, line.ptr + done, line.len - done);
    sink.dropped += !written;
    errno = saved;
    return written;
}

uint64_t log_sink_take_dropped(void)
{
    uint64_t n = sink.dropped;
    sink.dropped = 0;
    return n;
}

void log_sink_add_dropped(uint64_t count)
{
    sink.dropped += count;
}
