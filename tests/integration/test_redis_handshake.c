/* test_redis_handshake.c - how a connection begins: users and passwords, what is loaded and named,
 * what Redis says when it refuses; and the deadlines of an established one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/store.h"
#include "tests/lib/link_bench.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/tcp_proxy.h"

static void ping(struct link_bench *b)
{
    int before = b->replies;
    link_bench_send(b, link_bench_words(b, "PING", NULL));
    link_bench_until(b, b->replies > before);
    assert_string_equal(b->text, "PONG");
}

static void check_ready(struct redis_server *server, struct redis_url url)
{
    struct link_bench b;
    url.db = 3;
    link_bench_init(&b, url);
    snprintf(b.config.name, sizeof b.config.name, "bench");
    b.config.load_scripts = true;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    assert_int_equal(b.downs, 0);
    assert_true(redis_link_client_id(b.link) > 0);
    assert_true(redis_link_info(b.link)->is_master);
    assert_true(redis_link_info(b.link)->run_id[0] != '\0');
    assert_int_equal(redis_link_pending(b.link), 0);
    assert_int_equal(redis_link_oldest_mono_ms(b.link), 0);

    link_bench_send(&b, link_bench_words(&b, "CLIENT", "GETNAME", NULL));
    link_bench_until(&b, b.replies == 1);
    assert_string_equal(b.text, "bench");
    link_bench_send(&b, link_bench_words(&b, "CLIENT", "ID", NULL));
    link_bench_until(&b, b.replies == 2);
    assert_int_equal(b.integer, redis_link_client_id(b.link));
    link_bench_send(&b, link_bench_words(&b, "CLIENT", "INFO", NULL));
    link_bench_until(&b, b.replies == 3);
    assert_non_null(strstr(b.text, " db=3 "));
    for (int i = 0; i < STORE_SCRIPT_COUNT; i++) {
        link_bench_send(&b, link_bench_words(&b, "EVALSHA", store_script_sha(i), "0", NULL));
        link_bench_until(&b, b.replies == i + 4);
        assert_null(strstr(b.text, "NOSCRIPT"));
    }
    redisReply *list = redis_server_ask(server, "CLIENT LIST");
    assert_non_null(strstr(list->str, "name=bench"));
    freeReplyObject(list);
    link_bench_done(&b);
}

static void begins_on_every_kind_of_socket(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    check_ready(server, redis_server_url(server));
    check_ready(server, redis_server_tcp_url(server));
    struct redis_url by_name = redis_server_tcp_url(server);
    snprintf(by_name.host, sizeof by_name.host, "localhost"); /* ::1 first, where there is one */
    check_ready(server, by_name);
    redis_server_free(server);
}

static void sockets_are_not_inherited_and_keep_alive(void **state)
{
    (void)state;
    static const struct {
        int name, value;
    } options[] = {{TCP_NODELAY, 1},
                   {TCP_KEEPIDLE, 5},
                   {TCP_KEEPINTVL, 2},
                   {TCP_KEEPCNT, 3},
                   {TCP_USER_TIMEOUT, 10000}};
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct link_bench b;
    link_bench_init(&b, redis_server_tcp_url(server));
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    int sockets = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == -1 || peer.sin_family != AF_INET ||
            ntohs(peer.sin_port) != redis_server_port(server))
            continue;
        sockets++;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
            int value = 0;
            len = sizeof value;
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, options[i].name, &value, &len), 0);
            assert_int_equal(value, options[i].value);
        }
    }
    assert_int_equal(sockets, 1);
    link_bench_done(&b);
    redis_server_free(server);
}

/* ---- refusals ---- */

/* The second attempt at `url` fails as the first did, with Redis' own text. */
static void expect_refused(struct redis_url url, const char *text)
{
    struct link_bench b;
    link_bench_init(&b, url);
    b.config.load_scripts = true;
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 2);
    assert_int_equal(b.readies, 0);
    assert_false(b.was_ready);
    assert_int_equal(b.down.code, ERR_REDIS);
    if (strstr(b.down.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, b.down.text);
    assert_true(url.password[0] == '\0' || strstr(b.down.text, url.password) == NULL);
    link_bench_done(&b);
}

static void says_why_redis_refuses(void **state)
{
    (void)state;
    static const char *const users[] = {
        "worker on >good ~* &* +@all", "quiet on >good ~* &* +@all -client",
        "blind on >good ~* &* +@all -info", "mute on >good ~* &* +@all -script", NULL};
    struct redis_server *server =
        redis_server_new(&(struct redis_server_config){.password = "sesame", .users = users});
    struct redis_url url = redis_server_url(server);
    check_ready(server, url);
    snprintf(url.password, sizeof url.password, "opensaysme");
    expect_refused(url, "WRONGPASS");
    url.password[0] = '\0';
    expect_refused(url, "NOAUTH");

    snprintf(url.user, sizeof url.user, "worker");
    snprintf(url.password, sizeof url.password, "good");
    check_ready(server, url);
    snprintf(url.password, sizeof url.password, "wrongword");
    expect_refused(url, "WRONGPASS");
    snprintf(url.password, sizeof url.password, "good");
    snprintf(url.user, sizeof url.user, "blind");
    expect_refused(url, "NOPERM");
    snprintf(url.user, sizeof url.user, "mute");
    expect_refused(url, "NOPERM");
    url.user[0] = '\0';
    snprintf(url.password, sizeof url.password, "sesame");
    url.db = 99;
    expect_refused(url, "DB index");

    /* A user who may not ask for its number and name can work all the same. */
    struct link_bench b;
    url.db = 0;
    snprintf(url.user, sizeof url.user, "quiet");
    snprintf(url.password, sizeof url.password, "good");
    link_bench_init(&b, url);
    snprintf(b.config.name, sizeof b.config.name, "quiet");
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    assert_int_equal(redis_link_client_id(b.link), 0);
    ping(&b);
    link_bench_done(&b);
    redis_server_free(server);
}

/* Redis quotes the arguments of a command it does not know. */
static void an_unknown_auth_does_not_show_the_password(void **state)
{
    (void)state;
    static const char *const lines[] = {"rename-command AUTH \"\"", NULL};
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.lines = lines});
    struct redis_url url = redis_server_url(server);
    snprintf(url.password, sizeof url.password, "sesame");
    expect_refused(url, "unknown command");
    redis_server_free(server);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) != EOF);
    assert_int_equal(fclose(f), 0);
}

static void reads_the_password_file_at_each_attempt(void **state)
{
    (void)state;
    struct redis_server *server =
        redis_server_new(&(struct redis_server_config){.password = "new"});
    char *file = redis_server_file(server, "password");
    struct redis_url url = redis_server_url(server);
    struct link_bench b;
    url.password[0] = '\0';
    link_bench_init(&b, url);
    b.config.password_file = file;
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 1);
    assert_non_null(strstr(b.down.text, file));
    assert_int_equal(b.down.code, ERR_SYSTEM);
    write_file(file, "\n");
    link_bench_until(&b, b.down.code == ERR_MISSING);
    write_file(file, "old\n");
    link_bench_until(&b, b.down.code == ERR_REDIS);
    assert_non_null(strstr(b.down.text, "WRONGPASS"));
    write_file(file, "new\r\nsecond line\n");
    link_bench_until(&b, b.readies == 1);
    link_bench_done(&b);
    free(file);
    redis_server_free(server);
}

static void says_what_redis_said_before_it_hung_up(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct link_bench first;
    link_bench_init(&first, redis_server_url(server));
    link_bench_start(&first);
    link_bench_until(&first, first.readies == 1);
    link_bench_send(&first, link_bench_words(&first, "CONFIG", "SET", "maxclients", "1", NULL));
    link_bench_until(&first, first.replies == 1);
    assert_int_equal(first.errors, 0);
    expect_refused(redis_server_url(server), "max number of clients");
    expect_refused(redis_server_tcp_url(server), "max number of clients");
    link_bench_done(&first);
    redis_server_free(server);
}

static void one_attempt_without_reconnect(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_prepare(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.config.reconnect = false;
    link_bench_start(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT); /* ends by itself: nothing is planned */
    assert_int_equal(b.downs, 1);
    assert_int_equal(redis_link_state(b.link), LINK_CLOSED);
    link_bench_done(&b);
    redis_server_free(server);
}

/* Cut at every place of the handshake, the link starts again and gets through in the end. */
static void a_handshake_cut_anywhere_is_begun_again(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tcp = true});
    struct tcp_proxy *proxy = tcp_proxy_new(NULL, NULL, redis_server_port(server));
    struct link_bench b;
    link_bench_init(&b, (struct redis_url){.host = "127.0.0.1", .port = tcp_proxy_port(proxy)});
    b.config.load_scripts = true;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int bytes = 0; bytes < 4500; bytes += 450) {
        int downs = b.downs;
        enum proxy_way way = bytes / 450 % 2 == 0 ? PROXY_TO_CLIENT : PROXY_TO_SERVER;
        tcp_proxy_cut_after(proxy, way, bytes);
        tcp_proxy_reset(proxy);
        link_bench_until(&b, b.downs >= downs + 2);
        link_bench_until(&b, redis_link_state(b.link) == LINK_READY);
        ping(&b);
    }
    assert_int_equal(b.nulls, 0);
    link_bench_done(&b);
    tcp_proxy_free(proxy);
    redis_server_free(server);
}

/* ---- deadlines ---- */

/* The process was stopped, or a callback took long, while the answer came: no loss. */
static void an_answer_that_waits_in_the_socket_is_in_time(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.config.reply_timeout_ms = 50;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int i = 1; i <= 3; i++) {
        link_bench_send(&b, link_bench_words(&b, "INCR", "n", NULL));
        (void)uv_run(&b.loop, UV_RUN_NOWAIT); /* writes */
        while (b.replies < i && redis_server_ask_int(server, "EXISTS n") == 0)
            continue;
        int64_t until = mono_ms() + 200; /* the deadline has to pass unseen by the loop */
        while (mono_ms() < until)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        link_bench_until(&b, b.replies + b.nulls == i);
    }
    assert_int_equal(b.downs, 0);
    assert_int_equal(b.replies, 3);
    link_bench_done(&b);
    redis_server_free(server);
}

static void a_blocking_command_has_its_own_time(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.config.reply_timeout_ms = 500;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    int before = b.turns;
    assert_int_equal(redis_link_send_blocking(b.link,
                                              link_bench_words(&b, "BLPOP", "none", "1", NULL),
                                              60000, link_bench_count, &b),
                     0);
    link_bench_send(&b, link_bench_words(&b, "PING", NULL)); /* answered after it */
    link_bench_until(&b, b.replies == 2);
    assert_int_equal(b.downs, 0);
    assert_true(b.turns - before < 50); /* it waits, it does not spin */

    /* A short command after a long one has its own, short time again. */
    redis_server_freeze(server);
    link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_until(&b, b.downs >= 1);
    assert_int_equal(b.down.code, ERR_TIMEOUT);
    redis_server_thaw(server);
    link_bench_done(&b);
    redis_server_free(server);
}

static void a_hanging_redis_is_given_up(void **state)
{
    (void)state;
    static const char *const lines[] = {"enable-debug-command yes", NULL};
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.lines = lines});
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.config.reply_timeout_ms = 100;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    link_bench_send(&b, link_bench_words(&b, "DEBUG", "SLEEP", "1", NULL));
    link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_until(&b, b.downs >= 1);
    assert_int_equal(b.down.code, ERR_TIMEOUT);
    assert_int_equal(b.nulls, 2);
    link_bench_until(&b, b.readies == 2);
    link_bench_done(&b);
    redis_server_free(server);
}

/* Answers that trickle in, each in time, are no reason to cut: the whole takes far longer. */
static void a_slow_wire_is_no_dead_one(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct link_bench b;
    link_bench_init(&b, redis_server_url(server));
    b.config.reply_timeout_ms = 1000;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int i = 0; i < 8; i++)
        link_bench_send(&b, link_bench_words(&b, "BLPOP", "none", "0.2", NULL));
    link_bench_until(&b, b.replies + b.nulls == 8);
    assert_int_equal(b.nulls, 0);
    link_bench_done(&b);
    redis_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_on_every_kind_of_socket),
        cmocka_unit_test(sockets_are_not_inherited_and_keep_alive),
        cmocka_unit_test(says_why_redis_refuses),
        cmocka_unit_test(an_unknown_auth_does_not_show_the_password),
        cmocka_unit_test(reads_the_password_file_at_each_attempt),
        cmocka_unit_test(says_what_redis_said_before_it_hung_up),
        cmocka_unit_test(one_attempt_without_reconnect),
        cmocka_unit_test(a_handshake_cut_anywhere_is_begun_again),
        cmocka_unit_test(an_answer_that_waits_in_the_socket_is_in_time),
        cmocka_unit_test(a_blocking_command_has_its_own_time),
        cmocka_unit_test(a_hanging_redis_is_given_up),
        cmocka_unit_test(a_slow_wire_is_no_dead_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
