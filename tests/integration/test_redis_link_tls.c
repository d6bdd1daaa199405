/* test_redis_link_tls.c - rediss://: who is trusted, and that large and many commands get through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/store.h"
#include "tests/lib/link_bench.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/tcp_proxy.h"

#ifdef HAVE_OPENSSL

static void trusts(struct redis_server *server, struct redis_url url, bool verify, const char *ca)
{
    struct link_bench b;
    char *ca_file = redis_server_file(server, ca);
    link_bench_init(&b, url);
    b.config.verify = verify;
    b.config.ca_file = ca_file;
    b.config.load_scripts = true;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1 || b.downs > 0);
    if (b.downs > 0)
        fail_msg("%s", b.down.text);
    link_bench_send(&b, link_bench_words(&b, "PING", NULL));
    link_bench_until(&b, b.replies == 1);
    assert_string_equal(b.text, "PONG");
    link_bench_done(&b);
    free(ca_file);
}

/* `ca` NULL = the system's certificates. */
static void refuses(struct redis_server *server, struct redis_url url, const char *ca,
                    const char *text)
{
    struct link_bench b;
    char *ca_file = ca != NULL ? redis_server_file(server, ca) : NULL;
    link_bench_init(&b, url);
    b.config.ca_file = ca_file;
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 2 || b.readies > 0);
    assert_int_equal(b.readies, 0);
    if (strstr(b.down.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, b.down.text);
    link_bench_done(&b);
    free(ca_file);
}

static void trusts_only_the_right_server(void **state)
{
    (void)state;
    struct redis_server *server =
        redis_server_new(&(struct redis_server_config){.tls = true, .password = "sesame"});
    struct redis_url by_name = redis_server_tls_url(server);
    struct redis_url by_address = by_name, other_address = by_name;
    snprintf(by_address.host, sizeof by_address.host, "127.0.0.1");
    snprintf(other_address.host, sizeof other_address.host, "127.0.0.2");

    trusts(server, by_name, true, "ca.crt");
    trusts(server, by_address, true, "ca.crt");
    trusts(server, other_address, false, "ca.crt");
    trusts(server, by_name, false, "other.crt");
    refuses(server, by_name, "other.crt", "certificate is refused");
    refuses(server, by_name, NULL, "certificate is refused");
    refuses(server, other_address, "ca.crt", "IP address mismatch");
    refuses(server, by_name, "absent.crt", "absent.crt");
    redis_server_free(server);
}

static void refuses_a_wrong_name(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tls = true});
    struct redis_url url = redis_server_tls_url(server);
    /* Another spelling of the same address is a name the certificate does not have. */
    snprintf(url.host, sizeof url.host, "127.1");
    refuses(server, url, "ca.crt", "ostname mismatch");
    redis_server_free(server);
}

static void shows_its_certificate(void **state)
{
    (void)state;
    struct redis_server *server =
        redis_server_new(&(struct redis_server_config){.tls = true, .client_certificate = true});
    char *ca = redis_server_file(server, "ca.crt");
    char *cert = redis_server_file(server, "client.crt");
    char *key = redis_server_file(server, "client.key");
    struct link_bench b;
    link_bench_init(&b, redis_server_tls_url(server));
    b.config.ca_file = ca;
    b.config.cert_file = cert;
    b.config.key_file = key;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    assert_int_equal(b.downs, 0);
    link_bench_done(&b);
    refuses(server, redis_server_tls_url(server), "ca.crt", "certificate required");

    link_bench_init(&b, redis_server_tls_url(server));
    b.config.ca_file = ca;
    b.config.cert_file = cert; /* without its key */
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 1);
    assert_int_equal(b.down.code, ERR_SYSTEM);
    link_bench_done(&b);
    free(ca);
    free(cert);
    free(key);
    redis_server_free(server);
}

static void a_plain_server_gets_no_tls(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tls = true});
    struct redis_url url = redis_server_tls_url(server);
    struct link_bench b;
    url.tls = false;
    link_bench_init(&b, url);
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 2);
    assert_int_equal(b.readies, 0);
    link_bench_done(&b);
    redis_server_free(server);
}

static void many_and_large_over_tls(void **state)
{
    (void)state;
    enum { COUNT = 20000, BYTES = 8 * 1024 * 1024 };
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tls = true});
    char *ca = redis_server_file(server, "ca.crt");
    char *value = xmalloc(BYTES);
    for (int i = 0; i < BYTES; i++)
        value[i] = (char)(i * 31 + i / 251);
    struct link_bench b;
    link_bench_init(&b, redis_server_tls_url(server));
    b.config.ca_file = ca;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    buf_clear(&b.command);
    store_command(&b.command, 3,
                  (struct span[]){SPAN_OF_STR("SET"), SPAN_OF_STR("big"), {value, BYTES}});
    link_bench_send(&b, buf_span(&b.command));
    for (int i = 0; i < COUNT; i++)
        link_bench_send(&b, link_bench_words(&b, "LPUSH", "list", "0123456789", NULL));
    link_bench_send(&b, link_bench_words(&b, "GET", "big", NULL));
    link_bench_until(&b, redis_link_pending(b.link) == 0);
    assert_int_equal(b.replies, COUNT + 2);
    assert_int_equal(b.integer, COUNT);
    redisReply *kept = redis_server_ask(server, "GET big");
    assert_int_equal(kept->len, BYTES);
    assert_memory_equal(kept->str, value, BYTES);
    freeReplyObject(kept);
    link_bench_done(&b);
    free(value);
    free(ca);
    redis_server_free(server);
}

static void comes_back_over_tls(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_config){.tls = true});
    struct tcp_proxy *proxy = tcp_proxy_new(NULL, NULL, redis_server_tls_port(server));
    char *ca = redis_server_file(server, "ca.crt");
    struct redis_url url = redis_server_tls_url(server);
    struct link_bench b;
    url.port = tcp_proxy_port(proxy);
    link_bench_init(&b, url);
    b.config.ca_file = ca;
    link_bench_start(&b);
    link_bench_until(&b, b.readies == 1);
    for (int bytes = 1; bytes < 4000; bytes += 333) { /* at every place of the handshake */
        int readies = b.readies, downs = b.downs;
        tcp_proxy_cut_after(proxy, PROXY_TO_CLIENT, bytes);
        tcp_proxy_reset(proxy);
        link_bench_until(&b, b.readies > readies && b.downs > downs);
        tcp_proxy_cut_after(proxy, PROXY_TO_CLIENT, -1);
        link_bench_until(&b, redis_link_state(b.link) == LINK_READY);
        link_bench_send(&b, link_bench_words(&b, "PING", NULL));
        link_bench_until(&b, redis_link_pending(b.link) == 0);
        link_bench_until(&b, redis_link_state(b.link) == LINK_READY);
    }
    link_bench_done(&b);
    tcp_proxy_free(proxy);
    redis_server_free(server);
    free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trusts_only_the_right_server),
        cmocka_unit_test(refuses_a_wrong_name),
        cmocka_unit_test(shows_its_certificate),
        cmocka_unit_test(a_plain_server_gets_no_tls),
        cmocka_unit_test(many_and_large_over_tls),
        cmocka_unit_test(comes_back_over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void says_that_tls_is_missing(void **state)
{
    (void)state;
    struct link_bench b;
    link_bench_init(&b, (struct redis_url){.tls = true, .host = "127.0.0.1", .port = 1});
    link_bench_start(&b);
    link_bench_until(&b, b.downs >= 1);
    assert_int_equal(b.down.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(b.down.text, "OpenSSL"));
    link_bench_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_that_tls_is_missing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
