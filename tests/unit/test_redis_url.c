/* test_redis_url.c - what the three schemes accept, refuse and show; that no password shows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/redis_url.h"

static void accepts_and_shows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct redis_url url;
        const char *shown;
    } rows[] = {
        {"redis://localhost", {.host = "localhost", .port = 6379}, "redis://localhost:6379/0"},
        {"REDIS://h:1/", {.host = "h", .port = 1}, "redis://h:1/0"},
        {"redis://h:/3", {.host = "h", .port = 6379, .db = 3}, "redis://h:6379/3"},
        {"redis://", {.host = "localhost", .port = 6379}, "redis://localhost:6379/0"},
        {"redis:///7", {.host = "localhost", .port = 6379, .db = 7}, "redis://localhost:6379/7"},
        {"redis://u:p@h:65535/1023",
         {.host = "h", .port = 65535, .db = 1023, .user = "u", .password = "p"},
         "redis://u@h:65535/1023"},
        {"redis://:only@h", {.host = "h", .port = 6379, .password = "only"}, "redis://h:6379/0"},
        {"redis://who@h", {.host = "h", .port = 6379, .user = "who"}, "redis://who@h:6379/0"},
        {"redis://u:a%40b%2Fc%3Ad%25@h",
         {.host = "h", .port = 6379, .user = "u", .password = "a@b/c:d%"},
         "redis://u@h:6379/0"},
        {"redis://u:p@ss:w@h",
         {.host = "h", .port = 6379, .user = "u", .password = "p@ss:w"},
         "redis://u@h:6379/0"},
        {"redis://a%20b%0a:p@h",
         {.host = "h", .port = 6379, .user = "a b\n", .password = "p"},
         "redis://a%20b%0A@h:6379/0"},
        {"rediss://[::1]:7000/2",
         {.tls = true, .host = "::1", .port = 7000, .db = 2},
         "rediss://[::1]:7000/2"},
        {"redis://[fe80::1%25eth0]",
         {.host = "fe80::1%eth0", .port = 6379},
         "redis://[fe80::1%25eth0]:6379/0"},
        {"unix:///run/redis.sock",
         {.unix_path = "/run/redis.sock", .port = 6379},
         "unix:/run/redis.sock"},
        {"unix:/run/redis.sock",
         {.unix_path = "/run/redis.sock", .port = 6379},
         "unix:/run/redis.sock"},
        {"unix:///a%20b?db=5&user=u&password=x%26y",
         {.unix_path = "/a b", .port = 6379, .db = 5, .user = "u", .password = "x&y"},
         "unix:/a%20b?db=5"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct redis_url u;
        struct err err = {0};
        char shown[512];
        if (redis_url_parse(rows[i].text, &u, &err) != 0)
            fail_msg("%s: %s", rows[i].text, err.text);
        assert_int_equal(u.tls, rows[i].url.tls);
        assert_string_equal(u.unix_path, rows[i].url.unix_path);
        assert_string_equal(u.host, rows[i].url.host);
        assert_int_equal(u.port, rows[i].url.port);
        assert_int_equal(u.db, rows[i].url.db);
        assert_string_equal(u.user, rows[i].url.user);
        assert_string_equal(u.password, rows[i].url.password);
        assert_string_equal(redis_url_show(&u, shown, sizeof shown), rows[i].shown);
    }
}

static void refuses_and_leaves_the_output(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"", ERR_SYNTAX},
        {"localhost:6379", ERR_SYNTAX},
        {"http://h", ERR_SYNTAX},
        {"redis:/h", ERR_SYNTAX},
        {"redis://h:0", ERR_RANGE},
        {"redis://h:65536", ERR_RANGE},
        {"redis://h:12x", ERR_SYNTAX},
        {"redis://h:-1", ERR_SYNTAX},
        {"redis://h:9999999999", ERR_SYNTAX},
        {"redis://h/1024", ERR_RANGE},
        {"redis://h/x", ERR_SYNTAX},
        {"redis://h/1/2", ERR_SYNTAX},
        {"redis://h?db=1", ERR_SYNTAX},
        {"redis://h#1", ERR_SYNTAX},
        {"redis://::1", ERR_SYNTAX},
        {"redis://[::1", ERR_SYNTAX},
        {"redis://[::1]x", ERR_SYNTAX},
        {"redis://a%3Ab", ERR_SYNTAX},
        {"redis://[]", ERR_SYNTAX},
        {"redis://[host]", ERR_SYNTAX},
        {"redis://h%00", ERR_SYNTAX},
        {"redis://h%2", ERR_SYNTAX},
        {"redis://h%zz", ERR_SYNTAX},
        {"redis://a b", ERR_SYNTAX},
        {"redis://u%00:p@h", ERR_SYNTAX},
        {"unix://relative", ERR_SYNTAX},
        {"unix:///", ERR_SYNTAX},
        {"unix:///?db=1", ERR_SYNTAX},
        {"unix:///s?db=1024", ERR_RANGE},
        {"unix:///s?db", ERR_SYNTAX},
        {"unix:///s?dB=1", ERR_UNKNOWN},
        {"unix:///s?", ERR_UNKNOWN},
        {"unix:///s#x", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct redis_url u = {.host = "before", .port = 42};
        struct err err = {0};
        int rc = redis_url_parse(rows[i].text, &u, &err);
        if (rc != -rows[i].code)
            fail_msg("%s: %s, expected %s", rows[i].text, err_name(rc), err_name(rows[i].code));
        assert_int_equal(err.code, rows[i].code);
        assert_true(err.text[0] != '\0');
        assert_string_equal(u.host, "before");
        assert_int_equal(u.port, 42);
    }
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    char text[1200];
    static const struct {
        const char *head, *tail;
        int fits;
    } rows[] = {
        {"unix:///", "", 106},
        {"redis://", "", 255},
        {"redis://", "@h", 127},
        {"redis://u:", "@h", 511},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (int extra = 0; extra <= 1; extra++) {
            int n = rows[i].fits + extra;
            snprintf(text, sizeof text, "%s%0*d%s", rows[i].head, n, 0, rows[i].tail);
            struct redis_url u;
            struct err err = {0};
            assert_int_equal(redis_url_parse(text, &u, &err), extra == 0 ? 0 : -ERR_TOO_BIG);
        }
    }
}

static void no_error_quotes_a_password(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "redis://user:sec/ret@host",  "redis://user:sec?ret@host",  "redis://user:sec#ret@host",
        "redis://:sec%ret@host",      "redis://user:sec@host:ret",  "redis://user:sec@host/ret",
        "unix:///s?password=sec%ret", "unix:///s?password=sec&ret", "redis://user:sec/ret@host:1/0",
        "resid://user:secret@host",
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct redis_url u;
        struct err err = {0};
        assert_true(redis_url_parse(rows[i], &u, &err) < 0);
        assert_null(strstr(err.text, "sec"));
        assert_null(strstr(err.text, "ret"));
    }
}

static void show_cuts_and_terminates(void **state)
{
    (void)state;
    struct redis_url u;
    struct err err = {0};
    assert_int_equal(redis_url_parse("redis://a%01b:pw@[::1]:7/9", &u, &err), 0);
    for (size_t size = 1; size < 40; size++) {
        char out[64];
        memset(out, 'x', sizeof out);
        redis_url_show(&u, out, size);
        assert_true(memchr(out, '\0', size) != NULL);
        for (size_t i = size; i < sizeof out; i++)
            assert_int_equal(out[i], 'x');
    }
}

static void wipes_the_password(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"redis://user:secret@host/1", "redis://user:******@host/1"},
        {"redis://:pw@host", "redis://:**@host"},
        {"redis://u:p@s/s@host", "redis://u:*****@host"},
        {"redis://user@host:1/0", "redis://user@host:1/0"},
        {"redis://host:6379/0", "redis://host:6379/0"},
        {"user:secret@host", "user:******@host"},
        {"unix:///s?password=abc&db=1", "unix:///s?password=***&db=1"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char *text = xstrdup(rows[i][0]);
        redis_url_wipe(text);
        assert_string_equal(text, rows[i][1]);
        free(text);
    }
}

/* An environment without any of the variables, and a directory for the private Redis. */
static char *fresh_environment(void)
{
    static char template[] = "/tmp/bl-url-XXXXXX";
    char *dir = xstrdup(template);
    assert_non_null(mkdtemp(dir));
    unsetenv("BUCKETLINE_REDIS_URL");
    unsetenv("REDIS_URL");
    setenv("BUCKETLINE_PRIVATE_DIR", dir, 1);
    return dir;
}

static int listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof addr.sun_path);
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void finds_in_order(void **state)
{
    (void)state;
    char *dir = fresh_environment();
    struct redis_url u = {.port = 1};
    const char *source = NULL;
    struct err err = {0};
    char path[256];
    assert_string_equal(redis_private_socket(path, sizeof path) + strlen(dir), "/redis.sock");

    assert_int_equal(redis_url_find(NULL, NULL, &u, &source, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "--url"));
    assert_non_null(strstr(err.text, "BUCKETLINE_REDIS_URL"));
    assert_non_null(strstr(err.text, "worker.yaml"));
    assert_non_null(strstr(err.text, "make run"));
    assert_null(source);
    assert_int_equal(u.port, 1);

    err = (struct err){0};
    int fd = listen_at(path);
    assert_int_equal(redis_url_find(NULL, NULL, &u, &source, &err), 0);
    assert_string_equal(u.unix_path, path);
    assert_string_equal(source, "private Redis");
    close(fd); /* a socket file without a server is no Redis */
    assert_int_equal(redis_url_find(NULL, NULL, &u, &source, &err), -ERR_NOT_FOUND);

    err = (struct err){0};
    assert_int_equal(redis_url_find(NULL, "redis://conf", &u, &source, &err), 0);
    assert_string_equal(u.host, "conf");
    setenv("REDIS_URL", "redis://common", 1);
    assert_int_equal(redis_url_find(NULL, "redis://conf", &u, &source, &err), 0);
    assert_string_equal(source, "REDIS_URL");
    setenv("BUCKETLINE_REDIS_URL", "redis://ours", 1);
    assert_int_equal(redis_url_find(NULL, "redis://conf", &u, &source, &err), 0);
    assert_string_equal(u.host, "ours");
    assert_int_equal(redis_url_find("redis://flag", "redis://conf", &u, &source, &err), 0);
    assert_string_equal(source, "--url");

    setenv("BUCKETLINE_REDIS_URL", "nonsense", 1);
    assert_int_equal(redis_url_find(NULL, NULL, &u, &source, &err), -ERR_SYNTAX);
    assert_non_null(strstr(err.text, "BUCKETLINE_REDIS_URL: "));
    unlink(path);
    rmdir(dir);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_shows),
        cmocka_unit_test(refuses_and_leaves_the_output),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(no_error_quotes_a_password),
        cmocka_unit_test(show_cuts_and_terminates),
        cmocka_unit_test(wipes_the_password),
        cmocka_unit_test(finds_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
