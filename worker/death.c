#include "worker/death.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/lifecycle.h"
#include "worker/settle.h"
#include "worker/worker.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10000,
    QUICK_DEATH_MS = 1000,
    BURST_DEATHS_MAX = 8,
    LAST_LOOKS = 50, /* each waits a moment for those it killed */
};

/* Why it died, in words, and what that makes of its job. */
static enum ending_kind explain(const struct runner *r, const struct claim *c,
                                const struct child_end *end, bool no_memory, char *out, size_t size)
{
    char how[64];
    child_end_format(end, how, sizeof how);
    if (r->shutdown_kill) {
        snprintf(out, size, "killed by the worker's shutdown");
        return ENDING_INTERRUPTED;
    }
    if (c->timed_out) {
        snprintf(out, size, "killed after its timeout: it did not stop within the grace");
        return ENDING_TIMEOUT;
    }
    if (r->spoilt && r->state == RUNNER_DYING) {
        snprintf(out, size, "killed for what the job before it did to its runner");
        return c->once ? ENDING_INTERRUPTED : ENDING_UNBEGUN;
    }
    if (no_memory && end->exit_code == EX_OSERR) {
        snprintf(out, size, "out of memory: its runner was refused more");
        return ENDING_NO_MEMORY;
    }
    bool foreign = end->signal == SIGKILL && r->state != RUNNER_DYING;
    if (foreign && oom_watch_fresh(&r->worker->pool.oom)) {
        snprintf(out, size, "killed: out of memory (%s by the kernel)", how);
        return ENDING_OOM_KILL;
    }
    const char *words = r->death_cause[0] != '\0' ? r->death_cause
                        : foreign                 ? "not sent by the worker"
                                                  : child_signal_words(end->signal);
    snprintf(out, size, "its runner died: %s%s%s", how, words[0] != '\0' ? ": " : "", words);
    return ENDING_CRASH;
}

/* What is to be said of the job that was being run. */
static void judge_begun(struct runner *r, struct claim *c, const struct child_end *end)
{
    struct worker *w = r->worker;
    struct ending e = ENDING_INIT;
    char text[256];
    const struct runner_page *page = slots_runner_page(w->slots, r->block);
    e.kind = explain(r, c, end, page->out_of_memory == 1, text, sizeof text);
    e.failure.message = SPAN_OF_STR(text);
    e.failure.exit_code = end->exit_code;
    e.failure.signal = end->signal;
    e.failure.max_rss_bytes = end->max_rss_bytes;
    int64_t before_ms = page->cpu_us / 1000; /* written beside the handler: a hint */
    e.failure.cpu_ms = end->cpu_ms;
    if (before_ms > 0 && before_ms <= end->cpu_ms)
        e.failure.cpu_ms = end->cpu_ms - before_ms;
    const struct slot *s = slots_get(w->slots, c->block, c->slot);
    if (s->begun_us > 0)
        e.failure.run_ms = (mono_us() - s->begun_us) / 1000;
    e.failure.stderr_tail = buf_span(&c->stderr_tail);
    if (c->stderr_tail.len == 0)
        e.failure.stderr_tail = buf_span(&r->output.tail);
    claim_list_remove(c);
    settle_claim(w, c, &e);
}

/* Its end was reported, or it stood behind one that had not ended: whatever its slot says now was
 * written over it by the one that was running.  What must not run twice at any price does not. */
static void judge_neighbour(struct runner *r, struct claim *c, const struct child_end *end)
{
    if (c->once) {
        judge_begun(r, c, end);
        return;
    }
    claim_list_remove(c);
    pool_release_slot(r->worker, c);
    pool_back_to_ready(r->worker, c);
}

/* Frames count, then the page, then blame. */
static void judge(struct runner *r, const struct child_end *end)
{
    struct err err = {0};
    if (r->fd != -1)
        (void)runner_read(r, true, &err); /* to its end; whatever it is, it is dead */
    runner_close_socket(r); /* nothing more will come */
    runner_sweep(r);
    output_close(r);
    runner_revoke(r, pool_back_to_ready);
    struct claim *begun = r->jobs.first;
    while (begun != NULL && begun->reported)
        begun = begun->next;
    if (begun != NULL)
        judge_begun(r, begun, end);
    while (r->jobs.last != NULL) /* newest first, so that order is kept */
        judge_neighbour(r, r->jobs.last, end);
}

static bool has_begun(const struct runner *r)
{
    const struct claim *c = r->jobs.first;
    return c != NULL &&
           slot_word_state(slots_get(r->worker->slots, c->block, c->slot)->word) == SLOT_BEGUN;
}

static void log_death(const struct runner *r, const struct child_end *end)
{
    char how[64];
    child_end_format(end, how, sizeof how);
    bool wanted = end->exit_code == 0 && !has_begun(r); /* drained, or replaced by its own will */
    log_msg(wanted || r->shutdown_kill ? LOG_DEBUG : LOG_WARN, "runner ended",
            KV_INT("runner", r->block), KV_INT("pid", r->pid), KV_STR("how", how),
            KV_STR("cause", r->death_cause), KV_INT("jobs_done", r->jobs_done),
            KV_INT("rss_bytes", end->max_rss_bytes));
}

static void back_off(struct worker *w, const struct runner *r)
{
    struct pool *p = &w->pool;
    int64_t now = mono_ms();
    bool quick = r->jobs_done == 0 && r->state != RUNNER_DRAINING && !r->shutdown_kill &&
                 now - r->started_mono_ms < QUICK_DEATH_MS && r->jobs.count == 0;
    if (!quick) {
        p->quick_deaths = 0;
        return;
    }
    int64_t wait_ms = BACKOFF_FIRST_MS;
    for (int i = 0; i < p->quick_deaths && wait_ms < BACKOFF_MAX_MS; i++)
        wait_ms *= 2;
    p->quick_deaths++;
    p->start_mono_ms = now + (wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS);
    log_msg(LOG_ERROR, "runners die before their first job; backing off",
            KV_INT("deaths", p->quick_deaths), KV_INT("wait_ms", p->start_mono_ms - now));
    if (w->burst && p->quick_deaths >= BURST_DEATHS_MAX) {
        w->exit_code = EX_SOFTWARE;
        lifecycle_stop(w, "no runner can be started");
    }
}

static bool is_ours(void *arg, pid_t pid)
{
    const struct pool *p = arg;
    if (pid == p->guard_pid || pid == p->describe_pid)
        return true;
    for (int i = 0; i < p->block_count; i++)
        if (p->runners[i]->state != RUNNER_NONE && p->runners[i]->pid == pid)
            return true;
    return false;
}

static void bury_runner(struct runner *r)
{
    struct worker *w = r->worker;
    CRASH_POINT("death.seen");
    struct child_end end;
    struct slots_header *h = slots_header(w->slots);
    struct runner_page *page = slots_runner_page(w->slots, r->block);
    /* While the zombie holds its id: kill its groups, so that nothing of it is alive when the job
     * runs again. */
    pid_t pgid = page->program_pgid;
    if (pgid > 0)
        (void)child_kill_group(pgid, r->pid, SIGKILL);
    (void)child_kill_group(r->pid, 0, SIGKILL);
    child_reap(r->pid, &end);
    h->runner_pid[r->block] = 0;
    h->runner_start[r->block] = 0;
    page->program_pgid = 0;
    page->current_slot = -1;
    log_death(r, &end);
    back_off(w, r);
    CRASH_POINT("death.reaped");
    judge(r, &end);
    CRASH_POINT("death.judged");
    r->state = RUNNER_NONE;
    r->pid = 0;
    r->alone = false;
    (void)child_kill_strays(is_ours, &w->pool);
    worker_wake(w);
}

static void guard_died(struct worker *w)
{
    struct child_end end;
    char how[64];
    child_reap(w->pool.guard_pid, &end);
    close(w->pool.guard_fd);
    w->pool.guard_fd = -1;
    w->pool.guard_pid = 0;
    log_msg(LOG_WARN, "guard ended, starting it again",
            KV_STR("how", child_end_format(&end, how, sizeof how)));
}

void death_of_strays(struct worker *w)
{
    (void)child_kill_all_strays(is_ours, &w->pool, LAST_LOOKS, NULL);
}

void death_on_sigchld(uv_signal_t *handle, int signum)
{
    struct worker *w = handle->data;
    struct pool *p = &w->pool;
    pid_t pid;
    (void)signum;
    for (int i = 0; i < p->block_count; i++)
        if (p->runners[i]->pid > 0 && child_peek_dead(p->runners[i]->pid, &pid) == 1)
            bury_runner(p->runners[i]);
    if (p->guard_pid > 0 && child_peek_dead(p->guard_pid, &pid) == 1)
        guard_died(w);
    if (p->describe_pid > 0 && child_peek_dead(p->describe_pid, &pid) == 1)
        return; /* reload.c reaps it when its output has ended */
    /* One whose end was not waited for may have left others: they have come to us by now. */
    if (child_reap_strays(is_ours, p) > 0)
        (void)child_kill_strays(is_ours, p);
    pool_balance(w);
    worker_wake(w);
}
