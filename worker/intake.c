#include "worker/intake.h"

#include <string.h>

#include "common/crash_point.h"
#include "common/json_span.h"
#include "worker/settle.h"
#include "worker/worker.h"

/* Did an attempt of it begin?  What merely waited, was scheduled or parked for its type did not. */
static bool has_begun(const struct record *r)
{
    return r->attempt > 0 || r->crashes > 0 || r->lost > 0 || r->interrupted > 0 ||
           r->snoozes > 0 || r->error.len > 0;
}

void intake_judge(struct claim *c, const struct document_limits *limits, int64_t now_wall_ms,
                  struct err *text, struct ending *ret)
{
    *ret = (struct ending)ENDING_INIT;
    struct span bytes = {c->bytes, c->len};
    record_parse(bytes, limits->max_depth, &c->rec);
    if (c->rec.kind == RECORD_NEWER) {
        ret->kind = ENDING_NEWER;
        return;
    }
    bool raw = c->rec.kind == RECORD_RAW;
    if (raw)
        err_set(text, ERR_SYNTAX, "not a JSON document");
    if (raw || document_parse(c->rec.job, limits, &c->doc, text) < 0) {
        bool json_text = c->rec.kind != RECORD_RAW &&
                         json_validate(c->rec.job, limits->max_depth, NULL, NULL) == 0;
        if (!raw && !json_text) {
            struct record kept = c->rec; /* its counters and history, should it be a wrapped one */
            record_from_raw(kept.job, &c->storage, &c->rec);
            kept.kind = c->rec.kind;
            kept.job = c->rec.job;
            kept.raw64 = c->rec.raw64;
            kept.raw_bytes = c->rec.raw_bytes;
            c->rec = kept;
        }
        ret->kind = ENDING_BAD_DOCUMENT;
        ret->failure.message = SPAN_OF_STR(text->text);
        return;
    }
    const struct document *d = &c->doc;
    c->parsed = true;
    if ((d->has & DOC_HAS_EXPIRES) && d->expires_at_ms <= now_wall_ms && !has_begun(&c->rec)) {
        ret->kind = ENDING_EXPIRED;
    } else if (c->rec.kind == RECORD_PLAIN && (d->has & DOC_HAS_DELAY) && d->at_ms > 0) {
        ret->kind = ENDING_NOT_DUE;
        ret->due_ms = d->at_ms;
        ret->due_relative = true;
    } else if (c->rec.kind == RECORD_PLAIN && (d->has & DOC_HAS_AT) && !(d->has & DOC_HAS_DELAY) &&
               d->at_ms > now_wall_ms) {
        ret->kind = ENDING_NOT_DUE;
        ret->due_ms = d->at_ms;
    }
}

struct claim *intake(struct worker *w, struct queue *q, uint64_t seq, struct span bytes)
{
    struct claim *c = claims_add(&w->claims, seq, q, bytes);
    intake_claim(w, c);
    return c;
}

void intake_claim(struct worker *w, struct claim *c)
{
    struct queue *q = c->queue;
    c->claimed_mono_ms = worker_mono_ms(w);
    c->answered_round = w->round;
    c->once = q->delivery == DELIVERY_AT_MOST_ONCE;
    w->held_bytes += (int64_t)c->len;
    struct document_limits limits = {
        .max_bytes = (size_t)w->cfg.limits.document_bytes,
        .max_depth = w->cfg.limits.nesting,
    };
    struct err text;
    struct ending e;
    err_init(&text);
    intake_judge(c, &limits, worker_wall_ms(w), &text, &e);
    if (e.kind == ENDING_OUTCOME) {
        c->handler = catalog_find(&w->catalog, c->doc.type);
        if (c->handler == NULL)
            e.kind = ENDING_UNKNOWN_TYPE;
    }
    if (e.kind != ENDING_OUTCOME) {
        settle_claim(w, c, &e);
        CRASH_POINT("intake.settled");
        return;
    }
    if (c->rec.lost > 0 || c->rec.crashes > 0)
        claim_list_prepend(&w->ready, c); /* runs alone: first while runners are idle */
    else
        claim_list_append(&w->ready, c);
    CRASH_POINT("intake.ready");
    worker_wake(w);
}
