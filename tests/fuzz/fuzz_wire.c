/* Frames from any bytes: the reader never reads past what it was given, never calls a frame longer
 * than the bytes, and what it accepts is written back to the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_back(const struct wire_frame *f, struct span whole)
{
    struct buf b = BUF_INIT;
    wire_write(&b, f->type, f->flags, f->slot, f->seq, f->payload);
    if (b.len != whole.len || memcmp(b.data, whole.ptr, b.len) != 0)
        abort();
    buf_done(&b);
}

static void write_job_back(const struct wire_frame *f)
{
    struct wire_job job;
    struct err err = {0};
    if (wire_read_job(f->payload, &job, &err) < 0)
        return;
    if (job.args.ptr[job.args.len] != '\0' || job.meta.ptr[job.meta.len] != '\0')
        abort();
    struct buf b = BUF_INIT;
    wire_write_job(&b, f->slot, f->seq, &job);
    if (b.len != WIRE_HEADER_BYTES + f->payload.len ||
        memcmp(b.data + WIRE_HEADER_BYTES, f->payload.ptr, f->payload.len) != 0)
        abort();
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span left = {(const char *)data, size};
    while (left.len > 0) {
        struct wire_frame f;
        struct err err = {0};
        int64_t n = wire_read(left, WIRE_REPLY_MAX, &f, &err);
        if (n <= 0)
            break;
        if ((uint64_t)n > left.len || f.payload.len + WIRE_HEADER_BYTES != (uint64_t)n)
            abort();
        write_back(&f, (struct span){left.ptr, (size_t)n});
        if (f.type == WIRE_JOB)
            write_job_back(&f);
        left.ptr += n;
        left.len -= (size_t)n;
    }
    return 0;
}
