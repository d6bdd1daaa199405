/* test_redis_link.c - a link on a real Redis and on bad wires: that it connects everywhere, that
 * every callback is called exactly once whatever happens, and that it comes back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/redis_link.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/tcp_proxy.h"

enum { GUARD_S = 60, SOON_MS = 200, COMMANDS = 10, PIPELINE = 100000, LARGE = 8 * 1024 * 1024 };

/* What became of one command. */
struct answer {
    struct rig *rig;
    int calls, nulls;
    int type;
    long long integer;
    char text[512]; /* the beginning of a string, status or error */
    size_t len;
};

struct rig {
    uv_loop_t loop;
    struct redis_server *server;
    struct tcp_proxy *proxy;
    struct redis_link *link;
    int ready, down, closed;
    bool was_ready; /* of the last on_down */
    bool close_when_ready, close_when_down;
    struct err why;
    struct answer answers[COMMANDS];
    int next; /* PIPELINE: answers so far */
    bool in_order;
};

/* ---- the rig ---- */

static int set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);
    alarm(GUARD_S);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < COMMANDS; i++)
        r->answers[i].rig = r;
    *state = r;
    return uv_loop_init(&r->loop);
}

static void on_closed(void *arg)
{
    struct rig *r = arg;
    r->closed++;
}

/* The loop ends by itself: nothing of the link is left in it. */
static int tear_down(void **state)
{
    struct rig *r = *state;
    if (r->link != NULL)
        redis_link_close(r->link, on_closed, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&r->loop);
    bool good = rc == 0 && (r->link == NULL || r->closed == 1);
    tcp_proxy_free(r->proxy);
    redis_server_free(r->server);
    free(r);
    alarm(0);
    return good ? 0 : -1;
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct rig *r = arg;
    assert_non_null(info);
    r->ready++;
    if (r->close_when_ready)
        redis_link_close(r->link, on_closed, r);
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct rig *r = arg;
    r->down++;
    r->was_ready = was_ready;
    r->why = *why;
    assert_int_equal(redis_link_pending(r->link), 0);
    if (r->close_when_down)
        redis_link_close(r->link, on_closed, r);
}

static void on_answer(void *arg, const redisReply *reply)
{
    struct answer *a = arg;
    a->calls++;
    if (reply == NULL) {
        a->nulls++;
        return;
    }
    a->type = reply->type;
    a->integer = reply->integer;
    a->len = reply->len;
    if (reply->str != NULL)
        snprintf(a->text, sizeof a->text, "%s", reply->str);
}

static struct redis_link_config config_for(struct redis_url url)
{
    return (struct redis_link_config){.url = url, .name = "tester", .reconnect = true};
}

static void start(struct rig *r, const struct redis_link_config *config)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    r->link = redis_link_new(&r->loop, config, &events, r);
    redis_link_start(r->link);
}

/* Runs the loop until `*counter` is at least `n`; the alarm ends what never comes. */
static void run_until(struct rig *r, const int *counter, int n)
{
    while (*counter < n)
        uv_run(&r->loop, UV_RUN_ONCE);
}

static void run_until_sent(struct rig *r)
{
    while (redis_link_unsent_bytes(r->link) > 0)
        uv_run(&r->loop, UV_RUN_ONCE);
}

static void start_ready(struct rig *r, struct redis_url url)
{
    struct redis_link_config config = config_for(url);
    start(r, &config);
    run_until(r, &r->ready, 1);
}

/* A server on TCP behind a proxy, and where the proxy is. */
static struct redis_url server_behind_proxy(struct rig *r)
{
    static const struct redis_server_config on_tcp = {.tcp = true};
    r->server = redis_server_new(&on_tcp);
    r->proxy = tcp_proxy_new(NULL, NULL, redis_server_port(r->server));
    struct redis_url url = redis_server_tcp_url(r->server);
    url.port = tcp_proxy_port(r->proxy);
    return url;
}

/* Words are separated by one blank. */
static void encode(struct buf *out, const char *words)
{
    struct span argv[8];
    int argc = 0;
    for (const char *p = words; *p != '\0';) {
        size_t len = strcspn(p, " ");
        argv[argc++] = (struct span){p, len};
        p += len + (p[len] == ' ');
    }
    store_command(out, argc, argv);
}

static void send_words(struct rig *r, const char *words, redis_reply_fn fn, void *arg)
{
    struct buf b = BUF_INIT;
    encode(&b, words);
    assert_int_equal(redis_link_send(r->link, buf_span(&b), fn, arg), 0);
    buf_done(&b);
}

static const struct answer *ask(struct rig *r, const char *words)
{
    struct answer *a = &r->answers[0];
    *a = (struct answer){.rig = r};
    send_words(r, words, on_answer, a);
    run_until(r, &a->calls, 1);
    return a;
}

static void send_all(struct rig *r)
{
    for (int i = 0; i < COMMANDS; i++)
        send_words(r, "INCR n", on_answer, &r->answers[i]);
    assert_int_equal(redis_link_pending(r->link), COMMANDS);
}

static void assert_each_lost_once(const struct rig *r)
{
    for (int i = 0; i < COMMANDS; i++) {
        assert_int_equal(r->answers[i].calls, 1);
        assert_int_equal(r->answers[i].nulls, 1);
    }
}

static void assert_works_again(struct rig *r)
{
    run_until(r, &r->ready, 2);
    assert_string_equal(ask(r, "PING")->text, "PONG");
    assert_int_equal(redis_link_state(r->link), LINK_READY);
}

/* ---- connecting ---- */

static struct redis_server *server_with_users(void)
{
    static const char *const users[] = {"worker on >wpass ~* &* +@all", NULL};
    static const struct redis_server_config config = {
        .password = "dpass", .users = users, .tcp = true};
    return redis_server_new(&config);
}

static void assert_client_is(struct rig *r, const char *user, const char *db)
{
    const struct answer *a = ask(r, "CLIENT INFO");
    assert_non_null(strstr(a->text, " name=tester "));
    assert_non_null(strstr(a->text, user));
    assert_non_null(strstr(a->text, db));
    char id[32];
    snprintf(id, sizeof id, "id=%lld ", (long long)redis_link_client_id(r->link));
    assert_memory_equal(a->text, id, strlen(id));
}

static void connects_by_unix_socket(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    assert_client_is(r, " user=default ", " db=0 ");
    assert_int_equal(r->down, 0);
}

static void connects_by_tcp_with_password(void **state)
{
    struct rig *r = *state;
    r->server = server_with_users();
    start_ready(r, redis_server_tcp_url(r->server));
    assert_client_is(r, " user=default ", " db=0 ");
    assert_int_equal(r->down, 0);
}

static void connects_as_user_to_db(void **state)
{
    struct rig *r = *state;
    r->server = server_with_users();
    struct redis_url url = redis_server_url(r->server);
    snprintf(url.user, sizeof url.user, "worker");
    snprintf(url.password, sizeof url.password, "wpass");
    url.db = 3;
    start_ready(r, url);
    assert_client_is(r, " user=worker ", " db=3 ");
}

static void loads_scripts(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    struct redis_link_config config = config_for(redis_server_url(r->server));
    config.load_scripts = true;
    start(r, &config);
    run_until(r, &r->ready, 1);
    char words[80];
    snprintf(words, sizeof words, "EVALSHA %s 0", store_script_sha(SCRIPT_CLAIM));
    const struct answer *a = ask(r, words);
    assert_null(strstr(a->text, "NOSCRIPT"));
}

static void waits_for_a_server(struct rig *r, struct redis_url (*url)(const struct redis_server *s))
{
    static const struct redis_server_config on_tcp = {.tcp = true};
    r->server = redis_server_prepare(&on_tcp);
    struct redis_link_config config = config_for(url(r->server));
    start(r, &config);
    run_until(r, &r->down, 3);
    assert_int_equal(r->ready, 0);
    assert_false(r->was_ready);
    assert_int_equal(r->why.code, ERR_CONNECT);
    assert_non_null(strstr(r->why.text, "cannot connect to"));
    int port = redis_server_port(r->server);
    redis_server_start(r->server);
    if (redis_server_port(r->server) != port)
        skip(); /* someone else took the port in between */
    run_until(r, &r->ready, 1);
    assert_string_equal(ask(r, "PING")->text, "PONG");
}

static void waits_for_unix_server(void **state)
{
    waits_for_a_server(*state, redis_server_url);
}

static void waits_for_tcp_server(void **state)
{
    waits_for_a_server(*state, redis_server_tcp_url);
}

static void wrong_password_is_not_shown(void **state)
{
    struct rig *r = *state;
    r->server = server_with_users();
    struct redis_link_config config = config_for(redis_server_tcp_url(r->server));
    snprintf(config.url.password, sizeof config.url.password, "hunter2");
    config.reconnect = false;
    start(r, &config);
    run_until(r, &r->down, 1);
    assert_int_equal(r->why.code, ERR_REDIS);
    assert_non_null(strstr(r->why.text, "WRONGPASS"));
    assert_null(strstr(r->why.text, "hunter2"));
    assert_false(r->was_ready);
    assert_int_equal(redis_link_state(r->link), LINK_CLOSED);
}

static void missing_password_is_named(void **state)
{
    struct rig *r = *state;
    r->server = server_with_users();
    struct redis_link_config config = config_for(redis_server_tcp_url(r->server));
    config.url.password[0] = '\0';
    start(r, &config);
    run_until(r, &r->down, 2); /* it may be given one later: it goes on trying */
    assert_int_equal(r->why.code, ERR_REDIS);
    assert_non_null(strstr(r->why.text, "NOAUTH"));
}

static void silent_handshake_ends(void **state)
{
    struct rig *r = *state;
    struct redis_link_config config = config_for(server_behind_proxy(r));
    config.connect_timeout_ms = SOON_MS;
    tcp_proxy_hole(r->proxy, PROXY_TO_CLIENT, true);
    start(r, &config);
    run_until(r, &r->down, 1);
    assert_int_equal(r->why.code, ERR_TIMEOUT);
    assert_false(r->was_ready);
}

/* ---- losing the connection ---- */

static void killed_server(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    redis_server_freeze(r->server);
    send_all(r);
    run_until_sent(r);
    redis_server_kill(r->server);
    run_until(r, &r->down, 1);
    assert_true(r->was_ready);
    assert_int_equal(r->why.code, ERR_CONNECT);
    assert_each_lost_once(r);
    redis_server_start(r->server);
    run_until(r, &r->ready, 2);
    assert_each_lost_once(r);
    assert_works_again(r);
}

static void reset_by_peer(void **state)
{
    struct rig *r = *state;
    start_ready(r, server_behind_proxy(r));
    tcp_proxy_hole(r->proxy, PROXY_TO_CLIENT, true);
    send_all(r);
    run_until_sent(r);
    tcp_proxy_reset(r->proxy);
    run_until(r, &r->down, 1);
    assert_true(r->was_ready);
    assert_int_equal(r->why.code, ERR_CONNECT);
    assert_non_null(strstr(r->why.text, "was lost"));
    assert_each_lost_once(r);
    tcp_proxy_hole(r->proxy, PROXY_TO_CLIENT, false);
    tcp_proxy_reset(r->proxy); /* what began in the hole */
    assert_works_again(r);
}

static void half_open_times_out(void **state)
{
    struct rig *r = *state;
    struct redis_link_config config = config_for(server_behind_proxy(r));
    config.reply_timeout_ms = SOON_MS;
    start(r, &config);
    run_until(r, &r->ready, 1);
    tcp_proxy_hole(r->proxy, PROXY_TO_SERVER, true);
    send_all(r);
    run_until(r, &r->down, 1);
    assert_true(r->was_ready);
    assert_int_equal(r->why.code, ERR_TIMEOUT);
    assert_each_lost_once(r);
    tcp_proxy_hole(r->proxy, PROXY_TO_SERVER, false);
    tcp_proxy_reset(r->proxy);
    assert_works_again(r);
}

/* The peer takes nothing: the command does not even leave. */
static void stalled_write_times_out(void **state)
{
    struct rig *r = *state;
    struct redis_link_config config = config_for(server_behind_proxy(r));
    config.reply_timeout_ms = SOON_MS;
    start(r, &config);
    run_until(r, &r->ready, 1);
    tcp_proxy_stall(r->proxy, PROXY_TO_SERVER, true);
    struct buf b = BUF_INIT;
    store_begin(&b, 2);
    store_arg_str(&b, "ECHO");
    char *large = xcalloc(2, LARGE);
    store_arg(&b, (struct span){large, 2 * (size_t)LARGE});
    free(large);
    assert_int_equal(redis_link_send(r->link, buf_span(&b), on_answer, &r->answers[0]), 0);
    buf_done(&b);
    run_until(r, &r->down, 1);
    assert_int_equal(r->why.code, ERR_TIMEOUT);
    assert_int_equal(r->answers[0].calls, 1);
    assert_int_equal(r->answers[0].nulls, 1);
    tcp_proxy_stall(r->proxy, PROXY_TO_SERVER, false);
    assert_works_again(r);
}

static void cut_inside_a_reply(void **state)
{
    struct rig *r = *state;
    start_ready(r, server_behind_proxy(r));
    freeReplyObject(redis_server_ask(r->server, "SETRANGE v 999999 x"));
    tcp_proxy_cut_after(r->proxy, PROXY_TO_CLIENT, 500000);
    struct answer *a = &r->answers[0];
    send_words(r, "GET v", on_answer, a);
    run_until(r, &r->down, 1);
    assert_int_equal(a->calls, 1);
    assert_int_equal(a->nulls, 1);
    run_until(r, &r->ready, 2);
    assert_int_equal(ask(r, "GET v")->len, 1000000);
}

static void reset_by_us(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    send_all(r);
    redis_link_reset(r->link, "a test's reason");
    assert_int_equal(r->down, 1);
    assert_string_equal(r->why.text, "a test's reason");
    assert_each_lost_once(r);
    assert_works_again(r);
}

static void sends_nothing_when_not_ready(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_prepare(NULL);
    struct redis_link_config config = config_for(redis_server_url(r->server));
    start(r, &config);
    struct span ping = {"PING\r\n", 6};
    assert_int_equal(redis_link_send(r->link, ping, on_answer, &r->answers[0]), -ERR_CONNECT);
    run_until(r, &r->down, 1);
    assert_int_equal(redis_link_send(r->link, ping, on_answer, &r->answers[0]), -ERR_CONNECT);
    assert_int_equal(r->answers[0].calls, 0);
}

/* ---- closing ---- */

static void close_with_pending(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    send_all(r);
    redis_link_close(r->link, on_closed, r);
    assert_each_lost_once(r);
    assert_int_equal(r->closed, 0);
    run_until(r, &r->closed, 1);
    assert_int_equal(r->down, 0);
    r->link = NULL;
}

static void on_answer_close(void *arg, const redisReply *reply)
{
    struct answer *a = arg;
    on_answer(arg, reply);
    redis_link_close(a->rig->link, on_closed, a->rig);
}

static void close_in_a_reply(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    for (int i = 0; i < COMMANDS; i++)
        send_words(r, "PING", i == 1 ? on_answer_close : on_answer, &r->answers[i]);
    run_until(r, &r->closed, 1);
    for (int i = 0; i < COMMANDS; i++) {
        assert_int_equal(r->answers[i].calls, 1);
        assert_int_equal(r->answers[i].nulls, i > 1);
    }
    assert_int_equal(r->down, 0);
    r->link = NULL;
}

static void close_in_a_loss(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    redis_server_freeze(r->server);
    for (int i = 0; i < COMMANDS; i++)
        send_words(r, "PING", i == 1 ? on_answer_close : on_answer, &r->answers[i]);
    redis_server_kill(r->server);
    run_until(r, &r->closed, 1);
    assert_each_lost_once(r);
    assert_int_equal(r->down, 0);
    r->link = NULL;
}

static void close_in_on_ready(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    r->close_when_ready = true;
    struct redis_link_config config = config_for(redis_server_url(r->server));
    start(r, &config);
    run_until(r, &r->closed, 1);
    assert_int_equal(r->ready, 1);
    r->link = NULL;
}

static void close_in_on_down(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_prepare(NULL);
    r->close_when_down = true;
    struct redis_link_config config = config_for(redis_server_url(r->server));
    start(r, &config);
    run_until(r, &r->closed, 1);
    assert_int_equal(r->down, 1);
    r->link = NULL;
}

static void close_while_connecting(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    struct redis_link_config config = config_for(redis_server_url(r->server));
    snprintf(config.url.host, sizeof config.url.host, "localhost");
    config.url.unix_path[0] = '\0'; /* a name: a thread resolves it */
    start(r, &config);
    while (redis_link_state(r->link) < LINK_RESOLVING)
        uv_run(&r->loop, UV_RUN_ONCE);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    redis_link_close(r->link, on_closed, r);
    run_until(r, &r->closed, 1);
    assert_int_equal(r->ready, 0);
    r->link = NULL;
}

/* ---- much, large, slow ---- */

static void on_number(void *arg, const redisReply *reply)
{
    struct rig *r = arg;
    r->next++;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != r->next)
        r->in_order = false;
}

static void pipelines_in_order(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    start_ready(r, redis_server_url(r->server));
    r->in_order = true;
    for (int i = 0; i < PIPELINE; i++)
        send_words(r, "INCR n", on_number, r);
    assert_int_equal(redis_link_pending(r->link), PIPELINE);
    run_until(r, &r->next, PIPELINE);
    assert_true(r->in_order);
    assert_int_equal(redis_link_pending(r->link), 0);
    assert_int_equal(r->down, 0);
}

static void on_large(void *arg, const redisReply *reply)
{
    struct rig *r = arg;
    r->next++;
    r->in_order = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == LARGE;
    for (size_t i = 0; r->in_order && i < LARGE; i++)
        r->in_order = reply->str[i] == (char)(i * 31 + (i >> 13));
}

static void large_value_there_and_back(void **state)
{
    struct rig *r = *state;
    start_ready(r, server_behind_proxy(r)); /* whose buffers are small: it goes in pieces */
    char *large = xmalloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 + (i >> 13));
    struct buf b = BUF_INIT;
    struct span argv[] = {{"SET", 3}, {"v", 1}, {large, LARGE}};
    store_command(&b, 3, argv);
    assert_int_equal(redis_link_send(r->link, buf_span(&b), on_answer, &r->answers[0]), 0);
    buf_done(&b);
    free(large);
    send_words(r, "GET v", on_large, r);
    run_until(r, &r->next, 1);
    assert_string_equal(r->answers[0].text, "OK");
    assert_true(r->in_order);
}

static void blocking_outlasts_the_timeout(void **state)
{
    struct rig *r = *state;
    r->server = redis_server_new(NULL);
    struct redis_link_config config = config_for(redis_server_url(r->server));
    config.reply_timeout_ms = SOON_MS;
    start(r, &config);
    run_until(r, &r->ready, 1);
    struct buf b = BUF_INIT;
    struct answer *a = &r->answers[0];
    encode(&b, "BLMOVE from to LEFT RIGHT 1");
    assert_int_equal(
        redis_link_send_blocking(r->link, buf_span(&b), 1000 * (int64_t)GUARD_S, on_answer, a), 0);
    buf_done(&b);
    run_until(r, &a->calls, 1);
    assert_int_equal(a->nulls, 0);
    assert_int_equal(a->type, REDIS_REPLY_NIL);
    assert_int_equal(r->down, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(connects_by_unix_socket),
        TEST(connects_by_tcp_with_password),
        TEST(connects_as_user_to_db),
        TEST(loads_scripts),
        TEST(waits_for_unix_server),
        TEST(waits_for_tcp_server),
        TEST(wrong_password_is_not_shown),
        TEST(missing_password_is_named),
        TEST(silent_handshake_ends),
        TEST(killed_server),
        TEST(reset_by_peer),
        TEST(half_open_times_out),
        TEST(stalled_write_times_out),
        TEST(cut_inside_a_reply),
        TEST(reset_by_us),
        TEST(sends_nothing_when_not_ready),
        TEST(close_with_pending),
        TEST(close_in_a_reply),
        TEST(close_in_a_loss),
        TEST(close_in_on_ready),
        TEST(close_in_on_down),
        TEST(close_while_connecting),
        TEST(pipelines_in_order),
        TEST(large_value_there_and_back),
        TEST(blocking_outlasts_the_timeout),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
