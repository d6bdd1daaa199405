/* See notify.h.  No connect(): the manager may be restarted and bind its socket anew. */
#include "worker/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 512 };

/* A path, or '@' for a name in the abstract space, whose first byte is 0 and whose length counts
 * no NUL. */
static bool address_set(struct notify *n, const char *name)
{
    size_t len = strlen(name);
    n->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof n->address.sun_path)
        return false;
    memcpy(n->address.sun_path, name, len);
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (name[0] == '@') {
        n->address.sun_path[0] = '\0';
        n->address_len--;
    }
    return true;
}

/* WATCHDOG_PID says whom the watchdog is for; another pid means not us. */
static int64_t watchdog_read(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    char *end;
    errno = 0;
    long long v = strtoll(usec, &end, 10);
    if (errno != 0 || *usec == '\0' || *end != '\0' || v <= 0)
        return 0;
    return v < 1000 ? 1 : v / 1000;
}

int notify_init(struct notify *n, struct err *err)
{
    int rc = 0;
    const char *name = getenv("NOTIFY_SOCKET");
    *n = (struct notify){.fd = -1};
    if (name != NULL && *name != '\0') {
        if (!address_set(n, name))
            rc = err_set(err, ERR_INVALID, "NOTIFY_SOCKET %s is no path and no @name", name);
        else if ((n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
            rc = err_errno(err, ERR_SYSTEM, "cannot make a socket for NOTIFY_SOCKET");
        else
            n->watchdog_ms = watchdog_read();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return rc;
}

void notify_done(struct notify *n)
{
    if (n->fd != -1)
        close(n->fd);
    n->fd = -1;
}

void notify_hand_on(const struct notify *n)
{
    char name[sizeof n->address.sun_path + 1] = "", number[32];
    if (n->fd == -1)
        return;
    size_t len = n->address_len - offsetof(struct sockaddr_un, sun_path);
    memcpy(name, n->address.sun_path, len);
    if (name[0] == '\0')
        name[0] = '@';
    setenv("NOTIFY_SOCKET", name, 1);
    if (n->watchdog_ms > 0) {
        snprintf(number, sizeof number, "%lld", (long long)n->watchdog_ms * 1000);
        setenv("WATCHDOG_USEC", number, 1);
    }
}

static void send_text(struct notify *n, const char *text)
{
    if (n->fd != -1) /* a message that cannot be sent now is dropped */
        (void)sendto(n->fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
                     n->address_len);
}

void notify_ready(struct notify *n)
{
    send_text(n, "READY=1");
}

/* The time lets the manager tell this reload from the one before; it is CLOCK_MONOTONIC. */
void notify_reloading(struct notify *n)
{
    char text[MESSAGE_BYTES];
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    send_text(n, text);
}

void notify_stopping(struct notify *n, int64_t within_ms)
{
    char text[MESSAGE_BYTES];
    snprintf(text, sizeof text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld",
             (long long)within_ms * 1000);
    send_text(n, text);
}

void notify_watchdog(struct notify *n)
{
    send_text(n, "WATCHDOG=1");
}

void notify_status(struct notify *n, const char *fmt, ...)
{
    char text[MESSAGE_BYTES] = "STATUS=";
    size_t head = strlen(text);
    va_list ap;
    if (n->fd == -1)
        return;
    va_start(ap, fmt);
    vsnprintf(text + head, sizeof text - head, fmt, ap);
    va_end(ap);
    for (char *p = text + head; *p != '\0'; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    send_text(n, text);
}
