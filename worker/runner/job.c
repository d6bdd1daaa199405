/* What a handler may do to its process, and what is made of it:
 *   crash, abort, exec, _exit   the process ends with the slot BEGUN: the worker judges its death
 *   exit, pthread_exit          the same, since exit code 0 must not look like a job that is done:
 *                               job_guard() ends the process with 70
 *   fork and return twice       the copy is ended here, before it says anything on the socket
 *   longjmp to an earlier job   the cookie does not fit: abort
 *   write over its slot         slot_return() aborts */
#include "worker/runner/job.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/slots_out.h"
#include "worker/runner/host.h"
#include "worker/runner/program.h"
#include "worker/runner/runner.h"

enum {
    BUFFER_KEEP_BYTES = 64 * 1024,
    EXIT_INTERNAL = 70,
    CLOCKS_KEPT_US = 1000,
    FAST_US = 200, /* a handler that was that fast may begin before the last reports are sent */
};

volatile sig_atomic_t job_stop_flag;

/* The process in which a handler is on the stack; 0 = none is. */
static volatile sig_atomic_t handler_pid;

void job_init(struct job *j, struct runner *r)
{
    *j = (struct job){
        .runner = r,
        .message = BUF_INIT,
        .stderr_tail = BUF_INIT,
        .result = BUF_INIT,
    };
}

void job_done(struct job *j)
{
    buf_done(&j->message);
    buf_done(&j->stderr_tail);
    buf_done(&j->result);
}

static void reset(struct buf *b)
{
    buf_clear(b);
    buf_trim(b, BUFFER_KEEP_BYTES);
}

const struct runner_clocks *job_clocks(struct runner *r)
{
    struct runner_clocks *c = &r->clocks;
    if (c->now_us == 0)
        c->now_us = mono_us();
    if (c->read_us == 0 || c->now_us - c->read_us >= CLOCKS_KEPT_US) {
        c->read_us = c->now_us;
        c->wall_ms = wall_ms();
        c->boot_ms = boot_ms();
    }
    return c;
}

/* CPU time of this process so far; the kernel is asked, so not for every short job. */
static int64_t cpu_us(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == -1)
        return 0;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void job_note_cpu(struct runner *r)
{
    atomic_store_explicit(&r->page->cpu_us, cpu_us(), memory_order_relaxed);
}

bool job_is_fast(const struct job *j)
{
    return j->handler == NULL || j->handler->run_us <= FAST_US;
}

bool job_left_clean(struct job *j)
{
    struct runner *r = j->runner;
    if (r->last == NULL)
        return true;
    const char *what = footprint_changed(&r->footprint);
    if (what != NULL) {
        log_msg(LOG_WARN, "a handler left its process changed; the runner is replaced",
                KV_STR("what", what), KV_SPAN("type", r->last->type), KV_INT("runner", r->index));
        return false;
    }
    r->looked_us = mono_us();
    r->last->clean_looks += r->last->clean_looks < INT32_MAX;
    r->last = NULL;
    r->unseen = 0;
    return true;
}

int job_start(struct job *j, const struct wire_frame *f, struct err *err)
{
    struct runner *r = j->runner;
    int rc = wire_read_job(f->payload, &j->wire, err);
    if (rc < 0)
        return rc;
    if (f->slot >= SLOTS_PER_RUNNER)
        return err_set(err, ERR_PROTOCOL, "a job in slot %u", (unsigned)f->slot);
    j->slot_index = f->slot;
    j->seq = f->seq;
    j->slot = slots_get(r->slots, r->index, f->slot);
    j->handler = plugins_find(&r->plugins, j->wire.type);
    bool stranger =
        r->last != NULL && (j->handler == NULL || r->last->plugin != j->handler->plugin);
    if (stranger && !job_left_clean(j))
        return 2;
    job_stop_flag = 0; /* before it begins: a signal after that is for it, or later */
    const struct runner_clocks *clocks = job_clocks(r);
    j->begun_us = clocks->now_us;
    if (!slot_begin(j->slot, j->seq, j->begun_us))
        return 0;
    atomic_store_explicit(&r->page->current_slot, f->slot, memory_order_relaxed);
    if (!job_is_fast(j))
        job_note_cpu(r);
    j->outcome = OUTCOME_NONE;
    j->delay_ms = -1;
    j->has_result = j->result_cut = j->cancelled = false;
    j->progress_us = 0;
    reset(&j->message);
    reset(&j->stderr_tail);
    reset(&j->result);
    bool has_meta = j->wire.meta.len > 0;
    int64_t deadline_ms;
    if (__builtin_add_overflow(clocks->wall_ms, j->wire.timeout_ms, &deadline_ms))
        deadline_ms = INT64_MAX;
    j->view = (struct bl_job){
        .size = sizeof j->view,
        .attempt = (uint32_t)j->wire.attempt,
        .id = j->wire.id.ptr,
        .type = j->wire.type.ptr,
        .queue = j->wire.queue.ptr,
        .args = j->wire.args.ptr,
        .args_len = j->wire.args.len,
        .meta = has_meta ? j->wire.meta.ptr : "{}",
        .meta_len = has_meta ? j->wire.meta.len : 2,
        .deadline_ms = deadline_ms,
        .host = &host_table,
        .host_data = j,
    };
    return 1;
}

void job_say(struct job *j, struct span text)
{
    size_t room = JOB_MESSAGE_BYTES - j->message.len;
    if (text.len > room) {
        text.len = room;
        while (text.len > 0 && ((unsigned char)text.ptr[text.len] & 0xc0) == 0x80)
            text.len--;
    }
    buf_add_span(&j->message, text);
}

void job_log(const struct job *j, enum log_level level, const char *msg, const char *key,
             struct span text)
{
    log_msg(level, msg, KV_SPAN(key, text), KV_SPAN("job", j->wire.id),
            KV_SPAN("type", j->wire.type), KV_SPAN("queue", j->wire.queue),
            KV_INT("attempt", j->wire.attempt));
}

/* LIMIT: a signal that was sent to the job before and comes after this one has begun, with its
 * CANCEL frame read in between, is taken as this job's. */
bool job_stopped(struct job *j)
{
    if (j->cancelled)
        return true;
    if (!job_stop_flag)
        return false;
    if (channel_cancelled(&j->runner->channel, j->slot_index, j->seq) < 0) {
        job_stop_flag = 0;
        return false;
    }
    j->cancelled = true;
    return true;
}

/* Runs at exit() and at pthread_exit() of the only thread. */
static void on_exit_guard(void)
{
    if (handler_pid != 0 && handler_pid == getpid()) {
        log_msg(LOG_ERROR, "a handler ended its process by exit or pthread_exit");
        _exit(EXIT_INTERNAL);
    }
}

static void on_thread_exit(void *arg)
{
    (void)arg;
    on_exit_guard();
}

int job_guard(struct runner *r, struct err *err)
{
    /* A page that fork() leaves empty in the copy tells the two apart without a system call. */
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK) == -1)
        return err_errno(err, ERR_SYSTEM, "cannot mark the process as the original");
    *page = 1;
    r->original = page;
    if (atexit(on_exit_guard) != 0)
        return err_set(err, ERR_SYSTEM, "atexit");
    return 0;
}

/* Its own frame, so that the cookie is not one of job_run()'s variables. */
static __attribute__((noinline)) enum bl_result call_handler(struct job *j)
{
    const uint64_t cookie = j->seq;
    enum bl_result result;
    handler_pid = (sig_atomic_t)j->runner->pid;
    pthread_cleanup_push(on_thread_exit, NULL);
    result = j->handler->run(&j->view);
    pthread_cleanup_pop(0);
    if (*j->runner->original == 0)
        _exit(EXIT_INTERNAL); /* a copy that the handler made */
    handler_pid = 0;
    if (cookie != j->seq)
        BUG("a handler jumped out of one job into another");
    return result;
}

static enum outcome outcome_of(struct job *j, enum bl_result result)
{
    switch (result) {
    case BL_DONE:
        return OUTCOME_DONE;
    case BL_RETRY:
        return OUTCOME_RETRY;
    case BL_DEAD:
        return OUTCOME_DEAD;
    case BL_SNOOZE:
        return OUTCOME_SNOOZE;
    case BL_DROP:
        return OUTCOME_DROP;
    }
    char text[80];
    int n = snprintf(text, sizeof text, "the handler returned %d, which is no result", (int)result);
    buf_clear(&j->message);
    job_say(j, (struct span){text, (size_t)n});
    return OUTCOME_RETRY;
}

/* What a failed attempt of a plugin took; the memory is its process' highest so far. */
static void weigh(struct job *j)
{
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) == -1)
        return;
    j->slot->max_rss_bytes = (int64_t)use.ru_maxrss * 1024;
    j->slot->cpu_ms = (cpu_us() - atomic_load(&j->runner->page->cpu_us)) / 1000;
}

void job_run(struct job *j)
{
    if (j->handler == NULL) {
        j->outcome = OUTCOME_UNKNOWN_TYPE;
        job_say(j, SPAN_OF_STR("there is no handler for the type "));
        job_say(j, j->wire.type);
    } else if (j->handler->program != NULL) {
        program_run(j, j->handler->program);
    } else {
        j->runner->last = j->handler;
        j->runner->unseen++;
        j->outcome = outcome_of(j, call_handler(j));
        if (j->outcome != OUTCOME_DONE)
            weigh(j);
    }
}

/* Beside the journal, for whoever takes over; then to the worker. */
static void hand_out(struct job *j)
{
    struct runner *r = j->runner;
    bool failed = j->outcome != OUTCOME_DONE && j->outcome != OUTCOME_SNOOZE;
    struct slots_out out = {.result_cut = j->result_cut};
    if (j->has_result && j->outcome == OUTCOME_DONE && !j->wire.no_result)
        out.result = buf_span(&j->result);
    if (j->message.len > SLOT_MESSAGE_BYTES)
        out.message = buf_span(&j->message);
    if (failed)
        out.stderr_tail = buf_span(&j->stderr_tail);
    if (out.result.len + out.message.len + out.stderr_tail.len == 0)
        return;
    bool kept = false;
    if (r->out_dir != NULL) {
        struct err err = {0};
        CRASH_POINT("runner.before-out");
        kept = slots_out_write(r->out_dir, slots_header(r->slots)->incarnation, r->index,
                               j->slot_index, j->seq, &out, &err) == 0;
        if (!kept)
            job_log(j, LOG_WARN, "a result is not kept beside the journal", "error",
                    SPAN_OF_STR(err.text));
    }
    CRASH_POINT("runner.out-written");
    j->slot->has_out = kept;
    struct channel *ch = &r->channel;
    if (out.result.len > 0)
        channel_write(ch, WIRE_RESULT, j->result_cut ? WIRE_FLAG_CUT : 0, j->slot_index, j->seq,
                      out.result);
    if (out.stderr_tail.len > 0)
        channel_write(ch, WIRE_MESSAGE, WIRE_FLAG_STDERR, j->slot_index, j->seq, out.stderr_tail);
    if (out.message.len > 0)
        channel_write(ch, WIRE_MESSAGE, 0, j->slot_index, j->seq, out.message);
}

int64_t job_end(struct job *j)
{
    struct runner *r = j->runner;
    slot_set_message(j->slot, buf_span(&j->message));
    hand_out(j);
    int64_t now_us = mono_us();
    /* The worker may settle as soon as the slot says RETURNED: what the job said is sent by then. */
    if (r->channel.out.len > 0)
        channel_flush(&r->channel, now_us);
    atomic_store_explicit(&r->page->current_slot, -1, memory_order_relaxed);
    CRASH_POINT("runner.before-return");
    slot_return(j->slot, j->seq, j->outcome, j->delay_ms, now_us);
    CRASH_POINT("runner.returned");
    channel_note(&r->channel, j->slot_index, j->seq);
    CRASH_POINT("runner.noted");
    channel_job_ended(&r->channel);
    if (j->handler != NULL)
        j->handler->run_us = now_us - j->begun_us;
    r->clocks.now_us = now_us;
    return now_us;
}
