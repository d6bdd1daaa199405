#include "tests/lib/link_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/store.h"

enum { HANG_SECONDS = 120 };

static void on_closed(void *arg)
{
    struct link_bench *b = arg;
    b->closed++;
    b->link = NULL;
}

static void close_link(struct link_bench *b)
{
    redis_link_close(b->link, on_closed, b);
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct link_bench *b = arg;
    b->readies++;
    assert_int_equal(redis_link_state(b->link), LINK_READY);
    assert_true(info->version_num >= 60200);
    if (b->close_on_ready)
        close_link(b);
    else if (b->reset_on_ready)
        redis_link_reset(b->link, "reset on ready");
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct link_bench *b = arg;
    b->downs++;
    b->down = *why;
    b->was_ready = was_ready;
    b->pending_at_down += (int)redis_link_pending(b->link);
    assert_true(why->code != 0 && why->text[0] != '\0');
    assert_int_equal(redis_link_state(b->link), b->config.reconnect ? LINK_WAITING : LINK_CLOSED);
    if (b->close_on_down)
        close_link(b);
}

static void on_check(uv_check_t *check)
{
    struct link_bench *b = check->data;
    b->turns++;
}

void link_bench_init(struct link_bench *b, struct redis_url url)
{
    *b = (struct link_bench){0};
    signal(SIGPIPE, SIG_IGN);
    alarm(HANG_SECONDS);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(uv_check_init(&b->loop, &b->check), 0);
    b->check.data = b;
    uv_check_start(&b->check, on_check);
    uv_unref((uv_handle_t *)&b->check);
    buf_init(&b->command);
    b->config.url = url;
    b->config.reconnect = true;
    b->config.verify = true;
    b->config.connect_timeout_ms = 60000;
}

void link_bench_start(struct link_bench *b)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    b->link = redis_link_new(&b->loop, &b->config, &events, b);
    assert_int_equal(redis_link_state(b->link), LINK_IDLE);
    redis_link_start(b->link);
}

void link_bench_done(struct link_bench *b)
{
    if (b->link != NULL) {
        close_link(b); /* a second time is nothing */
        int before = b->readies + b->downs;
        link_bench_until(b, b->link == NULL);
        assert_int_equal(b->readies + b->downs, before);
    }
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->pending_at_down, 0);
    uv_close((uv_handle_t *)&b->check, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    buf_done(&b->command);
    alarm(0);
}

struct span link_bench_words(struct link_bench *b, const char *first, ...)
{
    int count = 1;
    va_list ap;
    va_start(ap, first);
    while (va_arg(ap, const char *) != NULL)
        count++;
    va_end(ap);
    buf_clear(&b->command);
    store_begin(&b->command, count);
    store_arg_str(&b->command, first);
    va_start(ap, first);
    for (int i = 1; i < count; i++)
        store_arg_str(&b->command, va_arg(ap, const char *));
    va_end(ap);
    return buf_span(&b->command);
}

void link_bench_count(void *arg, const struct redisReply *reply)
{
    struct link_bench *b = arg;
    if (reply == NULL) {
        b->nulls++;
    } else {
        b->replies++;
        b->errors += reply->type == REDIS_REPLY_ERROR;
        if (reply->type == REDIS_REPLY_INTEGER)
            b->integer = reply->integer;
        else if (reply->str != NULL)
            snprintf(b->text, sizeof b->text, "%s", reply->str);
    }
    if (b->close_on_reply)
        close_link(b);
    else if (b->reset_on_reply)
        redis_link_reset(b->link, "reset on reply");
}

void link_bench_send(struct link_bench *b, struct span command)
{
    assert_int_equal(redis_link_send(b->link, command, link_bench_count, b), 0);
}
