#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_span.h"

#define DEPTH 64
/* Text with its length, so that NUL bytes may be in it. */
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

/* A copy at the end of its own memory, so that a sanitizer sees a read behind it. */
static char *exact_copy(struct span text)
{
    return xmemdup(text.ptr, text.len);
}

static int validate(struct span text, enum json_kind *ret_kind, struct err *err)
{
    char *copy = exact_copy(text);
    int rc = json_validate((struct span){copy, text.len}, DEPTH, ret_kind, err);
    free(copy);
    return rc;
}

static void valid_values_have_their_kind(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        enum json_kind kind;
    } cases[] = {
        {T("{}"), JK_OBJECT},
        {T(" \t\r\n{ } \n"), JK_OBJECT},
        {T("{\"a\":1,\"b\":[{}],\"a\":2}"), JK_OBJECT}, /* a member twice is the reader's affair */
        {T("{ \"a\" : 1 , \"b\" : [ ] }"), JK_OBJECT},
        {T("{\"\":\"\"}"), JK_OBJECT},
        {T("[]"), JK_ARRAY},
        {T("[ 1 , \"x\" , null,true,false,[[]],{} ]"), JK_ARRAY},
        {T("\"\""), JK_STRING},
        {T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\""), JK_STRING},
        {T("\"\\ud83d\\ude00 \\uD83D\\uDE00\""), JK_STRING},
        {T("\"\\u0000\""), JK_STRING},
        {T("\"\x7f\""), JK_STRING},
        {T("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""), JK_STRING},
        {T("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), JK_STRING},
        {T("\"seven77\""), JK_STRING},
        {T("\"eight888\""), JK_STRING},
        {T("\"a long text with \\n its escape behind sixteen bytes and \xc3\xa4 too\""), JK_STRING},
        {T("0"), JK_NUMBER},
        {T("-0"), JK_NUMBER},
        {T("-0.0e-0"), JK_NUMBER},
        {T("123456789012345678901234567890"), JK_NUMBER},
        {T("1e400"), JK_NUMBER},
        {T("1.10"), JK_NUMBER},
        {T("1E+5"), JK_NUMBER},
        {T("true"), JK_TRUE},
        {T("false"), JK_FALSE},
        {T("null"), JK_NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        enum json_kind kind = (enum json_kind)99;
        struct err err = {0};
        if (validate(cases[i].text, &kind, &err) != 0)
            fail_msg("%s: %s", cases[i].text.ptr, err.text);
        assert_int_equal(kind, cases[i].kind);
        assert_int_equal(validate(cases[i].text, NULL, NULL), 0);
    }
}

static void what_is_no_json_is_refused_at_its_byte(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        const char *want; /* how the message begins */
    } cases[] = {
        {T(""), "byte 0: a value is missing"},
        {T("  "), "byte 2: a value is missing"},
        {T("\xef\xbb\xbf{}"), "byte 0: no JSON value"}, /* byte order mark */
        {T("{"), "byte 1: the name"},
        {T("{a:1}"), "byte 1: the name"},
        {T("{'a':1}"), "byte 1: the name"},
        {T("{1:1}"), "byte 1: the name"},
        {T("{\"a\"}"), "byte 4: ':' is missing"},
        {T("{\"a\" 1}"), "byte 5: ':' is missing"},
        {T("{\"a\":}"), "byte 5: no JSON value"},
        {T("{\"a\":"), "byte 5: a value is missing"},
        {T("{\"a\":1"), "byte 6: ',' or '}'"},
        {T("{\"a\":1]"), "byte 6: ',' or '}'"},
        {T("{\"a\":1,}"), "byte 7: the name"},
        {T("{,}"), "byte 1: the name"},
        {T("{} {}"), "byte 3: more follows"},
        {T("{}x"), "byte 2: more follows"},
        {T("{}\0"), "byte 2: more follows"},
        {T("\0{}"), "byte 0: no JSON value"},
        {T("[1\0,2]"), "byte 2: ',' or ']'"},
        {T("[true\0]"), "byte 5: ',' or ']'"},
        {T("[\"a\0b\"]"), "byte 3: a control byte"},
        {T("["), "byte 1: a value is missing"},
        {T("[1,]"), "byte 3: no JSON value"},
        {T("[1 2]"), "byte 3: ',' or ']'"},
        {T("[1"), "byte 2: ',' or ']'"},
        {T("[1}"), "byte 2: ',' or ']'"},
        {T("]"), "byte 0: no JSON value"},
        {T("// x\n{}"), "byte 0: no JSON value"},
        {T("\""), "byte 1: a string is not closed"},
        {T("\"abcdefgh"), "byte 9: a string is not closed"},
        {T("\"\\"), "byte 1: a string is not closed"},
        {T("\"\\\""), "byte 3: a string is not closed"},
        {T("\"a\nb\""), "byte 2: a control byte"},
        {T("\"0123456\x1fxx\""), "byte 8: a control byte"},
        {T("\"\t\""), "byte 1: a control byte"},
        {T("\"\\x41\""), "byte 1: no such escape"},
        {T("\"\\'\""), "byte 1: no such escape"},
        {T("\"\\u12\""), "byte 1: \\u needs"},
        {T("\"\\u12g4\""), "byte 1: \\u needs"},
        {T("\"\\u123"), "byte 1: \\u needs"},
        {T("\"\\ud800\""), "byte 1: half of a surrogate"},
        {T("\"\\udc00\""), "byte 1: half of a surrogate"},
        {T("\"\\ud800\\u0041\""), "byte 1: half of a surrogate"},
        {T("\"\\ud800\\ud800\""), "byte 1: half of a surrogate"},
        {T("\"\\ud800x\\udc00\""), "byte 1: half of a surrogate"},
        {T("\"\x80\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xc0\xaf\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xc1\xbf\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xc3\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xe0\x9f\xbf\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xed\xa0\x80\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xf0\x8f\xbf\xbf\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xf4\x90\x80\x80\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xf5\x80\x80\x80\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xff\""), "byte 1: bytes that are no UTF-8"},
        {T("\"\xc3\xa4\xe2\x82\""), "byte 3: bytes that are no UTF-8"},
        {T("\"\xf0\x9f\x98"), "byte 1: bytes that are no UTF-8"},
        {T("-"), "byte 1: a digit is missing"},
        {T("+1"), "byte 0: no JSON value"},
        {T(".5"), "byte 0: no JSON value"},
        {T("01"), "byte 0: a number begins with 0"},
        {T("-01"), "byte 1: a number begins with 0"},
        {T("1."), "byte 2: a digit is missing"},
        {T("1.e5"), "byte 2: a digit is missing"},
        {T("1e"), "byte 2: a digit is missing"},
        {T("1e+"), "byte 3: a digit is missing"},
        {T("0x10"), "byte 1: more follows"},
        {T("1_000"), "byte 1: more follows"},
        {T("NaN"), "byte 0: no JSON value"},
        {T("Infinity"), "byte 0: no JSON value"},
        {T("tru"), "byte 0: no JSON value"},
        {T("True"), "byte 0: no JSON value"},
        {T("truex"), "byte 4: more follows"},
        {T("nul"), "byte 0: no JSON value"},
        {T("undefined"), "byte 0: no JSON value"},
        {T("\v{}"), "byte 0: no JSON value"},
        {T("\xc2\xa0{}"), "byte 0: no JSON value"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        enum json_kind kind = (enum json_kind)99;
        struct err err = {0};
        if (validate(cases[i].text, &kind, &err) != -ERR_SYNTAX ||
            strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].text.ptr, err.text, cases[i].want);
        assert_int_equal(kind, 99);
    }
}

/* A bad byte is found wherever it stands in the words of eight that are read at once. */
static void every_bad_byte_is_found_at_every_place(void **state)
{
    (void)state;
    for (size_t len = 1; len < 40; len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 0; c < 256; c++) {
                char text[48];
                memset(text, 'x', sizeof text);
                text[0] = '"';
                text[1 + at] = (char)c;
                text[1 + len] = '"';
                bool want = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                struct span whole = {text, len + 2};
                assert_int_equal(json_validate(whole, DEPTH, NULL, NULL) == 0, want);
            }
}

static void depth_is_limited_to_the_level(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int max_depth;
        int want;
    } cases[] = {
        {"1", 0, 0},
        {"[]", 1, 0},
        {"[]", 0, -ERR_TOO_DEEP},
        {"{\"a\":[]}", 2, 0},
        {"{\"a\":[]}", 1, -ERR_TOO_DEEP},
        {"[[[]]]", 3, 0},
        {"[[[]]]", 2, -ERR_TOO_DEEP},
        {"[[],[],[[]]]", 3, 0},
        {"[[],[],[[]]]", 2, -ERR_TOO_DEEP},
        {"[]", -5, -ERR_TOO_DEEP},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(json_validate(SPAN_OF_STR(cases[i].text), cases[i].max_depth, NULL, NULL),
                         cases[i].want);

    struct err err = {0};
    assert_int_equal(json_object_scan(SPAN_OF_STR("{\"a\":{}}"), 1, NULL, NULL, &err),
                     -ERR_TOO_DEEP);
    assert_string_equal(err.text, "byte 5: nested deeper than 1 levels");
    assert_int_equal(json_object_scan(SPAN_OF_STR("{}"), 0, NULL, NULL, NULL), -ERR_TOO_DEEP);
    assert_int_equal(json_array_scan(SPAN_OF_STR("[]"), 0, NULL, NULL, NULL), -ERR_TOO_DEEP);
}

static void a_million_brackets_cost_no_stack(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    char *text = xmalloc(COUNT);
    memset(text, '[', COUNT);
    struct span s = {text, COUNT};
    assert_int_equal(json_validate(s, INT32_MAX, NULL, NULL), -ERR_TOO_DEEP);
    memset(text + COUNT / 2, ']', COUNT / 2);
    assert_int_equal(json_validate(s, INT32_MAX, NULL, NULL), -ERR_TOO_DEEP);
    struct span deepest = {text + COUNT / 2 - 4096, 2 * 4096};
    assert_int_equal(json_validate(deepest, INT32_MAX, NULL, NULL), 0);
    free(text);
}

struct seen {
    int count;
    int stop_at;
    struct json_member members[8];
};

static int on_member(void *arg, const struct json_member *m, struct err *err)
{
    struct seen *s = arg;
    if (s->count == s->stop_at)
        return err_set(err, ERR_RANGE, "enough");
    assert_true((size_t)s->count < ARRAY_COUNT(s->members));
    s->members[s->count++] = *m;
    return 0;
}

static void assert_span(struct span s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.ptr, want, s.len);
}

static void outer_members_are_spans_of_the_text(void **state)
{
    (void)state;
    static const char text[] =
        " { \"a\" : { \"inner\" : [1] } ,\"b\\n\":\"x\\\"y\",\"c\":-1.50e3 , \"d\" : true\n} ";
    struct seen seen = {.stop_at = -1};
    assert_int_equal(json_object_scan(SPAN_OF_STR(text), DEPTH, on_member, &seen, NULL), 0);
    assert_int_equal(seen.count, 4);
    static const struct {
        const char *key, *value;
        enum json_kind kind;
        size_t offset;
    } want[] = {{"a", "{ \"inner\" : [1] }", JK_OBJECT, 3},
                {"b\\n", "\"x\\\"y\"", JK_STRING, 28},
                {"c", "-1.50e3", JK_NUMBER, 41},
                {"d", "true", JK_TRUE, 55}};
    for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
        assert_span(seen.members[i].key, want[i].key);
        assert_span(seen.members[i].value, want[i].value);
        assert_int_equal(seen.members[i].kind, want[i].kind);
        assert_int_equal(text[seen.members[i].offset], '"');
        assert_int_equal(seen.members[i].offset, want[i].offset);
    }
}

static void a_callback_can_stop_the_scan(void **state)
{
    (void)state;
    struct seen seen = {.stop_at = 1};
    struct err err = {0};
    assert_int_equal(
        json_object_scan(SPAN_OF_STR("{\"a\":1,\"b\":2,\"c\":}"), DEPTH, on_member, &seen, &err),
        -ERR_RANGE);
    assert_int_equal(seen.count, 1);
    assert_string_equal(err.text, "enough");
}

static void only_an_object_is_an_object(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
        int code;
    } cases[] = {
        {"[]", "an object is wanted, not an array", -ERR_TYPE},
        {" \"x\"", "an object is wanted, not a string", -ERR_TYPE},
        {"5", "an object is wanted, not a number", -ERR_TYPE},
        {"true", "an object is wanted, not true", -ERR_TYPE},
        {"false", "an object is wanted, not false", -ERR_TYPE},
        {"null ", "an object is wanted, not null", -ERR_TYPE},
        {"[", "byte 1: a value is missing", -ERR_SYNTAX},
        {"", "byte 0: a value is missing", -ERR_SYNTAX},
        {"x", "byte 0: no JSON value", -ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = {0};
        assert_int_equal(json_object_scan(SPAN_OF_STR(cases[i].text), DEPTH, NULL, NULL, &err),
                         cases[i].code);
        assert_string_equal(err.text, cases[i].want);
    }
    assert_int_equal(json_object_scan((struct span){NULL, 0}, DEPTH, NULL, NULL, NULL),
                     -ERR_SYNTAX);
}

static void an_open_object_ends_behind_its_last_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want, count;
    } cases[] = {
        {"{", 0, 0},
        {"{\"a\":1", 0, 1},
        {"{\"a\":1,\"b\":[2]", 0, 2},
        {"{\"a\":1,", -ERR_SYNTAX, 1},
        {"{\"a\":1}", -ERR_SYNTAX, 1},
        {"{}", -ERR_SYNTAX, 0},
        {"{\"a\":", -ERR_SYNTAX, 0},
        {"{\"a\":1 x", -ERR_SYNTAX, 1},
        {" {\"a\":1", -ERR_SYNTAX, 0},
        {"", -ERR_SYNTAX, 0},
        {"[1", -ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct seen seen = {.stop_at = -1};
        assert_int_equal(
            json_open_object_scan(SPAN_OF_STR(cases[i].text), DEPTH, on_member, &seen, NULL),
            cases[i].want);
        assert_int_equal(seen.count, cases[i].count);
    }
}

struct items {
    int count;
    struct span items[8];
    enum json_kind kinds[8];
};

static int on_item(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    struct items *s = arg;
    if ((size_t)s->count == ARRAY_COUNT(s->items))
        return err_set(err, ERR_RANGE, "enough");
    s->items[s->count] = item;
    s->kinds[s->count++] = kind;
    return 0;
}

static void items_of_an_array_are_spans(void **state)
{
    (void)state;
    struct items items = {0};
    assert_int_equal(
        json_array_scan(SPAN_OF_STR(" [ 1 ,\"x\",{ },[ [] ] ] "), DEPTH, on_item, &items, NULL), 0);
    assert_int_equal(items.count, 4);
    assert_span(items.items[0], "1");
    assert_span(items.items[1], "\"x\"");
    assert_span(items.items[2], "{ }");
    assert_span(items.items[3], "[ [] ]");
    assert_int_equal(items.kinds[3], JK_ARRAY);
    assert_int_equal(json_array_scan(SPAN_OF_STR("[1,1,1,1,1]"), DEPTH, on_item, &items, NULL),
                     -ERR_RANGE);
    assert_int_equal(json_array_scan(SPAN_OF_STR("[]"), DEPTH, NULL, NULL, NULL), 0);
    assert_int_equal(json_array_scan(SPAN_OF_STR("{}"), DEPTH, NULL, NULL, NULL), -ERR_TYPE);
    assert_int_equal(json_array_scan(SPAN_OF_STR("[1"), DEPTH, NULL, NULL, NULL), -ERR_SYNTAX);
    assert_int_equal(json_array_scan(SPAN_OF_STR("[1] 2"), DEPTH, NULL, NULL, NULL), -ERR_SYNTAX);
}

static void keys_are_compared_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *key, *name;
        bool want;
    } cases[] = {
        {"type", "type", true},
        {"types", "type", false},
        {"typ", "type", false},
        {"Type", "type", false},
        {"\\u0074ype", "type", true},
        {"typ\\u0065", "type", true},
        {"\\u0074\\u0079\\u0070\\u0065", "type", true},
        {"typ\\u0045", "type", false},
        {"type\\u0000", "type", false},
        {"\\u00e4", "a", false},
        {"", "", true},
        {"a\\/b", "a/b", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(json_key_is(SPAN_OF_STR(cases[i].key), cases[i].name), cases[i].want);
}

static void strings_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct span want;
    } cases[] = {
        {"\"\"", T("")},
        {"\"abc\"", T("abc")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", T("\"\\/\b\f\n\r\t")},
        {"\"a\\u0041\\u00e9\\u20aC\\uD83D\\ude00z\"", T("aA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z")},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
         T("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {"\"\\ud800\\udc00\\udbff\\udfff\"", T("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {"\"x\\u0000y\"", T("x\0y")},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        json_string_decode(SPAN_OF_STR(cases[i].text), &b);
        assert_int_equal(b.len, cases[i].want.len);
        assert_memory_equal(b.data, cases[i].want.ptr, b.len);
        char out[64];
        int len = json_string_copy(SPAN_OF_STR(cases[i].text), out, sizeof out);
        bool has_nul = memchr(cases[i].want.ptr, 0, cases[i].want.len) != NULL;
        assert_int_equal(len, has_nul ? -1 : (int)cases[i].want.len);
        if (!has_nul) {
            assert_string_equal(out, cases[i].want.ptr);
            /* exactly enough room, and one byte less */
            assert_int_equal(json_string_copy(SPAN_OF_STR(cases[i].text), out, (size_t)len + 1),
                             len);
            assert_int_equal(json_string_copy(SPAN_OF_STR(cases[i].text), out, (size_t)len), -1);
        }
        buf_done(&b);
    }
}

static void integers_are_exact_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool want;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"123456789012345678901234567890", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"1E3", false, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t v = 77;
        assert_int_equal(json_number_int64(SPAN_OF_STR(cases[i].text), &v), cases[i].want);
        assert_true(v == (cases[i].want ? cases[i].value : 77));
    }
}

static void doubles_are_the_nearest_or_refused(void **state)
{
    (void)state;
    double v = 77;
    assert_false(json_number_double(SPAN_OF_STR("1e400"), &v));
    assert_false(json_number_double(SPAN_OF_STR("-1e400"), &v));
    assert_true(v == 77);
    assert_true(json_number_double(SPAN_OF_STR("1e-400"), &v));
    assert_true(v == 0);
    assert_true(json_number_double(SPAN_OF_STR("-1.10"), &v));
    assert_true(v == -1.10);
    char digits[300];
    memset(digits, '1', sizeof digits);
    assert_true(json_number_double((struct span){digits, sizeof digits}, &v));
    assert_true(v > 1e299 && !isinf(v));
}

/* Bit for bit, on both sides of the length up to which they are read without strtod(). */
static void short_decimals_are_what_strtod_reads(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 200000; round++) {
        char text[24];
        size_t n = 0, digits = 1 + (size_t)rand() % 17;
        size_t point = (size_t)rand() % 3 == 0 ? 0 : 1 + (size_t)rand() % 17;
        if (rand() % 2 == 0)
            text[n++] = '-';
        for (size_t i = 0; i < digits; i++) {
            if (i > 0 && i == point)
                text[n++] = '.';
            text[n++] = (char)('0' + (i == 0 && point != 1 ? 1 + rand() % 9 : rand() % 10));
        }
        text[n] = '\0';
        double expected = strtod(text, NULL), v;
        assert_true(json_number_double((struct span){text, n}, &v));
        assert_memory_equal(&v, &expected, sizeof v);
    }
}

static void utf8_is_checked_to_the_last_byte(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        bool want;
    } cases[] = {
        {T(""), true},
        {T("plain ascii, more than eight bytes"), true},
        {T("a\0b"), true},
        {T("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), true},
        {T("0123456\xc3\xa4"), true},
        {T("0123456\xc3"), false},
        {T("\xe2\x82"), false},
        {T("\xf0\x9f\x98"), false},
        {T("\xed\xbf\xbf"), false},
        {T("\xc0\x80"), false},
        {T("\xfe"), false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *copy = exact_copy(cases[i].text);
        assert_int_equal(utf8_valid((struct span){copy, cases[i].text.len}), cases[i].want);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_values_have_their_kind),
        cmocka_unit_test(what_is_no_json_is_refused_at_its_byte),
        cmocka_unit_test(every_bad_byte_is_found_at_every_place),
        cmocka_unit_test(depth_is_limited_to_the_level),
        cmocka_unit_test(a_million_brackets_cost_no_stack),
        cmocka_unit_test(outer_members_are_spans_of_the_text),
        cmocka_unit_test(a_callback_can_stop_the_scan),
        cmocka_unit_test(only_an_object_is_an_object),
        cmocka_unit_test(an_open_object_ends_behind_its_last_value),
        cmocka_unit_test(items_of_an_array_are_spans),
        cmocka_unit_test(keys_are_compared_decoded),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(doubles_are_the_nearest_or_refused),
        cmocka_unit_test(short_decimals_are_what_strtod_reads),
        cmocka_unit_test(utf8_is_checked_to_the_last_byte),
    };
    return cmocka_run_group_tests_name("json_span", tests, NULL, NULL);
}
