/* The scanner against jansson: the same verdict on what is JSON, but for the differences json_span.h
 * names, and the same strings and numbers out of what both accept. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/json_span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 2048 }; /* jansson's own limit */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static json_t *load(struct span text, enum json_error_code *ret_code)
{
    json_error_t error;
    json_t *root = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    *ret_code = root != NULL ? json_error_unknown : json_error_code(&error);
    return root;
}

/* Wanted differences: a raw NUL, \u0000 in a name, numbers beyond what jansson can hold; and that
 * each counts levels in its own way. */
static bool may_differ(struct span text, enum json_error_code code, int rc)
{
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           code == json_error_null_character || code == json_error_stack_overflow ||
           rc == -ERR_TOO_DEEP || (text.len > 0 && memchr(text.ptr, 0, text.len) != NULL);
}

static void check_string(struct span value)
{
    enum json_error_code code;
    json_t *want = load(value, &code);
    CHECK(want != NULL);
    struct buf got = BUF_INIT;
    json_string_decode(value, &got);
    CHECK(got.len == json_string_length(want));
    CHECK(memcmp(got.data, json_string_value(want), got.len) == 0);

    char *copy = xmalloc(got.len + 1);
    bool has_nul = memchr(got.data, 0, got.len) != NULL;
    CHECK(json_string_copy(value, copy, got.len + 1) == (has_nul ? -1 : (int)got.len));
    if (!has_nul)
        CHECK(memcmp(copy, got.data, got.len + 1) == 0);
    CHECK(json_string_copy(value, copy, got.len) == -1);

    /* written again it reads the same */
    struct buf again = BUF_INIT, decoded = BUF_INIT;
    buf_add_json_string(&again, buf_span(&got));
    CHECK(json_validate(buf_span(&again), 1, NULL, NULL) == 0);
    json_string_decode(buf_span(&again), &decoded);
    CHECK(decoded.len == got.len && memcmp(decoded.data, got.data, got.len) == 0);
    CHECK(utf8_valid(buf_span(&got)));

    free(copy);
    buf_done(&again);
    buf_done(&decoded);
    buf_done(&got);
    json_decref(want);
}

static void check_number(struct span value)
{
    enum json_error_code code;
    json_t *want = load(value, &code);
    int64_t integer;
    double real;
    bool is_integer = json_number_int64(value, &integer);
    bool is_double = json_number_double(value, &real);
    if (want == NULL) {
        CHECK(code == json_error_numeric_overflow && !is_integer);
    } else if (json_is_integer(want)) {
        CHECK(is_integer && integer == json_integer_value(want));
    } else {
        CHECK(!is_integer && is_double && real == json_real_value(want));
    }
    json_decref(want);
}

static void check_value(struct span value, enum json_kind kind)
{
    enum json_kind again;
    CHECK(json_validate(value, DEPTH, &again, NULL) == 0 && again == kind);
    if (kind == JK_STRING)
        check_string(value);
    else if (kind == JK_NUMBER)
        check_number(value);
}

struct walk {
    struct span text;
    size_t count;
    bool nul_key;
};

static void check_inside(const struct walk *w, struct span s)
{
    CHECK(s.ptr >= w->text.ptr && s.len <= w->text.len);
    CHECK((size_t)(s.ptr - w->text.ptr) <= w->text.len - s.len);
}

static int on_member(void *arg, const struct json_member *m, struct err *err)
{
    struct walk *w = arg;
    (void)err;
    w->count++;
    check_inside(w, m->key);
    check_inside(w, m->value);
    CHECK(w->text.ptr[m->offset] == '"' && w->text.ptr + m->offset + 1 == m->key.ptr);
    struct span quoted = {m->key.ptr - 1, m->key.len + 2};
    check_string(quoted);
    struct buf name = BUF_INIT;
    json_string_decode(quoted, &name);
    bool has_nul = memchr(name.data, 0, name.len) != NULL;
    CHECK(json_key_is(m->key, name.data) == !has_nul);
    CHECK(!json_key_is(m->key, "\x01 no such name"));
    buf_done(&name);
    check_value(m->value, m->kind);
    return 0;
}

static int on_item(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    struct walk *w = arg;
    (void)err;
    w->count++;
    check_inside(w, item);
    check_value(item, kind);
    return 0;
}

/* The outer members once more, on a text that both accept. */
static void check_outer(struct span text, enum json_kind kind, const json_t *root)
{
    struct walk w = {.text = text};
    CHECK(json_object_scan(text, DEPTH, NULL, NULL, NULL) == (kind == JK_OBJECT ? 0 : -ERR_TYPE));
    CHECK(json_array_scan(text, DEPTH, NULL, NULL, NULL) == (kind == JK_ARRAY ? 0 : -ERR_TYPE));
    if (kind == JK_OBJECT) {
        CHECK(json_object_scan(text, DEPTH, on_member, &w, NULL) == 0);
        CHECK(w.count >= json_object_size(root)); /* fewer there if a name comes twice */
    } else if (kind == JK_ARRAY) {
        CHECK(json_array_scan(text, DEPTH, on_item, &w, NULL) == 0);
        CHECK(w.count == json_array_size(root));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    enum json_kind kind = JK_NULL;
    enum json_error_code code;
    struct err err = {0};
    int rc = json_validate(text, DEPTH, &kind, &err);
    CHECK(rc == 0 || rc == -ERR_SYNTAX || rc == -ERR_TOO_DEEP);
    CHECK((rc == 0) == (err.code == 0));
    if (size > 0 && memchr(data, 0, size) != NULL)
        CHECK(rc < 0);

    json_t *root = load(text, &code);
    if (!may_differ(text, code, rc))
        CHECK((rc == 0) == (root != NULL));
    if (rc == 0 && root != NULL)
        check_outer(text, kind, root);
    json_decref(root);

    /* an object without its brace */
    if (rc == 0 && kind == JK_OBJECT && data[0] == '{') {
        size_t len = size;
        while (data[len - 1] != '}')
            len--;
        CHECK(json_open_object_scan((struct span){text.ptr, len - 1}, DEPTH, NULL, NULL, NULL) ==
              0);
        CHECK(json_open_object_scan((struct span){text.ptr, len}, DEPTH, NULL, NULL, NULL) < 0);
    }
    (void)utf8_valid(text); /* reads no byte outside */
    return 0;
}
