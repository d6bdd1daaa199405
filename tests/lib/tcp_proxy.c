/* tcp_proxy.c - one thread, one poll().  Every setter takes the lock, changes a field and waits
 * until the thread has gone round once (`round`), so that a fault holds when the call returns. */
#include "tests/lib/tcp_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

enum { CONNECTIONS_MAX = 64, CHUNK_BYTES = 64 * 1024, QUEUE_BYTES = 1024 * 1024 };

struct chunk {
    struct chunk *next;
    int64_t due_ms;
    size_t len, sent;
    char bytes[];
};

/* One direction of a connection: from `src` to `dst`. */
struct flow {
    int src, dst;
    struct chunk *first, **last;
    size_t queued;
    bool ended, told; /* src is at its end; dst has been told */
};

struct connection {
    bool used;
    struct flow flows[2]; /* by enum proxy_way */
};

struct fault {
    bool hole, stall;
    int64_t delay_ms;
    int64_t cut_after; /* -1 = never */
    int64_t passed;
};

struct tcp_proxy {
    pthread_t thread;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t turned;
    uint64_t asked, round; /* a change asks for one more round */
    bool refuse, reset_all, stopping;
    int64_t accepted;
    struct fault faults[2];

    /* The thread's own, or constant. */
    int wake, listener, port;
    char *listen_unix, *target_unix;
    int target_port;
    struct connection connections[CONNECTIONS_MAX];
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "tcp_proxy: %s: %s\n", what, strerror(errno));
    abort();
}

static int open_socket(const char *path, int port, struct sockaddr_storage *addr, socklen_t *len)
{
    memset(addr, 0, sizeof *addr);
    if (path != NULL) {
        struct sockaddr_un *un = (struct sockaddr_un *)addr;
        un->sun_family = AF_UNIX;
        if (strlen(path) >= sizeof un->sun_path)
            give_up(path);
        memcpy(un->sun_path, path, strlen(path) + 1);
        *len = sizeof *un;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)addr;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in->sin_port = htons((uint16_t)port);
        *len = sizeof *in;
    }
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        give_up("socket");
    return fd;
}

static void flow_init(struct flow *f, int src, int dst)
{
    *f = (struct flow){.src = src, .dst = dst};
    f->last = &f->first;
}

static void flow_done(struct flow *f)
{
    while (f->first != NULL) {
        struct chunk *next = f->first->next;
        free(f->first);
        f->first = next;
    }
}

static void close_fd(int fd, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* unix: closing is all */
    close(fd);
}

static void drop(struct connection *c, bool reset)
{
    close_fd(c->flows[PROXY_TO_SERVER].src, reset);
    close_fd(c->flows[PROXY_TO_SERVER].dst, reset);
    flow_done(&c->flows[PROXY_TO_SERVER]);
    flow_done(&c->flows[PROXY_TO_CLIENT]);
    c->used = false;
}

static void accept_one(struct tcp_proxy *p)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client == -1)
        return;
    p->accepted++;
    struct connection *c = NULL;
    for (int i = 0; c == NULL && i < CONNECTIONS_MAX; i++)
        if (!p->connections[i].used)
            c = &p->connections[i];
    if (p->refuse || c == NULL) {
        close_fd(client, true);
        return;
    }
    struct sockaddr_storage addr;
    socklen_t len;
    int server = open_socket(p->target_unix, p->target_port, &addr, &len);
    if (connect(server, (struct sockaddr *)&addr, len) == -1) {
        close(server);
        close_fd(client, true);
        return;
    }
    if (fcntl(server, F_SETFL, O_NONBLOCK) == -1)
        give_up("fcntl");
    c->used = true;
    flow_init(&c->flows[PROXY_TO_SERVER], client, server);
    flow_init(&c->flows[PROXY_TO_CLIENT], server, client);
}

/* False when the connection is to be reset. */
static bool take_in(struct fault *fault, struct flow *f)
{
    struct chunk *chunk = xmalloc(sizeof *chunk + CHUNK_BYTES);
    ssize_t n = recv(f->src, chunk->bytes, CHUNK_BYTES, 0);
    if (n <= 0) {
        bool again = n == -1 && (errno == EAGAIN || errno == EINTR);
        free(chunk);
        f->ended = f->ended || !again;
        return n == 0 || again;
    }
    bool cut = fault->cut_after >= 0 && n >= fault->cut_after;
    if (cut)
        n = (ssize_t)fault->cut_after;
    fault->passed += n;
    if (fault->cut_after >= 0)
        fault->cut_after = cut ? -1 : fault->cut_after - n;
    if (fault->hole || n == 0) {
        free(chunk);
        return !cut;
    }
    chunk->next = NULL;
    chunk->len = (size_t)n;
    chunk->sent = 0;
    chunk->due_ms = mono_ms() + fault->delay_ms;
    *f->last = chunk;
    f->last = &chunk->next;
    f->queued += (size_t)n;
    if (cut) /* what was allowed still goes out, the rest does not */
        (void)!send(f->dst, f->first->bytes + f->first->sent, f->first->len - f->first->sent,
                    MSG_NOSIGNAL);
    return !cut;
}

/* False when the connection is to be reset. */
static bool give_out(struct flow *f, int64_t now_ms)
{
    while (f->first != NULL && f->first->due_ms <= now_ms) {
        struct chunk *c = f->first;
        ssize_t n = send(f->dst, c->bytes + c->sent, c->len - c->sent, MSG_NOSIGNAL);
        if (n == -1)
            return errno == EAGAIN || errno == EINTR;
        c->sent += (size_t)n;
        f->queued -= (size_t)n;
        if (c->sent < c->len)
            return true;
        f->first = c->next;
        if (f->first == NULL)
            f->last = &f->first;
        free(c);
    }
    if (f->ended && f->first == NULL && !f->told) {
        f->told = true;
        shutdown(f->dst, SHUT_WR);
    }
    return true;
}

/* What poll() shall say of one flow: readable source, writable destination. */
static void wish(const struct tcp_proxy *p, enum proxy_way way, const struct flow *f,
                 struct pollfd *src, struct pollfd *dst, int64_t now_ms, int *timeout_ms)
{
    *src = (struct pollfd){.fd = -1};
    *dst = (struct pollfd){.fd = -1};
    if (!f->ended && !p->faults[way].stall && f->queued < QUEUE_BYTES)
        *src = (struct pollfd){.fd = f->src, .events = POLLIN};
    if (f->first == NULL)
        return;
    if (f->first->due_ms <= now_ms) {
        *dst = (struct pollfd){.fd = f->dst, .events = POLLOUT};
    } else {
        int left = (int)(f->first->due_ms - now_ms);
        if (*timeout_ms == -1 || left < *timeout_ms)
            *timeout_ms = left;
    }
}

static void step(struct tcp_proxy *p, struct connection *c, const struct pollfd *polled)
{
    int64_t now_ms = mono_ms();
    bool good = true;
    for (int way = 0; good && way < 2; way++) {
        struct flow *f = &c->flows[way];
        if (polled[2 * way].revents != 0 && !p->faults[way].stall)
            good = take_in(&p->faults[way], f);
        good = good && give_out(f, now_ms);
    }
    if (!good)
        drop(c, true);
    else if (c->flows[0].told && c->flows[1].told)
        drop(c, false);
}

static void drop_all(struct tcp_proxy *p)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (p->connections[i].used)
            drop(&p->connections[i], true);
}

/* Every slot has its four places in `fds`, used or not, after the wake-up and the listener. */
static void turn(struct tcp_proxy *p, struct pollfd *fds)
{
    int timeout_ms = -1;
    int64_t now_ms = mono_ms();
    bool used[CONNECTIONS_MAX];
    fds[0] = (struct pollfd){.fd = p->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        struct pollfd *at = fds + 2 + 4 * i;
        struct connection *c = &p->connections[i];
        used[i] = c->used;
        for (int k = 0; k < 4; k++)
            at[k] = (struct pollfd){.fd = -1};
        for (int way = 0; c->used && way < 2; way++)
            wish(p, way, &c->flows[way], &at[2 * way], &at[2 * way + 1], now_ms, &timeout_ms);
    }
    p->round = p->asked;
    pthread_cond_broadcast(&p->turned);
    pthread_mutex_unlock(&p->lock);
    if (poll(fds, 2 + 4 * CONNECTIONS_MAX, timeout_ms) == -1 && errno != EINTR)
        give_up("poll");
    pthread_mutex_lock(&p->lock);
    uint64_t ignored;
    if (fds[0].revents != 0 && read(p->wake, &ignored, sizeof ignored) == -1 && errno != EAGAIN)
        give_up("eventfd");
    if (p->reset_all)
        drop_all(p);
    p->reset_all = false;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (used[i] && p->connections[i].used)
            step(p, &p->connections[i], fds + 2 + 4 * i);
    if (fds[1].revents != 0)
        accept_one(p);
}

static void *run(void *arg)
{
    struct tcp_proxy *p = arg;
    struct pollfd *fds = xcalloc(2 + 4 * CONNECTIONS_MAX, sizeof *fds);
    pthread_mutex_lock(&p->lock);
    while (!p->stopping)
        turn(p, fds);
    drop_all(p);
    pthread_mutex_unlock(&p->lock);
    free(fds);
    return NULL;
}

/* Ends what a setter began with the lock: unlocks when the thread goes by the change. */
static void apply(struct tcp_proxy *p)
{
    uint64_t one = 1;
    uint64_t wanted = ++p->asked;
    if (write(p->wake, &one, sizeof one) == -1)
        give_up("eventfd");
    while (p->round < wanted)
        pthread_cond_wait(&p->turned, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

struct tcp_proxy *tcp_proxy_new(const char *listen_unix, const char *target_unix, int target_port)
{
    struct tcp_proxy *p = xcalloc(1, sizeof *p);
    struct sockaddr_storage addr;
    socklen_t len;
    p->listener = open_socket(listen_unix, 0, &addr, &len);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bind(p->listener, (struct sockaddr *)&addr, len) == -1 || listen(p->listener, 64) == -1 ||
        getsockname(p->listener, (struct sockaddr *)&addr, &len) == -1 ||
        fcntl(p->listener, F_SETFL, O_NONBLOCK) == -1 || p->wake == -1)
        give_up("cannot listen");
    if (listen_unix == NULL)
        p->port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
    p->listen_unix = listen_unix != NULL ? xstrdup(listen_unix) : NULL;
    p->target_unix = target_unix != NULL ? xstrdup(target_unix) : NULL;
    p->target_port = target_port;
    p->faults[0].cut_after = p->faults[1].cut_after = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->turned, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0)
        give_up("thread");
    return p;
}

void tcp_proxy_free(struct tcp_proxy *p)
{
    uint64_t one = 1;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    if (write(p->wake, &one, sizeof one) == -1)
        give_up("eventfd");
    pthread_join(p->thread, NULL);
    close(p->listener);
    close(p->wake);
    if (p->listen_unix != NULL)
        (void)unlink(p->listen_unix); /* its directory may be gone already */
    free(p->listen_unix);
    free(p->target_unix);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->turned);
    free(p);
}

int tcp_proxy_port(const struct tcp_proxy *p)
{
    return p->port;
}

void tcp_proxy_hole(struct tcp_proxy *p, enum proxy_way way, bool on)
{
    pthread_mutex_lock(&p->lock);
    p->faults[way].hole = on;
    apply(p);
}

void tcp_proxy_stall(struct tcp_proxy *p, enum proxy_way way, bool on)
{
    pthread_mutex_lock(&p->lock);
    p->faults[way].stall = on;
    apply(p);
}

void tcp_proxy_delay(struct tcp_proxy *p, enum proxy_way way, int64_t delay_ms)
{
    pthread_mutex_lock(&p->lock);
    p->faults[way].delay_ms = delay_ms;
    apply(p);
}

void tcp_proxy_cut_after(struct tcp_proxy *p, enum proxy_way way, int64_t bytes)
{
    pthread_mutex_lock(&p->lock);
    p->faults[way].cut_after = bytes;
    apply(p);
}

void tcp_proxy_refuse(struct tcp_proxy *p, bool on)
{
    pthread_mutex_lock(&p->lock);
    p->refuse = on;
    apply(p);
}

void tcp_proxy_reset(struct tcp_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    p->reset_all = true;
    apply(p);
}

int64_t tcp_proxy_accepted(struct tcp_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    int64_t n = p->accepted;
    pthread_mutex_unlock(&p->lock);
    return n;
}

int64_t tcp_proxy_passed(struct tcp_proxy *p, enum proxy_way way)
{
    pthread_mutex_lock(&p->lock);
    int64_t n = p->faults[way].passed;
    pthread_mutex_unlock(&p->lock);
    return n;
}
