/* Records from any bytes: reading, writing and reading again changes nothing, and the bytes that
 * were pushed come out as they went in, whatever was added to them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_span.h"
#include "common/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

enum { DEPTH = 64 };

static void check_equal(struct span a, struct span b)
{
    CHECK(a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0));
}

static void check_same_head(const struct record *a, const struct record *b)
{
    CHECK(strcmp(a->uid, b->uid) == 0 && strcmp(a->id, b->id) == 0);
    CHECK(strcmp(a->reason, b->reason) == 0);
    CHECK(a->attempt == b->attempt && a->crashes == b->crashes && a->lost == b->lost);
    CHECK(a->snoozes == b->snoozes && a->interrupted == b->interrupted);
    CHECK(a->first_failed_at_ms == b->first_failed_at_ms && a->failed_at_ms == b->failed_at_ms);
    CHECK(a->parked_at_ms == b->parked_at_ms && a->dead_at_ms == b->dead_at_ms);
    check_equal(a->queue, b->queue);
}

/* Writes `r`, reads it back and writes that: the two texts are the same, and so is the job. */
static void check_stable(const struct record *r)
{
    struct buf once = BUF_INIT, twice = BUF_INIT, before = BUF_INIT, after = BUF_INIT;
    struct record again;
    struct err err = {0};
    record_write(&once, r);
    record_parse(buf_span(&once), DEPTH, &again);
    CHECK(again.kind == (r->kind == RECORD_RAW ? RECORD_RAW : RECORD_WRAPPED));
    check_equal(r->job, again.job);
    check_equal(r->error, again.error);
    check_equal(r->history, again.history);
    CHECK(r->raw64 == again.raw64 && r->raw_bytes == again.raw_bytes);
    check_same_head(r, &again);
    record_write(&twice, &again);
    check_equal(buf_span(&once), buf_span(&twice));

    int rc = record_unwrap(r, &before, &err);
    CHECK(rc == 0 || (r->raw64 && rc == -ERR_SYNTAX));
    CHECK(record_unwrap(&again, &after, NULL) == rc);
    check_equal(buf_span(&before), buf_span(&after));
    buf_done(&once);
    buf_done(&twice);
    buf_done(&before);
    buf_done(&after);
}

static int on_item(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    (void)item;
    (void)kind;
    (void)err;
    return ++*(int *)arg, 0;
}

/* A failure of which every text comes from the input. */
static void check_failures(struct record r, struct span text)
{
    struct buf storage = BUF_INIT;
    int before = 0, after = 0;
    if (r.history.len > 0)
        CHECK(json_array_scan(r.history, INT32_MAX, on_item, &before, NULL) == 0);
    for (int n = 0; n < 2; n++) {
        struct failure f = FAILURE_INIT;
        f.message = text;
        f.stderr_tail = text;
        f.attempt = n;
        record_add_failure(&r, &f, &storage);
        CHECK(json_validate(r.error, DEPTH, NULL, NULL) == 0);
        check_stable(&r);
    }
    CHECK(json_array_scan(r.history, INT32_MAX, on_item, &after, NULL) == 0);
    CHECK(after == (before + 2 < RECORD_HISTORY_MAX ? before + 2 : RECORD_HISTORY_MAX));
    buf_done(&storage);
}

static void check_raw(struct span text)
{
    struct buf storage = BUF_INIT, written = BUF_INIT, out = BUF_INIT;
    struct record r, again;
    record_from_raw(text, &storage, &r);
    check_stable(&r);
    record_write(&written, &r);
    CHECK(json_object_scan(buf_span(&written), DEPTH, NULL, NULL, NULL) == 0);
    record_parse(buf_span(&written), DEPTH, &again);
    CHECK(record_unwrap(&again, &out, NULL) == 0);
    check_equal(buf_span(&out), text);
    buf_done(&storage);
    buf_done(&written);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct record r;
    record_parse(text, DEPTH, &r);
    if (r.kind == RECORD_PLAIN || r.kind == RECORD_NEWER)
        check_equal(r.job, text);
    if (r.kind != RECORD_NEWER) {
        check_stable(&r);
        check_failures(r, (struct span){text.ptr, size < 300 ? size : 300});
    }
    check_raw(text);
    return 0;
}
