/* The pure parts of what jobctl stands on: commands shown, queues found, letters mended, tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/inspect_json.h"
#include "common/repair.h"
#include "common/store_find.h"
#include "common/store_print.h"
#include "common/text_table.h"

/* ---- store_print ---- */

static void assert_prints(int argc, const char *const *argv, const char *expected)
{
    struct buf command = BUF_INIT, out = BUF_INIT;
    store_begin(&command, argc);
    for (int i = 0; i < argc; i++)
        store_arg_str(&command, argv[i]);
    assert_int_equal(store_print(buf_span(&command), &out, NULL), 0);
    assert_string_equal(out.data, expected);
    buf_done(&command);
    buf_done(&out);
}

#define ARGS(...)                                                                                  \
    (int)ARRAY_COUNT(((const char *[]){__VA_ARGS__})), (const char *const[])                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void test_commands_are_shown_as_typed(void **state)
{
    (void)state;
    assert_prints(ARGS("LPUSH", "queue:a", "{\"a\":\"b\\n\"}"),
                  "LPUSH queue:a '{\"a\":\"b\\n\"}'\n");
    assert_prints(ARGS("LPUSH", "queue a", "it's"), "LPUSH 'queue a' \"it's\"\n");
    assert_prints(ARGS("X", "", "a\nb'\"\\", "ends\\"), "X '' \"a\\x0ab'\\\"\\\\\" \"ends\\\\\"\n");
    assert_prints(ARGS("X", "gr\xc3\xbc\xc3\x9f", "\xff"), "X 'gr\xc3\xbc\xc3\x9f' \"\\xff\"\n");
}

static void test_what_is_no_command_is_not_shown(void **state)
{
    (void)state;
    const char *bad[] = {"x",
                         "*1\r\n",
                         "*1\r\n$3\r\nab\r\n",
                         "*1\r\n$1\r\naXX",
                         "*\r\n",
                         "*1\r\n$9999999999\r\na\r\n"};
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(store_print(SPAN_OF_STR(bad[i]), &out, NULL), -ERR_PROTOCOL);
        assert_int_equal(out.len, 0);
    }
    buf_done(&out);
}

/* ---- store_find ---- */

static void assert_found(enum store_find what, const char *prefix, const char *key,
                         const char *list, const char *name)
{
    struct span got_list, got_name;
    bool found = store_found_list(what, prefix, SPAN_OF_STR(key), &got_list, &got_name);
    if (found != (list != NULL))
        fail_msg("%s: %s", key, found ? "found" : "not found");
    if (list == NULL)
        return;
    assert_int_equal(got_list.len, strlen(list));
    assert_memory_equal(got_list.ptr, list, got_list.len);
    assert_int_equal(got_name.len, strlen(name));
    assert_memory_equal(got_name.ptr, name, got_name.len);
}

static void test_keys_tell_their_queue(void **state)
{
    (void)state;
    assert_found(FIND_LISTS, "", "queue:default", "queue:default", "default");
    assert_found(FIND_LISTS, "", "queue:", NULL, NULL);
    assert_found(FIND_LISTS, "", "tasks", NULL, NULL);
    assert_found(FIND_LISTS, "app:", "app:queue:x", "app:queue:x", "x");
    assert_found(FIND_LISTS, "app:", "queue:x", NULL, NULL);
    assert_found(FIND_COMPANIONS, "", "{queue:default}:run", "queue:default", "default");
    assert_found(FIND_COMPANIONS, "", "{tasks}:dead", "tasks", "tasks");
    assert_found(FIND_COMPANIONS, "app:", "{app:tasks}:retry", "app:tasks", "tasks");
    assert_found(FIND_COMPANIONS, "", "{queue:a}:hands", "queue:a", "a");
    assert_found(FIND_COMPANIONS, "", "{queue:a}:hand:0123456789abcdef", NULL, NULL);
    assert_found(FIND_COMPANIONS, "", "{bucketline:workers}:info", NULL, NULL);
    assert_found(FIND_COMPANIONS, "", "{a}:result:run", NULL, NULL);
    assert_found(FIND_COMPANIONS, "", "{}:run", NULL, NULL);
    assert_found(FIND_COMPANIONS, "", "{a{b}:run", NULL, NULL);
}

static void test_a_prefix_is_searched_literally(void **state)
{
    (void)state;
    struct buf command = BUF_INIT, out = BUF_INIT;
    store_cmd_find(&command, FIND_LISTS, "a*[b]", SPAN_OF_STR("0"));
    assert_int_equal(store_print(buf_span(&command), &out, NULL), 0);
    assert_non_null(strstr(out.data, "'a\\*\\[b\\]queue:*'"));
    buf_done(&command);
    buf_done(&out);
}

/* ---- repair ---- */

static void assert_mended(enum store_place place, const struct record *r, const char *expected)
{
    struct buf bytes = BUF_INIT, out = BUF_INIT;
    struct inspect_letter l = {.place = place};
    struct err err = {0};
    record_write(&bytes, r);
    record_parse(buf_span(&bytes), 64, &l.record);
    assert_int_equal(l.record.kind, r->kind);
    l.bytes = buf_span(&bytes);
    assert_int_equal(repair_record(&l, &out, &err), 0);
    assert_string_equal(out.data, expected);
    buf_done(&bytes);
    buf_done(&out);
}

static struct record a_dead_record(void)
{
    struct record r = RECORD_INIT;
    r.kind = RECORD_WRAPPED;
    r.job = SPAN_OF_STR("{\"type\":\"t\",\"args\":[ 12345678901234567890 ]}");
    strcpy(r.uid, "0123456789abcdef0123456789abcdef:1");
    strcpy(r.id, "j1");
    strcpy(r.reason, "retries-spent");
    r.attempt = 26;
    r.crashes = 2;
    r.lost = 1;
    r.dead_at_ms = 1795000000000;
    r.history = SPAN_OF_STR("[{\"kind\":\"failed\"}]");
    return r;
}

static void test_a_dead_letter_starts_anew(void **state)
{
    (void)state;
    struct record r = a_dead_record(), anew = r;
    struct buf expected = BUF_INIT;
    anew.attempt = anew.crashes = anew.lost = 0;
    anew.dead_at_ms = 0;
    anew.reason[0] = '\0';
    record_write(&expected, &anew);
    assert_non_null(strstr(expected.data, "\"history\""));
    assert_non_null(strstr(expected.data, "[ 12345678901234567890 ]"));
    assert_mended(PLACE_DEAD, &r, expected.data);
    buf_done(&expected);
}

static void test_a_parked_job_keeps_its_counters(void **state)
{
    (void)state;
    struct record r = a_dead_record(), same;
    struct buf expected = BUF_INIT;
    r.dead_at_ms = 0;
    r.parked_at_ms = 1795000000000;
    strcpy(r.reason, "unknown-type");
    same = r;
    same.parked_at_ms = 0;
    same.reason[0] = '\0';
    record_write(&expected, &same);
    assert_non_null(strstr(expected.data, "\"attempt\":26"));
    assert_mended(PLACE_PARKED, &r, expected.data);
    buf_done(&expected);
}

static void test_raw_bytes_come_back_as_pushed(void **state)
{
    (void)state;
    struct buf storage = BUF_INIT;
    struct record r;
    record_from_raw(SPAN_OF_STR("{\"type\":"), &storage, &r);
    assert_mended(PLACE_DEAD, &r, "{\"type\":");
    buf_clear(&storage);
    record_from_raw(SPAN_OF_STR("\xff\xfe"), &storage, &r);
    assert_mended(PLACE_DEAD, &r, "\xff\xfe");
    buf_done(&storage);
}

static void test_what_is_newer_stays(void **state)
{
    (void)state;
    struct inspect_letter l = {.place = PLACE_PARKED, .record = {.kind = RECORD_NEWER}};
    struct buf out = BUF_INIT;
    assert_int_equal(repair_record(&l, &out, NULL), -ERR_NEWER);
    assert_int_equal(out.len, 0);
}

/* ---- JSON ---- */

static void test_a_document_is_shown_as_it_is(void **state)
{
    (void)state;
    struct store_queue q = {.name = "default", .list = "queue:default"};
    const char text[] = "{\"type\":\"t\",\"args\":{\"n\":12345678901234567890,\"x\":0.1,\"e\":[]}}";
    struct inspect_letter l = {.queue = &q,
                               .place = PLACE_DEAD,
                               .record = a_dead_record(),
                               .document = SPAN_OF_STR(text),
                               .id = "j1",
                               .type = "t"};
    json_t *o = inspect_letter_json(&l);
    assert_string_equal(json_string_value(json_object_get(o, "document")), text);
    assert_int_equal(json_integer_value(json_object_get(o, "attempt")), 26);
    assert_string_equal(json_string_value(json_object_get(o, "dead_at")),
                        "2026-11-18T11:06:40.000Z");
    assert_true(json_is_array(json_object_get(o, "history")));
    json_decref(o);

    l.document = SPAN_OF_STR("\xff\xfe");
    o = inspect_letter_json(&l);
    assert_null(json_object_get(o, "document"));
    assert_string_equal(json_string_value(json_object_get(o, "document_base64")), "//4=");
    json_decref(o);
}

/* ---- tables ---- */

static void test_columns_align(void **state)
{
    (void)state;
    static const struct table_column columns[] = {
        {"NAME", false, 6}, {"N", true, 0}, {"LAST", false, 0}, {NULL, false, 0}};
    struct text_table t;
    struct buf out = BUF_INIT;
    table_init(&t, columns);
    table_flush(&t, &out);
    assert_int_equal(out.len, 0);
    table_cell_str(&t, "gr\xc3\xbc\xc3\x9f", &out);
    table_cell_int(&t, 12345, &out);
    table_cell_str(&t, "", &out);
    table_cell_str(&t, "abcdefghij", &out);
    table_cell_int(&t, 7, &out);
    table_cell_str(&t, "x\x1b[2J\ny\xc2\x9b \n", &out);
    table_flush(&t, &out);
    assert_string_equal(out.data, "NAME        N  LAST\n"
                                  "gr\xc3\xbc\xc3\x9f    12345  -\n"
                                  "abc...      7  x?[2J y?\n");
    table_done(&t);
    buf_done(&out);
}

static void test_a_long_table_is_not_held(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"N", true, 0}, {NULL, false, 0}};
    struct text_table t;
    struct buf out = BUF_INIT;
    int lines = 0;
    table_init(&t, columns);
    for (int i = 0; i < 3 * TABLE_ROWS + 1; i++)
        table_cell_int(&t, i, &out);
    assert_int_equal(t.cell_count, 1);
    table_flush(&t, &out);
    for (const char *p = out.data; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 3 * TABLE_ROWS + 2);
    table_done(&t);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_shown_as_typed),
        cmocka_unit_test(test_what_is_no_command_is_not_shown),
        cmocka_unit_test(test_keys_tell_their_queue),
        cmocka_unit_test(test_a_prefix_is_searched_literally),
        cmocka_unit_test(test_a_dead_letter_starts_anew),
        cmocka_unit_test(test_a_parked_job_keeps_its_counters),
        cmocka_unit_test(test_raw_bytes_come_back_as_pushed),
        cmocka_unit_test(test_what_is_newer_stays),
        cmocka_unit_test(test_a_document_is_shown_as_it_is),
        cmocka_unit_test(test_columns_align),
        cmocka_unit_test(test_a_long_table_is_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
