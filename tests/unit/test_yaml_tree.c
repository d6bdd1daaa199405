/* The tree libyaml's events become: places, and everything that is refused. */
#include "common/yaml_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

static void on_problem(void *arg, const struct err *problem)
{
    char line[1024];
    buf_add_str(arg, err_format(problem, line, sizeof line));
    buf_add_char(arg, '\n');
}

static int read_span(struct span text, struct yaml_node **ret_root, struct buf *problems)
{
    return yaml_tree_read("f", text, on_problem, problems, ret_root);
}

static void reads_maps_lists_and_texts_with_places(void **state)
{
    (void)state;
    static const char text[] =
        "a: 1\nlist:\n  - x\n  - 'y z'\nmap: {k: \"v\", \"\xc3\xbc\": [~]}\n";
    struct buf problems = BUF_INIT;
    struct yaml_node *root = NULL;
    assert_int_equal(read_span(SPAN_OF_STR(text), &root, &problems), 0);
    assert_string_equal(problems.data, "");
    assert_int_equal(root->kind, YAML_MAP);
    const struct yaml_node *a = yaml_tree_get(root, "a");
    assert_string_equal(a->text, "1");
    assert_true(a->plain);
    assert_int_equal(a->line, 1);
    assert_int_equal(a->col, 4);
    assert_int_equal(a->key_col, 1);
    const struct yaml_node *list = yaml_tree_get(root, "list");
    assert_int_equal(list->kind, YAML_LIST);
    assert_int_equal(list->first->line, 3);
    assert_int_equal(list->first->col, 5);
    assert_string_equal(list->last->text, "y z");
    assert_false(list->last->plain);
    const struct yaml_node *inner = yaml_tree_get(yaml_tree_get(root, "map"), "\xc3\xbc");
    assert_int_equal(inner->key_line, 5);
    assert_int_equal(inner->key_col, 15);
    assert_int_equal(inner->col, 20);
    assert_true(yaml_tree_is_null(inner->first));
    assert_null(yaml_tree_get(root, "nothing"));
    assert_null(yaml_tree_get(list, "x"));
    assert_null(yaml_tree_get(NULL, "x"));
    yaml_tree_free(root);
    buf_done(&problems);
}

static void knows_what_is_no_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_null;
    } cases[] = {{"a:", true},      {"a: ~", true},   {"a: null", true}, {"a: \"\"", false},
                 {"a: '~'", false}, {"a: []", false}, {"a: nil", false}, {"a: {}", false}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf problems = BUF_INIT;
        struct yaml_node *root = NULL;
        assert_int_equal(read_span(SPAN_OF_STR(cases[i].text), &root, &problems), 0);
        assert_int_equal(yaml_tree_is_null(root->first), cases[i].is_null);
        yaml_tree_free(root);
        buf_done(&problems);
    }
}

static void empty_text_has_no_tree(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# only this\n", "\n\n", "\xef\xbb\xbf"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct buf problems = BUF_INIT;
        struct yaml_node *root = NULL;
        assert_int_equal(read_span(SPAN_OF_STR(texts[i]), &root, &problems), 0);
        assert_null(root);
        buf_done(&problems);
    }
    struct buf problems = BUF_INIT;
    struct yaml_node *root = NULL;
    assert_int_equal(read_span((struct span){NULL, 0}, &root, &problems), 0);
    assert_null(root);
    buf_done(&problems);
}

static void refuses_with_code_and_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *problem; /* its beginning */
    } cases[] = {
        {"a: &x 1", ERR_UNSUPPORTED, "f:1:4: an anchor"},
        {"a: &x [1]", ERR_UNSUPPORTED, "f:1:4: an anchor"},
        {"a: &x {b: 1}", ERR_UNSUPPORTED, "f:1:4: an anchor"},
        {"&k a: 1", ERR_UNSUPPORTED, "f:1:1: an anchor"},
        {"a: *x", ERR_UNSUPPORTED, "f:1:4: an alias"},
        {"a: !!str 1", ERR_UNSUPPORTED, "f:1:4: a tag"},
        {"a: ! 1", ERR_UNSUPPORTED, "f:1:4: a tag"},
        {"a: !t [1]", ERR_UNSUPPORTED, "f:1:4: a tag"},
        {"a: 1\n---\nb: 1\n", ERR_UNSUPPORTED, "f:2:1: a second document"},
        {"a: 1\n...\n---\n", ERR_UNSUPPORTED, "f:3:1: a second document"},
        {"a:\n\tb: 1", ERR_SYNTAX, "f:2:1: a tab"},
        {"a:\n  \tb: 1", ERR_SYNTAX, "f:2:3: a tab"},
        {"-\tb: 1", ERR_SYNTAX, "f:1:2: a tab"},
        {"[a]: 1", ERR_TYPE, "f:1:1: a list or a map where a key must stand"},
        {"a: [1", ERR_SYNTAX, "f:2:1: did not find expected"},
        {"a: b: c", ERR_SYNTAX, "f:1:5: mapping values are not allowed"},
        {"a: \xff", ERR_SYNTAX, "f:1:4: byte 0xff"},
        {"a: \xe2\x82", ERR_SYNTAX, "f:1:4: byte 0xe2"},
        {"a: \xf4\x90\x80\x80", ERR_SYNTAX, "f:1:4: byte 0xf4"},
        {"\xc3\xbc: \x01", ERR_SYNTAX, "f:1:4: the control character U+0001"},
        {"a: \xef\xbf\xbe", ERR_SYNTAX, "f:1:4: the control character U+FFFE"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf problems = BUF_INIT;
        struct yaml_node *root = (void *)&problems; /* must stay as it is */
        int rc = read_span(SPAN_OF_STR(cases[i].text), &root, &problems);
        if (rc != -cases[i].code ||
            strncmp(problems.data, cases[i].problem, strlen(cases[i].problem)) != 0)
            fail_msg("%s: %s, %s", cases[i].text, err_name(rc), problems.data);
        assert_ptr_equal(root, &problems);
        buf_done(&problems);
    }
}

static void refuses_nul_bytes(void **state)
{
    (void)state;
    struct buf problems = BUF_INIT;
    struct yaml_node *root = NULL;
    assert_int_equal(read_span((struct span){"a: b\0c", 6}, &root, &problems), -ERR_SYNTAX);
    assert_string_equal(problems.data, "f:1:5: a NUL byte: the file must be UTF-8 text\n");
    buf_done(&problems);
}

static void tells_of_all_duplicates_and_goes_on(void **state)
{
    (void)state;
    struct buf problems = BUF_INIT;
    struct yaml_node *root = NULL;
    assert_int_equal(
        read_span(SPAN_OF_STR("b: 1\na: {x: 1, y: 1, x: 2}\nb: 2\nb: 3\n"), &root, &problems), 0);
    assert_string_equal(problems.data, "f:2:17: `x` is given twice; the first is in line 2\n"
                                       "f:3:1: `b` is given twice; the first is in line 1\n"
                                       "f:4:1: `b` is given twice; the first is in line 1\n");
    assert_false(root->first->duplicate);
    assert_true(root->last->duplicate);
    assert_string_equal(yaml_tree_get(root, "b")->text, "1");
    yaml_tree_free(root);
    buf_done(&problems);
}

/* Without the stop at a depth, 100,000 brackets take libyaml many seconds. */
static void stops_at_the_depth(void **state)
{
    (void)state;
    static const char *const openers[] = {"[", "{a: ", "- ", "[{a: ", "? ", "\"\": ["};
    for (size_t i = 0; i < ARRAY_COUNT(openers); i++) {
        struct buf text = BUF_INIT, problems = BUF_INIT;
        struct yaml_node *root = NULL;
        while (text.len < 400000)
            buf_add_str(&text, openers[i]);
        assert_true(read_span(buf_span(&text), &root, &problems) < 0);
        buf_done(&text);
        buf_done(&problems);
    }
    for (int depth = YAML_MAX_DEPTH; depth <= YAML_MAX_DEPTH + 1; depth++) {
        struct buf text = BUF_INIT, problems = BUF_INIT;
        struct yaml_node *root = NULL;
        for (int i = 0; i < depth; i++)
            buf_add_char(&text, '[');
        for (int i = 0; i < depth; i++)
            buf_add_char(&text, ']');
        int rc = read_span(buf_span(&text), &root, &problems);
        assert_int_equal(rc, depth <= YAML_MAX_DEPTH ? 0 : -ERR_TOO_DEEP);
        yaml_tree_free(root);
        buf_done(&text);
        buf_done(&problems);
    }
}

static void reads_a_mebibyte_and_no_more(void **state)
{
    (void)state;
    struct buf text = BUF_INIT, problems = BUF_INIT;
    struct yaml_node *root = NULL;
    buf_add_str(&text, "a: ");
    while (text.len < YAML_MAX_BYTES)
        buf_add_char(&text, 'x');
    assert_int_equal(read_span(buf_span(&text), &root, &problems), 0);
    assert_int_equal(strlen(root->first->text), YAML_MAX_BYTES - 3);
    yaml_tree_free(root);
    buf_add_char(&text, 'x');
    assert_int_equal(read_span(buf_span(&text), &root, &problems), -ERR_TOO_BIG);
    assert_string_equal(problems.data, "f:1:1: larger than 1024 KiB\n");
    buf_done(&text);
    buf_done(&problems);
}

static void count_problem(void *arg, const struct err *problem)
{
    (void)problem;
    ++*(int *)arg;
}

/* As many keys as fit: finding duplicates must not compare each with each. */
static void finds_duplicates_among_many(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    int keys = 0, told = 0;
    for (; text.len < YAML_MAX_BYTES - 20; keys++)
        buf_printf(&text, "k%d:\n", keys % 100000);
    struct yaml_node *root = NULL;
    assert_int_equal(yaml_tree_read("f", buf_span(&text), count_problem, &told, &root), 0);
    assert_int_equal(told, keys - 100000);
    yaml_tree_free(root);
    buf_done(&text);
}

static void counts_lines_of_every_kind(void **state)
{
    (void)state;
    struct buf problems = BUF_INIT;
    struct yaml_node *root = NULL;
    assert_int_equal(read_span(SPAN_OF_STR("\xef\xbb\xbf"
                                           "a: 1\r\nb: 2\rc: 3\nd: 4"),
                               &root, &problems),
                     0);
    assert_int_equal(yaml_tree_get(root, "a")->key_col, 1);
    assert_int_equal(yaml_tree_get(root, "d")->line, 4);
    yaml_tree_free(root);
    assert_int_equal(read_span(SPAN_OF_STR("a: 1\r\nb: 2\r\x01"), &root, &problems), -ERR_SYNTAX);
    assert_memory_equal(problems.data, "f:3:1: ", 7);
    buf_done(&problems);
}

static void shows_text_safely(void **state)
{
    (void)state;
    char out[YAML_TREE_SHOW_BYTES], text[200];
    assert_string_equal(yaml_tree_show("plain \xc3\xbc", out), "plain \xc3\xbc");
    assert_string_equal(yaml_tree_show("\x1b[31m\n\x7f", out), "?[31m??");
    for (size_t i = 0; i < sizeof text - 2; i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    text[sizeof text - 2] = '\0';
    yaml_tree_show(text, out);
    assert_true(strlen(out) < YAML_TREE_SHOW_BYTES);
    assert_true(yaml_tree_is_utf8(out));
    assert_string_equal(out + strlen(out) - 3, "...");
    assert_false(yaml_tree_is_utf8("a\xfc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_maps_lists_and_texts_with_places),
        cmocka_unit_test(knows_what_is_no_value),
        cmocka_unit_test(empty_text_has_no_tree),
        cmocka_unit_test(refuses_with_code_and_place),
        cmocka_unit_test(refuses_nul_bytes),
        cmocka_unit_test(tells_of_all_duplicates_and_goes_on),
        cmocka_unit_test(stops_at_the_depth),
        cmocka_unit_test(reads_a_mebibyte_and_no_more),
        cmocka_unit_test(finds_duplicates_among_many),
        cmocka_unit_test(counts_lines_of_every_kind),
        cmocka_unit_test(shows_text_safely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
