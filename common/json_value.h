/* json_value.h - one key or value of JSON text, already validated by json_span.h, into C.
 *
 * Nothing here checks its input again: a span that json_span did not hand out is a mistake of the
 * caller's.  Part of json_span.h, which includes it.
 */
#ifndef BL_COMMON_JSON_VALUE_H
#define BL_COMMON_JSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/mem.h"

/* Does the key, once decoded, equal `name` (plain ASCII)? */
bool json_key_is(struct span key, const char *name);

/* The rest take the span of one value already validated, of the kind the name says. */

/* Appends the decoded text; a decoded NUL is kept as a byte. `value` includes its quotes. */
void json_string_decode(struct span value, struct buf *out);
/* Decodes into caller's memory: at most `size`-1 bytes and a NUL; returns the decoded length, or -1
 * if it would not fit or holds a NUL (`out` is undefined then). */
int json_string_copy(struct span value, char *out, size_t size);
/* An integer without fraction or exponent that fits int64: true. */
bool json_number_int64(struct span value, int64_t *ret);
/* The nearest double; false when it overflows to infinity. */
bool json_number_double(struct span value, double *ret);

#endif
