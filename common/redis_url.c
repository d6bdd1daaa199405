/* redis_url.c - parses by hand: three schemes, percent-decoding, and a caution no general parser
 * has: a text that holds an '@' may hold a password, so its parts are never quoted in an error.
 */
#include "common/redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"

enum { DEFAULT_PORT = 6379, PORT_MAX = 65535, DB_MAX = 1023 };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decodes `in` into `out` (with its NUL).  A NUL byte is refused: these become C strings. */
static int decode(struct span in, const char *what, char *out, size_t size, struct err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '%') {
            int high = i + 1 < in.len ? hex_value(in.ptr[i + 1]) : -1;
            int low = i + 2 < in.len ? hex_value(in.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(err, ERR_SYNTAX,
                               "Redis URL: %s has a '%%' without two hex digits (write %%25)",
                               what);
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0')
            return err_set(err, ERR_SYNTAX, "Redis URL: %s holds a NUL byte", what);
        if (n + 1 >= size)
            return err_set(err, ERR_TOO_BIG, "Redis URL: %s is longer than %zu bytes", what,
                           size - 1);
        out[n++] = c;
    }
    out[n] = '\0';
    return 0;
}

/* Digits only, low..high. */
static int parse_number(struct span s, const char *what, int low, int high, bool may_quote,
                        int *ret, struct err *err)
{
    long v = 0;
    bool good = s.len > 0 && s.len <= 9;
    for (size_t i = 0; good && i < s.len; i++) {
        good = s.ptr[i] >= '0' && s.ptr[i] <= '9';
        v = v * 10 + (s.ptr[i] - '0');
    }
    if (good && v >= low && v <= high) {
        *ret = (int)v;
        return 0;
    }
    enum err_code code = good ? ERR_RANGE : ERR_SYNTAX;
    if (may_quote && s.len > 0 && s.len < 40)
        return err_set(err, code, "Redis URL: %s \"%.*s\" is no number from %d to %d", what,
                       (int)s.len, s.ptr, low, high);
    return err_set(err, code, "Redis URL: %s is no number from %d to %d%s", what, low, high,
                   may_quote ? "" : " (write / ? # @ : in a password as %2F %3F %23 %40 %3A)");
}

static const char *find_in(const char *from, const char *to, char c)
{
    return memchr(from, c, (size_t)(to - from));
}

static const char *find_last_in(const char *from, const char *to, char c)
{
    return memrchr(from, c, (size_t)(to - from));
}

static struct span span_between(const char *from, const char *to)
{
    return (struct span){from, (size_t)(to - from)};
}

static int check_host(const char *host, bool brackets, struct err *err)
{
    static const char ipv6_chars[] = "0123456789abcdefABCDEF:.";
    if (brackets) {
        size_t n = strspn(host, ipv6_chars);
        if (strchr(host, ':') == NULL || (host[n] != '\0' && host[n] != '%'))
            return err_set(err, ERR_SYNTAX, "Redis URL: no IPv6 address stands in the brackets");
        host += n;
    } else if (strchr(host, ':') != NULL) {
        return err_set(err, ERR_SYNTAX, "Redis URL: an IPv6 address stands in brackets: [::1]");
    }
    for (const char *p = host; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("/@[]\\", *p) != NULL)
            return err_set(err, ERR_SYNTAX, "Redis URL: the host holds a character no host has");
    return 0;
}

static int parse_host(const char *p, const char *end, bool may_quote, struct redis_url *u,
                      struct err *err)
{
    bool brackets = p < end && *p == '[';
    struct span host;
    const char *after;
    if (brackets) {
        const char *close = find_in(p, end, ']');
        if (close == NULL)
            return err_set(err, ERR_SYNTAX, "Redis URL: '[' without ']'");
        host = span_between(p + 1, close);
        after = close + 1;
    } else {
        const char *colon = find_in(p, end, ':');
        after = colon != NULL ? colon : end;
        host = span_between(p, after);
    }
    if (after < end && *after != ':')
        return err_set(err, ERR_SYNTAX, "Redis URL: only :port may follow ']'");
    if (!brackets && after < end && find_in(after + 1, end, ':') != NULL)
        return err_set(err, ERR_SYNTAX, "Redis URL: an IPv6 address stands in brackets: [::1]");
    if (host.len == 0 && !brackets)
        host = SPAN_OF_STR("localhost");
    int rc = decode(host, "the host", u->host, sizeof u->host, err);
    if (rc == 0)
        rc = check_host(u->host, brackets, err);
    if (rc == 0 && after < end && after + 1 < end)
        rc = parse_number(span_between(after + 1, end), "the port", 1, PORT_MAX, may_quote,
                          &u->port, err);
    return rc;
}

static int parse_user_info(struct span info, struct redis_url *u, struct err *err)
{
    const char *end = info.ptr + info.len;
    const char *colon = find_in(info.ptr, end, ':');
    struct span user = span_between(info.ptr, colon != NULL ? colon : end);
    int rc = decode(user, "the user", u->user, sizeof u->user, err);
    if (rc == 0 && colon != NULL)
        rc = decode(span_between(colon + 1, end), "the password", u->password, sizeof u->password,
                    err);
    return rc;
}

/* [user[:pass]@]host[:port][/db] */
static int parse_tcp(const char *p, struct redis_url *u, struct err *err)
{
    const char *end = p + strlen(p);
    bool may_quote = strchr(p, '@') == NULL;
    const char *authority_end = p + strcspn(p, "/?#");
    if (strpbrk(p, "?#") != NULL)
        return err_set(err, ERR_SYNTAX,
                       "Redis URL: '?' and '#' have no meaning here; the database is /N%s",
                       may_quote ? "" : ", and in a password they are written %3F and %23");
    int rc = 0;
    const char *at = find_last_in(p, authority_end, '@');
    if (at != NULL) {
        rc = parse_user_info(span_between(p, at), u, err);
        p = at + 1;
    }
    if (rc == 0)
        rc = parse_host(p, authority_end, may_quote, u, err);
    if (rc == 0 && authority_end < end && authority_end + 1 < end)
        rc = parse_number(span_between(authority_end + 1, end), "the database", 0, DB_MAX,
                          may_quote, &u->db, err);
    return rc;
}

static int parse_unix_option(struct span option, struct redis_url *u, struct err *err)
{
    const char *end = option.ptr + option.len;
    const char *equals = find_in(option.ptr, end, '=');
    struct span name = span_between(option.ptr, equals != NULL ? equals : end);
    struct span value = equals != NULL ? span_between(equals + 1, end) : (struct span){end, 0};
    if (name.len == 2 && memcmp(name.ptr, "db", 2) == 0)
        return parse_number(value, "db", 0, DB_MAX, true, &u->db, err);
    if (name.len == 4 && memcmp(name.ptr, "user", 4) == 0)
        return decode(value, "the user", u->user, sizeof u->user, err);
    if (name.len == 8 && memcmp(name.ptr, "password", 8) == 0)
        return decode(value, "the password", u->password, sizeof u->password, err);
    return err_set(err, ERR_UNKNOWN,
                   "Redis URL: after '?' only db=N, user=.. and password=.. are known "
                   "(write & in a value as %%26)");
}

/* /path[?db=N][&user=..][&password=..] */
static int parse_unix(const char *p, struct redis_url *u, struct err *err)
{
    if (p[0] != '/' || p[1] == '\0' || p[1] == '?')
        return err_set(err, ERR_SYNTAX,
                       "Redis URL: the path of the socket is absolute, as in "
                       "unix:///run/redis/redis.sock");
    if (strchr(p, '#') != NULL)
        return err_set(err, ERR_SYNTAX, "Redis URL: '#' has no meaning here (write %%23)");
    const char *question = strchrnul(p, '?');
    int rc = decode(span_between(p, question), "the path of the socket", u->unix_path,
                    sizeof u->unix_path, err);
    while (rc == 0 && *question != '\0') {
        const char *option = question + 1;
        question = strchrnul(option, '&');
        rc = parse_unix_option(span_between(option, question), u, err);
    }
    return rc;
}

int redis_url_parse(const char *text, struct redis_url *ret, struct err *err)
{
    struct redis_url u = {.port = DEFAULT_PORT};
    int rc;
    if (strncasecmp(text, "redis://", 8) == 0) {
        rc = parse_tcp(text + 8, &u, err);
    } else if (strncasecmp(text, "rediss://", 9) == 0) {
        u.tls = true;
        rc = parse_tcp(text + 9, &u, err);
    } else if (strncasecmp(text, "unix://", 7) == 0) {
        rc = parse_unix(text + 7, &u, err);
    } else if (strncasecmp(text, "unix:/", 6) == 0) {
        rc = parse_unix(text + 5, &u, err);
    } else {
        rc = err_set(err, ERR_SYNTAX,
                     "Redis URL: it begins with redis://, rediss:// or unix:// "
                     "(redis://host:6379/0, unix:///run/redis/redis.sock)");
    }
    if (rc == 0)
        *ret = u;
    explicit_bzero(&u, sizeof u);
    return rc;
}

/* Appends `s` with everything but plain characters percent-encoded, as far as it fits. */
static size_t show_encoded(const char *s, const char *plain, char *out, size_t n, size_t size)
{
    for (; *s != '\0'; s++) {
        bool keep = isalnum((unsigned char)*s) || strchr(plain, *s) != NULL;
        size_t need = keep ? 1 : 3;
        if (n + need >= size)
            break;
        if (keep)
            out[n] = *s;
        else
            snprintf(out + n, size - n, "%%%02X", (unsigned char)*s);
        n += need;
    }
    out[n] = '\0';
    return n;
}

static size_t show_text(const char *s, char *out, size_t n, size_t size)
{
    size_t len = strlen(s);
    if (len > size - 1 - n)
        len = size - 1 - n;
    memcpy(out + n, s, len);
    out[n + len] = '\0';
    return n + len;
}

const char *redis_url_show(const struct redis_url *u, char *out, size_t size)
{
    char number[32];
    size_t n = 0;
    if (size == 0)
        return out;
    if (u->unix_path[0] != '\0') {
        n = show_text("unix:", out, n, size);
        n = show_encoded(u->unix_path, "/._-+,=~:", out, n, size);
        snprintf(number, sizeof number, "?db=%d", u->db);
        show_text(u->db != 0 ? number : "", out, n, size);
        return out;
    }
    bool brackets = strchr(u->host, ':') != NULL;
    n = show_text(u->tls ? "rediss://" : "redis://", out, n, size);
    if (u->user[0] != '\0') {
        n = show_encoded(u->user, "._-~", out, n, size);
        n = show_text("@", out, n, size);
    }
    n = show_text(brackets ? "[" : "", out, n, size);
    n = show_encoded(u->host, brackets ? ":.-_~" : ".-_~", out, n, size);
    n = show_text(brackets ? "]" : "", out, n, size);
    snprintf(number, sizeof number, ":%d/%d", u->port, u->db);
    show_text(number, out, n, size);
    return out;
}

void redis_url_wipe(char *text)
{
    char *scheme = strstr(text, "://");
    char *info = scheme != NULL ? scheme + 3 : text;
    /* The last '@' of all: of a password with a raw '/' nothing must stay either. */
    char *at = strrchr(info, '@');
    char *colon = strchr(info, ':');
    if (at != NULL && colon != NULL && colon < at)
        memset(colon + 1, '*', (size_t)(at - colon - 1));
    for (char *p = strstr(text, "password="); p != NULL; p = strstr(p, "password=")) {
        p += strlen("password=");
        size_t len = strcspn(p, "&");
        memset(p, '*', len);
        p += len;
    }
}

static void private_directory(char *out, size_t size)
{
    const char *given = getenv("BUCKETLINE_PRIVATE_DIR");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (given != NULL && given[0] != '\0')
        snprintf(out, size, "%s", given);
    else if (runtime != NULL && runtime[0] != '\0')
        snprintf(out, size, "%s/bucketline", runtime);
    else
        snprintf(out, size, "/tmp/bucketline-%ld", (long)getuid());
}

const char *redis_private_socket(char *out, size_t size)
{
    private_directory(out, size);
    size_t n = strlen(out);
    snprintf(out + n, size - n, "/redis.sock");
    return out;
}

/* Somebody answers there, and it is ours: in /tmp anyone could have put a socket of that name. */
static bool private_redis_runs(const char *path)
{
    char directory[PATH_MAX];
    struct stat st;
    private_directory(directory, sizeof directory);
    if (lstat(directory, &st) == -1 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return false;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    _Static_assert(sizeof addr.sun_path <= sizeof((struct redis_url *)0)->unix_path, "fits");
    if (strlen(path) >= sizeof addr.sun_path)
        return false;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return false;
    /* EAGAIN: a full backlog; it lives. */
    bool runs = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 || errno == EAGAIN;
    close(fd);
    return runs;
}

static int parse_from(const char *text, const char *source, struct redis_url *ret,
                      const char **ret_source, struct err *err)
{
    int rc = redis_url_parse(text, ret, err);
    if (rc == 0)
        *ret_source = source;
    else
        err_prefix(err, "%s", source);
    return rc;
}

int redis_url_find(const char *flag, const char *from_config, struct redis_url *ret,
                   const char **ret_source, struct err *err)
{
    const char *ours = getenv("BUCKETLINE_REDIS_URL");
    const char *common = getenv("REDIS_URL");
    char path[PATH_MAX];
    if (flag != NULL)
        return parse_from(flag, "--url", ret, ret_source, err);
    if (ours != NULL && ours[0] != '\0')
        return parse_from(ours, "BUCKETLINE_REDIS_URL", ret, ret_source, err);
    if (common != NULL && common[0] != '\0')
        return parse_from(common, "REDIS_URL", ret, ret_source, err);
    if (from_config != NULL && from_config[0] != '\0')
        return parse_from(from_config, "redis.url in worker.yaml", ret, ret_source, err);
    redis_private_socket(path, sizeof path);
    if (private_redis_runs(path)) {
        struct redis_url u = {.port = DEFAULT_PORT};
        memcpy(u.unix_path, path, strlen(path) + 1); /* fits: private_redis_runs() saw to it */
        *ret = u;
        *ret_source = "private Redis";
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND,
                   "no Redis given: pass --url, set BUCKETLINE_REDIS_URL or REDIS_URL, write "
                   "redis.url into worker.yaml, or start a private Redis with `make run` (looked "
                   "for %.128s)",
                   path);
}
