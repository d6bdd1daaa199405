/* redis_url.h - where is Redis?  Parses redis://, rediss:// and unix:// URLs.  Pure.
 *
 *   redis://[user[:pass]@]host[:port][/db]     rediss:// the same over TLS
 *   unix:///path/to/socket[?db=N][&user=..&password=..]
 * Parts are percent-decoded; IPv6 hosts stand in brackets.  A password never leaves this struct
 * but through the AUTH command: redis_url_show() is what may be printed.
 */
#ifndef BL_COMMON_REDIS_URL_H
#define BL_COMMON_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct redis_url {
    bool tls;
    char unix_path[108]; /* "" = TCP */
    char host[256];
    int port; /* default 6379 */
    int db; /* default 0, 0..1023 */
    char user[128]; /* "" = none */
    char password[512]; /* "" = none */
};

MUST_CHECK int redis_url_parse(const char *text, struct redis_url *ret, struct err *err);
/* "redis://user@host:port/db" or "unix:/path": no password, ever.  `out` >= 512. */
const char *redis_url_show(const struct redis_url *u, char *out, size_t size);
/* Wipes `text` in place from the first ':' of the user info to the '@' (argv, so that ps shows no
 * password).  Keeps the length. */
void redis_url_wipe(char *text);

/* The places a program looks, in order: `flag` (--url; NULL = not given), BUCKETLINE_REDIS_URL,
 * REDIS_URL, `from_config` (worker.yaml; NULL), the socket of a running private Redis.
 * -ERR_NOT_FOUND with a text that names all these ways; `*ret_source` says which it was. */
MUST_CHECK int redis_url_find(const char *flag, const char *from_config, struct redis_url *ret,
                              const char **ret_source, struct err *err);
/* Directory and socket of the private Redis of `make run`: $BUCKETLINE_PRIVATE_DIR, else
 * $XDG_RUNTIME_DIR/bucketline, else /tmp/bucketline-<uid>; socket "redis.sock" in it. */
const char *redis_private_socket(char *out, size_t size);

#endif
