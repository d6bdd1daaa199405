/* input.h - JSON that an operand or option names: the text itself, @FILE, or - for standard input.
 */
#ifndef BL_ENQUEUE_INPUT_H
#define BL_ENQUEUE_INPUT_H

#include "common/buf.h"
#include "common/document.h"
#include "common/err.h"
#include "common/mem.h"

/* Reads what `given` names and checks that it is one JSON value (`what` names it in messages).
 * `*ret` is the value without blanks around, borrowed from `storage` (caller owns).
 * -ERR_SYSTEM (no such file), -ERR_TOO_BIG, -ERR_TOO_DEEP, -ERR_SYNTAX. */
MUST_CHECK int input_json(const char *given, const char *what, const struct document_limits *limits,
                          struct buf *storage, struct span *ret, struct err *err);

/* Opens `path` for reading, "-" = standard input.  A descriptor (close it unless it is 0), or
 * -ERR_SYSTEM. */
MUST_CHECK int input_open(const char *path, struct err *err);

#endif
