/* redis_client.c - a loop with one link, run until what was asked for is there.
 *
 * While the loop runs SIGPIPE is blocked in this thread and one that came is eaten, so that a lost
 * connection is an error and yet the program's own pipes keep their usual end.
 */
#include "common/redis_link.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/redis_link_priv.h"
#include "common/redis_reply.h"

enum { UNSENT_MAX = 16 * 1024 * 1024 };

struct redis_client {
    uv_loop_t loop;
    struct redis_link *link; /* NULL once closed */
    struct err down; /* why there is no connection any more; code 0 = there is one */
    bool ready;
    bool running; /* inside uv_run(): callbacks must not run it again */
};

/* One command that is waited for. */
struct call {
    struct redis_client *client;
    redisReply *reply;
    bool done;
};

struct sigpipe_guard {
    sigset_t before;
    bool was_pending;
};

static void block_sigpipe(struct sigpipe_guard *g)
{
    sigset_t pending, pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    g->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &g->before);
}

static void restore_sigpipe(const struct sigpipe_guard *g)
{
    static const struct timespec no_wait;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!g->was_pending)
        (void)sigtimedwait(&pipe_only, NULL, &no_wait); /* EAGAIN: none came */
    pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

/* Runs the loop until the condition holds or the connection is gone; at least once, so that what was
 * sent is written. */
static void run_until(struct redis_client *c, bool (*holds)(const void *arg), const void *arg)
{
    struct sigpipe_guard guard;
    if (c->down.code != 0)
        return;
    block_sigpipe(&guard);
    c->running = true;
    do /* the result says only whether handles are left */
        (void)uv_run(&c->loop, holds(arg) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    while (c->down.code == 0 && !holds(arg));
    c->running = false;
    restore_sigpipe(&guard);
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct redis_client *c = arg;
    (void)info;
    c->ready = true;
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct redis_client *c = arg;
    (void)was_ready;
    c->down = *why;
}

static bool is_ready(const void *arg)
{
    const struct redis_client *c = arg;
    return c->ready;
}

static int say_down(const struct redis_client *c, struct err *err)
{
    return err_set(err, (enum err_code)c->down.code, "%s", c->down.text);
}

int redis_client_open(const struct redis_link_config *config, struct redis_client **ret,
                      struct err *err)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    struct redis_client *c = xcalloc(1, sizeof *c);
    int rc = uv_loop_init(&c->loop);
    if (rc < 0) {
        free(c);
        return err_set(err, ERR_SYSTEM, "cannot make an event loop: %s", uv_strerror(rc));
    }
    struct redis_link_config once = *config;
    once.reconnect = false;
    c->link = redis_link_new(&c->loop, &once, &events, c);
    explicit_bzero(&once, sizeof once);
    redis_link_start(c->link);
    run_until(c, is_ready, c);
    if (c->down.code != 0) {
        rc = say_down(c, err);
        redis_client_close(c);
        return rc;
    }
    *ret = c;
    return 0;
}

static void on_call_reply(void *arg, const redisReply *reply)
{
    struct call *call = arg;
    call->done = true;
    if (reply != NULL)
        call->reply = link_take_reply(call->client->link);
}

static bool is_done(const void *arg)
{
    const struct call *call = arg;
    return call->done;
}

int redis_client_call(struct redis_client *c, struct span command, struct redisReply **ret_reply,
                      struct err *err)
{
    struct call call = {.client = c};
    if (c->running)
        BUG("redis_client_call() inside a callback");
    if (c->down.code != 0)
        return say_down(c, err);
    if (redis_link_send(c->link, command, on_call_reply, &call) < 0)
        BUG("an open client's link is %s", link_state_name(redis_link_state(c->link)));
    run_until(c, is_done, &call);
    if (call.reply == NULL)
        return say_down(c, err);
    if (call.reply->type == REDIS_REPLY_ERROR) {
        int rc = err_set(err, ERR_REDIS, "%s", call.reply->str);
        redis_reply_free(call.reply);
        return rc;
    }
    *ret_reply = call.reply;
    return 0;
}

static bool has_room(const void *arg)
{
    const struct redis_client *c = arg;
    return redis_link_unsent_bytes(c->link) <= UNSENT_MAX;
}

int redis_client_send(struct redis_client *c, struct span command, redis_reply_fn fn, void *arg,
                      struct err *err)
{
    if (!c->running && !has_room(c))
        run_until(c, has_room, c);
    if (c->down.code != 0)
        return say_down(c, err);
    if (redis_link_send(c->link, command, fn, arg) < 0)
        return err_set(err, ERR_CONNECT, "the connection to Redis was lost");
    return 0;
}

struct drain {
    const struct redis_client *client;
    size_t max_pending;
};

static bool is_drained(const void *arg)
{
    const struct drain *d = arg;
    return redis_link_pending(d->client->link) <= d->max_pending;
}

int redis_client_drain(struct redis_client *c, size_t max_pending, struct err *err)
{
    if (c->running)
        BUG("redis_client_drain() inside a callback");
    struct drain drain = {.client = c, .max_pending = max_pending};
    run_until(c, is_drained, &drain);
    return c->down.code != 0 ? say_down(c, err) : 0;
}

const struct store_info *redis_client_info(const struct redis_client *c)
{
    return redis_link_info(c->link);
}

void redis_client_close(struct redis_client *c)
{
    if (c == NULL)
        return;
    if (c->running)
        BUG("redis_client_close() inside a callback");
    redis_link_close(c->link, NULL, NULL);
    /* Until all handles are closed; a name still being resolved is waited for. */
    while (uv_run(&c->loop, UV_RUN_DEFAULT) != 0)
        continue;
    int rc = uv_loop_close(&c->loop);
    if (rc != 0)
        BUG("a client's loop does not end: %s", uv_strerror(rc));
    free(c);
}
