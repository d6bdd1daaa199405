/* record.h - what lies in a Redis key for one job: the producer's document as pushed, or, once we
 * had something to add, a wrapped record: valid JSON with the document's bytes verbatim as its last
 * member,
 *
 *   {"v":1,"job_bytes":83,"uid":"...","id":"...","attempt":2,...,"job":<83 bytes>}
 *   {"v":1,"raw_bytes":7,"uid":"...",...,"raw":"text"}          not JSON, or no UTF-8 ("raw64")
 *
 * Unwrapping is arithmetic on job_bytes, never a re-encoding.  A wrapper is checked strictly, and
 * what only looks like one is a document.  `v` above ours is "newer": kept untouched.
 * Zsets hold only wrapped records: `uid` (the first token the job ever had) keeps equal documents
 * apart.  Runs in the worker and jobctl.
 *
 * To change the format: bump RECORD_VERSION, keep reading the old one for one release, write the
 * new only when no older worker can claim it (docs/protocol.md, "rolling upgrades").
 */
#ifndef BL_COMMON_RECORD_H
#define BL_COMMON_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

enum {
    RECORD_VERSION = 1,
    RECORD_HISTORY_MAX = 10, /* last failed attempts kept */
    RECORD_HEAD_BYTES = 64 * 1024, /* of everything before the document */
    RECORD_UID_BYTES = 64,
    RECORD_REASON_BYTES = 64,
    RECORD_MESSAGE_BYTES = 2048, /* of one error message, cut at a character */
};

enum record_kind {
    RECORD_PLAIN = 0, /* the document alone */
    RECORD_WRAPPED, /* ours */
    RECORD_RAW, /* ours, around bytes that are no JSON document */
    RECORD_NEWER, /* a wrapper of a version above ours: park untouched */
};

/* Plain data; spans are borrowed from the parsed bytes (or from whoever filled them in). */
struct record {
    enum record_kind kind;
    struct span job; /* the document's bytes (RECORD_RAW: the JSON string with quotes) */
    bool raw64; /* RECORD_RAW: job is base64 */
    size_t raw_bytes; /* RECORD_RAW: length of the bytes as pushed */
    char uid[RECORD_UID_BYTES + 1]; /* "" = never given one */
    char id[128 + 1]; /* job id; "" = the document's, or none yet */
    int attempt; /* failed attempts so far that spent a retry, 0..1e6 */
    int crashes; /* deaths of its runner blamed on it */
    int lost; /* times it had begun when its worker was lost */
    int snoozes; /* in a row */
    int interrupted; /* times a shutdown ended it */
    int64_t first_failed_at_ms, failed_at_ms, parked_at_ms, dead_at_ms; /* wall; 0 = never */
    char reason[RECORD_REASON_BYTES + 1]; /* why it is dead or parked: "retries-spent", ... */
    struct span error; /* raw JSON object of the last failure; len 0 = none */
    struct span history; /* raw JSON array of the last RECORD_HISTORY_MAX failures; len 0 = none */
    struct span queue; /* raw JSON string: the list it came from; len 0 = unsaid */
};
#define RECORD_INIT                                                                                \
    {                                                                                              \
        .kind = RECORD_PLAIN                                                                       \
    }

/* Tells which kind `bytes` are and reads the wrapper's members.  Never fails: what is no valid
 * wrapper is RECORD_PLAIN with job = bytes (validating the document is document_parse()'s work).
 * Counters out of range are clamped.  `max_depth` as for documents. */
void record_parse(struct span bytes, int max_depth, struct record *ret);

/* Appends `r` as a wrapped record (version RECORD_VERSION).  kind PLAIN is written as WRAPPED; RAW
 * as RAW; NEWER is a BUG.  Members that are zero or empty are left out; so are, should the head grow
 * above RECORD_HEAD_BYTES, those at its end: history, then error, then queue.  Times are ms. */
void record_write(struct buf *out, const struct record *r);

/* Turns bytes that are no document into a RECORD_RAW whose job span lives in `storage` (caller
 * owns, must outlive `ret`; it is appended to, so other spans into it may move). */
void record_from_raw(struct span bytes, struct buf *storage, struct record *ret);
/* The bytes as pushed, out of any kind: appends them (NEWER: the whole record).  -ERR_SYNTAX if
 * raw64 is no base64 of raw_bytes bytes. */
MUST_CHECK int record_unwrap(const struct record *r, struct buf *out, struct err *err);

/* What is known of a failure.  Strings may be NULL. */
struct failure {
    const char *kind; /* "failed", "crash", "oom", "timeout", "handler", "lost", "malformed" ... */
    struct span message; /* for people; any bytes; cut at RECORD_MESSAGE_BYTES */
    int attempt; /* 1-based attempt that failed */
    int64_t at_ms; /* wall */
    int exit_code; /* -1 = none */
    int signal; /* 0 = none */
    int64_t run_ms; /* how long it ran; -1 = unknown */
    int64_t max_rss_bytes, cpu_ms; /* -1 = unknown */
    struct span stderr_tail; /* any bytes */
};
#define FAILURE_INIT                                                                               \
    {                                                                                              \
        .exit_code = -1, .run_ms = -1, .max_rss_bytes = -1, .cpu_ms = -1                           \
    }

/* An error is the object {"kind","message","attempt","at","exit_code","signal","run_ms",
 * "max_rss_bytes","cpu_ms","stderr"}: `at` in ms, what is unknown left out, the end of stderr cut.
 *
 * Sets r->error to `f` and appends `f` (without stderr) to r->history, dropping the oldest above
 * RECORD_HISTORY_MAX.  The new JSON lives in `storage`, which must outlive `r`; it may hold
 * other spans of `r`, which follow it when it moves. */
void record_add_failure(struct record *r, const struct failure *f, struct buf *storage);

#endif
