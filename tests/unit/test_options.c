/* The option table is consistent, and its values mean the same read, printed and compared. */
#include "common/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/config.h"
#include "common/log.h"
#include "common/retry.h"

static void rows_are_complete_and_unique(void **state)
{
    (void)state;
    size_t count;
    const struct option *all = options_all(&count);
    assert_true(count > 40);
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &all[i];
        assert_ptr_equal(option_find(o->name), o);
        assert_non_null(o->help);
        assert_true(strlen(o->help) > 10);
        assert_true(o->min <= o->max);
        assert_int_equal(o->type == OPTION_ENUM, o->choices != NULL);
        bool is_queue = strncmp(o->name, "queues[].", 9) == 0;
        bool is_handler = strncmp(o->name, "handlers.*.", 11) == 0;
        assert_int_equal(o->scope, is_queue     ? OPTION_OF_QUEUE
                                   : is_handler ? OPTION_OF_HANDLER
                                                : OPTION_OF_CONFIG);
        assert_true(o->type >= OPTION_QUEUES || o->fallback != NULL || o->example != NULL);
        assert_non_null(option_type_name(o->type));
    }
}

/* A member of a section that stands apart from it would open the section twice when printed. */
static void sections_stand_together(void **state)
{
    (void)state;
    size_t count;
    const struct option *all = options_all(&count);
    for (size_t i = 0; i < count; i++) {
        size_t len = (size_t)(option_leaf(all[i].name) - all[i].name);
        bool left = false;
        for (size_t j = i; len > 0 && j < count; j++) {
            bool inside = strncmp(all[j].name, all[i].name, len) == 0;
            /* a section inside a handler does not end the handler */
            assert_false(left && inside && all[i].scope == OPTION_OF_CONFIG);
            left = left || !inside;
        }
    }
}

static void defaults_and_examples_are_valid(void **state)
{
    (void)state;
    size_t count;
    const struct option *all = options_all(&count);
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &all[i];
        if (o->type >= OPTION_LIST)
            continue;
        _Alignas(16) char base[sizeof(struct config) + sizeof(struct config_handler)] = {0};
        struct buf shown = BUF_INIT;
        struct err err = {0};
        option_reset(o, base);
        option_show(o, base, &shown);
        assert_int_equal(shown.len > 0, o->fallback != NULL);
        option_release(o, base);
        if (o->example != NULL && option_set(o, o->example, true, base, &err) < 0)
            fail_msg("%s: %s", o->name, err.text);
        option_release(o, base);
        buf_done(&shown);
    }
}

static void choices_are_those_of_the_enums(void **state)
{
    (void)state;
    const char *const *level = option_find("log.level")->choices;
    for (int i = 0; i <= LOG_DEBUG; i++)
        assert_string_equal(level[i], log_level_name((enum log_level)i));
    assert_null(level[LOG_DEBUG + 1]);
    const char *const *format = option_find("log.format")->choices;
    for (int i = 0; i <= LOG_JSON; i++)
        assert_string_equal(format[i], log_format_name((enum log_format)i));
    assert_null(format[LOG_JSON + 1]);
    const char *const *backoff = option_find("handlers.*.backoff.type")->choices;
    for (int i = 0; i <= BACKOFF_EXP; i++)
        assert_string_equal(backoff[i], backoff_type_name((enum backoff_type)i));
    assert_null(backoff[BACKOFF_EXP + 1]);
    assert_string_equal(option_find("on_lost")->choices[ON_LOST_STOP], "stop");
    const char *const *delivery = option_find("queues[].delivery")->choices;
    assert_string_equal(delivery[DELIVERY_AT_MOST_ONCE], "at-most-once");
}

/* The table's defaults are those other headers promise. */
static void defaults_agree_with_other_modules(void **state)
{
    (void)state;
    struct config_handler h = {0};
    static const struct backoff expected = BACKOFF_INIT;
    options_reset(OPTION_OF_HANDLER, &h);
    assert_int_equal(h.backoff.type, expected.type);
    assert_int_equal(h.backoff.base_ms, expected.base_ms);
    assert_true(h.backoff.jitter == expected.jitter);
    assert_int_equal(h.timeout_ms, -1);
    assert_int_equal(h.retries, -1);
    assert_int_equal(h.nice, 0);
    assert_null(h.exec);
    options_release(OPTION_OF_HANDLER, &h);
    assert_int_equal(option_find("handlers.*.retry")->max, RETRY_MAX);
}

static void values_read_and_print(void **state)
{
    (void)state;
    static const struct {
        const char *option, *text, *shown; /* shown NULL = refused */
    } cases[] = {
        {"runners", "7", "7"},
        {"runners", "007", NULL},
        {"runners", "7 ", NULL},
        {"runners", "", NULL},
        {"runners", "-", NULL},
        {"runners", "9223372036854775808", NULL},
        {"queues[].dead_max", "1000000000", "1000000000"},
        {"queues[].dead_max", "1000000001", NULL},
        {"timeout", "90", "1m30s"},
        {"timeout", "1.5", "1.5s"},
        {"timeout", "0.25s", "250ms"},
        {"timeout", "00", NULL},
        {"grace", "0", "0s"},
        {"recycle_rss", "65536", "64KiB"},
        {"recycle_rss", "64MB", "62500KiB"},
        {"recycle_rss", "1kB", "1000"},
        {"recycle_rss", "1KB", "1000"},
        {"recycle_rss", "12B", "12"},
        {"recycle_rss", "16TiB", "16TiB"},
        {"recycle_rss", "17TiB", NULL},
        {"recycle_rss", "18446744073709551616", NULL},
        {"recycle_rss", "64mib", NULL},
        {"recycle_rss", "MiB", NULL},
        {"handlers.*.backoff.jitter", "0", "0.0"},
        {"handlers.*.backoff.jitter", "1", "1.0"},
        {"handlers.*.backoff.jitter", "1.000000", "1.0"},
        {"handlers.*.backoff.jitter", "0.000001", "0.000001"},
        {"handlers.*.backoff.jitter", "1.000001", NULL},
        {"handlers.*.backoff.jitter", "99999999999999", NULL},
        {"on_lost", "stop", "stop"},
        {"on_lost", "", NULL},
        {"redis.verify", "false", "false"},
        {"redis.verify", "off", NULL},
        {"state_dir", "", "\"\""},
        {"pidfile", "", NULL},
        {"queues[].name", "a.b_c:d/e-f", "\"a.b_c:d/e-f\""},
        {"queues[].name", "a b", NULL},
        {"queues[].key", "a}", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct option *o = option_find(cases[i].option);
        _Alignas(16) char base[sizeof(struct config) + sizeof(struct config_handler)] = {0};
        struct buf shown = BUF_INIT;
        struct err err = {0};
        int rc = option_set(o, cases[i].text, true, base, &err);
        if ((rc == 0) != (cases[i].shown != NULL))
            fail_msg("%s: %s: %s", o->name, cases[i].text, err.text);
        if (rc == 0) {
            option_show(o, base, &shown);
            assert_string_equal(shown.data, cases[i].shown);
        } else {
            assert_non_null(strstr(err.text, option_label(o)));
        }
        option_release(o, base);
        buf_done(&shown);
    }
}

static void distance_counts_edits(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int distance;
    } cases[] = {{"", "", 0},
                 {"abc", "", 3},
                 {"runners", "runers", 1},
                 {"runners", "urnners", 1},
                 {"timeout", "timoeut", 1},
                 {"Queues", "queues", 0},
                 {"dead-after", "dead_after", 0},
                 {"kitten", "sitting", 3},
                 {"ab", "ba", 1}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(option_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(option_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char text[101];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(option_distance(text, "x"), 64);
    text[63] = '\0';
    assert_int_equal(option_distance(text, text), 0);
}

static void nearest_is_what_was_meant(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *key, *nearest;
    } cases[] = {
        {"", "queue", "queues"},
        {"", "runner", "runners"},
        {"", "shutdown-timeout", "shutdown_timeout"},
        {"", "shutdowntimeout", "shutdown_timeout"},
        {"", "url", "redis.url"},
        {"", "redis.url", "redis.url"},
        {"", "level", "log.level"},
        {"", "zebra", NULL},
        {"", "", NULL},
        {"redis.", "passwordfile", "password_file"},
        {"redis.", "pasword_file", "password_file"},
        {"queues[].", "wieght", "weight"},
        {"handlers.*.", "timout", "timeout"},
        {"handlers.*.", "limit", "limits"},
        {"handlers.*.limits.", "mem", "memory"},
        {"handlers.*.backoff.", "typ", "type"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char out[128];
        const char *nearest = option_nearest(cases[i].prefix, cases[i].key, out, sizeof out);
        if (cases[i].nearest == NULL)
            assert_null(nearest);
        else if (nearest == NULL)
            fail_msg("nothing is like %s", cases[i].key);
        else
            assert_string_equal(nearest, cases[i].nearest);
    }
    assert_string_equal(option_nearest_choice(option_find("log.level"), "warning"), "warn");
    assert_null(option_nearest_choice(option_find("log.level"), "loud"));
}

static void knows_sections(void **state)
{
    (void)state;
    assert_true(option_is_section("redis"));
    assert_true(option_is_section("handlers.*.limits"));
    assert_false(option_is_section("redis.url"));
    assert_false(option_is_section("red"));
    assert_string_equal(option_label(option_find("handlers.*.limits.cpu")), "limits.cpu");
    assert_string_equal(option_label(option_find("queues[].key")), "key");
    assert_string_equal(option_leaf("redis.url"), "url");
}

static void says_what_needs_a_restart(void **state)
{
    (void)state;
    struct config a, b;
    struct buf names = BUF_INIT;
    config_init(&a);
    config_init(&b);
    assert_int_equal(options_need_restart(&a, &b, &names), 0);
    b.runners++;
    b.timeout_ms++;
    assert_int_equal(options_need_restart(&a, &b, &names), 0);
    b.state_dir = xstrdup("/x");
    b.redis.verify = !b.redis.verify;
    free(b.redis.prefix);
    b.redis.prefix = xstrdup("p:");
    assert_int_equal(options_need_restart(&a, &b, &names), 3);
    assert_string_equal(names.data, "redis.prefix, redis.verify, state_dir");
    buf_done(&names);
    config_done(&a);
    config_done(&b);
}

static void lists_compare_by_content(void **state)
{
    (void)state;
    const struct option *o = option_find("plugins");
    char *one[] = {(char *)"a", (char *)"b", NULL}, *two[] = {(char *)"a", (char *)"b", NULL};
    char *three[] = {(char *)"a", NULL};
    struct config a = {.plugins = one, .plugin_count = 2}, b = {.plugins = two, .plugin_count = 2};
    assert_true(option_equal(o, &a, &b));
    b.plugins = three;
    assert_false(option_equal(o, &a, &b));
    assert_false(option_equal(o, &b, &a));
    b.plugins = NULL;
    assert_false(option_equal(o, &a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_complete_and_unique),
        cmocka_unit_test(sections_stand_together),
        cmocka_unit_test(defaults_and_examples_are_valid),
        cmocka_unit_test(choices_are_those_of_the_enums),
        cmocka_unit_test(defaults_agree_with_other_modules),
        cmocka_unit_test(values_read_and_print),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(nearest_is_what_was_meant),
        cmocka_unit_test(knows_sections),
        cmocka_unit_test(says_what_needs_a_restart),
        cmocka_unit_test(lists_compare_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
