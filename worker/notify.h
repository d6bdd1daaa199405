/* notify.h - tells systemd (or what speaks its protocol) how the worker is: sd_notify(3) without
 * its library, which would be a dependency for one datagram.
 *
 * The messages go by an unconnected datagram, never blocking; one that cannot be sent is dropped:
 * the manager's watchdog notices.  Without NOTIFY_SOCKET everything here does nothing.
 */
#ifndef BL_WORKER_NOTIFY_H
#define BL_WORKER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/err.h"

struct notify {
    int fd; /* -1 = nobody to tell */
    struct sockaddr_un address;
    socklen_t address_len;
    int64_t watchdog_ms; /* the manager wants WATCHDOG=1 at least so often; 0 = not at all */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them, so that handlers do not
 * speak in our name.  -ERR_INVALID when the socket's name is none (then `n` is one that does
 * nothing, and the worker goes on with a warning); -ERR_SYSTEM likewise. */
MUST_CHECK int notify_init(struct notify *n, struct err *err);
void notify_done(struct notify *n);
/* Puts the variables back: for a process that is about to be executed again in our place. */
void notify_hand_on(const struct notify *n);

static inline bool notify_is_on(const struct notify *n)
{
    return n->fd != -1;
}

void notify_ready(struct notify *n); /* READY=1: the first good beat was seen; also ends
                                          * reloading */
void notify_reloading(struct notify *n); /* RELOADING=1 with MONOTONIC_USEC */
void notify_stopping(struct notify *n, int64_t within_ms); /* STOPPING=1, and so much more time */
void notify_watchdog(struct notify *n); /* WATCHDOG=1: only from the loop, after a good beat */
/* STATUS=: one line for `systemctl status`; control bytes become spaces. */
void notify_status(struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
