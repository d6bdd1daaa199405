/* json_span.h - a strict JSON scanner that finds the outer members of an object and copies nothing.
 *
 * It validates the whole text (RFC 8259: grammar, UTF-8 without surrogates, escapes and surrogate
 * pairs, depth) and reports each outer member as spans into the caller's bytes.  Nothing is
 * decoded, rounded or re-encoded: that is how a document stays the producer's.  It agrees with
 * jansson (JSON_REJECT_DUPLICATES aside) on what is JSON, with these wanted differences: raw NUL
 * bytes are always refused, "\u0000" inside strings is accepted, and numbers have no range.
 * Worker, runner, commands and fuzzers use it; jansson is for everything off the hot path.
 */
#ifndef BL_COMMON_JSON_SPAN_H
#define BL_COMMON_JSON_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/json_value.h"
#include "common/mem.h"

enum json_kind {
    JK_OBJECT = 0,
    JK_ARRAY,
    JK_STRING,
    JK_NUMBER,
    JK_TRUE,
    JK_FALSE,
    JK_NULL,
};
const char *json_kind_name(enum json_kind kind); /* "an object", "a string", ... for messages */

struct json_member {
    struct span key; /* between the quotes, escapes not decoded */
    struct span value; /* the value's bytes without blanks around; strings with their quotes */
    enum json_kind kind;
    size_t offset; /* of the key's opening quote, for messages */
};

/* Called for each outer member in order.  Return 0 to go on, a negative code (after err_set) to
 * stop the scan with that code. */
typedef int (*json_member_fn)(void *arg, const struct json_member *m, struct err *err);

/* Validates that `text` is exactly one JSON object (blanks around allowed) nested at most
 * `max_depth` levels (the outer object is level 1; 4096 at most), and calls `fn` per outer member
 * (NULL: just validate).  Members are reported before the rest of the text is known to be valid.
 * -ERR_SYNTAX (text names the byte offset), -ERR_TOO_DEEP, -ERR_TYPE when the text is valid JSON
 * but no object, or what `fn` returned. */
MUST_CHECK int json_object_scan(struct span text, int max_depth, json_member_fn fn, void *arg,
                                struct err *err);

/* The same for an object whose closing brace is left out: `text` begins with '{' and ends behind
 * the last member's value.  That is the head of a wrapped record. */
MUST_CHECK int json_open_object_scan(struct span text, int max_depth, json_member_fn fn, void *arg,
                                     struct err *err);

/* Validates exactly one JSON value of any kind; `ret_kind` may be NULL. */
MUST_CHECK int json_validate(struct span text, int max_depth, enum json_kind *ret_kind,
                             struct err *err);

/* Validates exactly one array and calls `fn` (NULL is fine) per element; as json_object_scan(). */
typedef int (*json_item_fn)(void *arg, struct span item, enum json_kind kind, struct err *err);
MUST_CHECK int json_array_scan(struct span text, int max_depth, json_item_fn fn, void *arg,
                               struct err *err);

/* Is it valid UTF-8 (no surrogates, no overlong forms)?  NUL bytes are fine here. */
bool utf8_valid(struct span text);

#endif
