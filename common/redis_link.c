/* redis_link.c - states, back-off, deadlines and the queue of unanswered commands.
 *
 * An attempt is a redis_stream of its own, so a link that was lost forgets it and goes on.  Nothing
 * here is freed inside a callback: close and loss only detach, the loop's close callbacks free.
 *
 * A deadline that passed is looked at twice.  Timers run before sockets in a turn of the loop, so a
 * process that was stopped for a while (SIGSTOP, a long callback) would else cut a connection whose
 * answers lie in the socket.  And a deadline counts from the last sign of life: a pipeline of a
 * hundred thousand commands and a reply of 64 MiB take their time without anything being wrong.
 */
#include "common/redis_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/redis_link_priv.h"
#include "common/redis_reply.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    BACKOFF_BASE_MS = 50,
    BACKOFF_CAP_MS = 1000,
    LASTING_MS = 1000, /* ready for so long: the next attempt comes at once */
    READER_BYTES_KEPT = 1024 * 1024, /* of the parser's buffer after a large reply */
    SECOND_LOOK_MS = 20,
    FIFO_FIRST = 64,
    FIFO_KEPT = 64 * 1024, /* slots kept over a loss */
};

static const struct redis_stream_events stream_events;

const char *link_state_name(enum link_state s)
{
    switch (s) {
    case LINK_IDLE:
        return "idle";
    case LINK_RESOLVING:
        return "resolving";
    case LINK_CONNECTING:
        return "connecting";
    case LINK_TLS:
        return "tls";
    case LINK_HANDSHAKE:
        return "handshake";
    case LINK_READY:
        return "ready";
    case LINK_WAITING:
        return "waiting";
    case LINK_CLOSED:
        return "closed";
    }
    return "?";
}

static bool is_attempt(enum link_state s)
{
    return s >= LINK_RESOLVING && s <= LINK_HANDSHAKE;
}

static void set_state(struct redis_link *l, enum link_state to)
{
    enum link_state from = l->state;
    bool legal = false;
    switch (to) {
    case LINK_IDLE:
        break;
    case LINK_RESOLVING:
        legal = from == LINK_IDLE || from == LINK_WAITING;
        break;
    case LINK_CONNECTING:
        legal = from == LINK_RESOLVING;
        break;
    case LINK_TLS:
        legal = from == LINK_CONNECTING;
        break;
    case LINK_HANDSHAKE:
        legal = from == LINK_CONNECTING || from == LINK_TLS;
        break;
    case LINK_READY:
        legal = from == LINK_HANDSHAKE;
        break;
    case LINK_WAITING:
        legal = is_attempt(from) || from == LINK_READY;
        break;
    case LINK_CLOSED:
        legal = true;
        break;
    }
    if (!legal)
        BUG("link: %s -> %s", link_state_name(from), link_state_name(to));
    l->state = to;
}

/* ---- the queue of unanswered commands ---- */

static struct link_slot *fifo_head(struct link_fifo *f)
{
    return &f->slots[f->head & (f->cap - 1)];
}

static void fifo_grow(struct link_fifo *f)
{
    size_t cap = f->cap > 0 ? f->cap * 2 : FIFO_FIRST;
    struct link_slot *slots = xreallocarray(NULL, cap, sizeof *slots);
    for (size_t i = 0; i < f->count; i++)
        slots[i] = f->slots[(f->head + i) & (f->cap - 1)];
    free(f->slots);
    *f = (struct link_fifo){.slots = slots, .cap = cap, .head = 0, .count = f->count};
}

static void fifo_push(struct link_fifo *f, struct link_slot slot)
{
    if (f->count == f->cap)
        fifo_grow(f);
    f->slots[(f->head + f->count) & (f->cap - 1)] = slot;
    f->count++;
}

static struct link_slot fifo_pop(struct link_fifo *f)
{
    struct link_slot slot = *fifo_head(f);
    f->head++;
    f->count--;
    return slot;
}

static void fifo_done(struct link_fifo *f)
{
    free(f->slots);
    *f = (struct link_fifo){0};
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *timer);

/* The loop's time may be old: set it before arming, uv_update_time(). */
static void arm(struct redis_link *l, int64_t delay_ms)
{
    l->timer_due_ms = (int64_t)uv_now(l->loop) + delay_ms;
    (void)uv_timer_start(&l->timer, on_timer, (uint64_t)delay_ms, 0); /* fails only when closing */
}

static void disarm(struct redis_link *l)
{
    (void)uv_timer_stop(&l->timer); /* never fails */
    l->timer_due_ms = 0;
    l->second_look = false;
}

/* When the oldest command has waited too long; INT64_MAX = never. */
static int64_t reply_deadline(struct redis_link *l)
{
    if (l->fifo.count == 0 || l->config.reply_timeout_ms == 0)
        return INT64_MAX;
    const struct link_slot *oldest = fifo_head(&l->fifo);
    int64_t from = oldest->sent_mono_ms;
    if (l->life_mono_ms > from)
        from = l->life_mono_ms;
    return from + l->config.reply_timeout_ms + oldest->extra_ms;
}

/* The timer is armed lazily: later deadlines are found when it fires, only an earlier one is set
 * at once.  So a command costs no timer. */
static void watch_replies(struct redis_link *l)
{
    if (l->state != LINK_READY)
        return;
    int64_t deadline = reply_deadline(l);
    if (deadline == INT64_MAX || (l->timer_due_ms != 0 && l->timer_due_ms <= deadline))
        return;
    int64_t left = deadline - (int64_t)uv_now(l->loop);
    arm(l, left > 0 ? left : 0);
}

/* ---- attempts ---- */

static int64_t random_below(int64_t limit)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint32_t)mono_us() * 2654435761U; /* early boot: any spread will do */
    return limit > 0 ? (int64_t)(r % (uint64_t)limit) : 0;
}

/* First at once, then anything up to a bound that doubles. */
static int64_t backoff_ms(unsigned failures)
{
    if (failures <= 1)
        return 0;
    int64_t bound = failures < 8 ? (int64_t)BACKOFF_BASE_MS << (failures - 1) : BACKOFF_CAP_MS;
    return 1 + random_below(bound < BACKOFF_CAP_MS ? bound : BACKOFF_CAP_MS);
}

static void begin_attempt(struct redis_link *l)
{
    l->reader = redis_reply_reader();
    l->reader->maxbuf = READER_BYTES_KEPT;
    l->stream = redis_stream_new(l->loop, &l->stream_config, &stream_events, l);
    l->streams++;
    l->life_mono_ms = 0;
    l->stuck_before = 0;
    arm(l, l->config.connect_timeout_ms);
    redis_stream_start(l->stream);
}

static void drop_stream(struct redis_link *l)
{
    if (l->stream == NULL)
        return;
    redis_stream_close(l->stream);
    l->stream = NULL;
    redisReaderFree(l->reader);
    l->reader = NULL;
    disarm(l);
}

/* Callbacks may close the link, which comes here again: each takes what is still there. */
static void call_pending(struct redis_link *l)
{
    while (l->fifo.count > 0) {
        struct link_slot slot = fifo_pop(&l->fifo);
        slot.fn(slot.arg, NULL);
    }
    if (l->fifo.cap > FIFO_KEPT)
        fifo_done(&l->fifo);
}

void link_lost(struct redis_link *l, const struct err *why)
{
    bool was_ready = l->state == LINK_READY;
    struct err reason = *why; /* it may lie in what goes now */
    uv_update_time(l->loop);
    if (was_ready && (int64_t)uv_now(l->loop) - l->ready_mono_ms >= LASTING_MS)
        l->failures = 0;
    l->failures++;
    drop_stream(l);
    set_state(l, l->config.reconnect ? LINK_WAITING : LINK_CLOSED);
    if (l->config.reconnect)
        arm(l, backoff_ms(l->failures));
    call_pending(l);
    if (!l->closing && l->events.on_down != NULL)
        l->events.on_down(l->arg, &reason, was_ready);
}

static void lost_with(struct redis_link *l, enum err_code code, const char *text)
{
    struct err why = {0};
    err_set(&why, code, "%s", text);
    link_lost(l, &why);
}

void link_handshake_done(struct redis_link *l)
{
    set_state(l, LINK_READY);
    disarm(l);
    l->ready_mono_ms = (int64_t)uv_now(l->loop);
    if (l->events.on_ready != NULL)
        l->events.on_ready(l->arg, &l->info);
}

static void connect_timed_out(struct redis_link *l)
{
    char shown[512];
    struct err why = {0};
    redis_url_show(&l->config.url, shown, sizeof shown);
    err_set(&why, ERR_TIMEOUT, "no answer from %.300s within %lld ms (state: %s)", shown,
            (long long)l->config.connect_timeout_ms, link_state_name(l->state));
    link_lost(l, &why);
}

/* True when the deadline of what is under way has really passed. */
static bool reply_overdue(struct redis_link *l)
{
    /* Only what the kernel would not take at once: that a short command went into its buffer says
     * nothing about the peer. */
    size_t stuck = redis_stream_unsent_bytes(l->stream) - redis_stream_out(l->stream)->len;
    if (l->stuck_before > stuck)
        l->life_mono_ms = (int64_t)uv_now(l->loop);
    l->stuck_before = stuck;
    return reply_deadline(l) <= (int64_t)uv_now(l->loop);
}

static void check_replies(struct redis_link *l)
{
    if (!reply_overdue(l)) {
        l->second_look = false;
        watch_replies(l);
        return;
    }
    if (!l->second_look) {
        l->second_look = true;
        arm(l, SECOND_LOOK_MS);
        return;
    }
    struct err why = {0};
    err_set(&why, ERR_TIMEOUT, "the connection to Redis was lost: no answer for %lld ms",
            (long long)((int64_t)uv_now(l->loop) - fifo_head(&l->fifo)->sent_mono_ms));
    link_lost(l, &why);
}

static void on_timer(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;
    l->timer_due_ms = 0;
    if (l->state == LINK_WAITING)
        set_state(l, LINK_RESOLVING);
    if (l->state == LINK_READY) {
        check_replies(l);
    } else if (l->stream == NULL) {
        begin_attempt(l);
    } else if (!l->second_look) {
        l->second_look = true;
        arm(l, SECOND_LOOK_MS);
    } else {
        connect_timed_out(l);
    }
}

/* ---- what the stream tells ---- */

static void on_stage(void *arg, enum stream_stage stage)
{
    struct redis_link *l = arg;
    switch (stage) {
    case STREAM_RESOLVING:
        break;
    case STREAM_CONNECTING:
        set_state(l, LINK_CONNECTING);
        break;
    case STREAM_TLS:
        set_state(l, LINK_TLS);
        break;
    case STREAM_UP:
        set_state(l, LINK_HANDSHAKE);
        link_handshake_begin(l);
        break;
    }
}

static void on_stream_failed(void *arg, const struct err *why)
{
    struct redis_link *l = arg;
    if (l->state == LINK_HANDSHAKE && l->handshake_err.code != 0) {
        struct err said = l->handshake_err; /* Redis said why before it hung up */
        link_lost(l, &said);
        return;
    }
    link_lost(l, why);
}

/* Hands one reply to its callback.  False when the stream is gone. */
static bool give_reply(struct redis_link *l, redisReply *reply)
{
    const struct redis_stream *before = l->stream;
    if (l->fifo.count == 0) {
        redis_reply_free(reply);
        lost_with(l, ERR_PROTOCOL, "the connection to Redis was lost: an answer nobody asked for");
        return false;
    }
    struct link_slot slot = fifo_pop(&l->fifo);
    l->reply = reply;
    slot.fn(slot.arg, reply);
    if (l->reply != NULL)
        redis_reply_free(l->reply);
    l->reply = NULL;
    return l->stream == before;
}

static void on_data(void *arg, struct span bytes)
{
    struct redis_link *l = arg;
    l->life_mono_ms = (int64_t)uv_now(l->loop);
    if (l->state == LINK_READY) /* before that the deadline is for the whole */
        l->second_look = false;
    if (redisReaderFeed(l->reader, bytes.ptr, bytes.len) != REDIS_OK)
        BUG("hiredis is out of memory");
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(l->reader, &reply) != REDIS_OK) {
            struct err why = {0};
            err_set(&why, ERR_PROTOCOL, "the connection to Redis was lost: %s", l->reader->errstr);
            link_lost(l, &why);
            return;
        }
        if (reply == NULL)
            break;
        if (!give_reply(l, reply))
            return;
    }
    watch_replies(l); /* the next in line may have less time than the one before */
}

static void free_if_done(struct redis_link *l)
{
    if (!l->closing || !l->timer_closed || l->streams > 0)
        return;
    void (*on_closed)(void *arg) = l->on_closed;
    void *arg = l->on_closed_arg;
    fifo_done(&l->fifo);
    explicit_bzero(&l->config.url, sizeof l->config.url);
    free(l);
    if (on_closed != NULL)
        on_closed(arg);
}

static void on_stream_gone(void *arg)
{
    struct redis_link *l = arg;
    l->streams--;
    free_if_done(l);
}

static const struct redis_stream_events stream_events = {
    .on_stage = on_stage,
    .on_data = on_data,
    .on_failed = on_stream_failed,
    .on_gone = on_stream_gone,
};

/* ---- for the program ---- */

struct redis_link *redis_link_new(struct uv_loop_s *loop, const struct redis_link_config *config,
                                  const struct redis_link_events *events, void *arg)
{
    struct redis_link *l = xcalloc(1, sizeof *l);
    l->loop = loop;
    l->config = *config;
    l->events = *events;
    l->arg = arg;
    if (l->config.connect_timeout_ms <= 0)
        l->config.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (l->config.reply_timeout_ms < 0)
        l->config.reply_timeout_ms = 0;
    l->stream_config = (struct redis_stream_config){
        .url = &l->config.url,
        .ca_file = config->ca_file,
        .cert_file = config->cert_file,
        .key_file = config->key_file,
        .verify = config->verify,
        .connect_timeout_ms = l->config.connect_timeout_ms,
    };
    (void)uv_timer_init(loop, &l->timer); /* never fails */
    l->timer.data = l;
    return l;
}

/* The attempt begins in the loop, so that no event comes before this returns. */
void redis_link_start(struct redis_link *l)
{
    if (l->state != LINK_IDLE || l->closing)
        return;
    set_state(l, LINK_RESOLVING);
    uv_update_time(l->loop);
    arm(l, 0);
}

void link_enqueue(struct redis_link *l, struct span command, int64_t extra_ms, redis_reply_fn fn,
                  void *arg)
{
    /* One reading of the clock for all that goes out together. */
    if (!redis_stream_flush_is_due(l->stream)) {
        uv_update_time(l->loop);
        redis_stream_flush_later(l->stream);
    }
    buf_add_span(redis_stream_out(l->stream), command);
    fifo_push(&l->fifo, (struct link_slot){.fn = fn,
                                           .arg = arg,
                                           .sent_mono_ms = (int64_t)uv_now(l->loop),
                                           .extra_ms = extra_ms});
    if (l->fifo.count == 1)
        watch_replies(l);
}

int redis_link_send_blocking(struct redis_link *l, struct span command, int64_t extra_ms,
                             redis_reply_fn fn, void *arg)
{
    if (l->state != LINK_READY)
        return -ERR_CONNECT;
    link_enqueue(l, command, extra_ms, fn, arg);
    return 0;
}

int redis_link_send(struct redis_link *l, struct span command, redis_reply_fn fn, void *arg)
{
    return redis_link_send_blocking(l, command, 0, fn, arg);
}

void redis_link_flush(struct redis_link *l)
{
    if (l->state == LINK_READY)
        redis_stream_flush(l->stream);
}

void redis_link_reset(struct redis_link *l, const char *why)
{
    if (!l->closing && (l->state == LINK_READY || is_attempt(l->state)) && l->stream != NULL)
        lost_with(l, ERR_CONNECT, why);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct redis_link *l = handle->data;
    l->timer_closed = true;
    free_if_done(l);
}

void redis_link_close(struct redis_link *l, void (*on_closed)(void *arg), void *arg)
{
    if (l->closing)
        return;
    l->closing = true;
    l->on_closed = on_closed;
    l->on_closed_arg = arg;
    drop_stream(l);
    set_state(l, LINK_CLOSED);
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    call_pending(l);
}

redisReply *link_take_reply(struct redis_link *l)
{
    redisReply *reply = l->reply;
    l->reply = NULL;
    return reply;
}

enum link_state redis_link_state(const struct redis_link *l)
{
    return l->state;
}

int64_t redis_link_client_id(const struct redis_link *l)
{
    return l->client_id;
}

size_t redis_link_pending(const struct redis_link *l)
{
    return l->fifo.count;
}

size_t redis_link_unsent_bytes(const struct redis_link *l)
{
    return l->stream != NULL ? redis_stream_unsent_bytes(l->stream) : 0;
}

const struct store_info *redis_link_info(const struct redis_link *l)
{
    return &l->info;
}

int64_t redis_link_oldest_mono_ms(const struct redis_link *l)
{
    const struct link_fifo *f = &l->fifo;
    return f->count > 0 ? f->slots[f->head & (f->cap - 1)].sent_mono_ms : 0;
}
