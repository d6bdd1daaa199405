#include "tests/bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/store.h"

enum { READ_BYTES = 256 * 1024 };

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

void client_open(struct client *c, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        die("%s: too long for a socket's name", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    *c = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c->out);
    buf_init(&c->in);
    if (c->fd == -1 || connect(c->fd, (struct sockaddr *)&address, sizeof address) == -1)
        die("%s: %s", path, strerror(errno));
}

void client_close(struct client *c)
{
    close(c->fd);
    buf_done(&c->out);
    buf_done(&c->in);
}

/* Blocking is safe: what Redis answers meanwhile waits in its memory, so it goes on reading. */
void client_flush(struct client *c)
{
    for (size_t done = 0; done < c->out.len;) {
        ssize_t n = write(c->fd, c->out.data + done, c->out.len - done);
        if (n == -1 && errno != EINTR)
            die("writing to Redis: %s", strerror(errno));
        if (n > 0)
            done += (size_t)n;
    }
    buf_clear(&c->out);
}

static void receive(struct client *c, int flags)
{
    if (c->pos > 0) {
        buf_consume(&c->in, c->pos);
        c->pos = 0;
    }
    ssize_t n = recv(c->fd, buf_reserve(&c->in, READ_BYTES), READ_BYTES, flags);
    if (n == 0)
        die("Redis closed the connection");
    if (n == -1 && errno != EINTR && errno != EAGAIN)
        die("reading from Redis: %s", strerror(errno));
    if (n > 0)
        buf_grown(&c->in, (size_t)n);
}

void client_read(struct client *c)
{
    receive(c, 0);
}

void client_peek(struct client *c)
{
    receive(c, MSG_DONTWAIT);
}

/* Reads one element, which is no array of arrays.  False: not all of it is here. */
static bool read_element(struct client *c, struct answer *ret)
{
    const char *from = c->in.data + c->pos;
    size_t left = c->in.len - c->pos;
    const char *end = left > 0 ? memchr(from, '\r', left) : NULL;
    if (end == NULL || (size_t)(end - from) + 2 > left)
        return false;
    if (*from == '-')
        die("Redis says: %.*s", (int)(end - from), from);
    *ret = (struct answer){.type = *from};
    if (*from != '+')
        ret->number = strtoll(from + 1, NULL, 10);
    size_t used = (size_t)(end - from) + 2;
    ret->nil = ret->number < 0 && (*from == '$' || *from == '*');
    if (*from == '$' && !ret->nil) {
        if (left < used + (size_t)ret->number + 2)
            return false;
        ret->bytes = from + used;
        used += (size_t)ret->number + 2;
    }
    c->pos += used;
    return true;
}

bool client_arrived(struct client *c, struct answer *ret)
{
    if (c->pending == 0) {
        if (!read_element(c, ret))
            return false;
        if (ret->type != '*' || ret->number <= 0)
            return true;
        c->pending = c->elements = ret->number;
        c->head[0] = c->head[1] = 0;
    }
    struct answer element = {0};
    while (c->pending > 0) {
        if (!read_element(c, &element))
            return false;
        int64_t index = c->elements - c->pending--;
        if (index < 2 && element.type == ':')
            c->head[index] = element.number;
    }
    *ret = (struct answer){.type = '*', .elements = c->elements, .head = {c->head[0], c->head[1]}};
    if (element.type == '$') { /* BRPOP's second: the value */
        ret->bytes = element.bytes;
        ret->number = element.number;
    }
    return true;
}

struct answer client_await(struct client *c)
{
    struct answer a;
    client_flush(c);
    while (!client_arrived(c, &a))
        client_read(c);
    return a;
}

void client_load_script(struct client *c, int script)
{
    store_cmd_script_load(&c->out, (enum store_script)script);
    struct answer a = client_await(c);
    const char *sha = store_script_sha((enum store_script)script);
    if (a.type != '$' || (size_t)a.number != strlen(sha) || memcmp(a.bytes, sha, strlen(sha)) != 0)
        die("Redis gives the script another name");
}
