#include "worker/janitor.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/small_file.h"
#include "common/record.h"
#include "worker/settle.h"
#include "worker/stats.h"
#include "worker/worker.h"

enum { OLDEST = 50 };

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void again_at_once(struct queue *q)
{
    q->trim_mono_ms = 0;
    worker_wake(q->worker);
}

/* ---- dead letters ---- */

static void on_trimmed(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    int64_t n = 0;
    if (store_classify(reply, NULL) != STORE_OK || store_read_count(reply, &n, NULL) < 0)
        return; /* tried again at the next look */
    if (n == 0)
        return;
    log_msg(LOG_WARN, "the oldest dead letters were removed: dead_max", KV_INT("removed", n),
            KV_STR("queue", q->keys.name), KV_INT("dead_max", q->dead_max));
    again_at_once(q);
}

static bool too_old(const struct queue *q, struct span record, int64_t now_wall_ms)
{
    struct record r;
    record_parse(record, q->worker->cfg.limits.nesting, &r);
    return r.kind != RECORD_PLAIN && r.kind != RECORD_NEWER && r.dead_at_ms > 0 &&
           now_wall_ms - r.dead_at_ms > q->dead_age_ms;
}

static void on_oldest(void *arg, const struct redisReply *reply)
{
    struct queue *q = arg;
    struct worker *w = q->worker;
    struct buf cmd = BUF_INIT;
    int64_t removed = 0, now = wall_ms(), asked = q->oldest_page;
    size_t bytes = 0;
    if (store_classify(reply, NULL) != STORE_OK || reply->type != REDIS_REPLY_ARRAY)
        return; /* tried again at the next look */
    for (size_t i = 0; i < reply->elements; i++)
        bytes += reply->element[i]->len;
    q->oldest_page = queue_page_next(q->oldest_page, bytes, OLDEST);
    for (size_t i = reply->elements; i > 0; i--) { /* the oldest stands last */
        struct span record = {reply->element[i - 1]->str, (size_t)reply->element[i - 1]->len};
        if (!too_old(q, record, now))
            break;
        buf_clear(&cmd);
        store_cmd_take(&cmd, &q->keys, PLACE_DEAD, record, PLACE_DEAD, (struct span){0}, -1);
        if (redis_link_send(w->main, buf_span(&cmd), stats_ignore, NULL) < 0)
            break;
        removed++;
    }
    buf_done(&cmd);
    if (removed == 0)
        return;
    log_msg(LOG_WARN, "old dead letters were removed: dead_age", KV_INT("removed", removed),
            KV_STR("queue", q->keys.name), KV_INT("dead_age_ms", q->dead_age_ms));
    if (removed == asked)
        again_at_once(q);
}

static int64_t cap_dead(struct worker *w, struct queue *q, int64_t now_mono_ms)
{
    if (q->dead_max <= 0 && q->dead_age_ms <= 0)
        return INT64_MAX;
    if (now_mono_ms < q->trim_mono_ms)
        return q->trim_mono_ms;
    q->trim_mono_ms = now_mono_ms + JANITOR_LOOK_MS;
    struct buf cmd = BUF_INIT;
    if (q->dead_max > 0) {
        store_cmd_trim(&cmd, &q->keys, q->dead_max);
        ignore_result(redis_link_send(w->main, buf_span(&cmd), on_trimmed, q)); /* next look */
    }
    if (q->dead_age_ms > 0) {
        buf_clear(&cmd);
        store_cmd_page(&cmd, &q->keys, PLACE_DEAD, -q->oldest_page, -1);
        ignore_result(redis_link_send(w->main, buf_span(&cmd), on_oldest, q)); /* next look */
    }
    buf_done(&cmd);
    return q->trim_mono_ms;
}

/* ---- parked ---- */

bool janitor_parked_too_long(struct worker *w, struct queue *q, struct span record, int64_t index)
{
    struct record r;
    int64_t now = wall_ms();
    record_parse(record, w->cfg.limits.nesting, &r);
    if (w->cfg.park_ms <= 0 || r.kind != RECORD_WRAPPED || strcmp(r.reason, "unknown-type") != 0 ||
        r.parked_at_ms == 0 || now - r.parked_at_ms <= w->cfg.park_ms)
        return false;
    struct buf storage = BUF_INIT, moved = BUF_INIT, cmd = BUF_INIT;
    struct failure f = FAILURE_INIT;
    f.kind = "unknown-type";
    f.message = SPAN_OF_STR("no worker had a handler for this type within park_for");
    f.attempt = r.attempt;
    f.at_ms = now;
    record_add_failure(&r, &f, &storage);
    r.dead_at_ms = now;
    record_write(&moved, &r);
    store_cmd_take(&cmd, &q->keys, PLACE_PARKED, record, PLACE_DEAD, buf_span(&moved), index);
    bool sent = redis_link_send(w->main, buf_span(&cmd), stats_ignore, NULL) == 0;
    if (sent)
        log_msg(LOG_WARN, "parked too long, now a dead letter", KV_STR("id", r.id),
                KV_STR("queue", q->keys.name), KV_INT("park_for_ms", w->cfg.park_ms));
    buf_done(&storage);
    buf_done(&moved);
    buf_done(&cmd);
    return sent;
}

/* ---- runners ---- */

/* Resident bytes of a process, from /proc; -1 = unknown. */
static int64_t rss_bytes(pid_t pid)
{
    char path[64], text[128];
    long long total, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (small_file_read(path, text, sizeof text) < 0 ||
        sscanf(text, "%lld %lld", &total, &resident) != 2)
        return -1;
    return resident * sysconf(_SC_PAGESIZE);
}

static int64_t weigh_runners(struct worker *w, int64_t now_mono_ms)
{
    if (w->cfg.recycle_rss_bytes <= 0)
        return INT64_MAX;
    if (now_mono_ms < w->rss_mono_ms)
        return w->rss_mono_ms;
    w->rss_mono_ms = now_mono_ms + JANITOR_RSS_MS;
    for (int i = 0; i < w->pool.block_count; i++) {
        struct runner *r = w->pool.runners[i];
        if (r->state != RUNNER_READY || r->jobs_done == 0)
            continue;
        int64_t rss = rss_bytes(r->pid);
        if (rss <= w->cfg.recycle_rss_bytes)
            continue;
        log_msg(LOG_WARN, "a runner has grown above recycle_rss and is replaced",
                KV_INT("runner", r->block), KV_INT("pid", r->pid), KV_INT("rss_bytes", rss));
        pool_retire(r);
    }
    return w->rss_mono_ms;
}

int64_t janitor_run(struct worker *w, int64_t now_mono_ms)
{
    int64_t next = weigh_runners(w, now_mono_ms);
    if (!w->synced || w->phase > PHASE_QUIET)
        return next;
    for (int i = 0; i < w->queue_count; i++)
        if (!w->queues[i]->retired && w->queues[i]->delivery == DELIVERY_AT_LEAST_ONCE)
            next = earlier(next, cap_dead(w, w->queues[i], now_mono_ms));
    return next;
}
