/* The handshake of a connection, and what INFO says about the server. */
#include "common/store_priv.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void store_cmd_auth(struct buf *out, const char *user, const char *password)
{
    bool named = user != NULL && user[0] != '\0';
    store_begin(out, named ? 3 : 2);
    store_arg_str(out, "AUTH");
    if (named)
        store_arg_str(out, user);
    store_arg_str(out, password);
}

void store_cmd_select(struct buf *out, int db)
{
    store_begin(out, 2);
    store_arg_str(out, "SELECT");
    store_arg_int(out, db);
}

static void client(struct buf *out, const char *sub, int args)
{
    store_begin(out, 2 + args);
    store_arg_str(out, "CLIENT");
    store_arg_str(out, sub);
}

void store_cmd_set_name(struct buf *out, const char *name)
{
    client(out, "SETNAME", 1);
    store_arg_str(out, name);
}

void store_cmd_client_id(struct buf *out)
{
    client(out, "ID", 0);
}

void store_cmd_client_kill(struct buf *out, int64_t client_id)
{
    client(out, "KILL", 2);
    store_arg_str(out, "ID");
    store_arg_int(out, client_id);
}

void store_cmd_client_unblock(struct buf *out, int64_t client_id)
{
    client(out, "UNBLOCK", 1);
    store_arg_int(out, client_id);
}

void store_cmd_info(struct buf *out)
{
    store_begin(out, 1);
    store_arg_str(out, "INFO");
}

void store_cmd_ping(struct buf *out)
{
    store_begin(out, 1);
    store_arg_str(out, "PING");
}

void store_cmd_config_get(struct buf *out, const char *name)
{
    store_begin(out, 3);
    store_arg_str(out, "CONFIG");
    store_arg_str(out, "GET");
    store_arg_str(out, name);
}

void store_cmd_time(struct buf *out)
{
    store_begin(out, 1);
    store_arg_str(out, "TIME");
}

int store_read_config(const struct redisReply *reply, char *ret, size_t size, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_ARRAY, "CONFIG GET", err);
    if (rc < 0)
        return rc;
    if (reply->elements < 2)
        return err_set(err, ERR_NOT_FOUND, "CONFIG GET: the server has no such setting");
    rc = store_expect(reply->element[1], REDIS_REPLY_STRING, "CONFIG GET", err);
    if (rc == 0)
        snprintf(ret, size, "%s", reply->element[1]->str);
    return rc;
}

int store_read_time(const struct redisReply *reply, int64_t *ret_wall_ms, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_ARRAY, "TIME", err);
    if (rc < 0)
        return rc;
    if (reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return err_set(err, ERR_PROTOCOL, "TIME: an answer of another shape");
    *ret_wall_ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                   strtoll(reply->element[1]->str, NULL, 10) / 1000;
    return 0;
}

void store_cmd_script_load(struct buf *out, enum store_script s)
{
    store_begin(out, 3);
    store_arg_str(out, "SCRIPT");
    store_arg_str(out, "LOAD");
    store_arg_str(out, store_script_text(s));
}

/* The value of line "name:value" in INFO's text, without the line end.  False if it is absent. */
static bool info_field(struct span text, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);
    const char *p = text.ptr, *end = text.ptr + text.len;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if (eol == NULL)
            eol = end;
        if ((size_t)(eol - p) > n && memcmp(p, name, n) == 0 && p[n] == ':') {
            const char *value = p + n + 1;
            size_t len = (size_t)(eol - value);
            if (len > 0 && value[len - 1] == '\r')
                len--;
            snprintf(ret, size, "%.*s", (int)len, value);
            return true;
        }
        p = eol + 1;
    }
    return false;
}

static int64_t info_int(struct span text, const char *name, int64_t otherwise)
{
    char value[32];
    return info_field(text, name, value, sizeof value) ? strtoll(value, NULL, 10) : otherwise;
}

static bool info_is(struct span text, const char *name, const char *wanted)
{
    char value[32];
    return info_field(text, name, value, sizeof value) && strcmp(value, wanted) == 0;
}

static int version_number(const char *version)
{
    int major = 0, minor = 0, patch = 0;
    if (sscanf(version, "%3d.%2d.%2d", &major, &minor, &patch) < 1)
        return 0;
    return major * 10000 + minor * 100 + patch;
}

int store_read_info(const struct redisReply *reply, struct store_info *ret, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_STRING, "INFO", err);
    if (rc < 0)
        return rc;
    struct span text = {reply->str, reply->len};
    struct store_info info = {0};
    if (!info_field(text, "redis_version", info.version, sizeof info.version))
        return err_set(err, ERR_PROTOCOL, "INFO: no redis_version in the answer");
    info.version_num = version_number(info.version);
    (void)info_field(text, "run_id", info.run_id, sizeof info.run_id); /* absent: stays "" */
    (void)info_field(text, "maxmemory_policy", info.maxmemory_policy, sizeof info.maxmemory_policy);
    info.is_master = info_is(text, "role", "master");
    info.loading = info_is(text, "loading", "1");
    info.cluster = info_is(text, "cluster_enabled", "1");
    info.aof = info_is(text, "aof_enabled", "1");
    info.write_failed = info_is(text, "aof_last_write_status", "err") ||
                        info_is(text, "rdb_last_bgsave_status", "err");
    info.maxmemory = info_int(text, "maxmemory", 0);
    /* INFO does not tell whether save points are set, only whether one was ever used. */
    info.rdb = info_int(text, "rdb_last_bgsave_time_sec", -1) >= 0 ||
               info_int(text, "rdb_bgsave_in_progress", 0) > 0 ||
               info_int(text, "rdb_saves", 0) > 0 ||
               info_int(text, "rdb_last_load_keys_loaded", 0) > 0;
    *ret = info;
    return 0;
}
