#include "worker/link.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "worker/advice.h"
#include "worker/lifecycle.h"
#include "worker/liveness.h"
#include "worker/reconcile.h"
#include "worker/worker.h"

enum { OLDEST_SERVER = 60200, AWAY_LOG_MS = 5000 };

struct redis_link_config link_config(const struct worker *w, const char *role)
{
    struct redis_link_config c = {
        .url = w->url,
        .load_scripts = true,
        .reconnect = true,
        .connect_timeout_ms = w->cfg.redis.connect_timeout_ms,
        .reply_timeout_ms = w->cfg.redis.reply_timeout_ms,
        .ca_file = w->cfg.redis.ca_file,
        .cert_file = w->cfg.redis.cert_file,
        .key_file = w->cfg.redis.key_file,
        .verify = w->cfg.redis.verify,
        .password_file = w->cfg.redis.password_file,
    };
    snprintf(c.name, sizeof c.name, "bucketline:%s", role);
    return c;
}

/* Once, at the first connection. */
static void say_connected(struct worker *w, const struct store_info *info)
{
    char show[512];
    redis_url_show(&w->url, show, sizeof show);
    log_msg(LOG_INFO, "connected to Redis", KV_STR("url", show), KV_STR("version", info->version));
    advice_start(w, info);
}

static bool usable(struct worker *w, const struct store_info *info)
{
    if (info->version_num != 0 && info->version_num < OLDEST_SERVER) {
        log_msg(LOG_ERROR, "this Redis is too old: 6.2 or later is needed",
                KV_STR("version", info->version));
        redis_link_reset(w->main, "Redis is older than 6.2");
        return false;
    }
    if (!info->is_master) {
        redis_link_reset(w->main, "READONLY: connected to a replica");
        return false;
    }
    return true;
}

static void on_ready(void *arg, const struct store_info *info)
{
    struct worker *w = arg;
    if (!usable(w, info))
        return;
    if (w->server_run_id[0] == '\0')
        say_connected(w, info);
    else
        log_msg(LOG_INFO, "connected to Redis again",
                KV_STR("server", strcmp(w->server_run_id, info->run_id) == 0 ? "same" : "new"));
    reconcile_connected(w, info->run_id);
    liveness_connected(w);
}

static void on_down(void *arg, const struct err *why, bool was_ready)
{
    struct worker *w = arg;
    int64_t skipped;
    if (was_ready)
        reconcile_connection_died(w, redis_link_client_id(w->main));
    w->synced = false;
    liveness_disconnected(w);
    reconcile_abort(w);
    if (log_gate(&w->away_gate, mono_ms(), was_ready ? 0 : AWAY_LOG_MS, &skipped))
        log_msg(LOG_WARN,
                was_ready ? "connection to Redis lost, connecting again"
                          : "Redis is away, trying for ever",
                KV_STR("error", why->text), KV_INT("skipped", skipped),
                KV_INT("running", pool_running(&w->pool)));
    if (w->burst && w->phase == PHASE_STARTING) {
        w->exit_code = EX_UNAVAILABLE;
        lifecycle_stop(w, "a burst needs Redis now");
    }
    worker_wake(w);
}

void link_start(struct worker *w)
{
    static const struct redis_link_events events = {.on_ready = on_ready, .on_down = on_down};
    struct redis_link_config c = link_config(w, "main");
    w->main = redis_link_new(w->loop, &c, &events, w);
    redis_link_start(w->main);
}
