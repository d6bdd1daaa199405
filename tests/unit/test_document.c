#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/document.h"
#include "common/when.h"

static const struct document_limits limits = DOCUMENT_LIMITS_INIT;

static int parse(const char *text, struct document *ret, struct err *err)
{
    memset(ret, 0xff, sizeof *ret); /* so that a member without a default is seen */
    return document_parse(SPAN_OF_STR(text), &limits, ret, err);
}

static struct document parsed(const char *text)
{
    struct document d;
    struct err err = {0};
    if (parse(text, &d, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return d;
}

static void assert_span(struct span s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.ptr, want, s.len);
}

static void a_type_alone_is_a_document_with_defaults(void **state)
{
    (void)state;
    static const char text[] = " {\"type\":\"email.send\"} ";
    struct document d = parsed(text);
    assert_string_equal(d.type, "email.send");
    assert_span(d.bytes, text);
    assert_string_equal(d.id, "");
    assert_span(d.args, "null");
    assert_int_equal(d.has, 0);
    assert_int_equal(d.retries, RETRY_DEFAULT);
    assert_int_equal(d.timeout_ms, DOC_DEFAULT_TIMEOUT_MS);
    assert_int_equal(d.backoff.type, BACKOFF_POLY);
    assert_int_equal(d.backoff.base_ms, 15000);
    assert_int_equal(d.backoff.max_ms, INT64_C(30) * 86400 * 1000);
    assert_true(d.backoff.jitter == 0.1);
    struct document zeroes = {0};
    assert_int_equal(document_parse(SPAN_OF_STR(text), &limits, &zeroes, NULL), 0);
    assert_true(d.dead && zeroes.dead);
    assert_int_equal(d.at_ms + d.expires_at_ms + d.keep_ms + d.created_at_ms + d.enqueued_at_ms, 0);
    assert_int_equal(d.meta.len + d.tags.len + d.group.len + d.unique.len + d.reply_to.len +
                         d.on_success.len + d.on_failure.len,
                     0);
}

static void every_member_is_read(void **state)
{
    (void)state;
    struct document d =
        parsed("{\"type\":\"t\",\"id\":\"j-\\u00e9\",\"args\": [1.10, {\"a\" : 9007199254740993}] ,"
               "\"at\":\"2026-11-22T10:00:00Z\",\"expires_at\":1795341600.5,\"retry\":3,"
               "\"backoff\":{\"type\":\"exp\",\"base\":\"2s\",\"max\":3600,\"jitter\":0},"
               "\"timeout\":\"5m\",\"dead\":false,"
               "\"unique\":{\"key\":\"k\",\"ttl\":\"1h\",\"until\":\"start\"},\"group\":\"acme\","
               "\"keep\":60,\"reply_to\":\"replies:1\","
               "\"on_success\":{\"type\":\"next\",\"queue\":\"other\"},\"on_failure\":{\"type\":"
               "\"sorry\"},"
               "\"tags\":[\"a\",\"b\"],\"meta\":{\"traceparent\":\"00-x\"},"
               "\"created_at\":1795341600123,\"enqueued_at\":\"1795341600\",\"other\":[null]}");
    assert_int_equal(d.has, DOC_HAS_ID | DOC_HAS_ARGS | DOC_HAS_AT | DOC_HAS_EXPIRES |
                                DOC_HAS_RETRY | DOC_HAS_BACKOFF | DOC_HAS_TIMEOUT | DOC_HAS_UNIQUE |
                                DOC_HAS_GROUP | DOC_HAS_KEEP | DOC_HAS_REPLY_TO |
                                DOC_HAS_ON_SUCCESS | DOC_HAS_ON_FAILURE | DOC_HAS_TAGS |
                                DOC_HAS_META | DOC_HAS_CREATED | DOC_HAS_ENQUEUED);
    assert_string_equal(d.id, "j-\xc3\xa9");
    assert_span(d.args, "[1.10, {\"a\" : 9007199254740993}]");
    assert_int_equal(d.at_ms, INT64_C(1795341600000));
    assert_int_equal(d.expires_at_ms, INT64_C(1795341600500));
    assert_int_equal(d.retries, 3);
    assert_int_equal(d.backoff.type, BACKOFF_EXP);
    assert_int_equal(d.backoff.base_ms, 2000);
    assert_int_equal(d.backoff.max_ms, 3600000);
    assert_true(d.backoff.jitter == 0);
    assert_int_equal(d.timeout_ms, 300000);
    assert_false(d.dead);
    assert_span(d.unique, "{\"key\":\"k\",\"ttl\":\"1h\",\"until\":\"start\"}");
    assert_span(d.group, "\"acme\"");
    assert_int_equal(d.keep_ms, 60000);
    assert_span(d.reply_to, "\"replies:1\"");
    assert_span(d.on_success, "{\"type\":\"next\",\"queue\":\"other\"}");
    assert_span(d.on_failure, "{\"type\":\"sorry\"}");
    assert_span(d.tags, "[\"a\",\"b\"]");
    assert_span(d.meta, "{\"traceparent\":\"00-x\"}");
    assert_int_equal(d.created_at_ms, INT64_C(1795341600123));
    assert_int_equal(d.enqueued_at_ms, INT64_C(1795341600000));
}

static void a_delay_is_marked_as_relative(void **state)
{
    (void)state;
    struct document d = parsed("{\"type\":\"t\",\"delay\":\"1m\"}");
    assert_int_equal(d.has, DOC_HAS_AT | DOC_HAS_DELAY);
    assert_int_equal(d.at_ms, 60000);
}

static void what_other_producers_push_is_understood(void **state)
{
    (void)state;
    struct document d = parsed(
        "{\"retry\":true,\"queue\":\"default\",\"backtrace\":false,\"class\":\"Acme::HardJob\","
        "\"args\":[1,\"two\"],\"jid\":\"b4a577edbccf1d805744efa9\",\"created_at\":1756000000.1234,"
        "\"enqueued_at\":1756000000.25,\"cattr\":{}}");
    assert_string_equal(d.type, "Acme::HardJob");
    assert_string_equal(d.id, "b4a577edbccf1d805744efa9");
    assert_span(d.args, "[1,\"two\"]");
    assert_int_equal(d.retries, RETRY_DEFAULT);
    assert_int_equal(d.has & DOC_HAS_RETRY, 0);
    assert_int_equal(d.created_at_ms, INT64_C(1756000000123));
    assert_int_equal(d.enqueued_at_ms, INT64_C(1756000000250));

    d = parsed("{\"class\":\"A\",\"jid\":\"1\",\"queue\":5,\"created_at\":1756000000123}");
    assert_int_equal(d.created_at_ms, INT64_C(1756000000123));

    d = parsed("{\"jid\":\"x1\",\"jobtype\":\"A\",\"args\":[],\"queue\":\"q\",\"reserve_for\":600,"
               "\"at\":\"2026-11-22T10:00:00.123456789Z\",\"retry\":25,\"custom\":{\"a\":1}}");
    assert_string_equal(d.type, "A");
    assert_int_equal(d.timeout_ms, 600000);
    assert_int_equal(d.at_ms, INT64_C(1795341600123));
}

static void null_means_not_given(void **state)
{
    (void)state;
    static const char *const members[] = {
        "id",    "jid",        "args",        "at",      "delay",       "expires_at",
        "retry", "dead",       "backoff",     "timeout", "unique",      "group",
        "keep",  "reply_to",   "tags",        "meta",    "on_success",  "on_failure",
        "queue", "created_at", "enqueued_at", "class",   "reserve_for",
    };
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        struct buf b = BUF_INIT;
        bool is_type = strcmp(members[i], "class") == 0;
        buf_printf(&b, "{\"%s\":\"t\",\"%s\":null}", is_type ? "other" : "type", members[i]);
        struct document d;
        int rc = document_parse(buf_span(&b), &limits, &d, NULL);
        assert_int_equal(rc, is_type ? -ERR_MISSING : 0);
        if (rc == 0) {
            assert_int_equal(d.has, 0);
            assert_span(d.args, "null");
            assert_true(d.dead);
            assert_int_equal(d.retries, RETRY_DEFAULT);
        }
        buf_done(&b);
    }
}

static void retries_are_clamped_to_their_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"0", 0},
        {"false", 0},
        {"1", 1},
        {"1000", RETRY_MAX},
        {"1001", RETRY_MAX},
        {"1000000000", RETRY_MAX},
        {"-1", 0},
        {"-0", 0},
        {"9223372036854775808", RETRY_MAX},
        {"-99999999999999999999", 0},
        {"123456789012345678901234567890", RETRY_MAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "{\"type\":\"t\",\"retry\":%s}", cases[i].text);
        struct document d = parsed(b.data);
        assert_int_equal(d.retries, cases[i].want);
        assert_true(d.has & DOC_HAS_RETRY);
        buf_done(&b);
    }
}

static void backoff_fills_its_defaults_in(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct backoff want;
    } cases[] = {
        {"{}", {BACKOFF_POLY, 15000, INT64_C(2592000000), 0.1}},
        {"{\"type\":null,\"base\":null}", {BACKOFF_POLY, 15000, INT64_C(2592000000), 0.1}},
        {"{\"type\":\"fixed\"}", {BACKOFF_FIXED, 15000, 86400000, 0.1}},
        {"{\"type\":\"exp\",\"base\":0.5}", {BACKOFF_EXP, 500, 86400000, 0.1}},
        {"{\"type\":\"fixed\",\"base\":\"2d\"}", {BACKOFF_FIXED, 172800000, 172800000, 0.1}},
        {"{\"type\":\"poly\",\"base\":1,\"max\":1,\"jitter\":1}", {BACKOFF_POLY, 1000, 1000, 1}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "{\"type\":\"t\",\"backoff\":%s}", cases[i].text);
        struct document d = parsed(b.data);
        assert_true(d.has & DOC_HAS_BACKOFF);
        assert_int_equal(d.backoff.type, cases[i].want.type);
        assert_int_equal(d.backoff.base_ms, cases[i].want.base_ms);
        assert_int_equal(d.backoff.max_ms, cases[i].want.max_ms);
        assert_true(d.backoff.jitter == cases[i].want.jitter);
        buf_done(&b);
    }
}

/* What follows {"type":"t", and what is said about it. */
static const struct bad_member {
    const char *members;
    int code;
    const char *want;
} bad_members[] = {
    {"\"id\":5}", ERR_TYPE, "member \"id\" must be a string, not a number"},
    {"\"id\":\"\"}", ERR_INVALID, "member \"id\" must have 1 to 128 bytes and no NUL"},
    {"\"id\":\"a\\u0000b\"}", ERR_INVALID, "member \"id\" must have 1 to 128 bytes and no NUL"},
    {"\"jid\":{}}", ERR_TYPE, "member \"jid\" must be a string, not an object"},
    {"\"retry\":\"3\"}", ERR_TYPE, "member \"retry\" must be an integer or false, not a string"},
    {"\"retry\":2.5}", ERR_TYPE, "member \"retry\" must be an integer or false, not a fraction"},
    {"\"retry\":1e3}", ERR_TYPE, "member \"retry\" must be an integer or false, not a fraction"},
    {"\"retry\":[]}", ERR_TYPE, "member \"retry\" must be an integer or false, not an array"},
    {"\"timeout\":0}", ERR_RANGE, "member \"timeout\" must be longer than zero"},
    {"\"timeout\":0.0001}", ERR_RANGE, "member \"timeout\" must be longer than zero"},
    {"\"timeout\":-1}", ERR_RANGE, "member \"timeout\": a duration below zero"},
    {"\"timeout\":1e400}", ERR_RANGE, "member \"timeout\": a duration above 100 years"},
    {"\"timeout\":\"soon\"}", ERR_SYNTAX, "member \"timeout\": \"soon\" is no duration"},
    {"\"timeout\":true}", ERR_TYPE, "member \"timeout\" must be a number of seconds or"},
    {"\"reserve_for\":-1}", ERR_RANGE, "member \"reserve_for\": a duration below zero"},
    {"\"keep\":\"1 day\"}", ERR_SYNTAX, "member \"keep\": \"1 day\" is no duration"},
    {"\"keep\":\"1111111111111111111111111111111111111111111111111111111111111111111\"}",
     ERR_SYNTAX, "member \"keep\": too long for a duration"},
    {"\"delay\":-5}", ERR_RANGE, "member \"delay\": a duration below zero"},
    {"\"at\":-5}", ERR_RANGE, "member \"at\": a time before 1970"},
    {"\"at\":1e300}", ERR_RANGE, "member \"at\": a time after the year 9999"},
    {"\"at\":1e999}", ERR_RANGE, "member \"at\": a time after the year 9999"},
    {"\"at\":\"2026-02-30T00:00:00Z\"}", ERR_SYNTAX, "member \"at\": \"2026-02-30T00:00:00Z\" is"},
    {"\"at\":\"tomorrow\"}", ERR_SYNTAX, "member \"at\": \"tomorrow\" is no time"},
    {"\"at\":{}}", ERR_TYPE, "member \"at\" must be a number or a text like"},
    {"\"expires_at\":false}", ERR_TYPE, "member \"expires_at\" must be a number or"},
    {"\"created_at\":\"\"}", ERR_SYNTAX, "member \"created_at\": \"\" is no time"},
    {"\"enqueued_at\":[]}", ERR_TYPE, "member \"enqueued_at\" must be a number or"},
    {"\"dead\":0}", ERR_TYPE, "member \"dead\" must be true or false, not a number"},
    {"\"group\":7}", ERR_TYPE, "member \"group\" must be a string, not a number"},
    {"\"group\":\"\"}", ERR_INVALID, "member \"group\" must have 1 to 256 bytes and no NUL"},
    {"\"reply_to\":false}", ERR_TYPE, "member \"reply_to\" must be a string, not false"},
    {"\"tags\":\"a\"}", ERR_TYPE, "member \"tags\" must be an array of strings, not a string"},
    {"\"tags\":[\"a\",1]}", ERR_TYPE, "member \"tags\": every item must be a string, not a number"},
    {"\"meta\":[]}", ERR_TYPE, "member \"meta\" must be an object of strings, not an array"},
    {"\"meta\":{\"a\":null}}", ERR_TYPE, "member \"meta\": every value must be a string, not null"},
    {"\"backoff\":\"exp\"}", ERR_TYPE, "member \"backoff\" must be an object, not a string"},
    {"\"backoff\":{\"type\":\"x\"}}", ERR_INVALID,
     "member \"backoff\": member \"type\" must be poly, fixed or exp"},
    {"\"backoff\":{\"type\":1}}", ERR_TYPE,
     "member \"backoff\": member \"type\" must be a string, not a number"},
    {"\"backoff\":{\"base\":0}}", ERR_RANGE,
     "member \"backoff\": member \"base\" must be longer than zero"},
    {"\"backoff\":{\"base\":10,\"max\":5}}", ERR_RANGE,
     "member \"backoff\": member \"max\" must not be below \"base\""},
    {"\"backoff\":{\"jitter\":1.5}}", ERR_RANGE,
     "member \"backoff\": member \"jitter\" must be 0 to 1"},
    {"\"backoff\":{\"jitter\":\"0\"}}", ERR_TYPE,
     "member \"backoff\": member \"jitter\" must be a number, not a string"},
    {"\"backoff\":{\"bas\":1}}", ERR_INVALID, "member \"backoff\": unknown member \"bas\""},
    {"\"backoff\":{\"base\":1,\"base\":2}}", ERR_DUPLICATE,
     "member \"backoff\": member \"base\" is given twice"},
    {"\"unique\":\"k\"}", ERR_TYPE, "member \"unique\" must be an object, not a string"},
    {"\"unique\":{}}", ERR_MISSING, "member \"unique\": member \"key\" is missing"},
    {"\"unique\":{\"key\":null}}", ERR_MISSING, "member \"unique\": member \"key\" is missing"},
    {"\"unique\":{\"key\":1}}", ERR_TYPE, "member \"unique\": member \"key\" must be a string"},
    {"\"unique\":{\"key\":\"k\",\"ttl\":0}}", ERR_RANGE, "member \"unique\": member \"ttl\" must"},
    {"\"unique\":{\"key\":\"k\",\"until\":\"end\"}}", ERR_INVALID,
     "member \"unique\": member \"until\" must be start or done"},
    {"\"on_success\":[]}", ERR_TYPE, "member \"on_success\" must be an object, not an array"},
    {"\"on_success\":{}}", ERR_MISSING, "member \"on_success\": member \"type\" is missing"},
    {"\"on_failure\":{\"type\":\"t\",\"retry\":\"x\"}}", ERR_TYPE,
     "member \"on_failure\": member \"retry\" must be an integer or false, not a string"},
    {"\"on_failure\":{\"type\":\"t\",\"queue\":5}}", ERR_TYPE,
     "member \"on_failure\": member \"queue\" must be a string, not a number"},
    {"\"on_failure\":{\"type\":\"t\",\"queue\":\"a{b}\"}}", ERR_INVALID,
     "member \"on_failure\": member \"queue\" must have 1 to 200 bytes of"},
    {"\"on_success\":{\"type\":\"t\",\"on_success\":{\"type\":\"\"}}}", ERR_INVALID,
     "member \"on_success\": member \"on_success\": member \"type\" must have 1 to 200 bytes"},
    {"\"type\":\"u\"}", ERR_DUPLICATE, "member \"type\" is given twice"},
    {"\"type\":null}", ERR_DUPLICATE, "member \"type\" is given twice"},
    {"\"\\u0074ype\":\"u\"}", ERR_DUPLICATE, "member \"type\" is given twice"},
    {"\"class\":\"t\"}", ERR_DUPLICATE, "members \"type\" and \"class\" exclude each other"},
    {"\"jobtype\":\"t\"}", ERR_DUPLICATE, "members \"type\" and \"jobtype\" exclude each other"},
    {"\"jid\":\"1\",\"id\":\"1\"}", ERR_DUPLICATE, "members \"jid\" and \"id\" exclude"},
    {"\"timeout\":1,\"reserve_for\":1}", ERR_DUPLICATE, "members \"timeout\" and \"reserve_for\""},
    {"\"at\":1,\"delay\":1}", ERR_DUPLICATE, "members \"at\" and \"delay\" exclude each other"},
    {"\"args\":1,\"args\":1}", ERR_DUPLICATE, "member \"args\" is given twice"},
};

static void a_bad_member_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad_members); i++) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "{\"type\":\"t\",%s", bad_members[i].members);
        struct document d;
        struct err err = {0};
        int rc = document_parse(buf_span(&b), &limits, &d, &err);
        if (rc != -bad_members[i].code ||
            strncmp(err.text, bad_members[i].want, strlen(bad_members[i].want)) != 0)
            fail_msg("%s: %s \"%s\", not \"%s\"", b.data, err_name(rc), err.text,
                     bad_members[i].want);
        buf_done(&b);
    }
}

static void what_is_no_document_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *want;
    } cases[] = {
        {"", ERR_SYNTAX, "byte 0: a value is missing"},
        {"hello", ERR_SYNTAX, "byte 0: no JSON value"},
        {"{\"type\":\"t\"", ERR_SYNTAX, "byte 11: ',' or '}' is missing"},
        {"{\"type\":\"t\"}}", ERR_SYNTAX, "byte 12: more follows the end"},
        {"[]", ERR_TYPE, "an object is wanted, not an array"},
        {"\"t\"", ERR_TYPE, "an object is wanted, not a string"},
        {"5", ERR_TYPE, "an object is wanted, not a number"},
        {"null", ERR_TYPE, "an object is wanted, not null"},
        {"{}", ERR_MISSING, "member \"type\" is missing"},
        {"{\"type\":null}", ERR_MISSING, "member \"type\" is missing"},
        {"{\"Type\":\"t\"}", ERR_MISSING, "member \"type\" is missing"},
        {"{\"type\":5}", ERR_TYPE, "member \"type\" must be a string, not a number"},
        {"{\"type\":\"\"}", ERR_INVALID, "member \"type\" must have 1 to 200 bytes of"},
        {"{\"type\":\"a b\"}", ERR_INVALID, "member \"type\" must have 1 to 200 bytes of"},
        {"{\"type\":\"\\u00e9\"}", ERR_INVALID, "member \"type\" must have 1 to 200 bytes of"},
        {"{\"class\":\"a\\u0000\"}", ERR_INVALID, "member \"class\" must have 1 to 200 bytes of"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct document d;
        struct err err = {0};
        assert_int_equal(parse(cases[i].text, &d, &err), -cases[i].code);
        assert_int_equal(strncmp(err.text, cases[i].want, strlen(cases[i].want)), 0);
    }
}

static void limits_are_exact(void **state)
{
    (void)state;
    static const char text[] = "{\"type\":\"t\",\"args\":[[1]]}";
    struct document d;
    struct err err = {0};
    struct document_limits exact = {.max_bytes = sizeof text - 1, .max_depth = 3};
    assert_int_equal(document_parse(SPAN_OF_STR(text), &exact, &d, &err), 0);
    struct document_limits small = {.max_bytes = sizeof text - 2, .max_depth = 3};
    assert_int_equal(document_parse(SPAN_OF_STR(text), &small, &d, &err), -ERR_TOO_BIG);
    assert_string_equal(err.text, "the document has 25 bytes, the limit is 24");
    struct document_limits shallow = {.max_bytes = 100, .max_depth = 2};
    err = (struct err){0};
    assert_int_equal(document_parse(SPAN_OF_STR(text), &shallow, &d, &err), -ERR_TOO_DEEP);
    assert_string_equal(err.text, "byte 20: nested deeper than 2 levels");
}

static void names_may_have_just_so_many_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        size_t max;
    } cases[] = {{"type", DOC_TYPE_BYTES},
                 {"id", DOC_ID_BYTES},
                 {"group", DOC_NAME_BYTES},
                 {"reply_to", DOC_NAME_BYTES}};
    char name[400];
    memset(name, 'n', sizeof name);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        for (size_t over = 0; over < 2; over++) {
            struct buf b = BUF_INIT;
            struct document d;
            buf_printf(&b, "{%s\"%s\":\"%.*s\"}", i == 0 ? "" : "\"type\":\"t\",", cases[i].member,
                       (int)(cases[i].max + over), name);
            assert_int_equal(document_parse(buf_span(&b), &limits, &d, NULL),
                             over ? -ERR_INVALID : 0);
            buf_done(&b);
        }
}

static void follow_ups_do_not_nest_for_ever(void **state)
{
    (void)state;
    for (int levels = 30; levels < 40; levels++) {
        struct buf b = BUF_INIT;
        for (int i = 0; i < levels; i++)
            buf_add_str(&b, "{\"type\":\"t\",\"on_success\":");
        buf_add_str(&b, "{\"type\":\"t\"}");
        for (int i = 0; i < levels; i++)
            buf_add_char(&b, '}');
        struct document d;
        assert_int_equal(document_parse(buf_span(&b), &limits, &d, NULL),
                         levels <= 32 ? 0 : -ERR_TOO_DEEP);
        buf_done(&b);
    }
}

/* Whatever is cut off or changed, the parser reads no byte outside of what it was given. */
static void every_prefix_is_refused_without_reading_on(void **state)
{
    (void)state;
    static const char text[] =
        "{\"type\":\"t\",\"id\":\"\\u00e9\\ud83d\\ude00\",\"retry\":3,\"at\":1.5e9,"
        "\"backoff\":{\"type\":\"exp\"},\"meta\":{\"a\":\"\xc3\xa4\"},\"dead\":true}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *copy = xmemdup(text, len);
        struct document d;
        assert_int_equal(document_parse((struct span){copy, len}, &limits, &d, NULL), -ERR_SYNTAX);
        free(copy);
    }
}

static void meta_values_are_looked_up_decoded(void **state)
{
    (void)state;
    struct document d = parsed("{\"type\":\"t\",\"meta\":{\"a\":\"x\\ny\",\"\\u0062\":\"z\","
                               "\"long\":\"\xe2\x82\xac\xe2\x82\xac\",\"a\":\"last\"}}");
    char out[16];
    assert_true(document_meta_get(&d, "a", out, sizeof out));
    assert_string_equal(out, "last");
    assert_true(document_meta_get(&d, "b", out, sizeof out));
    assert_string_equal(out, "z");
    assert_true(document_meta_get(&d, "long", out, 6));
    assert_string_equal(out, "\xe2\x82\xac");
    assert_false(document_meta_get(&d, "c", out, sizeof out));
    assert_false(document_meta_get(&d, "", out, sizeof out));
    d = parsed("{\"type\":\"t\"}");
    assert_false(document_meta_get(&d, "a", out, sizeof out));
}

static void handler_names_have_an_alphabet(void **state)
{
    (void)state;
    assert_true(document_type_valid(SPAN_OF_STR("azAZ09._:/-")));
    assert_false(document_type_valid(SPAN_OF_STR("")));
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool want = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789._:/-",
                                     c) != NULL;
        assert_int_equal(document_type_valid((struct span){&byte, 1}), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_type_alone_is_a_document_with_defaults),
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(a_delay_is_marked_as_relative),
        cmocka_unit_test(what_other_producers_push_is_understood),
        cmocka_unit_test(null_means_not_given),
        cmocka_unit_test(retries_are_clamped_to_their_limits),
        cmocka_unit_test(backoff_fills_its_defaults_in),
        cmocka_unit_test(a_bad_member_is_named),
        cmocka_unit_test(what_is_no_document_is_refused),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(names_may_have_just_so_many_bytes),
        cmocka_unit_test(follow_ups_do_not_nest_for_ever),
        cmocka_unit_test(every_prefix_is_refused_without_reading_on),
        cmocka_unit_test(meta_values_are_looked_up_decoded),
        cmocka_unit_test(handler_names_have_an_alphabet),
    };
    return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
