#include "worker/lifecycle.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/death.h"
#include "worker/dispatch.h"
#include "worker/hand.h"
#include "worker/link.h"
#include "worker/liveness.h"
#include "worker/once.h"
#include "worker/outbox.h"
#include "worker/reconcile.h"
#include "worker/recover.h"
#include "worker/reload.h"
#include "worker/schedule.h"
#include "worker/settle.h"
#include "worker/signals.h"
#include "worker/statedir.h"
#include "worker/stats.h"
#include "worker/takeover.h"
#include "worker/turn.h"
#include "worker/wait.h"
#include "worker/worker.h"

enum {
    DESCRIBE_LIMIT_MS = 20000,
    LARGE_BYTES = 256 * 1024, /* from here on a buffer has pages of its own */
    SETTLE_LAST_MS = 1000, /* after the runners' end, for the last answers of Redis */
};

const char *phase_name(enum phase p)
{
    switch (p) {
    case PHASE_STARTING:
        return "starting";
    case PHASE_RUNNING:
        return "running";
    case PHASE_QUIET:
        return "quiet";
    case PHASE_DRAINING:
        return "draining";
    case PHASE_KILLING:
        return "killing";
    case PHASE_LEAVING:
        return "leaving";
    }
    return "?";
}

double worker_random(struct worker *w)
{
    w->random ^= w->random << 13; /* xorshift64 */
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (double)(w->random >> 11) / (double)(UINT64_C(1) << 53);
}

bool worker_claiming(const struct worker *w)
{
    return w->synced && w->phase == PHASE_RUNNING;
}

/* ---- phases -------------------------------------------------------------------------------- */

static void set_phase(struct worker *w, enum phase p)
{
    if (p == w->phase)
        return;
    log_msg(LOG_DEBUG, "phase", KV_STR("from", phase_name(w->phase)), KV_STR("to", phase_name(p)));
    w->phase = p;
    worker_wake(w);
}

static bool claims_open(const struct worker *w)
{
    return w->requests != NULL || !wait_idle(w) || !once_idle(w);
}

static bool queues_empty(const struct worker *w)
{
    int64_t now = mono_ms();
    for (int i = 0; i < w->queue_count; i++) {
        const struct queue *q = w->queues[i];
        if (q->retired || q->delivery == DELIVERY_AT_MOST_ONCE)
            continue;
        if (q->maybe && now >= q->blocked_until_mono_ms)
            return false;
        for (int which = 0; which < 2; which++) {
            int64_t in_ms = q->due_next_in_ms[which];
            if (in_ms == -2 || q->due_under_way[which])
                return false;
            if (in_ms >= 0 && now + in_ms <= w->burst_deadline_mono_ms)
                return false;
        }
        if (q->parked_under_way)
            return false;
    }
    return once_drained(w);
}

void lifecycle_check_burst(struct worker *w)
{
    if (!w->burst || w->phase != PHASE_RUNNING || !w->synced || w->claims.count > 0 ||
        claims_open(w) || !settle_idle(w) || outbox_busy(w) || w->recoveries != NULL ||
        w->takeovers != NULL || dispatch_idle_runners(w) == 0 || !queues_empty(w))
        return;
    w->exit_code = w->dead_count > 0 ? 1 : 0;
    lifecycle_stop(w, "every queue is drained");
}

static void kill_runners(struct worker *w)
{
    for (int i = 0; i < w->pool.block_count; i++) {
        struct runner *r = w->pool.runners[i];
        r->shutdown_kill = true;
        runner_kill(r, "");
    }
}

static void leave(struct worker *w);

void lifecycle_give_back(struct worker *w)
{
    if (!claims_open(w) || w->phase == PHASE_KILLING)
        dispatch_give_back_ready(w, INT64_MAX);
}

void lifecycle_stop_step(struct worker *w)
{
    lifecycle_give_back(w);
    hand_tidy(w);
    CRASH_POINT("stop.gave-back");
    bool jobs_done =
        pool_running(&w->pool) == 0 && w->claims.count == 0 && !claims_open(w) && !outbox_busy(w);
    /* Only then is it known that no wait of ours can fire any more. */
    bool reconciled =
        redis_link_state(w->main) != LINK_READY || (w->kill_count == 0 && w->reconcile == NULL);
    if (w->phase == PHASE_DRAINING)
        pool_drain_idle(w);
    if (pool_alive(&w->pool) > 0)
        return;
    bool out_of_time = w->phase == PHASE_KILLING && mono_ms() > w->kill_mono_ms + SETTLE_LAST_MS;
    if ((jobs_done && reconciled) || out_of_time)
        leave(w);
}

int64_t lifecycle_due(const struct worker *w)
{
    return w->phase == PHASE_KILLING ? w->kill_mono_ms + SETTLE_LAST_MS + 1 : INT64_MAX;
}

void lifecycle_synced(struct worker *w)
{
    if (w->phase == PHASE_STARTING) {
        set_phase(w, PHASE_RUNNING);
        w->burst_deadline_mono_ms = mono_ms() + w->burst_wait_ms;
        log_msg(LOG_INFO, "worker ready", KV_STR("incarnation", w->inc.hex),
                KV_INT("queues", w->queue_count), KV_INT("runners", w->pool.wanted),
                KV_INT("types", w->catalog.count));
        notify_ready(&w->notify);
    }
    for (int i = 0; i < w->queue_count; i++)
        w->queues[i]->maybe = true;
    schedule_all(w);
    stats_publish(w);
}

void lifecycle_quiet(struct worker *w, bool quiet)
{
    if (quiet && w->phase == PHASE_RUNNING) {
        log_msg(LOG_INFO, "quiet: claiming nothing until CONT");
        set_phase(w, PHASE_QUIET);
        wait_stop(w);
        once_stop(w);
        dispatch_take_back_all(w);
    } else if (!quiet && w->phase == PHASE_QUIET) {
        log_msg(LOG_INFO, "claiming again");
        set_phase(w, PHASE_RUNNING);
        for (int i = 0; i < w->queue_count; i++)
            w->queues[i]->maybe = true;
    }
}

static void kill_now(struct worker *w)
{
    w->kill_mono_ms = mono_ms();
    set_phase(w, PHASE_KILLING);
    CRASH_POINT("stop.killing");
    kill_runners(w);
}

static void on_phase_timer(uv_timer_t *t)
{
    struct worker *w = t->data;
    if (w->phase != PHASE_DRAINING)
        return;
    log_msg(LOG_WARN, "shutdown_timeout is over; running jobs are killed and given back",
            KV_INT("running", pool_running(&w->pool)));
    kill_now(w);
}

void lifecycle_stop(struct worker *w, const char *why)
{
    if (w->phase >= PHASE_KILLING)
        return;
    if (w->phase == PHASE_DRAINING) {
        log_msg(LOG_WARN, "told to stop again: now", KV_STR("why", why));
        kill_now(w);
        return;
    }
    log_msg(LOG_INFO, "stopping: claiming nothing, finishing what has begun", KV_STR("why", why),
            KV_INT("running", pool_running(&w->pool)),
            KV_INT("shutdown_timeout_ms", w->cfg.shutdown_timeout_ms));
    notify_stopping(&w->notify, w->cfg.shutdown_timeout_ms + w->cfg.grace_ms);
    CRASH_POINT("stop.begun");
    reload_stop(w);
    recover_stop(w);
    takeover_stop(w);
    set_phase(w, PHASE_DRAINING);
    wait_stop(w);
    once_stop(w);
    if (w->kill_count > 0)
        w->reconcile_mono_ms = mono_ms();
    dispatch_take_back_all(w);
    if (uv_timer_start(&w->phase_timer, on_phase_timer, (uint64_t)w->cfg.shutdown_timeout_ms, 0) !=
        0)
        BUG("uv_timer_start");
}

static void close_all(struct worker *w)
{
    w->closed = true;
    for (int i = 0; i < w->queue_count; i++)
        wait_close(w->queues[i]);
    once_close(w);
    reconcile_abort(w);
    liveness_stop(w);
    redis_link_close(w->main, NULL, NULL);
    signals_stop(w);
    pool_done(w);
    turn_close(w);
    uv_close((uv_handle_t *)&w->phase_timer, NULL);
}

static void on_left(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    (void)reply; /* if our entry stays, others see it silent and find nothing under it */
    if (!w->closed)
        close_all(w);
    CRASH_POINT("stop.owner-dropped");
}

static void leave(struct worker *w)
{
    struct buf cmd = BUF_INIT;
    w->settled_all = w->claims.count == 0;
    CRASH_POINT("stop.leaving");
    set_phase(w, PHASE_LEAVING);
    if (!w->settled_all)
        log_msg(LOG_WARN,
                "leaving while Redis has not answered; the next worker settles these jobs",
                KV_INT("jobs", w->claims.count),
                KV_STR("state_dir", w->state_dir != NULL ? w->state_dir : "-"));
    uv_timer_stop(&w->live.beat_timer);
    uv_timer_stop(&w->live.look_timer);
    if (w->settled_all)
        hand_leave(w);
    store_cmd_drop_owner(&cmd, &w->globals, &w->inc, RECOVER_ANY_COUNTER);
    /* We must know that nothing lies under our tokens; nothing can if none was ever drawn. */
    bool known = w->synced || w->next_seq == 1;
    bool asked =
        w->settled_all && known && redis_link_send(w->main, buf_span(&cmd), on_left, w) == 0;
    buf_done(&cmd);
    if (!asked)
        close_all(w);
}

void lifecycle_end_as_clone(struct worker *w)
{
    log_msg(LOG_ERROR, "stopping all handlers and starting over with another incarnation");
    for (int i = 0; i < w->pool.block_count; i++)
        runner_kill(w->pool.runners[i], "");
    for (int i = 0; i < w->pool.block_count; i++)
        if (w->pool.runners[i]->pid > 0)
            (void)child_wait_dead(w->pool.runners[i]->pid, -1);
    death_of_strays(w);
    if (w->pool.guard_pid > 0)
        (void)kill(w->pool.guard_pid, SIGKILL);
    if (w->state_dir != NULL)
        statedir_remove(w->state_dir, &w->inc);
    notify_hand_on(&w->notify);
    fexecve(w->exe_fd, w->argv, environ);
    log_msg(LOG_ERROR, "cannot start over", KV_STR("error", strerror(errno)));
    _exit(EX_TEMPFAIL);
}

/* ---- start and end ------------------------------------------------------------------------- */

static int init_queues(struct worker *w, struct err *err)
{
    w->queues = xcalloc((size_t)w->cfg.queue_count, sizeof *w->queues);
    for (int i = 0; i < w->cfg.queue_count; i++) {
        int rc = queue_new(w, &w->cfg.queues[i], w->prefix, &w->queues[i], err);
        if (rc < 0)
            return rc;
        w->queues[i]->index = (uint32_t)i;
        w->queue_count++;
    }
    return 0;
}

static int init_slots(struct worker *w, struct err *err)
{
    char path[4096];
    const char **lists = xcalloc((size_t)w->queue_count, sizeof *lists);
    for (int i = 0; i < w->queue_count; i++)
        lists[i] = w->queues[i]->keys.list;
    if (w->state_dir != NULL)
        slots_path(path, sizeof path, w->state_dir, &w->inc, ".journal");
    int rc = slots_create(w->state_dir != NULL ? path : NULL, &w->inc, pool_blocks(w->cfg.runners),
                          lists, w->queue_count, &w->slots, err);
    free(lists);
    return rc;
}

static int init_state(struct worker *w, struct err *err)
{
    int rc = incarnation_new(&w->inc, err);
    if (rc == 0) {
        rc = statedir_prepare(w->cfg.state_dir, &w->state_dir, err);
        if (rc < 0)
            w->exit_code = EX_CONFIG; /* worker.yaml names no place that can be used */
    }
    if (rc == 0 && w->state_dir != NULL) {
        w->lock_fd = statedir_lock(w->state_dir, &w->inc, err);
        rc = w->lock_fd < 0 ? w->lock_fd : 0;
    }
    if (rc == 0)
        rc = init_queues(w, err);
    CRASH_POINT("start.locked");
    return rc < 0 ? rc : init_slots(w, err);
}

static void worker_free(struct worker *w)
{
    if (w->pool.runners != NULL)
        pool_free(w);
    for (struct request *r = w->requests, *next; r != NULL; r = next) {
        next = r->next;
        free(r);
    }
    claims_done(&w->claims);
    for (int i = 0; i < w->queue_count; i++)
        queue_free(w->queues[i]);
    free(w->queues);
    notify_done(&w->notify);
    catalog_done(&w->catalog);
    settled_done(&w->settled);
    store_globals_done(&w->globals);
    slots_free(w->slots);
    if (w->state_dir != NULL && w->settled_all)
        statedir_remove(w->state_dir, &w->inc);
    CRASH_POINT("stop.unlinked");
    if (w->lock_fd >= 0)
        close(w->lock_fd);
    free(w->state_dir);
    config_done(&w->cfg);
    free(w);
}

static int start(struct worker *w, struct err *err)
{
    int rc = init_state(w, err);
    if (rc == 0)
        rc = catalog_load(&w->catalog, &w->cfg, w->exe_fd, DESCRIBE_LIMIT_MS, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < w->catalog.broken_count; i++)
        log_msg(LOG_ERROR, "plugin cannot be used; its types are parked",
                KV_STR("plugin", w->catalog.broken[i]));
    CRASH_POINT("start.described");
    turn_init(w);
    if (uv_timer_init(w->loop, &w->phase_timer) != 0)
        BUG("uv_timer_init");
    w->phase_timer.data = w;
    liveness_init(w);
    signals_start(w);
    rc = pool_init(w, err);
    if (rc < 0)
        return rc;
    link_start(w);
    worker_wake(w);
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_loop(uv_loop_t *loop)
{
    int rc = uv_loop_close(loop);
    if (rc != 0)
        log_msg(LOG_WARN, "the loop was left with open handles", KV_STR("error", uv_strerror(rc)));
}

/* Large buffers come from the kernel and go back there.  By default the limit between large and small
 * grows with what is freed, and after some megabytes a long-lived small piece above a hole keeps it. */
static void keep_memory_flat(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES); /* 0 = not glibc's: nothing to be done */
    (void)mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES);
}

int lifecycle_run(struct config *cfg, const struct redis_url *url, int exe_fd,
                  const struct lifecycle_options *options)
{
    struct err err = {0};
    uv_loop_t loop;
    keep_memory_flat();
    struct worker *w = xcalloc(1, sizeof *w);
    w->loop = &loop;
    w->cfg = *cfg;
    config_init(cfg);
    w->url = *url;
    w->exe_fd = exe_fd;
    w->lock_fd = -1;
    w->argv = options->argv;
    w->burst = options->burst;
    w->burst_wait_ms = options->burst_wait_ms;
    w->started_wall_ms = w->handlers_since_wall_ms = wall_ms();
    w->next_seq = 1;
    w->random = (uint64_t)mono_us() ^ (uint64_t)getpid() << 32 ^ UINT64_C(0x9e3779b97f4a7c15);
    snprintf(w->prefix, sizeof w->prefix, "%s",
             w->cfg.redis.prefix != NULL ? w->cfg.redis.prefix : "");
    claims_init(&w->claims);
    catalog_init(&w->catalog);
    store_globals_init(&w->globals, w->prefix);
    if (notify_init(&w->notify, &err) < 0)
        log_msg(LOG_WARN, "the service manager cannot be told, ignoring",
                KV_STR("error", err.text));
    err = (struct err){0};
    if (uv_loop_init(&loop) != 0)
        BUG("uv_loop_init");
    if (start(w, &err) < 0) {
        char line[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
        log_msg(LOG_ERROR, "cannot start", KV_STR("error", err_format(&err, line, sizeof line)));
        int code = err.code == ERR_INVALID ? EX_CONFIG
                   : w->exit_code != 0     ? w->exit_code
                                           : EX_SOFTWARE;
        w->settled_all = w->closed = true;
        uv_walk(&loop, close_handle, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        close_loop(&loop);
        worker_free(w);
        return code;
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    close_loop(&loop);
    int code = w->exit_code;
    log_msg(LOG_INFO, "stopped", KV_INT("exit", code));
    worker_free(w);
    return code;
}
