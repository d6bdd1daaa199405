#include "tests/lib/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"

enum { START_TRIES = 5, GUARD_MS = 60000, PAUSE_NS = 2000000 };

struct redis_server {
    char *directory, *socket, *conf, *log;
    char *password; /* NULL = none */
    struct buf lines;
    bool wants_tcp, wants_tls;
    int port, tls_port;
    pid_t pid;
};

static _Noreturn void give_up(const struct redis_server *s, const char *what)
{
    fprintf(stderr, "redis_server: %s (%s)\n", what, strerror(errno));
    if (s != NULL && s->log != NULL) {
        FILE *f = fopen(s->log, "re");
        char line[512];
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            fprintf(stderr, "  %s", line);
    }
    abort();
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

/* A free port: taken and given back.  Someone may take it in between; then the start is tried again
 * with another. */
static int free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || bind(fd, (struct sockaddr *)&addr, len) == -1 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) == -1)
        give_up(NULL, "no free port");
    close(fd);
    return ntohs(addr.sin_port);
}

char *redis_server_file(const struct redis_server *s, const char *name)
{
    return xasprintf("%s/%s", s->directory, name);
}

static void run_openssl(const struct redis_server *s, const char *arguments)
{
    char *command = xasprintf("cd '%s' && openssl %s >>openssl.log 2>&1", s->directory, arguments);
    if (system(command) != 0) /* NOLINT: a fixed text and a directory of ours */
        give_up(s, command);
    free(command);
}

static void make_certificates(const struct redis_server *s)
{
#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
#define SIGN    "x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2"
    run_openssl(s, "req -x509 " NEW_KEY " -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt");
    run_openssl(s, "req -x509 " NEW_KEY
                   " -days 2 -subj /CN=other-ca -keyout other.key -out other.crt");
    char *ext = redis_server_file(s, "server.ext");
    FILE *f = fopen(ext, "we");
    if (f == NULL || fputs("subjectAltName=DNS:localhost,IP:127.0.0.1\n", f) == EOF ||
        fclose(f) == EOF)
        give_up(s, ext);
    free(ext);
    run_openssl(s, "req " NEW_KEY " -subj /CN=redis -keyout server.key -out server.csr");
    run_openssl(s, SIGN " -in server.csr -out server.crt -extfile server.ext");
    run_openssl(s, "req " NEW_KEY " -subj /CN=client -keyout client.key -out client.csr");
    run_openssl(s, SIGN " -in client.csr -out client.crt");
#undef NEW_KEY
#undef SIGN
}

/* redis-server resolves paths after changing to its directory: they are absolute. */
static void keep_lines(struct redis_server *s, const struct redis_server_config *c)
{
    struct buf *b = &s->lines;
    buf_printf(b, "dir %s\nunixsocket %s\nsave \"\"\nlogfile %s\nprotected-mode no\n", s->directory,
               s->socket, s->log);
    if (c->aof)
        buf_add_str(b, "appendonly yes\nappendfsync always\n");
    if (c->password != NULL)
        buf_printf(b, "requirepass \"%s\"\n", c->password);
    for (int i = 0; c->users != NULL && c->users[i] != NULL; i++)
        buf_printf(b, "user %s\n", c->users[i]);
    if (c->tcp || c->tls)
        buf_add_str(b, "bind 127.0.0.1 127.0.0.2\n");
    if (c->tls)
        buf_printf(b,
                   "tls-cert-file %s/server.crt\ntls-key-file %s/server.key\n"
                   "tls-ca-cert-file %s/ca.crt\ntls-auth-clients %s\n",
                   s->directory, s->directory, s->directory, c->client_certificate ? "yes" : "no");
    for (int i = 0; c->lines != NULL && c->lines[i] != NULL; i++)
        buf_printf(b, "%s\n", c->lines[i]);
}

struct redis_server *redis_server_prepare(const struct redis_server_config *config)
{
    static const struct redis_server_config nothing;
    const struct redis_server_config *c = config != NULL ? config : &nothing;
    struct redis_server *s = xcalloc(1, sizeof *s);
    s->directory = xstrdup("/tmp/bl-redis-XXXXXX");
    if (mkdtemp(s->directory) == NULL)
        give_up(NULL, s->directory);
    s->socket = redis_server_file(s, "redis.sock");
    s->conf = redis_server_file(s, "redis.conf");
    s->log = redis_server_file(s, "redis.log");
    s->password = c->password != NULL ? xstrdup(c->password) : NULL;
    s->wants_tcp = c->tcp;
    s->wants_tls = c->tls;
    s->port = c->tcp ? free_port() : 0;
    s->tls_port = c->tls ? free_port() : 0;
    buf_init(&s->lines);
    if (c->tls)
        make_certificates(s);
    keep_lines(s, c);
    return s;
}

static void write_conf(struct redis_server *s)
{
    FILE *f = fopen(s->conf, "we");
    if (f == NULL)
        give_up(s, s->conf);
    fprintf(f, "%sport %d\n", s->lines.data, s->port);
    if (s->wants_tls)
        fprintf(f, "tls-port %d\n", s->tls_port);
    if (fclose(f) == EOF)
        give_up(s, s->conf);
}

static void launch(struct redis_server *s)
{
    pid_t parent = getpid();
    write_conf(s);
    (void)unlink(s->socket); /* of a killed one */
    s->pid = fork();
    if (s->pid == -1)
        give_up(s, "fork");
    if (s->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    /* Debian's redis-tools: the server is the checker under another name. */
    static const char *const places[] = {"/usr/bin/redis-check-rdb", "/usr/bin/redis-server",
                                         "/usr/local/bin/redis-server"};
    for (size_t i = 0; i < ARRAY_COUNT(places); i++)
        execl(places[i], "redis-server", s->conf, (char *)NULL);
    execlp("redis-server", "redis-server", s->conf, (char *)NULL);
    fprintf(stderr, "redis_server: no redis-server found (package redis-tools)\n");
    _exit(127);
}

static bool has_ended(struct redis_server *s)
{
    if (waitpid(s->pid, NULL, WNOHANG) != s->pid)
        return false;
    s->pid = 0;
    return true;
}

/* NULL while it does not take connections. */
static redisContext *try_connect(const struct redis_server *s)
{
    redisContext *c = redisConnectUnix(s->socket);
    if (c != NULL && c->err == 0)
        return c;
    redisFree(c);
    return NULL;
}

static bool answers(const struct redis_server *s)
{
    redisContext *c = try_connect(s);
    if (c == NULL)
        return false;
    if (s->password != NULL)
        freeReplyObject(redisCommand(c, "AUTH %s", s->password));
    redisReply *reply = redisCommand(c, "PING");
    bool good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    /* A default user that may do nothing still shows that the server is up. */
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        good = strncmp(reply->str, "NOAUTH", 6) == 0 || strncmp(reply->str, "NOPERM", 6) == 0;
    freeReplyObject(reply);
    redisFree(c);
    return good;
}

/* False when it ended (a port that someone else took). */
static bool wait_for_answer(struct redis_server *s)
{
    int64_t guard = mono_ms() + GUARD_MS;
    while (!answers(s)) {
        if (has_ended(s))
            return false;
        if (mono_ms() > guard)
            give_up(s, "it does not answer");
        pause_a_little();
    }
    return true;
}

void redis_server_start(struct redis_server *s)
{
    for (int i = 0; i < START_TRIES; i++) {
        launch(s);
        if (wait_for_answer(s))
            return;
        if (s->wants_tcp)
            s->port = free_port();
        if (s->wants_tls)
            s->tls_port = free_port();
    }
    give_up(s, "it does not start");
}

struct redis_server *redis_server_new(const struct redis_server_config *config)
{
    struct redis_server *s = redis_server_prepare(config);
    redis_server_start(s);
    return s;
}

static void end_with(struct redis_server *s, int sig)
{
    if (s->pid == 0)
        return;
    kill(s->pid, sig);
    if (sig != SIGKILL)
        kill(s->pid, SIGCONT); /* it may be frozen */
    while (waitpid(s->pid, NULL, 0) == -1 && errno == EINTR)
        continue;
    s->pid = 0;
}

void redis_server_kill(struct redis_server *s)
{
    end_with(s, SIGKILL);
}

void redis_server_stop(struct redis_server *s)
{
    end_with(s, SIGTERM);
}

void redis_server_freeze(struct redis_server *s)
{
    siginfo_t info;
    kill(s->pid, SIGSTOP);
    if (waitid(P_PID, (id_t)s->pid, &info, WSTOPPED | WNOWAIT) == -1)
        give_up(s, "it does not freeze");
}

void redis_server_thaw(struct redis_server *s)
{
    kill(s->pid, SIGCONT);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void redis_server_free(struct redis_server *s)
{
    if (s == NULL)
        return;
    redis_server_kill(s);
    if (nftw(s->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == -1)
        fprintf(stderr, "redis_server: cannot remove %s\n", s->directory);
    free(s->directory);
    free(s->socket);
    free(s->conf);
    free(s->log);
    free(s->password);
    buf_done(&s->lines);
    free(s);
}

const char *redis_server_directory(const struct redis_server *s)
{
    return s->directory;
}

const char *redis_server_socket(const struct redis_server *s)
{
    return s->socket;
}

int redis_server_port(const struct redis_server *s)
{
    return s->port;
}

int redis_server_tls_port(const struct redis_server *s)
{
    return s->tls_port;
}

pid_t redis_server_pid(const struct redis_server *s)
{
    return s->pid;
}

static void set_password(const struct redis_server *s, struct redis_url *u)
{
    if (s->password != NULL)
        snprintf(u->password, sizeof u->password, "%s", s->password);
}

struct redis_url redis_server_url(const struct redis_server *s)
{
    struct redis_url u = {.port = 6379};
    snprintf(u.unix_path, sizeof u.unix_path, "%s", s->socket);
    set_password(s, &u);
    return u;
}

struct redis_url redis_server_tcp_url(const struct redis_server *s)
{
    struct redis_url u = {.host = "127.0.0.1", .port = s->port};
    set_password(s, &u);
    return u;
}

struct redis_url redis_server_tls_url(const struct redis_server *s)
{
    struct redis_url u = {.tls = true, .host = "localhost", .port = s->tls_port};
    set_password(s, &u);
    return u;
}

static redisReply *ask(struct redis_server *s, const char *format, va_list ap)
{
    redisContext *c = try_connect(s);
    if (c == NULL)
        give_up(s, "cannot connect");
    if (s->password != NULL)
        freeReplyObject(redisCommand(c, "AUTH %s", s->password));
    redisReply *reply = redisvCommand(c, format, ap);
    if (reply == NULL)
        give_up(s, format);
    redisFree(c);
    return reply;
}

struct redisReply *redis_server_ask(struct redis_server *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *reply = ask(s, format, ap);
    va_end(ap);
    return reply;
}

long long redis_server_ask_int(struct redis_server *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *reply = ask(s, format, ap);
    va_end(ap);
    long long v = reply->integer;
    if (reply->type == REDIS_REPLY_STRING)
        v = strtoll(reply->str, NULL, 10);
    else if (reply->type != REDIS_REPLY_INTEGER)
        give_up(s, format);
    freeReplyObject(reply);
    return v;
}
