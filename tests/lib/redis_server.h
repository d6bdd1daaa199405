/* redis_server.h - a private redis-server for a test: on a unix socket in a directory of its own,
 * if asked also on a TCP port, with TLS, a password, users, an append-only file.
 *
 * It dies with the test process.  Anything that goes wrong here prints why and aborts the test.
 */
#ifndef BL_TESTS_LIB_REDIS_SERVER_H
#define BL_TESTS_LIB_REDIS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/redis_url.h"

struct redisReply;
struct redis_server;

/* All zero: unix socket only.  Borrowed during the call. */
struct redis_server_config {
    const char *password; /* requirepass */
    const char *const *users; /* lines of redis.conf after "user ", NULL-terminated */
    bool tcp; /* 127.0.0.1 and 127.0.0.2, an ephemeral port */
    bool tls; /* the same, certificates made for "localhost" and 127.0.0.1 */
    bool client_certificate; /* TLS clients must show one */
    bool aof; /* appendonly, appendfsync always: survives redis_server_kill() */
    const char *const *lines; /* more lines for redis.conf, NULL-terminated */
};

/* Returns when it answers PING.  `config` NULL = all zero.  Caller owns (redis_server_free). */
struct redis_server *redis_server_new(const struct redis_server_config *config);
/* As above, but not started: the directory, the ports and the certificates are there. */
struct redis_server *redis_server_prepare(const struct redis_server_config *config);
/* Kills it if it runs and removes the directory.  NULL is fine. */
void redis_server_free(struct redis_server *s);

/* Starts it (again) on the same socket and ports, and waits for PING. */
void redis_server_start(struct redis_server *s);
void redis_server_kill(struct redis_server *s); /* SIGKILL, and waits for its end */
void redis_server_stop(struct redis_server *s); /* SIGTERM, and waits for its end */
void redis_server_freeze(struct redis_server *s); /* SIGSTOP */
void redis_server_thaw(struct redis_server *s); /* SIGCONT */

/* Borrowed until redis_server_free(). */
const char *redis_server_directory(const struct redis_server *s);
const char *redis_server_socket(const struct redis_server *s);
int redis_server_port(const struct redis_server *s); /* 0 = none */
int redis_server_tls_port(const struct redis_server *s); /* 0 = none */
pid_t redis_server_pid(const struct redis_server *s); /* 0 = not running */
/* Files of the TLS fixture: "ca.crt", "client.crt", "client.key", and "other.crt", a CA that has
 * signed nothing. */
char *redis_server_file(const struct redis_server *s, const char *name); /* caller owns (free) */

/* Where it is, with its password. */
struct redis_url redis_server_url(const struct redis_server *s); /* the unix socket */
struct redis_url redis_server_tcp_url(const struct redis_server *s); /* 127.0.0.1 */
struct redis_url redis_server_tls_url(const struct redis_server *s); /* "localhost" */

/* One command over a connection of its own, in hiredis' printf form ("%b" for bytes).  Caller owns
 * the reply (freeReplyObject); never NULL. */
struct redisReply *redis_server_ask(struct redis_server *s, const char *format, ...);
/* The same, when only an integer (or the number in a string) is of interest. */
long long redis_server_ask_int(struct redis_server *s, const char *format, ...);

#endif
