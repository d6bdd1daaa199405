/* Documents from any bytes: what is accepted keeps the limits its reader relies on, lies in the
 * bytes that were given, and says what jansson says; what is refused is refused with a reason. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/document.h"
#include "common/json_span.h"
#include "common/when.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

enum { DEPTH = 64 };

static void check_raw(const struct document *d, unsigned has, struct span s, enum json_kind want)
{
    enum json_kind kind;
    CHECK(((d->has & has) != 0) == (s.len > 0));
    if (s.len == 0)
        return;
    CHECK(s.ptr > d->bytes.ptr && s.ptr + s.len < d->bytes.ptr + d->bytes.len);
    CHECK(json_validate(s, DEPTH, &kind, NULL) == 0 && kind == want);
}

static void check_time(int64_t ms)
{
    CHECK(ms >= 0 && ms <= WHEN_MAX_TIME_MS);
}

static void check_limits(const struct document *d)
{
    CHECK(document_type_valid(SPAN_OF_STR(d->type)));
    CHECK((d->id[0] != '\0') == ((d->has & DOC_HAS_ID) != 0));
    CHECK(json_validate(d->args, DEPTH, NULL, NULL) == 0);
    check_raw(d, DOC_HAS_META, d->meta, JK_OBJECT);
    check_raw(d, DOC_HAS_TAGS, d->tags, JK_ARRAY);
    check_raw(d, DOC_HAS_GROUP, d->group, JK_STRING);
    check_raw(d, DOC_HAS_UNIQUE, d->unique, JK_OBJECT);
    check_raw(d, DOC_HAS_REPLY_TO, d->reply_to, JK_STRING);
    check_raw(d, DOC_HAS_ON_SUCCESS, d->on_success, JK_OBJECT);
    check_raw(d, DOC_HAS_ON_FAILURE, d->on_failure, JK_OBJECT);
    check_time(d->at_ms);
    check_time(d->expires_at_ms);
    check_time(d->created_at_ms);
    check_time(d->enqueued_at_ms);
    CHECK(d->timeout_ms > 0 && d->timeout_ms <= WHEN_MAX_DURATION_MS);
    CHECK(d->keep_ms >= 0 && d->keep_ms <= WHEN_MAX_DURATION_MS);
    CHECK(d->retries >= 0 && d->retries <= RETRY_MAX);
    CHECK(d->backoff.base_ms > 0 && d->backoff.base_ms <= d->backoff.max_ms);
    CHECK(d->backoff.max_ms <= WHEN_MAX_DURATION_MS);
    CHECK(d->backoff.jitter >= 0 && d->backoff.jitter <= 1);

    struct retry_policy p = {.retries = d->retries, .backoff = d->backoff};
    for (int n = 1; n <= d->retries; n += 1 + n / 8) {
        int64_t ms = retry_delay_ms(&p, n, 0.999);
        CHECK(ms >= 0 && ms <= WHEN_MAX_DURATION_MS);
    }
    CHECK(retry_delay_ms(&p, d->retries + 1, 0) == -ERR_EXHAUSTED);
}

static void check_against_jansson(const struct document *d)
{
    json_error_t error;
    json_t *root =
        json_loadb(d->bytes.ptr, d->bytes.len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (root == NULL) {
        enum json_error_code code = json_error_code(&error);
        CHECK(code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
              code == json_error_null_character);
        return;
    }
    /* a null spelling may stand beside no other, so that one of three holds the name */
    static const char *const names[] = {"type", "class", "jobtype"};
    const char *type = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(names) && type == NULL; i++)
        type = json_string_value(json_object_get(root, names[i]));
    CHECK(type != NULL && strcmp(type, d->type) == 0);

    const char *key;
    json_t *value;
    json_t *meta = json_object_get(root, "meta");
    json_object_foreach(meta, key, value)
    {
        char got[64];
        CHECK(document_meta_get(d, key, got, sizeof got));
        size_t len = strlen(got);
        CHECK(strncmp(json_string_value(value), got, len) == 0 && len < sizeof got);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct document_limits limits = {.max_bytes = 3000, .max_depth = DEPTH};
    struct document d;
    struct err err = {0};
    memset(&d, 0xff, sizeof d); /* so that a member without a default is seen */
    int rc = document_parse(text, &limits, &d, &err);
    CHECK((rc == 0) == (err.code == 0) && -rc == err.code);
    if (rc < 0) {
        CHECK(err.text[0] != '\0');
        CHECK((rc == -ERR_TOO_BIG) == (size > limits.max_bytes));
        return 0;
    }
    CHECK(d.bytes.ptr == text.ptr && d.bytes.len == text.len);
    CHECK(json_object_scan(text, DEPTH, NULL, NULL, NULL) == 0);
    check_limits(&d);
    check_against_jansson(&d);
    return 0;
}
