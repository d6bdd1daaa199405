/* worker.yaml read and printed.  tests/data/config/{valid,invalid}/NAME holds input.yaml and what
 * must come of it: the configuration printed, or the messages.  With BUCKETLINE_ACCEPT=1 the
 * expectations and the shipped worker.yaml are written instead of compared; read the difference
 * before you commit it. */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *source_dir(void)
{
    const char *dir = getenv("BUCKETLINE_SOURCE");
    return dir != NULL ? dir : ".";
}

static void read_whole(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot open %s (run from the root, or set BUCKETLINE_SOURCE)", path);
    size_t n;
    while ((n = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0)
        buf_grown(out, n);
    fclose(f);
}

static void write_whole(const char *path, const struct buf *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text->data, 1, text->len, f), text->len);
    assert_int_equal(fclose(f), 0);
}

static void expect_file(const char *path, const struct buf *got)
{
    if (getenv("BUCKETLINE_ACCEPT") != NULL) {
        write_whole(path, got);
        return;
    }
    struct buf expected = BUF_INIT;
    read_whole(path, &expected);
    if (expected.len != got->len || memcmp(expected.data, got->data, got->len) != 0)
        fail_msg("%s differs; got:\n%s", path, got->data);
    buf_done(&expected);
}

static void show_errors(const struct config_errors *errors, struct buf *out)
{
    for (int i = 0; i < errors->count; i++) {
        char line[1024];
        buf_printf(out, "%s\n", err_format(&errors->items[i], line, sizeof line));
    }
}

static int load(const char *text, struct config *ret, struct buf *messages)
{
    struct config_errors errors;
    int rc = config_load_text("input.yaml", "/etc/bucketline", SPAN_OF_STR(text), ret, &errors);
    show_errors(&errors, messages);
    config_errors_done(&errors);
    return rc;
}

static void load_ok(const char *text, struct config *ret)
{
    struct buf messages = BUF_INIT;
    if (load(text, ret, &messages) < 0)
        fail_msg("%s\n%s", text, messages.data);
    assert_string_equal(messages.data, "");
    buf_done(&messages);
}

/* What a runner gets, it prints the same. */
static void expect_stable(const struct config *c)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct config again = {0};
    config_print(c, true, &first);
    load_ok(first.data, &again);
    config_print(&again, true, &second);
    assert_string_equal(first.data, second.data);
    config_done(&again);
    buf_done(&first);
    buf_done(&second);
}

static void run_case(const char *dir, const char *name, bool valid)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT, got = BUF_INIT;
    snprintf(path, sizeof path, "%s/%s/input.yaml", dir, name);
    read_whole(path, &text);
    struct config c = {0};
    struct config_errors errors;
    int rc = config_load_text("input.yaml", "/etc/bucketline", buf_span(&text), &c, &errors);
    show_errors(&errors, &got);
    config_errors_done(&errors);
    if ((rc == 0) != valid)
        fail_msg("%s: returned %s\n%s", path, err_name(rc), got.data);
    if (valid) {
        assert_int_equal(got.len, 0);
        config_print(&c, false, &got);
        expect_stable(&c);
        config_done(&c);
    } else {
        assert_int_equal(rc, -ERR_INVALID);
    }
    assert_null(strstr(got.data, "s3cret"));
    assert_null(strstr(got.data, "hunter2"));
    snprintf(path, sizeof path, "%s/%s/expected", dir, name);
    expect_file(path, &got);
    buf_done(&text);
    buf_done(&got);
}

static void run_cases(const char *kind, bool valid, int at_least)
{
    char dir[PATH_MAX - 300];
    snprintf(dir, sizeof dir, "%s/tests/data/config/%s", source_dir(), kind);
    DIR *d = opendir(dir);
    if (d == NULL)
        fail_msg("cannot open %s (run from the root, or set BUCKETLINE_SOURCE)", dir);
    int count = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.') {
            run_case(dir, e->d_name, valid);
            count++;
        }
    closedir(d);
    assert_true(count >= at_least);
}

static void valid_files_print_as_expected(void **state)
{
    (void)state;
    run_cases("valid", true, 10);
}

static void invalid_files_give_all_their_errors(void **state)
{
    (void)state;
    run_cases("invalid", false, 80);
}

static void defaults_are_the_documented_ones(void **state)
{
    (void)state;
    struct config c = {0};
    load_ok("queues: [default]", &c);
    assert_null(c.redis.url);
    assert_string_equal(c.redis.prefix, "");
    assert_true(c.redis.verify);
    assert_int_equal(c.redis.connect_timeout_ms, 5000);
    assert_int_equal(c.redis.reply_timeout_ms, 4000);
    assert_int_equal(c.queue_count, 1);
    assert_string_equal(c.queues[0].key, "queue:default");
    assert_int_equal(c.queues[0].line, 1);
    assert_true(c.runners >= 2 && c.runners <= 1000);
    assert_int_equal(c.plugin_count, 0);
    assert_int_equal(c.handler_count, 0);
    assert_null(c.state_dir);
    assert_null(c.pidfile);
    assert_null(c.user);
    assert_int_equal(c.on_lost, ON_LOST_FINISH);
    assert_int_equal(c.shutdown_timeout_ms, 8000);
    assert_int_equal(c.grace_ms, 5000);
    assert_int_equal(c.timeout_ms, 30 * 60 * 1000);
    assert_int_equal(c.dead_after_ms, 10000);
    assert_int_equal(c.beat_ms, 2000);
    assert_int_equal(c.recycle_after, 100000);
    assert_int_equal(c.recycle_rss_bytes, 512 * 1024 * 1024);
    assert_int_equal(c.result_max_bytes, 64 * 1024);
    assert_int_equal(c.max_snoozes, 1000);
    assert_int_equal(c.park_ms, INT64_C(7) * 86400 * 1000);
    assert_int_equal(c.limits.document_bytes, 1024 * 1024);
    assert_int_equal(c.limits.nesting, 64);
    assert_int_equal(c.log.level, LOG_INFO);
    assert_int_equal(c.log.format, LOG_LOGFMT);
    assert_string_equal(c.directory, "/etc/bucketline");
    assert_string_equal(c.path, "");
    config_done(&c);
}

static void handler_settings_are_read(void **state)
{
    (void)state;
    struct config c = {0};
    config_init(&c); /* what it holds is replaced */
    load_ok("queues: [q]\n"
            "handlers:\n"
            "  report: {exec: [/usr/bin/python3, report.py], timeout: 30s, retry: 3,\n"
            "           backoff: {type: exp, base: 2, max: 600}}\n"
            "  plain: {}\n"
            "  slow: {backoff: {type: fixed, base: 3d}}\n"
            "  near: {exec: [./bin/x], env: {A: b}}\n",
            &c);
    const struct config_handler *h = config_handler_find(&c, "report");
    assert_string_equal(h->exec[0], "/usr/bin/python3");
    assert_string_equal(h->exec[1], "report.py");
    assert_null(h->exec[2]);
    assert_int_equal(h->exec_count, 2);
    assert_int_equal(h->timeout_ms, 30000);
    assert_int_equal(h->retries, 3);
    assert_true(h->has_backoff);
    assert_int_equal(h->backoff.type, BACKOFF_EXP);
    assert_int_equal(h->backoff.base_ms, 2000);
    assert_int_equal(h->backoff.max_ms, 600000);
    assert_int_equal(h->line, 3);
    h = config_handler_find(&c, "plain");
    assert_null(h->exec);
    assert_int_equal(h->timeout_ms, -1);
    assert_int_equal(h->retries, -1);
    assert_false(h->has_backoff);
    h = config_handler_find(&c, "slow");
    assert_int_equal(h->backoff.max_ms, INT64_C(3) * 86400 * 1000);
    h = config_handler_find(&c, "near");
    assert_string_equal(h->exec[0], "/etc/bucketline/bin/x");
    assert_string_equal(h->env[0], "A=b");
    assert_null(h->env[1]);
    assert_null(config_handler_find(&c, "other"));
    assert_string_equal(config_queue_find(&c, "q")->key, "queue:q");
    assert_null(config_queue_find(&c, "other"));
    config_done(&c);
}

static void failure_leaves_the_output_untouched(void **state)
{
    (void)state;
    struct config c = {.runners = 77};
    struct config before = c;
    struct buf messages = BUF_INIT;
    assert_int_equal(load("runners: 5\n", &c, &messages), -ERR_INVALID);
    assert_memory_equal(&c, &before, sizeof c);
    buf_done(&messages);
}

static void shipped_file_is_the_sample(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct buf sample = BUF_INIT;
    config_sample(&sample);
    snprintf(path, sizeof path, "%s/worker.yaml", source_dir());
    expect_file(path, &sample);
    for (char *line = sample.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        assert_true(end - line <= 100);
    buf_done(&sample);
}

static void sample_loads_to_the_defaults(void **state)
{
    (void)state;
    struct buf sample = BUF_INIT, a = BUF_INIT, b = BUF_INIT;
    struct config c = {0}, bare = {0};
    config_sample(&sample);
    load_ok(sample.data, &c);
    load_ok("queues: [critical, default, {name: mail, key: task_queue}]\n"
            "redis: {url: redis://127.0.0.1:6379/0}\n"
            "plugins: [build/jobs/*.so]\n"
            "handlers:\n"
            "  report: {exec: [/usr/bin/python3, jobs/report.py], timeout: 30s, retry: 3,\n"
            "           backoff: {type: exp, base: 2, max: 600}}\n",
            &bare);
    config_print(&c, false, &a);
    config_print(&bare, false, &b);
    assert_string_equal(a.data, b.data);
    config_done(&c);
    config_done(&bare);
    buf_done(&sample);
    buf_done(&a);
    buf_done(&b);
}

/* A `#` that stands directly before a name is an example, and taking it away must work. */
static void examples_of_the_sample_are_valid(void **state)
{
    (void)state;
    struct buf sample = BUF_INIT;
    struct config c = {0};
    config_sample(&sample);
    int examples = 0;
    for (char *p = strchr(sample.data, '#'); p != NULL; p = strchr(p + 1, '#')) {
        size_t back = 0;
        while (p - back > sample.data && p[-1 - (ptrdiff_t)back] == ' ')
            back++;
        bool begins_line = p - back == sample.data || p[-1 - (ptrdiff_t)back] == '\n';
        if (!begins_line || p[1] == ' ')
            continue;
        memmove(p, p + 1, strlen(p));
        examples++;
    }
    assert_true(examples >= 10);
    load_ok(sample.data, &c);
    assert_string_equal(c.pidfile, "/run/bucketline/worker.pid");
    assert_string_equal(config_handler_find(&c, "report")->env[0], "LANG=C.UTF-8");
    config_done(&c);
    buf_done(&sample);
}

/* Double quotes by the book, independent of what is tested. */
static void quote(const struct buf *value, struct buf *out)
{
    static const struct {
        const char *bytes, *escape;
    } escapes[] = {{"\"", "\\\""},
                   {"\\", "\\\\"},
                   {"\xc2\x85", "\\N"},
                   {"\xe2\x80\xa8", "\\L"},
                   {"\xe2\x80\xa9", "\\P"},
                   {"\xef\xbb\xbf", "\\uFEFF"},
                   {"\xef\xbf\xbe", "\\uFFFE"}};
    for (const char *p = value->data; *p != '\0';) {
        size_t i = 0;
        while (i < ARRAY_COUNT(escapes) &&
               strncmp(p, escapes[i].bytes, strlen(escapes[i].bytes)) != 0)
            i++;
        if (i < ARRAY_COUNT(escapes)) {
            buf_add_str(out, escapes[i].escape);
            p += strlen(escapes[i].bytes);
        } else if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            buf_printf(out, "\\x%02x", *p++);
        } else {
            buf_add_char(out, *p++);
        }
    }
}

/* Strings of pieces that YAML could misread, through the file, the struct, the print and back. */
static void awkward_strings_survive(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\"",
                                         "'",
                                         "\\",
                                         ":",
                                         ": ",
                                         " #",
                                         "#",
                                         "\n",
                                         "\r",
                                         "\t",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         "-",
                                         "- ",
                                         "?",
                                         "|",
                                         ">",
                                         "!",
                                         "&",
                                         "*",
                                         "%",
                                         "@",
                                         "`",
                                         "~",
                                         "null",
                                         "true",
                                         "1e3",
                                         "=",
                                         " ",
                                         "  ",
                                         "\x01",
                                         "\x1b",
                                         "\x7f",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xc3\xbc",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xef\xbb\xbf",
                                         "\xef\xbf\xbe",
                                         "\xe6\x97\xa5",
                                         "\xf0\x9f\x9a\x80",
                                         "a",
                                         "\\n",
                                         "...",
                                         "---",
                                         "<<",
                                         "${X}",
                                         "%41"};
    unsigned seed = 12345;
    for (int round = 0; round < 500; round++) {
        struct buf text = BUF_INIT, value = BUF_INIT, quoted = BUF_INIT;
        int count = (seed = seed * 1103515245 + 12345) >> 16 & 7;
        buf_add_char(&value, 'x');
        for (int i = 0; i < count; i++) {
            seed = seed * 1103515245 + 12345;
            buf_add_str(&value, pieces[(seed >> 16) % ARRAY_COUNT(pieces)]);
        }
        if ((round & 1) != 0 && count > 0)
            buf_consume(&value, 1); /* half of them begin with a piece */
        quote(&value, &quoted);
        buf_printf(&text,
                   "queues: [q]\nuser: \"%s\"\nplugins: [\"%s\"]\n"
                   "handlers: {h: {exec: [x, \"%s\"], env: {V: \"%s\"}}}\n",
                   quoted.data, quoted.data, quoted.data, quoted.data);
        struct config c = {0};
        load_ok(text.data, &c);
        assert_string_equal(c.user, value.data);
        assert_string_equal(c.plugins[0], value.data);
        assert_string_equal(c.handlers[0].exec[1], value.data);
        assert_string_equal(c.handlers[0].env[0] + 2, value.data);
        struct buf printed = BUF_INIT;
        struct config again = {0};
        config_print(&c, true, &printed);
        load_ok(printed.data, &again);
        assert_string_equal(again.user, value.data);
        assert_string_equal(again.handlers[0].env[0] + 2, value.data);
        config_done(&again);
        expect_stable(&c);
        config_done(&c);
        buf_done(&printed);
        buf_done(&text);
        buf_done(&value);
        buf_done(&quoted);
    }
}

static void passwords_are_not_printed(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"redis://h:1/2", "redis://h:1/2"},
        {"redis://:s3cret@h", "redis://:***@h"},
        {"redis://u:s3cret@h:1/2", "redis://u:***@h:1/2"},
        {"rediss://u:s3cr%40et@h", "rediss://u:***@h"},
        {"redis://u@h:1", "redis://u@h:1"},
        {"unix:///a/b?db=1&password=s3cret", "unix:///a/b?db=1&password=***"},
        {"unix:///a/b?password=s3cret&db=1", "unix:///a/b?password=***&db=1"},
        {"unix:///a:b@c", "unix:///a:b@c"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf text = BUF_INIT, out = BUF_INIT, line = BUF_INIT;
        struct config c = {0};
        buf_printf(&text, "queues: [q]\nredis: {url: \"%s\"}\n", cases[i].url);
        buf_printf(&line, "  url: \"%s\"\n", cases[i].shown);
        load_ok(text.data, &c);
        assert_string_equal(c.redis.url, cases[i].url);
        config_print(&c, false, &out);
        if (strstr(out.data, line.data) == NULL || strstr(out.data, "s3c") != NULL)
            fail_msg("%s", out.data);
        buf_clear(&out);
        config_print(&c, true, &out);
        assert_null(strstr(out.data, "redis"));
        config_done(&c);
        buf_done(&text);
        buf_done(&out);
        buf_done(&line);
    }
}

static void hostile_sizes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *head, *repeated, *message;
    } cases[] = {
        {"queues: ", "[", "nested more than 32 levels deep"},
        {"queues: ", "{a: ", "nested more than 32 levels deep"},
        {"queues: [q]\nuser: ", "xxxxxxxxxx", "`user` is longer than"},
        {"queues:\n", "- a\n", "`queues` has more than 1024 entries"},
        {"queues: [q]\nplugins:\n", " - a\n", "`plugins` has more than 256 entries"},
        {"queues: [q]\nhandlers:\n  x:\n    exec:\n", "      - a\n", "more than 1024 entries"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf text = BUF_INIT, messages = BUF_INIT;
        struct config c = {0};
        buf_add_str(&text, cases[i].head);
        while (text.len < 100000)
            buf_add_str(&text, cases[i].repeated);
        assert_int_equal(load(text.data, &c, &messages), -ERR_INVALID);
        if (strstr(messages.data, cases[i].message) == NULL)
            fail_msg("%s", messages.data);
        buf_done(&text);
        buf_done(&messages);
    }
}

static void files_load_from_their_directory(void **state)
{
    (void)state;
    char dir[] = "/tmp/bucketline-config-XXXXXX", cwd[PATH_MAX], path[PATH_MAX];
    assert_non_null(mkdtemp(dir));
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(dir), 0);
    struct err err = {0};
    bool installed = access("/etc/bucketline/worker.yaml", F_OK) == 0;
    assert_int_equal(config_find(path, sizeof path, &err), installed ? 0 : -ERR_NOT_FOUND);
    if (!installed) {
        assert_non_null(strstr(err.text, "./worker.yaml"));
        assert_non_null(strstr(err.text, "/etc/bucketline/worker.yaml"));
    }
    struct buf text = BUF_INIT;
    buf_add_str(&text, "queues: [q]\nstate_dir: ./state\npidfile: /run/x\n");
    write_whole("worker.yaml", &text);
    err = (struct err){0};
    assert_int_equal(config_find(path, sizeof path, &err), 0);
    assert_string_equal(path, "./worker.yaml");
    assert_int_equal(mkdir("sub", 0700), 0);
    write_whole("sub/w.yaml", &text);
    char absolute[PATH_MAX], state_dir[PATH_MAX];
    snprintf(absolute, sizeof absolute, "%s/sub/w.yaml", dir);
    const char *const paths[] = {"./worker.yaml", "worker.yaml", "sub/w.yaml", "./sub/w.yaml",
                                 absolute};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct config c = {0};
        struct config_errors errors;
        assert_int_equal(config_load(paths[i], &c, &errors), 0);
        snprintf(state_dir, sizeof state_dir, "%s%s/state", dir, i < 2 ? "" : "/sub");
        assert_string_equal(c.state_dir, state_dir);
        assert_string_equal(c.pidfile, "/run/x");
        assert_string_equal(c.path, paths[i]);
        config_done(&c);
    }
    buf_done(&text);
    assert_int_equal(unlink("worker.yaml") + unlink("sub/w.yaml") + rmdir("sub"), 0);
    assert_int_equal(chdir(cwd), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void unreadable_files_are_named(void **state)
{
    (void)state;
    struct config c = {0};
    struct config_errors errors;
    char line[1024];
    assert_int_equal(config_load("/nonexistent/w.yaml", &c, &errors), -ERR_INVALID);
    assert_int_equal(errors.count, 1);
    assert_string_equal(err_format(&errors.items[0], line, sizeof line),
                        "/nonexistent/w.yaml: cannot open it: No such file or directory");
    config_errors_done(&errors);
    assert_int_equal(config_load("/", &c, &errors), -ERR_INVALID);
    assert_string_equal(err_format(&errors.items[0], line, sizeof line),
                        "/: cannot read it: Is a directory");
    config_errors_done(&errors);
    assert_int_equal(config_load("/dev/zero", &c, &errors), -ERR_INVALID);
    assert_string_equal(err_format(&errors.items[0], line, sizeof line),
                        "/dev/zero:1:1: larger than 1024 KiB");
    config_errors_done(&errors);
}

static void directory_must_be_text(void **state)
{
    (void)state;
    struct config c = {0};
    struct config_errors errors;
    assert_int_equal(config_load_text("f", "/tmp/\xff", SPAN_OF_STR("queues: [q]"), &c, &errors),
                     -ERR_INVALID);
    assert_non_null(strstr(errors.items[0].text, "UTF-8"));
    config_errors_done(&errors);
}

static void done_is_fine_on_nothing(void **state)
{
    (void)state;
    struct config c = {0};
    struct config_errors e = {0};
    config_done(&c);
    config_errors_done(&e);
    config_init(&c);
    config_done(&c);
    config_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_files_print_as_expected),
        cmocka_unit_test(invalid_files_give_all_their_errors),
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(handler_settings_are_read),
        cmocka_unit_test(failure_leaves_the_output_untouched),
        cmocka_unit_test(shipped_file_is_the_sample),
        cmocka_unit_test(sample_loads_to_the_defaults),
        cmocka_unit_test(examples_of_the_sample_are_valid),
        cmocka_unit_test(awkward_strings_survive),
        cmocka_unit_test(passwords_are_not_printed),
        cmocka_unit_test(hostile_sizes_are_refused),
        cmocka_unit_test(files_load_from_their_directory),
        cmocka_unit_test(unreadable_files_are_named),
        cmocka_unit_test(directory_must_be_text),
        cmocka_unit_test(done_is_fine_on_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
