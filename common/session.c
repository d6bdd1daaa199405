#include "common/session.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* A worker must notice a dead link within seconds; a command would rather wait for a busy server
 * than leave its user with an unknown outcome. */
enum { REPLY_TIMEOUT_MS = 30000 };

int session_init(struct session *s, const struct session_options *options,
                 struct config_errors *ret_errors)
{
    *s = (struct session){.options = *options};
    config_init(&s->config);
    char found[PATH_MAX];
    const char *path = options->config_path;
    if (path == NULL) {
        struct err nowhere = {0};
        if (config_find(found, sizeof found, &nowhere) != 0)
            return 0;
        if (access(found, R_OK) == -1) {
            if (errno != ENOENT)
                s->notice = xasprintf("%s cannot be read (%s), going on without it", found,
                                      strerror(errno));
            return 0;
        }
        path = found;
    }
    int rc = config_load(path, &s->config, ret_errors);
    if (rc == 0)
        s->has_config = true;
    return rc;
}

void session_done(struct session *s)
{
    if (s->client != NULL)
        redis_client_close(s->client);
    free(s->notice);
    config_done(&s->config);
    explicit_bzero(&s->url, sizeof s->url);
    *s = (struct session){0};
}

int session_connect(struct session *s, const char *name, bool scripts, struct err *err)
{
    const char *source = NULL;
    struct redis_url url;
    int rc = redis_url_find(s->options.url, s->config.redis.url, &url, &source, err);
    if (rc != 0)
        return rc;
    struct redis_link_config link = {
        .url = url,
        .load_scripts = scripts,
        .connect_timeout_ms = s->config.redis.connect_timeout_ms,
        .reply_timeout_ms = REPLY_TIMEOUT_MS,
        .ca_file = s->config.redis.ca_file,
        .cert_file = s->config.redis.cert_file,
        .key_file = s->config.redis.key_file,
        .verify = s->config.redis.verify,
        .password_file = s->config.redis.password_file,
    };
    snprintf(link.name, sizeof link.name, "%s", name);
    rc = redis_client_open(&link, &s->client, err);
    if (rc != 0) {
        char shown[512];
        err_prefix(err, "Redis at %s (from %s)", redis_url_show(&url, shown, sizeof shown), source);
    } else {
        s->url = url;
    }
    explicit_bzero(&link, sizeof link);
    explicit_bzero(&url, sizeof url);
    return rc;
}

const char *session_prefix(const struct session *s)
{
    if (s->options.prefix != NULL)
        return s->options.prefix;
    return s->config.redis.prefix != NULL ? s->config.redis.prefix : "";
}

int session_queue(const struct session *s, const char *name, struct store_queue *ret,
                  struct err *err)
{
    const struct config_queue *q = s->has_config ? config_queue_find(&s->config, name) : NULL;
    const char *key = s->options.key != NULL ? s->options.key : q != NULL ? q->key : NULL;
    return store_queue_init(ret, session_prefix(s), name, key, err);
}

bool session_queue_unlisted(const struct session *s, const char *name)
{
    return s->has_config && s->options.key == NULL && config_queue_find(&s->config, name) == NULL;
}

int session_exit_code(int code)
{
    switch ((enum err_code)(code < 0 ? -code : code)) {
    case ERR_NONE:
        return EX_OK;
    case ERR_INVALID:
    case ERR_SYNTAX:
    case ERR_TYPE:
    case ERR_RANGE:
    case ERR_TOO_BIG:
    case ERR_TOO_DEEP:
    case ERR_DUPLICATE:
    case ERR_UNKNOWN:
    case ERR_MISSING:
    case ERR_NEWER:
        return EX_DATAERR;
    case ERR_NOT_FOUND:
    case ERR_CONNECT:
    case ERR_TIMEOUT:
    case ERR_REDIS:
    case ERR_PERMISSION:
    case ERR_UNSUPPORTED:
        return EX_UNAVAILABLE;
    case ERR_EXHAUSTED:
    case ERR_CLOSED:
        return EX_TEMPFAIL;
    case ERR_SYSTEM:
    case ERR_PROTOCOL:
        return EX_SOFTWARE;
    }
    return EX_SOFTWARE;
}
