#include "worker/reload.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/catalog.h"
#include "worker/launch.h"
#include "worker/notify.h"
#include "worker/once.h"
#include "worker/reconcile.h"
#include "worker/schedule.h"
#include "worker/wait.h"
#include "worker/worker.h"

enum { DESCRIBE_LIMIT_MS = 10000, DESCRIBE_MAX_BYTES = 4 * 1024 * 1024 };

/* A new configuration whose plugins are being described. */
struct reload {
    struct worker *worker;
    struct config cfg;
    pid_t pid;
    int fd;
    uv_poll_t poll;
    uv_timer_t limit;
    struct buf text;
    int handles; /* still open */
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct reload *rl = handle->data;
    if (--rl->handles > 0)
        return;
    config_done(&rl->cfg);
    buf_done(&rl->text);
    free(rl);
}

static void end(struct reload *rl)
{
    rl->worker->reload = NULL;
    uv_close((uv_handle_t *)&rl->poll, on_handle_closed);
    uv_close((uv_handle_t *)&rl->limit, on_handle_closed);
    close(rl->fd);
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static void needs_restart(const char *option, const char *before, const char *after)
{
    if (!same_text(before, after))
        log_msg(LOG_WARN, "changed, but takes effect only after a restart",
                KV_STR("option", option));
}

/* What was agreed with Redis, the file system and the kernel stays until a restart. */
static void keep_fixed(struct config *old, struct config *new)
{
    needs_restart("redis.url", old->redis.url, new->redis.url);
    needs_restart("redis.prefix", old->redis.prefix, new->redis.prefix);
    needs_restart("redis.password_file", old->redis.password_file, new->redis.password_file);
    needs_restart("state_dir", old->state_dir, new->state_dir);
    needs_restart("user", old->user, new->user);
    needs_restart("pidfile", old->pidfile, new->pidfile);
    struct config keep = *old;
    old->redis = new->redis;
    new->redis = keep.redis;
    old->state_dir = new->state_dir;
    new->state_dir = keep.state_dir;
    old->user = new->user;
    new->user = keep.user;
    old->pidfile = new->pidfile;
    new->pidfile = keep.pidfile;
    new->beat_ms = keep.beat_ms;
}

/* With another delivery it is another queue: claims of the old one end as they began. */
static struct queue *find_queue(struct worker *w, const struct config_queue *cfg)
{
    for (int i = 0; i < w->queue_count; i++) {
        struct queue *q = w->queues[i];
        size_t prefix = strlen(w->prefix);
        if (q->delivery == cfg->delivery && strcmp(q->keys.name, cfg->name) == 0 &&
            strcmp(q->keys.list + prefix, cfg->key) == 0)
            return q;
    }
    return NULL;
}

/* The new order: configured queues first, as configured; those that left stay at the end until the
 * worker ends, since claims may still point at them. */
static void apply_queues(struct worker *w, const struct config *cfg)
{
    struct queue **list = xcalloc((size_t)(w->queue_count + cfg->queue_count), sizeof *list);
    int n = 0;
    reconcile_abort(w); /* it goes through the queues by their place in the list */
    reconcile_soon(w);
    for (int i = 0; i < w->queue_count; i++)
        w->queues[i]->retired = true;
    for (int i = 0; i < cfg->queue_count; i++) {
        const struct config_queue *set = &cfg->queues[i];
        struct err err = {0};
        struct queue *q = find_queue(w, set);
        if (q == NULL) {
            if (queue_new(w, set, w->prefix, &q, &err) < 0) {
                log_msg(LOG_ERROR, "queue is left out", KV_STR("error", err.text));
                continue;
            }
            int index = slots_add_queue(w->slots, q->keys.list);
            if (index < 0) {
                log_msg(LOG_ERROR, "too many queues, left out", KV_STR("queue", set->name));
                queue_free(q);
                continue;
            }
            q->index = (uint32_t)index;
        }
        q->retired = false;
        q->maybe = true;
        q->weight = set->weight;
        q->dead_max = set->dead_max;
        q->dead_age_ms = set->dead_age_ms;
        list[n++] = q;
    }
    for (int i = 0; i < w->queue_count; i++)
        if (w->queues[i]->retired) {
            wait_close(w->queues[i]);
            list[n++] = w->queues[i];
        }
    once_stop(w); /* what is asked for names the old queues */
    free(w->queues);
    w->queues = list;
    w->queue_count = n;
}

static void apply(struct reload *rl)
{
    struct worker *w = rl->worker;
    struct err err = {0};
    int config_fd = launch_config_fd(&rl->cfg, &err);
    if (config_fd < 0) {
        log_msg(LOG_ERROR, "reload failed, the old configuration stays", KV_STR("error", err.text));
        return;
    }
    close(w->pool.config_fd);
    w->pool.config_fd = config_fd;
    keep_fixed(&w->cfg, &rl->cfg);
    struct config old = w->cfg;
    w->cfg = rl->cfg;
    rl->cfg = old;
    log_setup(w->cfg.log.level, w->cfg.log.format);
    apply_queues(w, &w->cfg);
    w->handlers_since_wall_ms = wall_ms();
    int most = w->pool.block_count / 2;
    if (w->cfg.runners > most)
        log_msg(LOG_WARN, "more runners than this process has room for; restart for more",
                KV_INT("runners", w->cfg.runners), KV_INT("most", most));
    w->pool.wanted = w->cfg.runners < most ? w->cfg.runners : most;
    pool_new_generation(w);
    CRASH_POINT("reload.applied");
    schedule_all(w);
    log_msg(LOG_INFO, "configuration reloaded", KV_INT("generation", w->pool.generation),
            KV_INT("types", w->catalog.count));
}

static void described(struct reload *rl, const char *why_not)
{
    struct worker *w = rl->worker;
    struct child_end how;
    struct err err = {0};
    char text[64];
    if (why_not != NULL)
        (void)child_kill_group(rl->pid, 0, SIGKILL);
    (void)child_wait_dead(rl->pid, -1); /* killed, or its output has ended */
    (void)child_kill_group(rl->pid, 0, SIGKILL);
    child_reap(rl->pid, &how);
    w->pool.describe_pid = 0;
    child_end_format(&how, text, sizeof text);
    bool well = how.exit_code == 0 || how.exit_code == 78;
    int rc = why_not != NULL ? err_set(&err, ERR_TIMEOUT, "%s", why_not)
                             : catalog_read(&w->catalog, &rl->cfg, buf_span(&rl->text),
                                            well ? NULL : text, &err);
    for (int i = 0; i < w->catalog.broken_count; i++)
        log_msg(LOG_ERROR, "plugin cannot be used", KV_STR("plugin", w->catalog.broken[i]));
    CRASH_POINT("reload.described");
    if (rc == 0)
        apply(rl);
    else
        log_msg(LOG_ERROR, "reload failed, the old configuration stays", KV_STR("error", err.text));
    notify_ready(&w->notify);
    end(rl);
}

static void on_text(uv_poll_t *handle, int status, int events)
{
    struct reload *rl = handle->data;
    (void)events;
    ssize_t n = status == 0 ? read(rl->fd, buf_reserve(&rl->text, 65536), 65536) : 0;
    if (n == -1 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        buf_grown(&rl->text, (size_t)n);
        if (rl->text.len <= DESCRIBE_MAX_BYTES)
            return;
    }
    uv_poll_stop(&rl->poll);
    described(rl, n > 0 ? "the description is too long" : NULL);
}

static void on_limit(uv_timer_t *t)
{
    struct reload *rl = t->data;
    uv_poll_stop(&rl->poll);
    described(rl, "loading the plugins takes too long");
}

void reload_start(struct worker *w)
{
    struct config cfg;
    struct config_errors errors = {0};
    struct err err = {0};
    if (w->reload != NULL) {
        log_msg(LOG_WARN, "a reload is under way, this one is ignored");
        return;
    }
    config_init(&cfg);
    if (config_load(w->cfg.path, &cfg, &errors) < 0) {
        char line[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
        for (int i = 0; i < errors.count; i++)
            log_msg(LOG_ERROR, "configuration refused, the old one stays",
                    KV_STR("error", err_format(&errors.items[i], line, sizeof line)));
        config_errors_done(&errors);
        config_done(&cfg);
        return;
    }
    struct reload *rl = xcalloc(1, sizeof *rl);
    rl->worker = w;
    rl->cfg = cfg;
    buf_init(&rl->text);
    if (launch_describe(&rl->cfg, w->exe_fd, &rl->pid, &rl->fd, &err) < 0) {
        log_msg(LOG_ERROR, "reload failed, the old configuration stays", KV_STR("error", err.text));
        config_done(&rl->cfg);
        free(rl);
        return;
    }
    notify_reloading(&w->notify);
    w->reload = rl;
    w->pool.describe_pid = rl->pid;
    rl->poll.data = rl->limit.data = rl;
    rl->handles = 2;
    if (uv_poll_init(w->loop, &rl->poll, rl->fd) != 0 || uv_timer_init(w->loop, &rl->limit) != 0 ||
        uv_poll_start(&rl->poll, UV_READABLE, on_text) != 0 ||
        uv_timer_start(&rl->limit, on_limit, DESCRIBE_LIMIT_MS, 0) != 0)
        BUG("watching a describing runner");
}

void reload_stop(struct worker *w)
{
    struct reload *rl = w->reload;
    struct child_end how;
    if (rl == NULL)
        return;
    uv_poll_stop(&rl->poll);
    (void)child_kill_group(rl->pid, 0, SIGKILL);
    (void)child_wait_dead(rl->pid, -1);
    child_reap(rl->pid, &how);
    w->pool.describe_pid = 0;
    end(rl);
}
