#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/hazard.h"

static const struct store_info good = {
    .version = "7.0.15",
    .version_num = 70015,
    .is_master = true,
    .aof = true,
    .maxmemory_policy = "noeviction",
};

static struct hazard_facts facts_of(const struct store_info *info)
{
    return (struct hazard_facts){
        .info = info,
        .has_appendfsync = true,
        .appendfsync = "always",
        .has_save = true,
        .round_trip_us = 100,
        .has_skew = true,
        .skew_ms = 3,
    };
}

static void nothing_to_say(void **state)
{
    struct hazard list[HAZARD_MAX];
    (void)state;
    struct hazard_facts f = facts_of(&good);
    assert_int_equal(hazard_list(&f, list), 0);
}

static void assert_only(const struct hazard_facts *f, enum hazard_grade grade, const char *words)
{
    struct hazard list[HAZARD_MAX];
    assert_int_equal(hazard_list(f, list), 1);
    assert_int_equal(list[0].grade, grade);
    assert_non_null(strstr(list[0].text, words));
    assert_true(strlen(list[0].text) < HAZARD_TEXT_BYTES - 1); /* not cut */
}

static void servers(void **state)
{
    (void)state;
    struct store_info i = good;
    struct hazard_facts f = facts_of(&i);
    strcpy(i.version, "6.0.16");
    i.version_num = 60016;
    assert_only(&f, HAZARD_STOP, "6.0.16 is too old");
    i.version_num = 60200;
    assert_int_equal(hazard_list(&f, (struct hazard[HAZARD_MAX]){0}), 0);
    i.version_num = 0; /* a server that calls itself something else */
    assert_int_equal(hazard_list(&f, (struct hazard[HAZARD_MAX]){0}), 0);
    i.is_master = false;
    assert_only(&f, HAZARD_STOP, "replica");
}

static void memory(void **state)
{
    (void)state;
    struct store_info i = good;
    struct hazard_facts f = facts_of(&i);
    strcpy(i.maxmemory_policy, "volatile-lru");
    assert_only(&f, HAZARD_WARN, "once maxmemory is set");
    i.maxmemory = 1;
    assert_only(&f, HAZARD_WARN, "may throw jobs away");
    i.maxmemory_policy[0] = '\0';
    assert_only(&f, HAZARD_NOTE, "could not be read");
}

static void persistence(void **state)
{
    (void)state;
    struct store_info i = good;
    struct hazard_facts f = facts_of(&i);
    strcpy(f.appendfsync, "everysec");
    assert_only(&f, HAZARD_NOTE, "2 s");
    strcpy(f.appendfsync, "no");
    assert_only(&f, HAZARD_WARN, "30 s");
    f.has_appendfsync = false;
    assert_only(&f, HAZARD_NOTE, "could not be read");
    i.aof = false;
    assert_only(&f, HAZARD_WARN, "every job");
    strcpy(f.save, "3600 1 300 100 60 10000");
    assert_only(&f, HAZARD_WARN, "save 3600 1 300 100 60 10000");
    f.has_save = false;
    assert_only(&f, HAZARD_WARN, "save points could not be read");
    i.aof = f.has_appendfsync = true;
    strcpy(f.appendfsync, "always");
    i.write_failed = true;
    assert_only(&f, HAZARD_WARN, "write to disk failed");
}

static void time_and_distance(void **state)
{
    (void)state;
    struct hazard_facts f = facts_of(&good);
    f.skew_ms = 999;
    assert_int_equal(hazard_list(&f, (struct hazard[HAZARD_MAX]){0}), 0);
    f.skew_ms = 1500;
    assert_only(&f, HAZARD_WARN, "1.5 s ahead of");
    f.skew_ms = -61000;
    assert_only(&f, HAZARD_WARN, "61.0 s behind");
    f.has_skew = false;
    f.round_trip_us = 80000;
    assert_only(&f, HAZARD_WARN, "80 ms");
    assert_int_equal(hazard_skew_ms(1000, 1200, 1100), 0);
    assert_int_equal(hazard_skew_ms(1000, 1200, 600), 500);
}

static void the_gravest_is_first(void **state)
{
    (void)state;
    struct store_info i = {.version = "5.0.0", .version_num = 50000};
    struct hazard_facts f = {.info = &i, .round_trip_us = -1};
    struct hazard list[HAZARD_MAX];
    int n = hazard_list(&f, list);
    assert_int_equal(n, 4);
    for (int k = 1; k < n; k++)
        assert_true(list[k].grade <= list[k - 1].grade);
    assert_int_equal(list[0].grade, HAZARD_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_say),
        cmocka_unit_test(servers),
        cmocka_unit_test(memory),
        cmocka_unit_test(persistence),
        cmocka_unit_test(time_and_distance),
        cmocka_unit_test(the_gravest_is_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
