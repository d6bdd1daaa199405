/* redis_stream.c - uv_tcp_t or uv_pipe_t beneath, redis_tls between if asked.
 *
 * Each address of a name gets a socket of its own (`struct sock`), so one that was given up may
 * close at its leisure while the next connects.  Everything that libuv still knows of is counted in
 * `refs`; the memory goes when the count is zero.  After a failed write the end is announced by the
 * read side, which may still hold what Redis said before it hung up ("max number of clients").
 */
#include "common/redis_stream.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "common/crash_point.h"
#include "common/mem.h"
#include "common/redis_tls.h"

enum {
    READ_BYTES = 64 * 1024,
    BUFFER_KEPT = 1024 * 1024, /* of a buffer that was larger once */
    KEEPALIVE_IDLE_S = 5,
    KEEPALIVE_INTERVAL_S = 2,
    KEEPALIVE_PROBES = 3,
    USER_TIMEOUT_MS = 10000,
};

struct sock {
    struct redis_stream *stream;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    uv_connect_t connect;
    uv_write_t write;
};

struct redis_stream {
    uv_loop_t *loop;
    const struct redis_stream_config *config;
    const struct redis_stream_events *events;
    void *arg;
    enum stream_stage stage;
    bool closed;
    int refs; /* handles and requests that libuv has */

    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *addrs, *next_addr; /* all, and the next to try */
    int tried;
    int64_t deadline_ms; /* uv_now() when all addresses must be through */

    struct sock *sock; /* the one in use; NULL = none */
    struct redis_tls *tls;
    uv_timer_t timer; /* of one address; after a failed write: until the read side spoke */
    uv_prepare_t prepare;
    uv_idle_t idle; /* holds the loop awake when something is sent from a prepare callback */
    bool flush_due;

    struct buf out; /* plain, to be sent */
    struct buf wire; /* under way; for TLS the ciphertext */
    bool writing;
    int write_error; /* of libuv; 0 = none */
    char *read_buf; /* READ_BYTES */
    char *plain_buf; /* READ_BYTES, only with TLS */
};

static void connect_next(struct redis_stream *s);

static void unref(struct redis_stream *s)
{
    if (--s->refs > 0)
        return;
    if (s->addrs != NULL)
        freeaddrinfo(s->addrs);
    redis_tls_free(s->tls);
    buf_done(&s->out);
    buf_done(&s->wire);
    free(s->read_buf);
    free(s->plain_buf);
    const struct redis_stream_events *events = s->events;
    void *arg = s->arg;
    free(s);
    events->on_gone(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

static void on_sock_closed(uv_handle_t *handle)
{
    struct sock *sock = handle->data;
    struct redis_stream *s = sock->stream;
    free(sock);
    unref(s);
}

static void drop_sock(struct redis_stream *s)
{
    if (s->sock != NULL)
        uv_close(&s->sock->u.handle, on_sock_closed);
    s->sock = NULL;
    s->writing = false;
}

static void fail(struct redis_stream *s, const struct err *why)
{
    (void)uv_timer_stop(&s->timer); /* never fails */
    drop_sock(s);
    s->events->on_failed(s->arg, why);
}

static void fail_connect(struct redis_stream *s, enum err_code code, const char *reason)
{
    char shown[512];
    struct err why = {0};
    redis_url_show(s->config->url, shown, sizeof shown);
    if (s->tried > 1)
        err_set(&why, code, "cannot connect to %.300s: %.120s (the last of %d addresses)", shown,
                reason, s->tried);
    else
        err_set(&why, code, "cannot connect to %.300s: %.120s", shown, reason);
    fail(s, &why);
}

static void fail_lost(struct redis_stream *s, const char *reason)
{
    struct err why = {0};
    err_set(&why, ERR_CONNECT, "the connection to Redis was lost: %s", reason);
    fail(s, &why);
}

static void set_stage(struct redis_stream *s, enum stream_stage stage)
{
    s->stage = stage;
    s->events->on_stage(s->arg, stage);
}

/* ---- writing ---- */

static void on_write_given_up(uv_timer_t *timer)
{
    struct redis_stream *s = timer->data;
    fail_lost(s, uv_strerror(s->write_error));
}

/* Zero ms: after the loop has looked at the socket once more. */
static void write_failed(struct redis_stream *s, int status)
{
    s->write_error = status;
    buf_clear(&s->wire);
    (void)uv_timer_start(&s->timer, on_write_given_up, 0, 0); /* fails only without a callback */
}

static void write_done(struct redis_stream *s)
{
    buf_clear(&s->wire);
    buf_trim(&s->wire, BUFFER_KEPT);
}

static void on_written(uv_write_t *req, int status)
{
    struct sock *sock = req->data;
    struct redis_stream *s = sock->stream;
    if (s->sock != sock)
        return;
    s->writing = false;
    if (status < 0) {
        write_failed(s, status);
        return;
    }
    write_done(s);
    redis_stream_flush(s);
}

/* Moves what is to be sent into `wire`, which is empty.  False when TLS failed. */
static bool fill_wire(struct redis_stream *s)
{
    if (s->tls == NULL) {
        struct buf empty = s->wire;
        s->wire = s->out;
        s->out = empty;
        return true;
    }
    struct err why = {0};
    redis_tls_drain(s->tls, &s->wire);
    if (s->stage != STREAM_UP)
        return true;
    int rc = redis_tls_encrypt(s->tls, buf_span(&s->out), &s->wire, &why);
    buf_clear(&s->out);
    buf_trim(&s->out, BUFFER_KEPT);
    if (rc < 0)
        fail(s, &why);
    return rc == 0;
}

/* Sends what there is, now.  Ends the stream if TLS fails. */
void redis_stream_flush(struct redis_stream *s)
{
    if (s->sock == NULL || s->writing || s->write_error != 0 || s->stage < STREAM_TLS)
        return;
    if (!fill_wire(s) || s->wire.len == 0)
        return;
    CRASH_POINT("redis.before-write");
    uv_buf_t rest = {.base = s->wire.data, .len = s->wire.len};
    int n = uv_try_write(&s->sock->u.stream, &rest, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        write_failed(s, n);
        return;
    }
    if ((size_t)n == rest.len) {
        CRASH_POINT("redis.written");
        write_done(s);
        return;
    }
    rest.base += n;
    rest.len -= (size_t)n;
    s->sock->write.data = s->sock;
    int rc = uv_write(&s->sock->write, &s->sock->u.stream, &rest, 1, on_written);
    if (rc < 0)
        write_failed(s, rc);
    else
        s->writing = true;
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct redis_stream *s = prepare->data;
    s->flush_due = false;
    (void)uv_prepare_stop(&s->prepare); /* never fails */
    (void)uv_idle_stop(&s->idle); /* never fails */
    redis_stream_flush(s);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

void redis_stream_flush_later(struct redis_stream *s)
{
    if (s->flush_due || s->closed)
        return;
    s->flush_due = true;
    (void)uv_prepare_start(&s->prepare, on_turn_end); /* fail only without a callback */
    (void)uv_idle_start(&s->idle, on_idle);
}

bool redis_stream_flush_is_due(const struct redis_stream *s)
{
    return s->flush_due;
}

struct buf *redis_stream_out(struct redis_stream *s)
{
    return &s->out;
}

size_t redis_stream_unsent_bytes(const struct redis_stream *s)
{
    size_t queued =
        s->sock != NULL && s->writing ? uv_stream_get_write_queue_size(&s->sock->u.stream) : 0;
    return s->out.len + queued;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct sock *sock = handle->data;
    *ret = (uv_buf_t){.base = sock->stream->read_buf, .len = READ_BYTES};
}

/* The handshake's step; true when it is done. */
static bool tls_step(struct redis_stream *s)
{
    struct err why = {0};
    int rc = redis_tls_handshake(s->tls, &why);
    redis_stream_flush(s); /* our part of it, or the alert */
    if (rc < 0) {
        if (s->sock != NULL)
            fail(s, &why);
        return false;
    }
    if (rc == 1)
        set_stage(s, STREAM_UP);
    return rc == 1 && !s->closed;
}

static void tls_data(struct redis_stream *s, struct span wire)
{
    struct err why = {0};
    redis_tls_feed(s->tls, wire);
    if (s->stage == STREAM_TLS && !tls_step(s))
        return;
    for (;;) {
        int n = redis_tls_read(s->tls, s->plain_buf, READ_BYTES, &why);
        if (n < 0) {
            fail(s, &why);
            return;
        }
        if (n == 0)
            break;
        s->events->on_data(s->arg, (struct span){s->plain_buf, (size_t)n});
        if (s->closed)
            return;
    }
    if (redis_tls_wants_drain(s->tls))
        redis_stream_flush_later(s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct sock *sock = stream->data;
    struct redis_stream *s = sock->stream;
    if (s->sock != sock || n == 0)
        return;
    if (n == UV_EOF)
        fail_lost(s, "Redis closed it");
    else if (n < 0)
        fail_lost(s, uv_strerror((int)n));
    else if (s->tls != NULL)
        tls_data(s, (struct span){buf->base, (size_t)n});
    else
        s->events->on_data(s->arg, (struct span){buf->base, (size_t)n});
}

/* ---- connecting ---- */

static void address_failed(struct redis_stream *s, enum err_code code, const char *reason)
{
    drop_sock(s);
    (void)uv_timer_stop(&s->timer); /* never fails */
    if (s->next_addr != NULL)
        connect_next(s);
    else
        fail_connect(s, code, reason);
}

static void begin_tls(struct redis_stream *s)
{
    s->plain_buf = xmalloc(READ_BYTES);
    set_stage(s, STREAM_TLS);
    if (!s->closed)
        (void)tls_step(s); /* only begins here */
}

static void on_connected(uv_connect_t *req, int status)
{
    struct sock *sock = req->data;
    struct redis_stream *s = sock->stream;
    if (s->sock != sock)
        return;
    if (status == 0)
        status = uv_read_start(&sock->u.stream, on_alloc, on_read);
    if (status < 0) {
        address_failed(s, ERR_CONNECT, uv_strerror(status));
        return;
    }
    (void)uv_timer_stop(&s->timer); /* never fails */
    if (s->tls != NULL)
        begin_tls(s);
    else
        set_stage(s, STREAM_UP);
}

static void on_address_timeout(uv_timer_t *timer)
{
    address_failed(timer->data, ERR_TIMEOUT, "no answer in time");
}

static struct sock *new_sock(struct redis_stream *s)
{
    struct sock *sock = xcalloc(1, sizeof *sock);
    sock->stream = s;
    sock->connect.data = sock;
    return sock;
}

/* After libuv has the handle. */
static void take_sock(struct redis_stream *s, struct sock *sock)
{
    sock->u.handle.data = sock;
    s->sock = sock;
    s->refs++;
}

/* A lost peer is found by the kernel within about 11 s even when nothing is asked of it. */
static void set_options(uv_tcp_t *tcp)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)tcp, &fd) != 0)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value); /* without one of them we work as well */
}

static int connect_address(struct redis_stream *s, const struct addrinfo *addr)
{
    struct sock *sock = new_sock(s);
    int rc = uv_tcp_init_ex(s->loop, &sock->u.tcp, (unsigned)addr->ai_family);
    if (rc < 0) {
        free(sock);
        return rc;
    }
    take_sock(s, sock);
    set_options(&sock->u.tcp);
    return uv_tcp_connect(&sock->connect, &sock->u.tcp, addr->ai_addr, on_connected);
}

static void connect_next(struct redis_stream *s)
{
    struct addrinfo *addr = s->next_addr;
    int left = 0;
    for (struct addrinfo *a = addr; a != NULL; a = a->ai_next)
        left++;
    s->next_addr = addr->ai_next;
    s->tried++;
    /* A name whose first address swallows everything must leave time for the second. */
    int64_t budget = (s->deadline_ms - (int64_t)uv_now(s->loop)) / left;
    if (left > 1)
        (void)uv_timer_start(&s->timer, on_address_timeout, budget > 0 ? (uint64_t)budget : 0,
                             0); /* fails only without a callback */
    int rc = connect_address(s, addr);
    if (rc < 0)
        address_failed(s, ERR_CONNECT, uv_strerror(rc));
}

static void addresses_found(struct redis_stream *s, struct addrinfo *addrs)
{
    s->addrs = addrs;
    s->next_addr = addrs;
    set_stage(s, STREAM_CONNECTING);
    if (!s->closed)
        connect_next(s);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addrs)
{
    struct redis_stream *s = req->data;
    s->resolving = false;
    if (s->closed)
        uv_freeaddrinfo(addrs);
    else if (status < 0)
        fail_connect(s, ERR_CONNECT, uv_strerror(status));
    else
        addresses_found(s, addrs);
    unref(s);
}

/* An address in digits needs no thread and cannot wait for one. */
static void resolve(struct redis_stream *s)
{
    const struct redis_url *url = s->config->url;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *addrs = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", url->port);
    if (getaddrinfo(url->host, port, &hints, &addrs) == 0) {
        addresses_found(s, addrs);
        return;
    }
    hints.ai_flags = AI_NUMERICSERV;
    int rc = uv_getaddrinfo(s->loop, &s->resolve, on_resolved, url->host, port, &hints);
    if (rc < 0) {
        fail_connect(s, ERR_CONNECT, uv_strerror(rc));
        return;
    }
    s->resolving = true;
    s->refs++;
}

static void connect_unix(struct redis_stream *s)
{
    struct sock *sock = new_sock(s);
    int rc = uv_pipe_init(s->loop, &sock->u.pipe, 0);
    if (rc < 0) {
        free(sock);
        fail_connect(s, ERR_CONNECT, uv_strerror(rc));
        return;
    }
    take_sock(s, sock);
    s->tried = 1;
    set_stage(s, STREAM_CONNECTING);
    if (!s->closed)
        uv_pipe_connect(&sock->connect, &sock->u.pipe, s->config->url->unix_path, on_connected);
}

/* ---- life ---- */

struct redis_stream *redis_stream_new(struct uv_loop_s *loop,
                                      const struct redis_stream_config *config,
                                      const struct redis_stream_events *events, void *arg)
{
    struct redis_stream *s = xcalloc(1, sizeof *s);
    s->loop = loop;
    s->config = config;
    s->events = events;
    s->arg = arg;
    s->resolve.data = s;
    s->read_buf = xmalloc(READ_BYTES);
    buf_init(&s->out);
    buf_init(&s->wire);
    /* These three never fail. */
    (void)uv_timer_init(loop, &s->timer);
    (void)uv_prepare_init(loop, &s->prepare);
    (void)uv_idle_init(loop, &s->idle);
    s->timer.data = s->prepare.data = s->idle.data = s;
    s->refs = 3;
    return s;
}

void redis_stream_start(struct redis_stream *s)
{
    const struct redis_stream_config *c = s->config;
    uv_update_time(s->loop);
    s->deadline_ms = (int64_t)uv_now(s->loop) + c->connect_timeout_ms;
    if (c->url->tls) {
        struct redis_tls_config tls = {.host = c->url->host,
                                       .ca_file = c->ca_file,
                                       .cert_file = c->cert_file,
                                       .key_file = c->key_file,
                                       .verify = c->verify};
        struct err why = {0};
        if (redis_tls_new(&tls, &s->tls, &why) < 0) {
            fail(s, &why);
            return;
        }
    }
    if (c->url->unix_path[0] != '\0')
        connect_unix(s);
    else
        resolve(s);
}

void redis_stream_close(struct redis_stream *s)
{
    if (s->closed)
        return;
    s->closed = true;
    if (s->resolving)
        (void)uv_cancel((uv_req_t *)&s->resolve); /* EBUSY: a thread has it; it ends by itself */
    drop_sock(s);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, on_handle_closed);
}
