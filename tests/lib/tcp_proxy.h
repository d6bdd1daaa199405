/* tcp_proxy.h - a faulty wire between a client and Redis: a thread that forwards TCP or unix
 * connections and can swallow, stall, delay, cut and reset them.
 *
 * Faults are set from the test's thread and hold for connections that exist and that will come;
 * when a call returns, the thread acts by it.  Anything that goes wrong here aborts the test.
 */
#ifndef BL_TESTS_LIB_TCP_PROXY_H
#define BL_TESTS_LIB_TCP_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct tcp_proxy;

enum proxy_way { PROXY_TO_SERVER = 0, PROXY_TO_CLIENT };

/* Listens on `listen_unix`, or (NULL) on 127.0.0.1 at a port of its own; connects to `target_unix`,
 * or (NULL) to 127.0.0.1:target_port.  Caller owns (tcp_proxy_free). */
struct tcp_proxy *tcp_proxy_new(const char *listen_unix, const char *target_unix, int target_port);
void tcp_proxy_free(struct tcp_proxy *p); /* NULL is fine */
int tcp_proxy_port(const struct tcp_proxy *p);

/* Reads and throws away: the sender notices nothing, nothing arrives. */
void tcp_proxy_hole(struct tcp_proxy *p, enum proxy_way way, bool on);
/* Does not read: the sender's buffers fill. */
void tcp_proxy_stall(struct tcp_proxy *p, enum proxy_way way, bool on);
/* Every byte waits so long; 0 = none. */
void tcp_proxy_delay(struct tcp_proxy *p, enum proxy_way way, int64_t delay_ms);
/* Forwards `bytes` more of that way, counted over all connections, then resets the connection that
 * brought the last.  -1 = never. */
void tcp_proxy_cut_after(struct tcp_proxy *p, enum proxy_way way, int64_t bytes);
/* New connections are reset as soon as they are accepted. */
void tcp_proxy_refuse(struct tcp_proxy *p, bool on);
/* Resets (TCP RST; a unix socket is closed) every connection there is. */
void tcp_proxy_reset(struct tcp_proxy *p);

int64_t tcp_proxy_accepted(struct tcp_proxy *p); /* connections so far */
int64_t tcp_proxy_passed(struct tcp_proxy *p, enum proxy_way way); /* bytes read so far */

#endif
