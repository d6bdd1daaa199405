/* token.h - who claimed a job: the worker's incarnation and a sequence number.  Pure.
 *
 * An incarnation is 128 random bits drawn at each worker start, written as 32 lower-case hex
 * digits.  A token is `incarnation:sequence`, the field under which the job's record lies in
 * `{Q}:run`.  It is made by the worker, before the claim is written, and never used twice: that
 * token, not the job's id or bytes, is what settles a job.
 */
#ifndef BL_COMMON_TOKEN_H
#define BL_COMMON_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/mem.h"

enum {
    INCARNATION_BYTES = 32, /* hex digits, no NUL */
    TOKEN_MAX_BYTES = 32 + 20, /* incarnation ':' up to 17 digits, NUL */
};

/* Sequence numbers stay below 2^53, which Lua's doubles hold exactly. */
#define TOKEN_SEQ_MAX ((UINT64_C(1) << 53) - 1)

struct incarnation {
    char hex[INCARNATION_BYTES + 1]; /* NUL-terminated */
};

/* Draws a new one from the kernel. -ERR_SYSTEM. */
MUST_CHECK int incarnation_new(struct incarnation *ret, struct err *err);
/* True for exactly 32 lower-case hex digits. */
bool incarnation_parse(struct span text, struct incarnation *ret);
bool incarnation_equal(const struct incarnation *a, const struct incarnation *b);

/* Writes "incarnation:seq" with a NUL; returns its length. */
size_t token_format(const struct incarnation *inc, uint64_t seq, char out[TOKEN_MAX_BYTES]);
/* True if `text` is a token in its one canonical spelling (no leading zeros). */
bool token_parse(struct span text, struct incarnation *ret_inc, uint64_t *ret_seq);

/* A UUIDv7 (RFC 9562): 48 bits of ms, then random, ascending within one process.
 * `out` gets 36 characters and a NUL.  Used for job ids. */
enum { UUID_BYTES = 36 };
enum { UUID_STOCK = 32 };
struct uuid_source {
    uint64_t last_ms;
    uint64_t counter; /* 12 + 30 bits that follow the time, random at each new ms */
    struct uuid_random {
        uint64_t counter;
        uint32_t tail;
    } stock[UUID_STOCK]; /* the kernel is asked for many at once: never share one across a fork() */
    int left;
};
MUST_CHECK int uuid_v7(struct uuid_source *src, int64_t now_wall_ms, char out[UUID_BYTES + 1],
                       struct err *err);

#endif
