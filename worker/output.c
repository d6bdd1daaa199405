#include "worker/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/worker.h"

enum {
    LINE_BYTES = 4096,
    LAST_READS = 16, /* of OUTPUT_BYTES, when it is closed or a tail is wanted */
};

void output_init(struct output *o)
{
    *o = (struct output){.fd = -1, .line = BUF_INIT, .tail = BUF_INIT};
}

void output_free(struct output *o)
{
    buf_done(&o->line);
    buf_done(&o->tail);
}

static void say_unlogged(struct runner *r)
{
    struct output *o = &r->output;
    if (o->unlogged > 0)
        log_msg(LOG_WARN, "lines of a plugin were left out: too many", KV_INT("runner", r->block),
                KV_INT("lines", o->unlogged));
    o->unlogged = 0;
}

/* The job that is being run, by what the worker knows: the first of those sent. */
static void log_line(struct runner *r)
{
    struct output *o = &r->output;
    if (!log_budget_take(&o->budget, o->line.len, mono_us())) {
        o->unlogged++;
        return;
    }
    say_unlogged(r);
    const struct claim *c = r->jobs.first;
    const char *id = c == NULL ? "" : c->rec.id[0] != '\0' ? c->rec.id : c->doc.id;
    log_msg(LOG_INFO, "plugin says", KV_SPAN("text", buf_span(&o->line)),
            KV_INT("runner", r->block), KV_STR("job", id),
            KV_STR("type", c != NULL ? c->doc.type : ""));
}

static void end_line(struct runner *r)
{
    if (r->output.line.len > 0)
        log_line(r);
    buf_clear(&r->output.line);
}

/* What is beyond LINE_BYTES of a line goes into the next. */
static void add_lines(struct runner *r, struct span bytes)
{
    struct output *o = &r->output;
    while (bytes.len > 0) {
        const char *end = memchr(bytes.ptr, '\n', bytes.len);
        size_t n = end != NULL ? (size_t)(end - bytes.ptr) : bytes.len;
        size_t room = LINE_BYTES - o->line.len;
        size_t taken = n < room ? n : room;
        buf_add(&o->line, bytes.ptr, taken);
        bool complete = end != NULL && taken == n;
        if (complete || o->line.len == LINE_BYTES)
            end_line(r);
        taken += complete;
        bytes.ptr += taken;
        bytes.len -= taken;
    }
}

static void stop(struct output *o)
{
    if (o->poll_open)
        uv_poll_stop(&o->poll);
}

/* Bytes read, 0 = no more now, -1 = its end. */
static ssize_t read_once(struct runner *r)
{
    char bytes[OUTPUT_BYTES];
    ssize_t n;
    do
        n = read(r->output.fd, bytes, sizeof bytes);
    while (n == -1 && errno == EINTR);
    if (n == -1 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return -1;
    struct span s = {bytes, (size_t)n};
    buf_add_tail(&r->output.tail, s, OUTPUT_TAIL_BYTES);
    add_lines(r, s);
    return n;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct runner *r = handle->data;
    (void)status;
    (void)events;
    struct output *o = &r->output;
    ssize_t n = read_once(r);
    if (n < 0)
        stop(o); /* the handler closed it: its right */
    if (n <= 0)
        return;
    int64_t now = mono_ms();
    if (now - o->since_mono_ms >= OUTPUT_REST_MS) {
        o->since_mono_ms = now;
        o->bytes = 0;
    }
    o->bytes += n;
    if (o->bytes < OUTPUT_BYTES)
        return;
    stop(o);
    o->rest_mono_ms = now + OUTPUT_REST_MS;
    worker_wake(r->worker);
}

static void watch(struct runner *r)
{
    int rc = uv_poll_start(&r->output.poll, UV_READABLE, on_readable);
    if (rc != 0)
        BUG("uv_poll_start: %s", uv_strerror(rc));
}

void output_open(struct runner *r, int fd)
{
    struct output *o = &r->output;
    o->fd = fd;
    o->rest_mono_ms = 0;
    log_budget_start(&o->budget, mono_us());
    buf_clear(&o->line);
    buf_clear(&o->tail);
    if (uv_poll_init(r->worker->loop, &o->poll, fd) != 0)
        BUG("uv_poll_init");
    o->poll.data = r;
    o->poll_open = true;
    watch(r);
}

static void on_closed(uv_handle_t *handle)
{
    struct runner *r = handle->data;
    r->output.poll_open = false;
    worker_wake(r->worker);
}

static void read_rest(struct runner *r)
{
    for (int i = 0; i < LAST_READS && r->output.fd != -1; i++)
        if (read_once(r) <= 0)
            return;
}

void output_close(struct runner *r)
{
    struct output *o = &r->output;
    if (o->fd == -1)
        return;
    read_rest(r);
    end_line(r);
    say_unlogged(r);
    stop(o);
    uv_close((uv_handle_t *)&o->poll, on_closed);
    close(o->fd);
    o->fd = -1;
    o->rest_mono_ms = 0;
}

struct span output_tail(struct runner *r)
{
    struct buf *tail = &r->output.tail;
    read_rest(r);
    struct span s = buf_span(tail);
    if (s.len > OUTPUT_TAIL_BYTES) {
        s.ptr += s.len - OUTPUT_TAIL_BYTES;
        s.len = OUTPUT_TAIL_BYTES;
    }
    while (s.len > 0 && ((unsigned char)s.ptr[0] & 0xc0) == 0x80) {
        s.ptr++;
        s.len--;
    }
    return s;
}

int64_t output_resume(struct runner *r, int64_t now_mono_ms)
{
    struct output *o = &r->output;
    if (o->rest_mono_ms == 0)
        return INT64_MAX;
    if (now_mono_ms < o->rest_mono_ms)
        return o->rest_mono_ms;
    o->rest_mono_ms = 0;
    watch(r);
    return INT64_MAX;
}
