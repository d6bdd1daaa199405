/* One byte order, no padding, no pointer casts: both ends are the same binary, but the bytes of a
 * runner are those of a process that runs other people's code, so every length is checked.
 * The strings of a JOB frame carry a NUL each, so that a runner hands them out where they lie. */
#include "common/wire.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

enum {
    JOB_FIXED_BYTES = 4 + 8 + 1 + 2 + 2 + 2 + 4 + 4,
    JOB_FLAG_NO_RESULT = 1,
    JOB_STRINGS = 5,
};

const char *wire_type_name(int type)
{
    switch (type) {
#define WIRE_NAME(name, value)                                                                     \
    case value:                                                                                    \
        return #name;
        WIRE_MAP(WIRE_NAME)
#undef WIRE_NAME
    }
    return "?";
}

static bool type_known(int type)
{
    return wire_type_name(type)[0] != '?';
}

static char *put(char *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (char)(value >> (8 * i) & 0xff);
    return p;
}

static uint64_t take(const char **p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)(*p)[i] << (8 * i);
    *p += bytes;
    return value;
}

static char *put_header(char *p, size_t payload_len, enum wire_type type, uint8_t flags,
                        uint16_t slot, uint64_t seq)
{
    p = put(p, payload_len, 4);
    p = put(p, (uint64_t)type, 1);
    p = put(p, flags, 1);
    p = put(p, slot, 2);
    return put(p, seq, 8);
}

void wire_write(struct buf *out, enum wire_type type, uint8_t flags, uint16_t slot, uint64_t seq,
                struct span payload)
{
    if (payload.len > WIRE_PAYLOAD_MAX)
        BUG("a %s frame of %zu bytes", wire_type_name((int)type), payload.len);
    char *p = buf_reserve(out, WIRE_HEADER_BYTES + payload.len);
    p = put_header(p, payload.len, type, flags, slot, seq);
    if (payload.len > 0)
        memcpy(p, payload.ptr, payload.len);
    buf_grown(out, WIRE_HEADER_BYTES + payload.len);
}

int64_t wire_read(struct span bytes, uint32_t payload_max, struct wire_frame *ret, struct err *err)
{
    if (bytes.len < WIRE_HEADER_BYTES)
        return 0;
    const char *p = bytes.ptr;
    uint32_t len = (uint32_t)take(&p, 4);
    int type = (int)take(&p, 1);
    uint8_t flags = (uint8_t)take(&p, 1);
    uint16_t slot = (uint16_t)take(&p, 2);
    uint64_t seq = take(&p, 8);
    if (!type_known(type))
        return err_set(err, ERR_PROTOCOL, "a frame of unknown type %d", type);
    if (len > payload_max)
        return err_set(err, ERR_PROTOCOL,
                       "a %s frame of %" PRIu32 " bytes, above the limit of %" PRIu32,
                       wire_type_name(type), len, payload_max);
    if (bytes.len - WIRE_HEADER_BYTES < len)
        return 0;
    *ret = (struct wire_frame){
        .type = (enum wire_type)type,
        .flags = flags,
        .slot = slot,
        .seq = seq,
        .payload = {p, len},
    };
    return (int64_t)WIRE_HEADER_BYTES + len;
}

static char *put_string(char *p, struct span s)
{
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p + s.len + 1;
}

void wire_write_job(struct buf *out, uint16_t slot, uint64_t seq, const struct wire_job *job)
{
    size_t len = JOB_FIXED_BYTES + job->id.len + job->queue.len + job->type.len + job->args.len +
                 job->meta.len + JOB_STRINGS;
    if (job->id.len > UINT16_MAX || job->queue.len > UINT16_MAX || job->type.len > UINT16_MAX ||
        len > WIRE_PAYLOAD_MAX)
        BUG("a job of %zu bytes", len);
    char *p = buf_reserve(out, WIRE_HEADER_BYTES + len);
    p = put_header(p, len, WIRE_JOB, 0, slot, seq);
    p = put(p, (uint64_t)job->attempt, 4);
    p = put(p, (uint64_t)job->timeout_ms, 8);
    p = put(p, job->no_result ? JOB_FLAG_NO_RESULT : 0, 1);
    p = put(p, job->id.len, 2);
    p = put(p, job->queue.len, 2);
    p = put(p, job->type.len, 2);
    p = put(p, job->args.len, 4);
    p = put(p, job->meta.len, 4);
    p = put_string(p, job->id);
    p = put_string(p, job->queue);
    p = put_string(p, job->type);
    p = put_string(p, job->args);
    put_string(p, job->meta);
    buf_grown(out, WIRE_HEADER_BYTES + len);
}

int wire_read_job(struct span payload, struct wire_job *ret, struct err *err)
{
    if (payload.len < JOB_FIXED_BYTES)
        return err_set(err, ERR_PROTOCOL, "a JOB frame of %zu bytes", payload.len);
    const char *p = payload.ptr;
    struct wire_job job = {.attempt = (int)(int32_t)take(&p, 4),
                           .timeout_ms = (int64_t)take(&p, 8)};
    unsigned flags = (unsigned)take(&p, 1);
    job.no_result = (flags & JOB_FLAG_NO_RESULT) != 0;
    job.id.len = take(&p, 2);
    job.queue.len = take(&p, 2);
    job.type.len = take(&p, 2);
    job.args.len = take(&p, 4);
    job.meta.len = take(&p, 4);
    size_t want = JOB_FIXED_BYTES + JOB_STRINGS + job.id.len + job.queue.len + job.type.len +
                  job.args.len + job.meta.len;
    if (payload.len != want)
        return err_set(err, ERR_PROTOCOL, "a JOB frame of %zu bytes instead of %zu", payload.len,
                       want);
    if (flags > JOB_FLAG_NO_RESULT || job.attempt < 1 || job.timeout_ms < 1)
        return err_set(err, ERR_PROTOCOL, "a JOB frame with flags %u, attempt %d, timeout %" PRId64,
                       flags, job.attempt, job.timeout_ms);
    struct span *strings[JOB_STRINGS] = {&job.id, &job.queue, &job.type, &job.args, &job.meta};
    for (int i = 0; i < JOB_STRINGS; i++) {
        strings[i]->ptr = p;
        p += strings[i]->len;
        if (*p++ != '\0')
            return err_set(err, ERR_PROTOCOL, "a JOB frame with an unterminated string");
    }
    *ret = job;
    return 0;
}

enum { DONE_BYTES = 10 };

void wire_write_done(struct buf *out, const struct wire_done *jobs, int count)
{
    size_t len = (size_t)count * DONE_BYTES;
    char *p = put_header(buf_reserve(out, WIRE_HEADER_BYTES + len), len, WIRE_DONE, 0, 0, 0);
    for (int i = 0; i < count; i++)
        p = put(put(p, jobs[i].slot, 2), jobs[i].seq, 8);
    buf_grown(out, WIRE_HEADER_BYTES + len);
}

int wire_done_count(struct span payload, struct err *err)
{
    if (payload.len % DONE_BYTES != 0)
        return err_set(err, ERR_PROTOCOL, "a DONE frame of %zu bytes", payload.len);
    return (int)(payload.len / DONE_BYTES);
}

struct wire_done wire_done_at(struct span payload, int index)
{
    const char *p = payload.ptr + (size_t)index * DONE_BYTES;
    struct wire_done job = {.slot = (uint16_t)take(&p, 2)};
    job.seq = take(&p, 8);
    return job;
}
