/* store_print.h - an encoded command as a person would type it into redis-cli.  Pure; what is shown
 * is made from the very bytes that would be sent, so the two cannot differ.
 */
#ifndef BL_COMMON_STORE_PRINT_H
#define BL_COMMON_STORE_PRINT_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

/* Appends each command in `commands` (as store_cmd_*() encoded them) as one line.  An argument is
 * left bare if it may be, in single quotes if that is enough (which a shell reads the same way),
 * else in double quotes with redis-cli's escapes.  -ERR_PROTOCOL if it is no encoded command. */
MUST_CHECK int store_print(struct span commands, struct buf *out, struct err *err);

#endif
