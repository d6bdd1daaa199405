/* store_priv.h - what the store_*.c files share; nobody else includes it. */
#ifndef BL_COMMON_STORE_PRIV_H
#define BL_COMMON_STORE_PRIV_H

#include "common/store.h"

/* EVALSHA of `s`: exactly `keys` + `args` store_arg_*() calls must follow, the keys first. */
void store_begin_script(struct buf *out, enum store_script s, int keys, int args);
void store_arg_token(struct buf *out, const struct incarnation *inc, uint64_t seq);

/* True if `key` holds a Cluster hash tag as Redis reads it; `ret` is then its content. */
bool store_hash_tag(struct span key, struct span *ret);

/* 0, or -ERR_REDIS with Redis' text for an error reply, -ERR_CONNECT for none, -ERR_PROTOCOL for
 * one of another type than REDIS_REPLY_x `type`. */
MUST_CHECK int store_expect(const struct redisReply *reply, int type, const char *what,
                            struct err *err);

#endif
