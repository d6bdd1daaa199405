/* wire.h - frames between worker and runner over a stream socketpair.  Pure: bytes in, frames out.
 *
 *   u32 length of what follows the header | u8 type | u8 flags | u16 slot | u64 seq | payload
 *
 * little-endian, 16 bytes of header.  Both ends are the same binary.  A frame of an unknown type or
 * over the limit is a protocol error: the worker kills that runner (crash), the runner exits.
 *
 * Order matters in one place: a RESULT frame of a job precedes the DONE frame that names it.  DONE
 * names the job and not the slot alone: a slot found RETURNED in the page is free again, and may hold
 * the next job, before the report of the one before was read.
 */
#ifndef BL_COMMON_WIRE_H
#define BL_COMMON_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

/* name, who sends it, payload */
#define WIRE_MAP(X)                                                                                \
    /* worker -> runner */                                                                         \
    X(JOB, 1) /* payload: struct wire_job, then strings and the document */                        \
    X(CANCEL, 2) /* the job in slot/seq should stop: jobctl or timeout; no payload */              \
    X(DRAIN, 3) /* finish what has begun, then exit 0; no payload */                               \
    X(ENQUEUED, 4) /* answer to ENQUEUE: empty payload = stored, else the reason why not */        \
    /* runner -> worker */                                                                         \
    X(HELLO, 16) /* ready; payload: u32 number of handlers */                                      \
    X(DONE, 17) /* payload: u16 slot, u64 seq of each job that is RETURNED in the page now */      \
    X(RESULT, 18) /* payload: the result's bytes of slot/seq; flags 1 = cut at the cap */          \
    X(MESSAGE, 19) /* payload: the failure's full text; flags 2 = it is the tail of stderr */      \
    X(PROGRESS, 21) /* payload: u8 percent 0..100 or 255 = unsaid, text */                         \
    X(ENQUEUE, 22) /* payload: u16 length of queue name, name, document */                         \
    X(FATAL, 23) /* payload: "path: reason" of a plugin that was refused (one frame each, before \
                    * HELLO; the others work), or why the runner exits next */ \
    X(LEAVING, 24) /* begins nothing any more and exits: a handler spoilt the process; no payload */

enum wire_type {
#define WIRE_ENUM(name, value) WIRE_##name = (value),
    WIRE_MAP(WIRE_ENUM)
#undef WIRE_ENUM
};
const char *wire_type_name(int type); /* "?" for unknown */

enum {
    WIRE_HEADER_BYTES = 16,
    WIRE_PAYLOAD_MAX = 64 * 1024 * 1024, /* worker -> runner: documents are capped elsewhere */
    WIRE_REPLY_MAX = 1024 * 1024 + 4096, /* runner -> worker: result cap 1 MiB */
    WIRE_FLAG_CUT = 1,
    WIRE_FLAG_STDERR = 2,
};

struct wire_frame {
    enum wire_type type;
    uint8_t flags;
    uint16_t slot;
    uint64_t seq;
    struct span payload; /* borrowed from the parsed buffer until it changes */
};

void wire_write(struct buf *out, enum wire_type type, uint8_t flags, uint16_t slot, uint64_t seq,
                struct span payload);

/* Reads the frame at the start of `bytes`.  Returns its whole length, 0 if more bytes are needed,
 * -ERR_PROTOCOL for an unknown type or a payload above `payload_max`. */
MUST_CHECK int64_t wire_read(struct span bytes, uint32_t payload_max, struct wire_frame *ret,
                             struct err *err);

/* One job in a DONE frame. */
struct wire_done {
    uint16_t slot;
    uint64_t seq;
};
void wire_write_done(struct buf *out, const struct wire_done *jobs, int count);
/* How many jobs a DONE payload names; -ERR_PROTOCOL for an odd length. */
MUST_CHECK int wire_done_count(struct span payload, struct err *err);
struct wire_done wire_done_at(struct span payload, int index);

/* What a JOB frame carries.  Read from a frame, each span has a NUL after it, not counted. */
struct wire_job {
    int attempt; /* 1-based */
    int64_t timeout_ms; /* of this attempt; deadline = when it begins + this */
    struct span id, queue; /* text */
    struct span type; /* handler name */
    struct span args; /* the value's bytes */
    struct span meta; /* raw JSON object, len 0 = none */
    bool no_result; /* nobody wants the result: it is neither sent nor written */
};
void wire_write_job(struct buf *out, uint16_t slot, uint64_t seq, const struct wire_job *job);
/* Spans are borrowed from `payload`.  -ERR_PROTOCOL; attempt and timeout_ms are at least 1. */
MUST_CHECK int wire_read_job(struct span payload, struct wire_job *ret, struct err *err);

#endif
