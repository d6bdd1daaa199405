/* document.h - what a producer pushed: a JSON object of which only `type` is required.
 *
 * document_parse() validates the whole text with json_span and reads the members DESIGN names; all
 * others are kept in the bytes untouched.  A wrong type or value of a known member is an error
 * that names the member.  Foreign spellings: class, jobtype = type; jid = id; reserve_for =
 * timeout.  Two spellings of one member, or a member twice, are errors; so are at and delay
 * together.  A follow-up (on_success, on_failure) is itself a document and may name its "queue".
 * Runs in the worker (for every claimed job), the runner, enqueue and jobctl.
 */
#ifndef BL_COMMON_DOCUMENT_H
#define BL_COMMON_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/retry.h"

enum {
    DOC_TYPE_BYTES = 200,
    DOC_ID_BYTES = 128,
    DOC_NAME_BYTES = 256, /* queue, group, unique key, reply_to */
    DOC_DEFAULT_BYTES = 1024 * 1024, /* limits.document_bytes */
    DOC_DEFAULT_NESTING = 64, /* limits.nesting */
    DOC_DEFAULT_TIMEOUT_MS = 30 * 60000, /* one attempt */
};

struct document_limits {
    size_t max_bytes; /* of the document */
    int max_depth;
};
#define DOCUMENT_LIMITS_INIT                                                                       \
    {                                                                                              \
        .max_bytes = DOC_DEFAULT_BYTES, .max_depth = DOC_DEFAULT_NESTING                           \
    }

/* Which optional members were given (a null value counts as not given). */
enum document_has {
    DOC_HAS_ID = 1 << 0,
    DOC_HAS_ARGS = 1 << 1,
    DOC_HAS_AT = 1 << 2, /* at, or delay */
    DOC_HAS_DELAY = 1 << 3, /* at_ms is a delay, relative to the claim */
    DOC_HAS_EXPIRES = 1 << 4,
    DOC_HAS_RETRY = 1 << 5,
    DOC_HAS_BACKOFF = 1 << 6,
    DOC_HAS_TIMEOUT = 1 << 7,
    DOC_HAS_UNIQUE = 1 << 8,
    DOC_HAS_GROUP = 1 << 9,
    DOC_HAS_KEEP = 1 << 10,
    DOC_HAS_REPLY_TO = 1 << 11,
    DOC_HAS_ON_SUCCESS = 1 << 12,
    DOC_HAS_ON_FAILURE = 1 << 13,
    DOC_HAS_TAGS = 1 << 14,
    DOC_HAS_META = 1 << 15,
    DOC_HAS_CREATED = 1 << 16,
    DOC_HAS_ENQUEUED = 1 << 17,
};

/* Plain data; owns nothing.  Spans are borrowed from the parsed bytes, for as long as those live. */
struct document {
    struct span bytes; /* the whole document as pushed */
    unsigned has; /* enum document_has */
    char type[DOC_TYPE_BYTES + 1]; /* decoded; [A-Za-z0-9._:/-]+ */
    char id[DOC_ID_BYTES + 1]; /* decoded; "" = none */
    struct span args; /* the value's own bytes; "null" when not given */
    struct span meta; /* object of strings; len 0 = none */
    struct span tags, group, unique, reply_to, on_success, on_failure; /* raw values; len 0 */
    int64_t at_ms; /* time, or delay if DOC_HAS_DELAY */
    int64_t expires_at_ms; /* wall time */
    int64_t timeout_ms; /* > 0 */
    int64_t keep_ms; /* 0 = keep nothing */
    int64_t created_at_ms, enqueued_at_ms; /* wall time; 0 = unknown */
    int retries; /* 0..RETRY_MAX, others clamped; true = default */
    struct backoff backoff; /* whole, defaults filled in, if DOC_HAS_BACKOFF */
    bool dead; /* default true; false = forget when retries are spent */
};

/* After a failure `ret` is not to be read: what is in it may be half written.
 * -ERR_TOO_BIG, -ERR_TOO_DEEP, -ERR_SYNTAX, -ERR_TYPE (no object, or a member's type),
 * -ERR_MISSING (type), -ERR_DUPLICATE, -ERR_RANGE, -ERR_INVALID.  The text is what goes on the
 * dead letter: "member \"retry\" must be an integer or false, not a string". */
MUST_CHECK int document_parse(struct span bytes, const struct document_limits *limits,
                              struct document *ret, struct err *err);

/* Is `text` a legal handler name: 1 to 200 bytes of [A-Za-z0-9._:/-]? */
bool document_type_valid(struct span text);

/* The string value of meta member `key` into `out` (cut at size-1, NUL added); false = absent. */
bool document_meta_get(const struct document *d, const char *key, char *out, size_t size);

#endif
