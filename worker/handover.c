#include "worker/handover.h"

#include "common/crash_point.h"
#include "common/slots_out.h"
#include "common/wire.h"
#include "worker/dispatch.h"
#include "worker/worker.h"

bool runner_takes_jobs(const struct runner *r)
{
    return r->state == RUNNER_READY && !r->alone && r->fd != -1 && r->kill_mono_ms == 0;
}

bool runner_has_room(const struct runner *r)
{
    return r->free_count > 0 && runner_takes_jobs(r);
}

void runner_send(struct runner *r, struct claim *c)
{
    struct worker *w = r->worker;
    int slot = r->free_slots[--r->free_count];
    c->block = r->block;
    c->slot = slot;
    c->begun_mono_ms = 0;
    c->reported = false;
    r->slot_claim[slot] = c;
    slot_queue(slots_get(w->slots, r->block, slot), c->seq, c->queue->index);
    CRASH_POINT("slot.queued");
    if (c->doc.id[0] == '\0' && c->rec.id[0] == '\0') {
        struct err err = {0};
        if (uuid_v7(&w->uuids, worker_wall_ms(w), c->rec.id, &err) < 0)
            c->rec.id[0] = '\0'; /* the handler sees an empty id; the record gets one later */
    }
    const char *id = c->rec.id[0] != '\0' ? c->rec.id : c->doc.id;
    struct wire_job job = {
        .attempt = c->rec.attempt + 1,
        .timeout_ms = c->doc.has & DOC_HAS_TIMEOUT ? c->doc.timeout_ms : c->handler->timeout_ms,
        .id = SPAN_OF_STR(id),
        .queue = SPAN_OF_STR(c->queue->keys.name),
        .type = SPAN_OF_STR(c->doc.type),
        .args = c->doc.args,
        .meta = c->doc.meta,
        .no_result = (c->doc.has & (DOC_HAS_KEEP | DOC_HAS_REPLY_TO)) == 0,
    };
    wire_write_job(&r->out, (uint16_t)slot, c->seq, &job);
    c->state = CLAIM_SENT;
    claim_list_append(&r->jobs, c);
    CRASH_POINT("frame.buffered");
}

int runner_revoke(struct runner *r, void (*fn)(struct worker *w, struct claim *c))
{
    struct worker *w = r->worker;
    int n = 0;
    for (struct claim *c = r->jobs.last, *before; c != NULL; c = before) {
        before = c->prev;
        if (!slot_revoke(slots_get(w->slots, c->block, c->slot), c->seq))
            continue; /* it has begun, or ended */
        CRASH_POINT("slot.revoked");
        pool_release_slot(w, c);
        fn(w, c);
        n++;
    }
    if (r->jobs.count == 0)
        r->alone = false;
    return n;
}

void pool_release_slot(struct worker *w, struct claim *c)
{
    if (c->slot < 0)
        return;
    struct runner *r = w->pool.runners[c->block];
    struct slot *s = slots_get(w->slots, c->block, c->slot);
    if (s->has_out && slot_word_state(s->word) == SLOT_RETURNED && w->state_dir != NULL)
        slots_out_remove(w->state_dir, w->inc.hex, c->block, c->slot);
    CRASH_POINT("slot.before-free");
    slot_free(s);
    r->slot_claim[c->slot] = NULL;
    r->free_slots[r->free_count++] = (uint8_t)c->slot;
    c->block = c->slot = -1;
    CRASH_POINT("slot.freed");
}

bool runner_sweep_one(struct runner *r, struct claim *c)
{
    const struct slot *s = slots_get(r->worker->slots, c->block, c->slot);
    bool returned = slot_plausible(s, c->seq) && slot_word_state(s->word) == SLOT_RETURNED;
    if (returned)
        dispatch_returned(r->worker, r, c);
    return returned;
}

int runner_sweep(struct runner *r)
{
    int n = 0;
    for (struct claim *c = r->jobs.first, *next; c != NULL; c = next) {
        next = c->next;
        n += runner_sweep_one(r, c);
    }
    return n;
}
