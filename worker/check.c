#include "worker/check.h"

#include <stdio.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/hazard.h"
#include "common/redis_link.h"
#include "common/redis_reply.h"
#include "worker/catalog.h"

enum { DESCRIBE_LIMIT_MS = 20000, ROUND_TRIPS = 5 };

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

/* One setting by CONFIG GET, which may be denied.  False = not known. */
static bool setting(struct redis_client *client, const char *name, char *ret, size_t size)
{
    struct buf cmd = BUF_INIT;
    struct redisReply *reply = NULL;
    store_cmd_config_get(&cmd, name);
    bool known = redis_client_call(client, buf_span(&cmd), &reply, NULL) == 0 &&
                 store_read_config(reply, ret, size, NULL) == 0;
    if (!known)
        printf("redis: CONFIG GET %s is refused here\n", name);
    if (reply != NULL)
        redis_reply_free(reply);
    buf_done(&cmd);
    return known;
}

/* The fastest of a few, so that a busy moment is not taken for the distance. */
static void measure(struct redis_client *client, struct hazard_facts *f)
{
    struct buf cmd = BUF_INIT;
    store_cmd_time(&cmd);
    for (int i = 0; i < ROUND_TRIPS; i++) {
        struct redisReply *reply = NULL;
        int64_t asked_us = mono_us(), asked_ms = wall_ms(), redis_ms;
        if (redis_client_call(client, buf_span(&cmd), &reply, NULL) == 0 &&
            store_read_time(reply, &redis_ms, NULL) == 0) {
            int64_t took_us = mono_us() - asked_us;
            if (f->round_trip_us < 0 || took_us < f->round_trip_us) {
                f->round_trip_us = took_us;
                f->skew_ms = hazard_skew_ms(asked_ms, wall_ms(), redis_ms);
                f->has_skew = true;
            }
        }
        if (reply != NULL)
            redis_reply_free(reply);
    }
    buf_done(&cmd);
}

static void ask(struct redis_client *client, struct hazard_facts *f)
{
    f->has_appendfsync = setting(client, "appendfsync", f->appendfsync, sizeof f->appendfsync);
    f->has_save = setting(client, "save", f->save, sizeof f->save);
    measure(client, f);
}

/* Exit code: only what no worker can work with is a failure. */
static int print_hazards(const struct hazard_facts *facts)
{
    static const char *const grades[] = {"note", "warning", "error"};
    struct hazard list[HAZARD_MAX];
    int count = hazard_list(facts, list), code = 0;
    for (int i = 0; i < count; i++) {
        printf("redis: %s: %s\n", grades[list[i].grade], list[i].text);
        if (list[i].grade == HAZARD_STOP)
            code = EX_UNAVAILABLE;
    }
    return code;
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
    struct hazard_facts facts = HAZARD_FACTS_INIT;
    facts.info = info;
    ask(client, &facts);
    printf("redis: %s, version %s, %s, appendonly %s, appendfsync %s, save \"%s\", "
           "maxmemory-policy %s\n",
           show, info->version, info->is_master ? "master" : "replica", info->aof ? "yes" : "no",
           facts.has_appendfsync ? facts.appendfsync : "unknown",
           facts.has_save ? facts.save : "unknown",
           info->maxmemory_policy[0] != '\0' ? info->maxmemory_policy : "unknown");
    if (facts.has_skew)
        printf("redis: round trip %.2f ms, clocks differ by %lld ms\n",
               (double)facts.round_trip_us / 1000, (long long)facts.skew_ms);
    int code = print_hazards(&facts);
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
