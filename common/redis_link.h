/* redis_link.h - one connection to Redis on a libuv loop: TCP, unix socket or TLS.
 *
 * hiredis is only the reply parser (redisReader); the transport is ours because Debian 12's hiredis
 * 0.14 hangs for ever on a refused connection, knows no timeouts and leaks descriptors into
 * children.  The worker runs links in its loop; commands run one to completion with redis_call().
 *
 *   idle --start--> resolving -> connecting -> [tls] -> handshake -> ready
 *     ^                  \________\____________\__________\___________/ |
 *     |                                    v                            | close
 *     |            waiting (back-off: at once, then full jitter <= 1 s) |
 *     +------------------------- closed <--------------------------------+
 *
 * Rules: each accepted command's callback is called exactly once, with its reply or with NULL when
 * the connection was lost or closed (the outcome is then unknown).  Callbacks may send and may call
 * redis_link_close(); memory is released from the loop, never inside a callback.  Commands are
 * accepted only in `ready`: what happens over an outage is the caller's decision (reconcile).
 * A program that runs links in a loop of its own ignores SIGPIPE (libuv writes without
 * MSG_NOSIGNAL); redis_client_* sees to it itself.
 */
#ifndef BL_COMMON_REDIS_LINK_H
#define BL_COMMON_REDIS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/redis_url.h"
#include "common/store.h"

struct redisReply;
struct redis_link;
struct uv_loop_s;

enum link_state {
    LINK_IDLE = 0,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_TLS,
    LINK_HANDSHAKE, /* AUTH, SELECT, CLIENT SETNAME, CLIENT ID, INFO, SCRIPT LOAD: read to its end */
    LINK_READY,
    LINK_WAITING, /* between attempts */
    LINK_CLOSED,
};
const char *link_state_name(enum link_state s);

struct redis_link_config {
    struct redis_url url;
    char name[64]; /* CLIENT SETNAME; "" = none */
    bool load_scripts;
    bool reconnect; /* false: one attempt, then LINK_CLOSED (commands) */
    int64_t connect_timeout_ms; /* of all states before ready; 0 = 5000 */
    int64_t reply_timeout_ms; /* oldest unanswered command; 0 = none.  Counted from its
                                          * sending or the last bytes that came, if later */
    const char *ca_file, *cert_file, *key_file; /* borrowed for the life of the link; NULL ok */
    bool verify;
    const char *password_file; /* borrowed; re-read at every attempt; NULL = none */
};

struct redis_link_events {
    /* Handshake done.  `info` is borrowed during the call. */
    void (*on_ready)(void *arg, const struct store_info *info);
    /* Was ready, or an attempt failed; every pending callback has been called before.  `why` is
     * borrowed; `was_ready` tells the two apart.  With `reconnect` the next attempt follows by
     * itself. */
    void (*on_down)(void *arg, const struct err *why, bool was_ready);
};

/* `reply` is borrowed during the call; NULL = no answer, outcome unknown. */
typedef void (*redis_reply_fn)(void *arg, const struct redisReply *reply);

/* Config is copied (strings in it as its comments say).  Caller owns; ends with
 * redis_link_close(). */
struct redis_link *redis_link_new(struct uv_loop_s *loop, const struct redis_link_config *config,
                                  const struct redis_link_events *events, void *arg);
void redis_link_start(struct redis_link *l);
/* Sends one command (encoded by store_*).  0, or -ERR_CONNECT when not ready (callback not called).
 * Bytes are copied; written at the end of this loop turn, all that was sent together. */
MUST_CHECK int redis_link_send(struct redis_link *l, struct span command, redis_reply_fn fn,
                               void *arg);
/* As above for a command that may block for `extra_ms`: the reply timeout is that much longer. */
MUST_CHECK int redis_link_send_blocking(struct redis_link *l, struct span command, int64_t extra_ms,
                                        redis_reply_fn fn, void *arg);
/* Writes what was sent, as far as the socket takes it: now, not at the end of the loop's turn. */
void redis_link_flush(struct redis_link *l);
/* Drops the connection as if it had been lost and (if `reconnect`) connects again: for an answer
 * that says Redis is away, or a beat that was not answered. */
void redis_link_reset(struct redis_link *l, const char *why);
/* Ends it for good: pending callbacks get NULL now, `on_closed` (may be NULL) runs from the loop
 * when the memory is gone. */
void redis_link_close(struct redis_link *l, void (*on_closed)(void *arg), void *arg);

enum link_state redis_link_state(const struct redis_link *l);
/* Of the present connection, after a loss of the lost one until the next handshake; 0 = not known
 * (or the user may not ask). */
int64_t redis_link_client_id(const struct redis_link *l);
size_t redis_link_pending(const struct redis_link *l); /* commands without an answer */
size_t redis_link_unsent_bytes(const struct redis_link *l);
const struct store_info *redis_link_info(const struct redis_link *l);
/* Time the oldest unanswered command was sent (mono ms); 0 = none. */
int64_t redis_link_oldest_mono_ms(const struct redis_link *l);

/* ---- for commands: a loop of their own, run to completion -------------------------------- */

struct redis_client; /* a loop and one link */
/* Connects and returns when ready; `reconnect` is not looked at.  -ERR_CONNECT, -ERR_TIMEOUT,
 * -ERR_REDIS (NOAUTH, ...), -ERR_SYSTEM (a file), -ERR_UNSUPPORTED (no TLS in this build). */
MUST_CHECK int redis_client_open(const struct redis_link_config *config, struct redis_client **ret,
                                 struct err *err);
/* Sends and waits.  `*ret_reply` is caller's (redis_reply_free); an error reply is -ERR_REDIS with
 * Redis' text and no reply. */
MUST_CHECK int redis_client_call(struct redis_client *c, struct span command,
                                 struct redisReply **ret_reply, struct err *err);
/* Pipelining: send without waiting (callback as above), and write and run until at most `max_pending`
 * are unanswered.  -ERR_CONNECT (or why it was lost) when the link is down; every callback was called.
 * Sending runs the loop by itself while more than 16 MiB wait to be written. */
MUST_CHECK int redis_client_send(struct redis_client *c, struct span command, redis_reply_fn fn,
                                 void *arg, struct err *err);
MUST_CHECK int redis_client_drain(struct redis_client *c, size_t max_pending, struct err *err);
const struct store_info *redis_client_info(const struct redis_client *c);
void redis_client_close(struct redis_client *c); /* NULL is fine */

#endif
