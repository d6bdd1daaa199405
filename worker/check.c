#include "worker/check.h"

#include <stdio.h>
#include <sysexits.h>

#include "common/redis_link.h"
#include "worker/catalog.h"

enum { DESCRIBE_LIMIT_MS = 20000 };

static int check_plugins(const struct config *cfg, int exe_fd)
{
    struct catalog c;
    struct err err = {0};
    catalog_init(&c);
    int rc = catalog_load(&c, cfg, exe_fd, DESCRIBE_LIMIT_MS, &err);
    if (rc < 0)
        printf("plugins: %s\n", err.text);
    for (int i = 0; i < c.broken_count; i++)
        printf("plugin %s\n", c.broken[i]);
    if (rc == 0) {
        printf("types:");
        for (int i = 0; i < c.count; i++)
            printf(" %s", c.items[i]->type);
        printf("%s\n", c.count == 0 ? " none" : "");
    }
    bool good = rc == 0 && c.broken_count == 0;
    catalog_done(&c);
    return good ? 0 : EX_CONFIG;
}

static int check_redis(const struct config *cfg, const struct redis_url *url)
{
    struct redis_link_config link = {
        .url = *url,
        .name = "bucketline:check",
        .connect_timeout_ms = cfg->redis.connect_timeout_ms,
        .reply_timeout_ms = cfg->redis.reply_timeout_ms,
        .ca_file = cfg->redis.ca_file,
        .cert_file = cfg->redis.cert_file,
        .key_file = cfg->redis.key_file,
        .verify = cfg->redis.verify,
        .password_file = cfg->redis.password_file,
        .load_scripts = true,
    };
    struct redis_client *client = NULL;
    struct err err = {0};
    char show[512];
    redis_url_show(url, show, sizeof show);
    if (redis_client_open(&link, &client, &err) < 0) {
        printf("redis: %s: %s\n", show, err.text);
        return EX_UNAVAILABLE;
    }
    const struct store_info *info = redis_client_info(client);
    printf("redis: %s, version %s, %s, appendonly %s, maxmemory-policy %s\n", show, info->version,
           info->is_master ? "master" : "replica", info->aof ? "yes" : "no",
           info->maxmemory_policy[0] != '\0' ? info->maxmemory_policy : "unknown");
    if (!info->aof)
        printf("redis: warning: appendonly is off, a restart of Redis loses jobs\n");
    int code = info->is_master ? 0 : EX_UNAVAILABLE;
    redis_client_close(client);
    return code;
}

int check_run(const struct config *cfg, const struct redis_url *url, int exe_fd)
{
    printf("configuration: %s is right\n", cfg->path != NULL ? cfg->path : "worker.yaml");
    int plugins = check_plugins(cfg, exe_fd);
    int redis = check_redis(cfg, url);
    return plugins != 0 ? plugins : redis;
}
