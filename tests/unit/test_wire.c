/* Frames: what is written is read back; nothing shorter, longer or unknown is taken for a frame. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

static struct span text(const char *s)
{
    return SPAN_OF_STR(s);
}

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void a_frame_comes_back_as_it_was(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_RESULT, WIRE_FLAG_CUT, 255, UINT64_C(0x1122334455667788), text("hello"));
    wire_write(&b, WIRE_DRAIN, 0, 0, 0, (struct span){NULL, 0});
    assert_int_equal(b.len, 2 * WIRE_HEADER_BYTES + 5);
    struct wire_frame f = {0};
    struct err err = {0};
    assert_int_equal(wire_read(buf_span(&b), WIRE_REPLY_MAX, &f, &err), WIRE_HEADER_BYTES + 5);
    assert_int_equal(f.type, WIRE_RESULT);
    assert_int_equal(f.flags, WIRE_FLAG_CUT);
    assert_int_equal(f.slot, 255);
    assert_true(f.seq == UINT64_C(0x1122334455667788));
    assert_span(f.payload, "hello");
    buf_consume(&b, WIRE_HEADER_BYTES + 5);
    assert_int_equal(wire_read(buf_span(&b), WIRE_REPLY_MAX, &f, &err), WIRE_HEADER_BYTES);
    assert_int_equal(f.type, WIRE_DRAIN);
    assert_int_equal(f.payload.len, 0);
    buf_done(&b);
}

static void the_bytes_are_little_endian(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_DONE, 3, 0x0102, 0x0a0b, text("xy"));
    static const char want[] = "\x02\0\0\0\x11\x03\x02\x01\x0b\x0a\0\0\0\0\0\0xy";
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(b.data, want, b.len);
    buf_done(&b);
}

static struct wire_job sample_job(void)
{
    return (struct wire_job){
        .attempt = 3,
        .timeout_ms = INT64_C(1800000),
        .id = text("01890a5d-ac96-774b-bcce-b302099a8057"),
        .queue = text("default"),
        .type = text("email.send"),
        .args = text("{\"n\":12345678901234567890,\"x\":0.1,\"e\":[]}"),
        .meta = text("{\"traceparent\":\"00-a-b-01\"}"),
    };
}

static void a_job_comes_back_with_a_nul_after_each_string(void **state)
{
    (void)state;
    struct wire_job job = sample_job(), got = {0};
    job.no_result = true;
    struct buf b = BUF_INIT;
    wire_write_job(&b, 7, 42, &job);
    struct wire_frame f = {0};
    struct err err = {0};
    assert_int_equal(wire_read(buf_span(&b), WIRE_PAYLOAD_MAX, &f, &err), b.len);
    assert_int_equal(f.type, WIRE_JOB);
    assert_int_equal(f.slot, 7);
    assert_int_equal(f.seq, 42);
    assert_int_equal(wire_read_job(f.payload, &got, &err), 0);
    assert_int_equal(got.attempt, 3);
    assert_int_equal(got.timeout_ms, 1800000);
    assert_true(got.no_result);
    assert_string_equal(got.id.ptr, job.id.ptr);
    assert_string_equal(got.queue.ptr, job.queue.ptr);
    assert_string_equal(got.type.ptr, job.type.ptr);
    assert_string_equal(got.args.ptr, job.args.ptr);
    assert_string_equal(got.meta.ptr, job.meta.ptr);
    assert_int_equal(got.args.len, job.args.len);
    buf_done(&b);
}

static void a_job_may_have_no_meta(void **state)
{
    (void)state;
    struct wire_job job = sample_job(), got = {0};
    job.meta = (struct span){NULL, 0};
    struct buf b = BUF_INIT;
    wire_write_job(&b, 0, 1, &job);
    struct span payload = {b.data + WIRE_HEADER_BYTES, b.len - WIRE_HEADER_BYTES};
    struct err err = {0};
    assert_int_equal(wire_read_job(payload, &got, &err), 0);
    assert_int_equal(got.meta.len, 0);
    assert_string_equal(got.meta.ptr, "");
    assert_false(got.no_result);
    buf_done(&b);
}

/* Each prefix lies in memory of its own length, so that a sanitizer sees a read past the end. */
static void a_truncated_stream_waits_for_more(void **state)
{
    (void)state;
    struct wire_job job = sample_job();
    struct buf b = BUF_INIT;
    wire_write_job(&b, 1, 9, &job);
    for (size_t len = 0; len < b.len; len++) {
        char *part = xmemdup(b.data, len > 0 ? len : 1);
        struct wire_frame f = {.slot = 99};
        struct err err = {0};
        assert_int_equal(wire_read((struct span){part, len}, WIRE_PAYLOAD_MAX, &f, &err), 0);
        assert_int_equal(f.slot, 99);
        assert_int_equal(err.code, 0);
        free(part);
    }
    buf_done(&b);
}

static void a_truncated_job_is_refused(void **state)
{
    (void)state;
    struct wire_job job = sample_job();
    struct buf b = BUF_INIT;
    wire_write_job(&b, 1, 9, &job);
    size_t whole = b.len - WIRE_HEADER_BYTES;
    for (size_t len = 0; len < whole; len++) {
        char *part = xmemdup(b.data + WIRE_HEADER_BYTES, len > 0 ? len : 1);
        struct wire_job got = {.attempt = 77};
        struct err err = {0};
        assert_int_equal(wire_read_job((struct span){part, len}, &got, &err), -ERR_PROTOCOL);
        assert_int_equal(got.attempt, 77);
        free(part);
    }
    buf_add_char(&b, 'x');
    struct wire_job got = {0};
    struct err err = {0};
    struct span longer = {b.data + WIRE_HEADER_BYTES, whole + 1};
    assert_int_equal(wire_read_job(longer, &got, &err), -ERR_PROTOCOL);
    buf_done(&b);
}

static void a_job_with_impossible_numbers_is_refused(void **state)
{
    (void)state;
    static const struct {
        int at, bytes;
        unsigned char value;
    } rows[] = {
        {0, 4, 0x00}, /* attempt 0 */
        {0, 4, 0xff}, /* attempt -1 */
        {4, 8, 0x00}, /* no time */
        {4, 8, 0xff}, /* negative time */
        {12, 1, 0x02}, /* a flag nobody knows */
        {13, 2, 0xff}, /* a longer id */
        {19, 4, 0xff}, /* longer args */
        {23, 4, 0xff}, /* longer meta */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct wire_job job = sample_job(), got = {0};
        struct buf b = BUF_INIT;
        wire_write_job(&b, 1, 9, &job);
        memset(b.data + WIRE_HEADER_BYTES + rows[i].at, rows[i].value, (size_t)rows[i].bytes);
        struct err err = {0};
        struct span payload = {b.data + WIRE_HEADER_BYTES, b.len - WIRE_HEADER_BYTES};
        assert_int_equal(wire_read_job(payload, &got, &err), -ERR_PROTOCOL);
        buf_done(&b);
    }
}

static void a_frame_above_the_limit_is_refused_by_its_header(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    wire_write(&b, WIRE_RESULT, 0, 0, 0, text("0123456789"));
    struct wire_frame f = {0};
    struct err err = {0};
    struct span header = {b.data, WIRE_HEADER_BYTES};
    assert_int_equal(wire_read(header, 9, &f, &err), -ERR_PROTOCOL);
    assert_string_equal(err.text, "a RESULT frame of 10 bytes, above the limit of 9");
    err = (struct err){0};
    assert_int_equal(wire_read(buf_span(&b), 10, &f, &err), b.len);
    memset(b.data, 0xff, 4);
    assert_int_equal(wire_read(header, WIRE_PAYLOAD_MAX, &f, &err), -ERR_PROTOCOL);
    buf_done(&b);
}

static void every_unknown_type_is_refused(void **state)
{
    (void)state;
    int known = 0;
    for (int type = 0; type < 256; type++) {
        char header[WIRE_HEADER_BYTES] = {0};
        header[4] = (char)type;
        struct wire_frame f = {0};
        struct err err = {0};
        struct span bytes = {header, sizeof header};
        int64_t n = wire_read(bytes, WIRE_REPLY_MAX, &f, &err);
        if (strcmp(wire_type_name(type), "?") == 0) {
            assert_int_equal(n, -ERR_PROTOCOL);
            continue;
        }
        assert_int_equal(n, WIRE_HEADER_BYTES);
        assert_int_equal(f.type, type);
        known++;
    }
#define COUNT(name, value) +1
    assert_int_equal(known, 0 WIRE_MAP(COUNT));
#undef COUNT
}

static void a_report_names_its_jobs(void **state)
{
    (void)state;
    static const struct wire_done jobs[] = {{3, 7}, {255, UINT64_C(0x0102030405060708)}};
    struct buf b = BUF_INIT;
    struct wire_frame f;
    struct err err = {0};
    wire_write_done(&b, jobs, 2);
    assert_int_equal(wire_read(buf_span(&b), WIRE_REPLY_MAX, &f, &err), b.len);
    assert_int_equal(f.type, WIRE_DONE);
    assert_int_equal(wire_done_count(f.payload, &err), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wire_done_at(f.payload, i).slot, jobs[i].slot);
        assert_int_equal(wire_done_at(f.payload, i).seq, jobs[i].seq);
    }
    f.payload.len--;
    assert_int_equal(wire_done_count(f.payload, &err), -ERR_PROTOCOL);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_was),
        cmocka_unit_test(the_bytes_are_little_endian),
        cmocka_unit_test(a_job_comes_back_with_a_nul_after_each_string),
        cmocka_unit_test(a_job_may_have_no_meta),
        cmocka_unit_test(a_truncated_stream_waits_for_more),
        cmocka_unit_test(a_truncated_job_is_refused),
        cmocka_unit_test(a_job_with_impossible_numbers_is_refused),
        cmocka_unit_test(a_frame_above_the_limit_is_refused_by_its_header),
        cmocka_unit_test(every_unknown_type_is_refused),
        cmocka_unit_test(a_report_names_its_jobs),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
