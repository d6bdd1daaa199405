#include "worker/frames.h"

#include <stdlib.h>
#include <string.h>

#include "common/wire.h"
#include "worker/dispatch.h"
#include "worker/produce.h"
#include "worker/worker.h"

enum { MESSAGE_MAX_BYTES = 8192 }; /* more than a record keeps */

/* The claim a frame speaks of; NULL if the runner does not have it. */
static struct claim *claim_of(struct runner *r, uint16_t slot, uint64_t seq)
{
    struct claim *c = slot < SLOTS_PER_RUNNER ? r->slot_claim[slot] : NULL;
    return c != NULL && c->seq == seq && c->state == CLAIM_SENT ? c : NULL;
}

static int on_done(struct runner *r, const struct wire_frame *f, struct err *err)
{
    struct worker *w = r->worker;
    int count = wire_done_count(f->payload, err);
    int rc = count < 0 ? count : 0;
    for (int i = 0; i < count; i++) {
        struct wire_done job = wire_done_at(f->payload, i);
        struct claim *c = claim_of(r, job.slot, job.seq);
        if (c == NULL)
            continue; /* the page was read before the frame came */
        const struct slot *s = slots_get(w->slots, r->block, job.slot);
        c->reported = !slot_plausible(s, c->seq);
        if (c->reported)
            rc = err_set(err, ERR_PROTOCOL, "slot %u of the shared page was overwritten",
                         (unsigned)job.slot);
        else if (slot_word_state(s->word) == SLOT_RETURNED)
            dispatch_returned(w, r, c);
    }
    return rc;
}

static void keep(struct buf *out, const struct wire_frame *f, size_t max)
{
    buf_clear(out);
    buf_add(out, f->payload.ptr, f->payload.len < max ? f->payload.len : max);
}

/* With too many results in hand, what has not begun is taken back: its results would come on top. */
static void on_result(struct runner *r, struct claim *c, const struct wire_frame *f)
{
    struct worker *w = r->worker;
    w->result_bytes -= (int64_t)c->result.len;
    keep(&c->result, f, WIRE_REPLY_MAX);
    w->result_bytes += (int64_t)c->result.len;
    if (w->result_bytes > DISPATCH_RESULT_BYTES_MAX)
        runner_revoke(r, pool_back_to_ready);
}

static void on_hello(struct runner *r)
{
    if (r->state == RUNNER_STARTING)
        r->state = RUNNER_READY;
    if (r->generation != r->worker->pool.generation)
        pool_balance(r->worker); /* a reload came while it started */
    worker_wake(r->worker);
}

static void on_fatal(struct runner *r, const struct wire_frame *f)
{
    log_msg(LOG_ERROR, "a runner refuses a plugin; its types are not run by it",
            KV_INT("runner", r->block), KV_SPAN("error", f->payload));
}

static int handle(struct runner *r, const struct wire_frame *f, struct err *err)
{
    struct claim *c = claim_of(r, f->slot, f->seq);
    switch (f->type) {
    case WIRE_HELLO:
        on_hello(r);
        return 0;
    case WIRE_DONE:
        return on_done(r, f, err);
    case WIRE_RESULT:
        if (c != NULL)
            on_result(r, c, f);
        return 0;
    case WIRE_MESSAGE:
        if (c != NULL)
            keep(f->flags & WIRE_FLAG_STDERR ? &c->stderr_tail : &c->message, f, MESSAGE_MAX_BYTES);
        return 0;
    case WIRE_PROGRESS:
        if (c != NULL && f->payload.len > 0)
            log_msg(LOG_DEBUG, "progress", KV_STR("type", c->doc.type),
                    KV_INT("percent", (unsigned char)f->payload.ptr[0]));
        return 0;
    case WIRE_ENQUEUE:
        return produce(r, f, err);
    case WIRE_FATAL:
        on_fatal(r, f);
        return 0;
    case WIRE_LEAVING:
        pool_leaving(r);
        return 0;
    case WIRE_JOB:
    case WIRE_CANCEL:
    case WIRE_DRAIN:
    case WIRE_ENQUEUED:
        break;
    }
    return err_set(err, ERR_PROTOCOL, "a runner sent a %s frame", wire_type_name(f->type));
}

int frames_read(struct runner *r, struct err *err)
{
    size_t done = 0;
    int rc = 0;
    while (rc == 0) {
        struct span rest = {r->in.data + done, r->in.len - done};
        struct wire_frame f;
        int64_t n = wire_read(rest, WIRE_REPLY_MAX, &f, err);
        if (n < 0)
            rc = (int)n;
        if (n <= 0)
            break;
        rc = handle(r, &f, err);
        done += (size_t)n;
    }
    buf_consume(&r->in, done);
    if (r->in.len == 0)
        buf_trim(&r->in, 1 << 18);
    return rc;
}

void frames_catch_up(struct runner *r)
{
    struct wire_done returned[SLOTS_PER_RUNNER];
    int count = 0;
    for (const struct claim *c = r->jobs.first; c != NULL; c = c->next)
        if (slot_word_state(slots_get(r->worker->slots, c->block, c->slot)->word) == SLOT_RETURNED)
            returned[count++] = (struct wire_done){(uint16_t)c->slot, c->seq};
    if (count > 0)
        runner_heed(r, true);
    for (int i = 0; i < count; i++) {
        struct claim *c = claim_of(r, returned[i].slot, returned[i].seq);
        if (c != NULL)
            (void)runner_sweep_one(r, c);
    }
}
