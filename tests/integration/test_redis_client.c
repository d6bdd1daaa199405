/* test_redis_client.c - ends and sizes: closing anywhere, hundred thousand commands, large values,
 * peers that are no Redis, and the client that commands use. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/redis_reply.h"
#include "common/store.h"
#include "tests/lib/link_bench.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/tcp_proxy.h"

/* ---- closing and resetting in a callback ---- */

static void closes_with_commands_pending(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    redis_server_freeze(server);
    for (int i = 0; i < 100; i++)
        link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_until(&b, redis_link_unsent_bytes(b.link) == 0);
    for (int i = 0; i < 100; i++)
        link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_done(&b);
    assert_int_equal(b.nulls, 200);
    assert_int_equal(b.downs, 0);
    redis_server_free(server);
}

static void closes_in_any_callback(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    for (int where = 0; where < 5; where++) {
        struct link_bench b;
        link_bench_init(&b, redis_server_url(server));
        b.close_on_ready = where == 0;
        link_bench_start(&b);
        if (where > 0) {
            link_bench_until(&b, b.readies == 1);
            b.close_on_reply = where == 1 || where == 2 || where == 4;
            b.close_on_down = where == 3;
            for (int i = 0; i < 50; i++)
                link_bench_send(&b, link_bench_words(&b, "PING", NULL));
        }
        if (where == 2) /* in a callback with NULL, by reset */
            redis_link_reset(b.link, "as if lost");
        if (where == 3 || where == 4) { /* in on_down, and in a NULL callback by a real loss */
            redis_server_kill(server);
        }
        link_bench_until(&b, b.link == NULL);
        assert_int_equal(b.replies + b.nulls, where == 0 ? 0 : 50);
        assert_int_equal(b.downs, where == 3);
        link_bench_done(&b);
        if (redis_server_pid(server) == 0)
            redis_server_start(server);
    }
    redis_server_free(server);
}

static void closes_in_every_state(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct redis_url by_name = redis_server_tcp_url(server);
    snprintf(by_name.host, sizeof by_name.host, "localhost");
    for (int turns = 0; turns < 12; turns++) {
        struct link_bench b;
        link_bench_init(&b, turns % 2 == 0 ? by_name : redis_server_url(server));
        link_bench_start(&b);
        for (int i = 0; i < turns / 2; i++)
            uv_run(&b.loop, UV_RUN_NOWAIT);
        link_bench_done(&b);
    }
    struct link_bench never_started;
    link_bench_init(&never_started, by_name);
    struct redis_link_events none = {0};
    struct redis_link *l = redis_link_new(&never_started.loop, &never_started.config, &none, NULL);
    redis_link_close(l, NULL, NULL);
    link_bench_start(&never_started);
    link_bench_done(&never_started);
    redis_server_free(server);
}

static void resets_and_comes_back(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.reset_on_ready = true;
    link_bench_start(&b);
    link_bench_until(&b, b.downs == 4); /* each time it is ready */
    assert_int_equal(b.readies, 4);
    assert_true(b.was_ready);
    assert_int_equal(b.down.code, ERR_CONNECT);
    assert_string_equal(b.down.text, "reset on ready");
    redis_link_reset(b.link, "while waiting: nothing");
    assert_int_equal(b.downs, 4);
    b.reset_on_ready = false;
    link_bench_until(&b, b.readies == 5);
    b.reset_on_reply = true;
    for (int i = 0; i < 10; i++)
        link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_until(&b, b.downs == 5);
    assert_int_equal(b.replies, 1);
    assert_int_equal(b.nulls, 9);
    link_bench_until(&b, b.readies == 6);
    link_bench_done(&b);
    redis_server_free(server);
}

/* A callback may send; from a prepare callback too, after which the loop must not fall asleep. */
struct late {
    uv_prepare_t prepare;
    struct link_bench *bench;
};

static void on_prepare(uv_prepare_t *prepare)
{
    struct late *late = prepare->data;
    uv_prepare_stop(prepare);
    link_bench_send(late->bench, link_bench_words(late->bench, "PING", NULL));
}

static void sends_from_a_prepare_callback(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    struct late late = {.bench = &b};
    link_bench_init(&b, redis_server_url(server));
    uv_prepare_init(&b.loop, &late.prepare);
    late.prepare.data = &late;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int i = 1; i <= 3; i++) {
        uv_prepare_start(&late.prepare, on_prepare);
        link_bench_until(&b, b.replies == i);
    }
    uv_close((uv_handle_t *)&late.prepare, NULL);
    link_bench_done(&b);
    redis_server_free(server);
}

/* ---- sizes ---- */

static void hundred_thousand_commands_in_order(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int i = 0; i < COUNT; i++)
        link_bench_send(&b, link_bench_words(&b, "INCR", "n", NULL));
    assert_int_equal(redis_link_pending(b.link), COUNT);
    for (int i = 1; i <= COUNT; i += 9999) {
        link_bench_until(&b, b.replies >= i);
        assert_int_equal(b.integer, b.replies);
    }
    link_bench_until(&b, b.replies == COUNT);
    assert_int_equal(b.integer, COUNT);
    assert_int_equal(b.errors + b.nulls, 0);
    assert_int_equal(redis_server_ask_int(server, "GET n"), COUNT);
    link_bench_done(&b);
    redis_server_free(server);
}

static void large_values_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65536, 8 * 1024 * 1024, 64 * 1024 * 1024};
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct redis_url urls[] = {redis_server_url(server), redis_server_tcp_url(server)};
    char *value = xmalloc(sizes[4]);
    for (size_t i = 0; i < sizes[4]; i++)
        value[i] = (char)(i ^ i >> 8);
    for (int way = 0; way < 2; way++) {
        struct redis_client *c = NULL;
        struct err err = {0};
        struct redis_link_config config = {.url = urls[way], .reply_timeout_ms = 10000};
        alarm(120);
        assert_int_equal(redis_client_open(&config, &c, &err), 0);
        for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
            struct buf command = BUF_INIT;
            redisReply *reply = NULL;
            store_command(
                &command, 3,
                (struct span[]){SPAN_OF_STR("SET"), SPAN_OF_STR("big"), {value, sizes[i]}});
            assert_int_equal(redis_client_call(c, buf_span(&command), &reply, &err), 0);
            redis_reply_free(reply);
            buf_clear(&command);
            store_command(&command, 2, (struct span[]){SPAN_OF_STR("GET"), SPAN_OF_STR("big")});
            assert_int_equal(redis_client_call(c, buf_span(&command), &reply, &err), 0);
            assert_int_equal(reply->len, sizes[i]);
            assert_true(memcmp(reply->str, value, sizes[i]) == 0);
            redis_reply_free(reply);
            buf_done(&command);
        }
        redis_client_close(c);
    }
    alarm(0);
    free(value);
    redis_server_free(server);
}

/* ---- peers that are no Redis ---- */

struct fake {
    char directory[32], path[64];
    const char *says;
    int listener;
    pthread_t thread;
};

/* Says its text to each visitor and hangs up at the visitor's end. */
static void *run_fake(void *arg)
{
    struct fake *f = arg;
    for (;;) {
        char bytes[4096];
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd == -1)
            return NULL;
        if (read(fd, bytes, sizeof bytes) > 0)
            (void)!write(fd, f->says, strlen(f->says));
        shutdown(fd, SHUT_WR);
        while (read(fd, bytes, sizeof bytes) > 0)
            continue;
        close(fd);
    }
}

static void fake_start(struct fake *f, const char *says)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    *f = (struct fake){.directory = "/tmp/bl-fake-XXXXXX", .says = says};
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/sock", f->directory);
    memcpy(addr.sun_path, f->path, sizeof f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, run_fake, f), 0);
}

static void fake_stop(struct fake *f)
{
    shutdown(f->listener, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listener);
    unlink(f->path);
    rmdir(f->directory);
}

static void peers_that_are_no_redis(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        int code;
    } rows[] = {
        {"", ERR_CONNECT},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", ERR_PROTOCOL},
        {"!nonsense\r\n", ERR_PROTOCOL},
        {"$-5\r\n", ERR_PROTOCOL},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
         ERR_PROTOCOL},
        {":1\r\n$5\r\nhello\r\n", ERR_PROTOCOL}, /* that is no INFO */
        {":1\r\n$100\r\ncut", ERR_CONNECT},
        {"-LOADING wait\r\n-LOADING wait\r\n", ERR_REDIS},
        {"-DENIED protected\r\n", ERR_REDIS},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct fake fake;
        struct link_bench b;
        fake_start(&fake, rows[i].says);
        struct redis_url url = {.port = 6379};
        memcpy(url.unix_path, fake.path, sizeof fake.path);
        link_bench_init(&b, url);
        link_bench_start(&b);
        link_bench_until(&b, b.downs == 3);
        assert_int_equal(b.readies, 0);
        if (b.down.code != rows[i].code)
            fail_msg("row %zu: %s (%s)", i, b.down.text, err_name(b.down.code));
        link_bench_done(&b);
        fake_stop(&fake);
    }
}

static void an_answer_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    link_bench_send(&b, link_bench_words(&b, "SUBSCRIBE", "news", NULL));
    link_bench_until(&b, b.replies == 1);
    redisReply *reply = redis_server_ask(server, "PUBLISH news hello");
    freeReplyObject(reply);
    link_bench_until(&b, b.downs == 1);
    assert_int_equal(b.down.code, ERR_PROTOCOL);
    link_bench_until(&b, b.readies == 2);
    link_bench_done(&b);
    redis_server_free(server);
}

/* ---- the client ---- */

static struct redis_link_config client_config(struct redis_url url)
{
    return (struct redis_link_config){.url = url, .verify = true, .reply_timeout_ms = 60000};
}

static void count_reply(void *arg, const struct redisReply *reply)
{
    int *counts = arg; /* answered, lost */
    counts[reply == NULL]++;
}

static void a_client_calls_and_pipelines(void **state)
{
    (void)state;
    alarm(120);
    struct redis_server *server = redis_server_new(NULL);
    struct redis_link_config config = client_config(redis_server_url(server));
    struct redis_client *c = NULL;
    struct buf command = BUF_INIT;
    struct err err = {0};
    redisReply *reply = NULL;
    config.load_scripts = true;
    assert_int_equal(redis_client_open(&config, &c, &err), 0);
    assert_true(redis_client_info(c)->version_num >= 60200);
    store_cmd_ping(&command);
    assert_int_equal(redis_client_call(c, buf_span(&command), &reply, &err), 0);
    assert_string_equal(reply->str, "PONG");
    redis_reply_free(reply);
    reply = NULL;

    buf_clear(&command);
    store_command(&command, 1, (struct span[]){SPAN_OF_STR("NONSENSE")});
    assert_int_equal(redis_client_call(c, buf_span(&command), &reply, &err), -ERR_REDIS);
    assert_non_null(strstr(err.text, "unknown command"));
    assert_null(reply);

    /* Who need not wait writes all the same, so that Redis works while the next command is made. */
    int early[2] = {0};
    buf_clear(&command);
    store_command(&command, 3,
                  (struct span[]){SPAN_OF_STR("LPUSH"), SPAN_OF_STR("early"), SPAN_OF_STR("x")});
    assert_int_equal(redis_client_send(c, buf_span(&command), count_reply, early, &err), 0);
    assert_int_equal(redis_client_drain(c, 1, &err), 0);
    while (redis_server_ask_int(server, "LLEN early") == 0)
        continue; /* it is on its way */
    assert_int_equal(redis_client_drain(c, 0, &err), 0);
    assert_int_equal(early[0], 1);

    err = (struct err){0};
    int counts[2] = {0};
    buf_clear(&command);
    store_command(&command, 3,
                  (struct span[]){SPAN_OF_STR("LPUSH"), SPAN_OF_STR("l"), SPAN_OF_STR("x")});
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(redis_client_send(c, buf_span(&command), count_reply, counts, &err), 0);
        if (i % 1000 == 0)
            assert_int_equal(redis_client_drain(c, 500, &err), 0);
    }
    assert_int_equal(redis_client_drain(c, 0, &err), 0);
    assert_int_equal(counts[0], 50000);
    assert_int_equal(redis_server_ask_int(server, "LLEN l"), 50000);

    /* More than may wait unwritten: sending makes room by itself. */
    char *value = xcalloc(1, 4 * 1024 * 1024);
    buf_clear(&command);
    store_command(&command, 3,
                  (struct span[]){SPAN_OF_STR("SET"), SPAN_OF_STR("v"), {value, 4 * 1024 * 1024}});
    for (int i = 0; i < 20; i++)
        assert_int_equal(redis_client_send(c, buf_span(&command), count_reply, counts, &err), 0);
    assert_int_equal(redis_client_drain(c, 0, &err), 0);
    assert_int_equal(counts[0], 50020);
    free(value);
    redis_client_close(c);
    redis_client_close(NULL);
    buf_done(&command);
    redis_server_free(server);
    alarm(0);
}

static void a_client_says_why_it_cannot(void **state)
{
    (void)state;
    alarm(120);
    struct redis_server *server =
        redis_server_prepare(&(struct redis_server_config){.password = "sesame", .tcp = true});
    struct redis_client *c = NULL;
    struct redis_link_config config = client_config(redis_server_url(server));
    struct err err = {0};
    config.reconnect = true; /* not looked at */
    assert_int_equal(redis_client_open(&config, &c, &err), -ERR_CONNECT);
    assert_non_null(strstr(err.text, redis_server_socket(server)));
    config.url = redis_server_tcp_url(server);
    err = (struct err){0};
    assert_int_equal(redis_client_open(&config, &c, &err), -ERR_CONNECT);
    redis_server_start(server);
    snprintf(config.url.password, sizeof config.url.password, "wrongword");
    err = (struct err){0};
    assert_int_equal(redis_client_open(&config, &c, &err), -ERR_REDIS);
    assert_non_null(strstr(err.text, "WRONGPASS"));
    assert_null(strstr(err.text, "wrongword"));
    redis_server_freeze(server);
    config.connect_timeout_ms = 100;
    err = (struct err){0};
    assert_int_equal(redis_client_open(&config, &c, &err), -ERR_TIMEOUT);
    assert_null(c);
    redis_server_free(server);
    alarm(0);
}

/* SIGPIPE keeps its usual, deadly meaning here: the client must survive all the same. */
static void a_client_outlives_its_server(void **state)
{
    (void)state;
    alarm(120);
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct redis_url urls[] = {redis_server_url(server), redis_server_tcp_url(server)};
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 2; i++) {
        struct redis_link_config config = client_config(urls[i]);
        struct redis_client *c = NULL;
        struct buf command = BUF_INIT;
        struct err err = {0};
        redisReply *reply = NULL;
        int counts[2] = {0};
        assert_int_equal(redis_client_open(&config, &c, &err), 0);
        store_cmd_ping(&command);
        redis_server_kill(server);
        for (int k = 0; k < 1000; k++)
            assert_int_equal(redis_client_send(c, buf_span(&command), count_reply, counts, &err),
                             0);
        assert_int_equal(redis_client_drain(c, 0, &err), -ERR_CONNECT);
        assert_int_equal(counts[1], 1000);
        err = (struct err){0};
        assert_int_equal(redis_client_call(c, buf_span(&command), &reply, &err), -ERR_CONNECT);
        assert_true(err.text[0] != '\0');
        assert_int_equal(redis_client_send(c, buf_span(&command), count_reply, counts, NULL),
                         -ERR_CONNECT);
        assert_int_equal(counts[1], 1000);
        redis_client_close(c);
        buf_done(&command);
        redis_server_start(server);
    }
    sigset_t pending;
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    redis_server_free(server);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closes_with_commands_pending),
        cmocka_unit_test(closes_in_any_callback),
        cmocka_unit_test(closes_in_every_state),
        cmocka_unit_test(resets_and_comes_back),
        cmocka_unit_test(sends_from_a_prepare_callback),
        cmocka_unit_test(hundred_thousand_commands_in_order),
        cmocka_unit_test(large_values_both_ways),
        cmocka_unit_test(peers_that_are_no_redis),
        cmocka_unit_test(an_answer_nobody_asked_for_ends_the_connection),
        cmocka_unit_test(a_client_calls_and_pipelines),
        cmocka_unit_test(a_client_says_why_it_cannot),
        cmocka_unit_test(a_client_outlives_its_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
