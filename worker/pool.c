#include "worker/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/wire.h"
#include "worker/death.h"
#include "worker/dispatch.h"
#include "worker/frames.h"
#include "worker/launch.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum {
    READ_BYTES = 65536,
    START_AGAIN_MS = 1000,
    OUT_KEEP_BYTES = 1 << 20,
    EOF_WAIT_MS = 50, /* from the end of its socket to its death */
};

/* ---- the blocks and processes ------------------------------------------------------------- */

static struct runner *block_new(struct worker *w, int block)
{
    struct runner *r = xcalloc(1, sizeof *r);
    r->worker = w;
    r->block = block;
    r->fd = -1;
    output_init(&r->output);
    buf_init(&r->in);
    buf_init(&r->out);
    for (int i = 0; i < SLOTS_PER_RUNNER; i++)
        r->free_slots[i] = (uint8_t)(SLOTS_PER_RUNNER - 1 - i);
    r->free_count = SLOTS_PER_RUNNER;
    return r;
}

static void on_poll(uv_poll_t *handle, int status, int events);

static void watch(struct runner *r)
{
    int events = UV_READABLE | (r->writing ? UV_WRITABLE : 0);
    int rc = uv_poll_start(&r->poll, events, on_poll);
    if (rc != 0)
        BUG("uv_poll_start: %s", uv_strerror(rc));
}

static int start_runner(struct runner *r)
{
    struct worker *w = r->worker;
    struct err err = {0};
    int fd, output_fd;
    pid_t pid;
    if (r->poll_open || r->output.poll_open)
        return 0; /* its old handles are still closing: the next turn */
    int rc = launch_runner(&w->cfg, w->exe_fd, w->pool.config_fd, slots_fd(w->slots), r->block,
                           w->state_dir, &pid, &fd, &output_fd, &err);
    if (rc < 0) {
        log_msg(LOG_ERROR, "cannot start a runner, trying again", KV_STR("error", err.text));
        return rc;
    }
    r->state = RUNNER_STARTING;
    r->pid = pid;
    r->fd = fd;
    r->generation = w->pool.generation;
    r->started_mono_ms = mono_ms();
    r->jobs_done = 0;
    r->alone = r->shutdown_kill = r->lost_kill = r->spoilt = r->writing = false;
    r->kill_mono_ms = 0;
    r->death_cause[0] = '\0';
    buf_clear(&r->in);
    buf_clear(&r->out);
    r->out_done = 0;
    struct slots_header *h = slots_header(w->slots);
    h->runner_start[r->block] = child_start_ticks(pid);
    h->runner_pid[r->block] = pid;
    if (uv_poll_init(w->loop, &r->poll, fd) != 0)
        BUG("uv_poll_init");
    r->poll.data = r;
    r->poll_open = true;
    watch(r);
    CRASH_POINT("pool.runner-launched");
    output_open(r, output_fd);
    log_msg(LOG_DEBUG, "runner started", KV_INT("runner", r->block), KV_INT("pid", pid));
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct runner *r = handle->data;
    r->poll_open = false;
    worker_wake(r->worker);
}

void runner_close_socket(struct runner *r)
{
    if (r->fd == -1)
        return;
    uv_poll_stop(&r->poll);
    uv_close((uv_handle_t *)&r->poll, on_poll_closed);
    close(r->fd);
    r->fd = -1;
}

static int count_present(const struct pool *p)
{
    int n = 0;
    for (int i = 0; i < p->block_count; i++) {
        const struct runner *r = p->runners[i];
        n += (r->state == RUNNER_STARTING || r->state == RUNNER_READY) &&
             r->generation == p->generation;
    }
    return n;
}

static void drain_runner(struct runner *r)
{
    wire_write(&r->out, WIRE_DRAIN, 0, 0, 0, (struct span){0});
    r->state = RUNNER_DRAINING;
    worker_wake(r->worker);
}

void pool_back_to_ready(struct worker *w, struct claim *c)
{
    c->state = CLAIM_READY;
    claim_list_prepend(&w->ready, c);
    worker_wake(w);
}

void pool_retire(struct runner *r)
{
    runner_revoke(r, pool_back_to_ready);
    drain_runner(r);
}

void pool_leaving(struct runner *r)
{
    if (r->state != RUNNER_READY && r->state != RUNNER_STARTING)
        return;
    r->state = RUNNER_DRAINING;
    runner_revoke(r, pool_back_to_ready);
    pool_balance(r->worker);
    worker_wake(r->worker);
}

void pool_drain_idle(struct worker *w)
{
    for (int i = 0; i < w->pool.block_count; i++) {
        struct runner *r = w->pool.runners[i];
        if (runner_idle(r)) {
            drain_runner(r);
        } else if (r->state == RUNNER_STARTING) {
            r->shutdown_kill = true;
            runner_kill(r, "");
        }
    }
}

/* Slots that hold neither a job for the runner nor an outcome Redis refuses. */
static bool mostly_free(const struct runner *r)
{
    return r->free_count + r->jobs.count >= SLOTS_PER_RUNNER / 2;
}

void pool_relieve(struct worker *w, int block)
{
    struct pool *p = &w->pool;
    struct runner *r = p->runners[block];
    if (r->state != RUNNER_READY || mostly_free(r) || w->phase > PHASE_QUIET)
        return;
    for (int i = 0; i < p->block_count; i++) {
        const struct runner *other = p->runners[i];
        if (other->state != RUNNER_NONE || !mostly_free(other))
            continue;
        log_msg(LOG_WARN,
                "a runner's slots hold what Redis refuses; another runner takes its place",
                KV_INT("runner", block), KV_INT("free", r->free_count));
        pool_retire(r);
        pool_balance(w);
        return;
    }
}

bool runner_worn_out(const struct runner *r)
{
    int after = r->worker->cfg.recycle_after;
    return after > 0 && r->jobs_done >= after;
}

void pool_balance(struct worker *w)
{
    struct pool *p = &w->pool;
    bool starting = w->phase <= PHASE_QUIET;
    p->worn_out = false;
    int present = count_present(p);
    for (int i = 0; i < p->block_count; i++) {
        struct runner *r = p->runners[i];
        if (r->state != RUNNER_READY)
            continue;
        if (r->generation != p->generation) {
            pool_retire(r);
        } else if (present > p->wanted || runner_worn_out(r)) {
            pool_retire(r);
            present--;
        }
    }
    int64_t now = mono_ms();
    if (!starting || now < p->start_mono_ms)
        return;
    for (int i = 0; i < p->block_count && present < p->wanted; i++) {
        struct runner *r = p->runners[i];
        if (r->state != RUNNER_NONE || r->poll_open || r->output.poll_open || !mostly_free(r))
            continue;
        if (start_runner(r) < 0) {
            p->start_mono_ms = now + START_AGAIN_MS;
            return;
        }
        present++;
    }
}

void pool_new_generation(struct worker *w)
{
    w->pool.generation++;
    w->pool.quick_deaths = 0;
    w->pool.start_mono_ms = 0;
    pool_balance(w);
}

void pool_set_wanted(struct worker *w, int wanted)
{
    struct pool *p = &w->pool;
    int most = p->block_count / 2;
    p->wanted = wanted < 1 ? 1 : wanted > most ? most : wanted;
    log_msg(LOG_INFO, "runners", KV_INT("wanted", p->wanted), KV_INT("most", most));
    pool_balance(w);
}

/* ---- the socket ----------------------------------------------------------------------------- */

/* False = it can not be written to any more. */
static bool write_out(struct runner *r)
{
    while (r->out_done < r->out.len) {
        ssize_t n = send(r->fd, r->out.data + r->out_done, r->out.len - r->out_done, MSG_NOSIGNAL);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
        r->out_done += (size_t)n;
    }
    buf_clear(&r->out);
    buf_trim(&r->out, OUT_KEEP_BYTES);
    r->out_done = 0;
    CRASH_POINT("frame.flushed");
    return true;
}

static void flush_runner(struct runner *r)
{
    if (r->fd == -1 || r->out.len == 0)
        return;
    bool was_writing = r->writing;
    if (!write_out(r)) {
        /* What was to be written is lost, so those jobs would never begin: they are taken back when
         * its death is seen. */
        buf_clear(&r->out);
        r->out_done = 0;
        runner_kill(r, "its socket cannot be written to");
    }
    r->writing = r->out.len > 0;
    if (r->writing != was_writing)
        watch(r);
}

void pool_flush(struct worker *w)
{
    for (int i = 0; i < w->pool.block_count; i++)
        flush_runner(w->pool.runners[i]);
}

int runner_read(struct runner *r, bool to_end, struct err *err)
{
    for (;;) {
        ssize_t n = recv(r->fd, buf_reserve(&r->in, READ_BYTES), READ_BYTES, 0);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return errno == EAGAIN ? 0 : 1;
        if (n == 0)
            return 1;
        buf_grown(&r->in, (size_t)n);
        CRASH_POINT("frame.read");
        if (frames_read(r, err) < 0)
            return -1;
        if (n < READ_BYTES && !to_end)
            return 0;
    }
}

static void kill_at(struct runner *r, int64_t at_mono_ms)
{
    if (r->kill_mono_ms == 0 || at_mono_ms < r->kill_mono_ms)
        r->kill_mono_ms = at_mono_ms;
    worker_wake(r->worker);
}

void runner_heed(struct runner *r, bool to_end)
{
    struct err err = {0};
    if (r->fd == -1)
        return;
    int rc = runner_read(r, to_end, &err);
    if (rc == 0)
        return;
    /* Closed or rubbish: its wait status is the judge, after the kill.  One that is dying already is
     * left to it, so that its end is not taken for our doing; one that is done runs teardowns. */
    runner_close_socket(r);
    /* What a job did to the socket came before the report of its end, which should have followed. */
    r->spoilt = runner_sweep(r) > 0;
    if (rc < 0)
        runner_kill(r, err.text);
    else
        kill_at(r,
                mono_ms() + (r->state == RUNNER_DRAINING ? r->worker->cfg.grace_ms : EOF_WAIT_MS));
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct runner *r = handle->data;
    if (status == 0 && (events & UV_WRITABLE))
        flush_runner(r);
    if (status != 0 || (events & UV_READABLE))
        runner_heed(r, false);
}

/* ---- stopping and killing ------------------------------------------------------------------ */

void runner_stop_job(struct runner *r)
{
    struct worker *w = r->worker;
    pid_t pgid = slots_runner_page(w->slots, r->block)->program_pgid;
    if (pgid <= 0 || child_kill_group(pgid, r->pid, SIGTERM) != 0)
        (void)kill(r->pid, SIGTERM); /* it is a child of ours, not reaped: the pid is right */
    r->kill_mono_ms = mono_ms() + w->cfg.grace_ms;
}

void runner_kill(struct runner *r, const char *cause)
{
    struct worker *w = r->worker;
    if (r->state == RUNNER_NONE)
        return;
    if (cause != NULL && cause[0] != '\0' && r->death_cause[0] == '\0')
        strncpy(r->death_cause, cause, sizeof r->death_cause - 1);
    pid_t pgid = slots_runner_page(w->slots, r->block)->program_pgid;
    /* The runner first: it must not live to report its program's death as a failure of the job. */
    (void)child_kill_group(r->pid, 0, SIGKILL);
    if (pgid > 0)
        (void)child_kill_group(pgid, r->pid, SIGKILL);
    r->state = RUNNER_DYING;
    r->kill_mono_ms = 0;
}

static void start_guard(struct worker *w)
{
    struct pool *p = &w->pool;
    struct err err = {0};
    if (launch_guard(&w->cfg, w->exe_fd, slots_fd(w->slots), &p->guard_pid, &p->guard_fd, &err) < 0)
        log_msg(LOG_ERROR, "cannot start the guard, trying again", KV_STR("error", err.text));
    p->guard_mono_ms = mono_ms() + 1000;
    CRASH_POINT("pool.guard-launched");
}

/* ---- deadlines, start and end ------------------------------------------------------------- */

static int64_t timeout_of(const struct claim *c)
{
    if (c->doc.has & DOC_HAS_TIMEOUT)
        return c->doc.timeout_ms;
    return c->handler->timeout_ms;
}

/* The running job's time is over: soft signal now, SIGKILL after the grace. */
static int64_t job_deadline(struct runner *r, int64_t now_mono_ms)
{
    struct claim *c = r->jobs.first;
    const struct slot *s = slots_get(r->worker->slots, c->block, c->slot);
    if (slot_word_state(s->word) != SLOT_BEGUN || !slot_plausible(s, c->seq))
        return now_mono_ms + timeout_of(c);
    int64_t begun_ms = s->begun_us / 1000;
    int64_t over_ms = begun_ms + timeout_of(c);
    if (now_mono_ms < over_ms)
        return over_ms;
    if (!c->timed_out) {
        c->timed_out = true;
        log_msg(LOG_WARN, "job is over its timeout, asked to stop", KV_STR("type", c->doc.type),
                KV_STR("queue", c->queue->keys.name), KV_INT("timeout_ms", timeout_of(c)));
        runner_revoke(r, pool_back_to_ready);
        runner_stop_job(r);
    }
    return r->kill_mono_ms > 0 ? r->kill_mono_ms : INT64_MAX;
}

int64_t pool_deadlines(struct worker *w, int64_t now_mono_ms)
{
    struct pool *p = &w->pool;
    int64_t next = oom_watch_run(&p->oom, now_mono_ms);
    for (int i = 0; i < p->block_count; i++) {
        struct runner *r = p->runners[i];
        int64_t resume = output_resume(r, now_mono_ms);
        next = resume < next ? resume : next;
        if (r->state == RUNNER_NONE || r->state == RUNNER_DYING)
            continue;
        if (r->kill_mono_ms > 0 && now_mono_ms >= r->kill_mono_ms) {
            runner_kill(r, r->fd == -1 ? "it closed its connection to the worker" : "");
            continue;
        }
        /* Nothing left to do but to end: a teardown that hangs does not hold the block for ever. */
        if (r->state == RUNNER_DRAINING && r->jobs.first == NULL && r->kill_mono_ms == 0)
            r->kill_mono_ms = now_mono_ms + r->worker->cfg.grace_ms;
        int64_t at = r->kill_mono_ms > 0 ? r->kill_mono_ms : INT64_MAX;
        if (r->jobs.first != NULL) {
            int64_t over = job_deadline(r, now_mono_ms);
            at = over < at ? over : at;
        }
        next = at < next ? at : next;
    }
    if (p->guard_pid == 0 && w->phase < PHASE_LEAVING) {
        if (now_mono_ms >= p->guard_mono_ms)
            start_guard(w);
        next = p->guard_mono_ms < next ? p->guard_mono_ms : next;
    }
    if (count_present(p) < p->wanted && w->phase <= PHASE_QUIET) {
        pool_balance(w);
        int64_t at = p->start_mono_ms > now_mono_ms ? p->start_mono_ms : now_mono_ms + 100;
        next = at < next ? at : next;
    }
    return next;
}

int pool_alive(const struct pool *p)
{
    int n = 0;
    for (int i = 0; i < p->block_count; i++)
        n += p->runners[i]->state != RUNNER_NONE;
    return n;
}

int pool_busy(const struct pool *p)
{
    int n = 0;
    for (int i = 0; i < p->block_count; i++)
        n += p->runners[i]->jobs.count > 0;
    return n;
}

int pool_running(const struct pool *p)
{
    int n = 0;
    for (int i = 0; i < p->block_count; i++)
        n += p->runners[i]->jobs.count;
    return n;
}

int pool_blocks(int runners)
{
    int blocks = 2 * runners + 4; /* two generations, and a few more by TTIN */
    return blocks < SLOTS_MAX_RUNNERS ? blocks : SLOTS_MAX_RUNNERS;
}

int pool_init(struct worker *w, struct err *err)
{
    struct pool *p = &w->pool;
    struct err subreaper = {0};
    p->guard_fd = -1;
    p->oom = (struct oom_watch)OOM_WATCH_INIT;
    p->wanted = w->cfg.runners;
    p->block_count = pool_blocks(w->cfg.runners);
    p->runners = xcalloc((size_t)p->block_count, sizeof *p->runners);
    for (int i = 0; i < p->block_count; i++)
        p->runners[i] = block_new(w, i);
    if (child_become_subreaper(&subreaper) < 0)
        log_msg(LOG_WARN, "what handlers leave behind cannot be reaped here",
                KV_STR("error", subreaper.text));
    p->config_fd = launch_config_fd(&w->cfg, err);
    if (p->config_fd < 0)
        return p->config_fd;
    if (uv_signal_init(w->loop, &p->sigchld) != 0 ||
        uv_signal_start(&p->sigchld, death_on_sigchld, SIGCHLD) != 0)
        return err_set(err, ERR_SYSTEM, "cannot watch SIGCHLD");
    p->sigchld.data = w;
    start_guard(w);
    pool_balance(w);
    return 0;
}

void pool_done(struct worker *w)
{
    struct pool *p = &w->pool;
    death_of_strays(w);
    if (p->guard_pid > 0) {
        struct child_end end;
        uv_signal_stop(&p->sigchld);
        close(p->guard_fd);
        p->guard_fd = -1;
        (void)kill(p->guard_pid, SIGKILL); /* our child, not reaped */
        (void)child_wait_dead(p->guard_pid, -1);
        child_reap(p->guard_pid, &end);
        p->guard_pid = 0;
    }
    uv_close((uv_handle_t *)&p->sigchld, NULL);
    close(p->config_fd);
    p->config_fd = -1;
}

void pool_free(struct worker *w)
{
    struct pool *p = &w->pool;
    for (int i = 0; i < p->block_count; i++) {
        output_free(&p->runners[i]->output);
        buf_done(&p->runners[i]->in);
        buf_done(&p->runners[i]->out);
        free(p->runners[i]);
    }
    free(p->runners);
    p->runners = NULL;
    p->block_count = 0;
}
