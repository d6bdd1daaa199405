#include "worker/produce.h"

#include <stdlib.h>
#include <string.h>

#include "common/crash_point.h"
#include "common/document.h"
#include "common/wire.h"
#include "worker/worker.h"

/* A push under way for a runner.  The runner may be gone, and another in its block, when the answer
 * comes: the pid tells. */
struct push {
    struct worker *worker;
    struct queue *queue; /* NULL = none of ours */
    int block;
    pid_t pid;
    uint16_t slot;
    uint64_t seq;
};

static void answer(struct worker *w, const struct push *p, const char *why)
{
    struct runner *r = w->pool.runners[p->block];
    if (r->pid != p->pid || r->fd == -1)
        return;
    wire_write(&r->out, WIRE_ENQUEUED, 0, p->slot, p->seq, SPAN_OF_STR(why));
    worker_wake(w);
}

static void on_pushed(void *arg, const struct redisReply *reply)
{
    struct push *p = arg;
    struct err err = {0};
    enum store_answer a = store_classify(reply, &err);
    CRASH_POINT("produce.answered");
    if (p->queue != NULL) {
        p->queue->maybe = true; /* not when it is sent: a claim on its way found the list empty */
        worker_wake(p->worker);
    }
    if (a == STORE_GONE)
        answer(p->worker, p, "the connection to Redis was lost; it may be stored or not");
    else
        answer(p->worker, p, a == STORE_OK ? "" : err.text);
    free(p);
}

int produce(struct runner *r, const struct wire_frame *f, struct err *err)
{
    struct worker *w = r->worker;
    const unsigned char *b = (const unsigned char *)f->payload.ptr;
    size_t name_len = f->payload.len >= 2 ? b[0] | (size_t)b[1] << 8 : SIZE_MAX;
    if (name_len > f->payload.len - 2 || name_len > DOC_NAME_BYTES)
        return err_set(err, ERR_PROTOCOL, "an ENQUEUE frame that cannot be read");
    struct span doc = {f->payload.ptr + 2 + name_len, f->payload.len - 2 - name_len};
    char name[DOC_NAME_BYTES + 1];
    memcpy(name, f->payload.ptr + 2, name_len);
    name[name_len] = '\0';

    struct push now = {
        .worker = w, .block = r->block, .pid = r->pid, .slot = f->slot, .seq = f->seq};
    struct document_limits limits = {(size_t)w->cfg.limits.document_bytes, w->cfg.limits.nesting};
    struct document parsed;
    struct err why = {0};
    if (document_parse(doc, &limits, &parsed, &why) < 0) {
        answer(w, &now, why.text);
        return 0;
    }
    struct queue *q = NULL;
    for (int i = 0; i < w->queue_count; i++)
        if (strcmp(w->queues[i]->keys.name, name) == 0)
            q = w->queues[i];
    struct store_queue own = {0};
    if (q == NULL && store_queue_init(&own, w->prefix, name, NULL, &why) < 0) {
        answer(w, &now, why.text);
        return 0;
    }
    now.queue = q;
    struct push *p = xmemdup(&now, sizeof now);
    struct buf cmd = BUF_INIT;
    CRASH_POINT("produce.before-send");
    store_cmd_push(&cmd, q != NULL ? &q->keys : &own, &doc, 1);
    if (redis_link_send(w->main, buf_span(&cmd), on_pushed, p) < 0) {
        answer(w, p, "Redis is away");
        free(p);
    }
    buf_done(&cmd);
    store_queue_done(&own);
    return 0;
}
