/* document_build.h - a document from its parts, as enqueue makes one out of its options.
 *
 * JSON that was given (args, on_success, on_failure) is passed on as bytes: nothing is decoded or
 * re-encoded, so a 20-digit integer and an empty array stay what they are.  Everything else is
 * built here, numbers as exact decimals.  Pure.
 */
#ifndef BL_COMMON_DOCUMENT_BUILD_H
#define BL_COMMON_DOCUMENT_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/document.h"
#include "common/err.h"
#include "common/mem.h"
#include "common/retry.h"

/* What goes into a document.  Plain data; everything is borrowed.  NULL, length 0 and -1 mean the
 * member is left out. */
struct document_parts {
    const char *type; /* required */
    const char *id;
    struct span args; /* one valid JSON value without blanks around */
    int64_t at_ms; /* wall time */
    int64_t expires_at_ms; /* wall time */
    int64_t retries; /* 0 = straight to the dead letters */
    const char *backoff_type;
    int64_t backoff_base_ms, backoff_max_ms; /* only with backoff_type */
    int64_t timeout_ms;
    bool no_dead; /* writes "dead":false */
    const char *unique_key;
    int64_t unique_ttl_ms;
    const char *unique_until; /* "start" or "done" */
    const char *group;
    int64_t keep_ms;
    const char *reply_to;
    struct span on_success, on_failure; /* valid documents */
    const char **tags;
    int tag_count;
    const char **meta_keys, **meta_values;
    int meta_count;
    int64_t enqueued_at_ms; /* wall time */
};
#define DOCUMENT_PARTS_INIT                                                                        \
    {                                                                                              \
        .at_ms = -1, .expires_at_ms = -1, .retries = -1, .backoff_base_ms = -1,                    \
        .backoff_max_ms = -1, .timeout_ms = -1, .unique_ttl_ms = -1, .keep_ms = -1,                \
        .enqueued_at_ms = -1                                                                       \
    }

/* Appends the document.  Whether it is a good one is document_parse()'s to say. */
void document_build(struct buf *out, const struct document_parts *p);

/* "exp", "exp:2s", "exp:2s:1h": the backoff members of `p`; the type is copied into `type_storage`
 * (>= 8 bytes), which must outlive `p`.  -ERR_SYNTAX, -ERR_UNKNOWN, -ERR_RANGE. */
MUST_CHECK int document_parts_backoff(struct document_parts *p, const char *text,
                                      char type_storage[8], struct err *err);

/* Splits "KEY[:TTL]".  Since keys hold colons too, what follows the last one is a TTL only if it is
 * a duration with a unit ("order:42" is a key, "order:42:1h" has a TTL); a colon at the end says
 * that all before it is the key.  Returns the key's length and sets `*ret_ttl_ms` (-1 = none). */
size_t document_split_unique(const char *text, int64_t *ret_ttl_ms);

/* `text` without the JSON blanks around it. */
struct span json_trim(struct span text);

#endif
