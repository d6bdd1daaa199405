/* redis_reply.h - replies as the links hand them out: hiredis' redisReply, each in one piece.
 *
 * hiredis allocates every element of a reply twice over, which for a claim of 256 records is a
 * thousand calls of malloc() and free().  Here the parser is hiredis', but what it makes lies in a
 * few blocks that belong to the reply as a whole.  So a reply is never taken apart: its elements go
 * with it, and freeReplyObject() must not see it.
 */
#ifndef BL_COMMON_REDIS_REPLY_H
#define BL_COMMON_REDIS_REPLY_H

#include <stddef.h>

struct redisReader;
struct redisReply;

enum { REDIS_REPLY_ELEMENTS_MAX = 1 << 24 }; /* of one array; more is an error of the parser */

/* A parser whose replies are freed with redis_reply_free(); caller owns (redisReaderFree()).  Aborts
 * when out of memory. */
struct redisReader *redis_reply_reader(void);
void redis_reply_free(struct redisReply *reply); /* a whole one; NULL is fine */

#endif
