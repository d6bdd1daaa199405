#include "worker/stats.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/notify.h"
#include "worker/worker.h"

void stats_ignore(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply;
}

static json_t *describe(struct worker *w)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    json_t *queues = json_array();
    int64_t done = 0, failed = 0, retried = 0, dead = 0;
    for (int i = 0; i < w->queue_count; i++) {
        const struct queue *q = w->queues[i];
        done += q->done;
        failed += q->failed;
        retried += q->retried;
        dead += q->dead;
        if (!q->retired)
            json_array_append_new(queues, json_string(q->keys.name));
    }
    return json_pack("{s:s, s:i, s:s, s:s, s:I, s:o, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "host",
                     host, "pid", (int)getpid(), "version", BL_VERSION, "phase",
                     phase_name(w->phase), "started_at_ms", (json_int_t)w->started_wall_ms,
                     "queues", queues, "runners", w->pool.wanted, "busy", pool_busy(&w->pool),
                     "held", w->claims.count, "done", (json_int_t)done, "failed",
                     (json_int_t)failed, "retried", (json_int_t)retried, "dead", (json_int_t)dead);
}

void stats_publish(struct worker *w)
{
    json_t *info = describe(w);
    char *text = info != NULL ? json_dumps(info, JSON_COMPACT) : NULL;
    if (text != NULL) {
        struct buf cmd = BUF_INIT;
        store_cmd_set_info(&cmd, &w->globals, &w->inc, SPAN_OF_STR(text));
        ignore_result(
            redis_link_send(w->main, buf_span(&cmd), stats_ignore, NULL)); /* again in 5 s */
        buf_done(&cmd);
    }
    free(text);
    json_decref(info);
}

void stats_dump(struct worker *w)
{
    log_msg(LOG_INFO, "status", KV_STR("phase", phase_name(w->phase)),
            KV_STR("redis", link_state_name(redis_link_state(w->main))),
            KV_INT("synced", w->synced), KV_STR("incarnation", w->inc.hex),
            KV_INT("held", w->claims.count), KV_INT("ready", w->ready.count),
            KV_INT("running", pool_running(&w->pool)),
            KV_INT("settling", w->settle.to_send.count + w->settle.sent.count),
            KV_INT("refused", w->settle.blocked.count),
            KV_INT("workers_seen", w->live.observe.count), KV_INT("beats", w->live.last));
    for (int i = 0; i < w->queue_count; i++) {
        const struct queue *q = w->queues[i];
        log_msg(LOG_INFO, "status of queue", KV_STR("queue", q->keys.name), KV_INT("done", q->done),
                KV_INT("failed", q->failed), KV_INT("retried", q->retried), KV_INT("dead", q->dead),
                KV_INT("parked", q->parked), KV_INT("lost", q->lost), KV_INT("job_us", q->job_us),
                KV_INT("may_hold", q->maybe));
    }
    for (int i = 0; i < w->pool.block_count; i++) {
        const struct runner *r = w->pool.runners[i];
        if (r->state == RUNNER_NONE)
            continue;
        log_msg(LOG_INFO, "status of runner", KV_INT("runner", r->block), KV_INT("pid", r->pid),
                KV_INT("state", r->state), KV_INT("jobs", r->jobs.count),
                KV_STR("type", r->jobs.first != NULL ? r->jobs.first->doc.type : "-"),
                KV_INT("jobs_done", r->jobs_done));
    }
}

void stats_notify(struct worker *w)
{
    if (w->phase != PHASE_STARTING)
        notify_watchdog(&w->notify);
}
