#include "worker/finish.h"

#include <string.h>

#include "common/crash_point.h"
#include "common/json_span.h"
#include "worker/worker.h"

const char *finish_outcome(const struct ending *e, const struct decision *d)
{
    if (d->action == SETTLE_DEAD)
        return "dead";
    if (d->action != SETTLE_ACK)
        return NULL;
    if (e->kind == ENDING_EXPIRED)
        return "expired";
    if (!d->failed)
        return "done";
    return e->kind == ENDING_OUTCOME && e->outcome == OUTCOME_DROP ? "dropped" : "forgotten";
}

static bool is_success(const char *outcome)
{
    return strcmp(outcome, "done") == 0;
}

static bool is_failure(const char *outcome)
{
    return strcmp(outcome, "dead") == 0 || strcmp(outcome, "forgotten") == 0;
}

bool finish_wanted(const struct document *doc, const char *outcome)
{
    if (outcome == NULL)
        return false;
    if (doc->has & DOC_HAS_REPLY_TO)
        return true;
    if (is_success(outcome))
        return (doc->has & DOC_HAS_ON_SUCCESS) || doc->keep_ms > 0;
    return is_failure(outcome) && (doc->has & DOC_HAS_ON_FAILURE);
}

static void write_outcome(const struct finish *f, struct buf *out)
{
    const char *id = f->rec->id[0] != '\0' ? f->rec->id : f->doc->id;
    buf_add_str(out, "{\"id\":");
    buf_add_json_string(out, SPAN_OF_STR(id));
    buf_add_str(out, ",\"type\":");
    buf_add_json_string(out, SPAN_OF_STR(f->doc->type));
    buf_printf(out, ",\"outcome\":\"%s\",\"attempt\":%d", f->outcome,
               f->rec->attempt + (is_success(f->outcome) ? 1 : 0));
    if (f->result.len > 0) {
        buf_add_str(out, ",\"result\":");
        if (json_validate(f->result, DOC_DEFAULT_NESTING, NULL, NULL) == 0)
            buf_add_span(out, f->result);
        else
            buf_add_json_string(out, f->result);
    }
    if (f->rec->error.len > 0 && !is_success(f->outcome)) {
        buf_add_str(out, ",\"error\":");
        buf_add_span(out, f->rec->error);
    }
    buf_add_char(out, '}');
}

struct queue_member {
    char name[DOC_TYPE_BYTES + 1];
};

static int find_queue_member(void *arg, const struct json_member *m, struct err *err)
{
    struct queue_member *q = arg;
    (void)err;
    if (m->kind == JK_STRING && json_key_is(m->key, "queue") &&
        json_string_copy(m->value, q->name, sizeof q->name) < 0)
        q->name[0] = '\0';
    return 0;
}

/* The list a follow-up goes to: its own "queue", by the name worker.yaml gives it, else the queue of
 * the job it follows. */
static void follow_list(const struct worker *w, const struct store_queue *q, struct span document,
                        struct buf *out)
{
    struct queue_member found = {0};
    struct store_queue other = {0};
    ignore_result(json_object_scan(document, DOC_DEFAULT_NESTING, find_queue_member, &found,
                                   NULL)); /* document_parse() has validated it */
    if (found.name[0] == '\0') {
        buf_add_str(out, q->list);
        return;
    }
    for (int i = 0; i < w->queue_count; i++)
        if (strcmp(w->queues[i]->keys.name, found.name) == 0) {
            buf_add_str(out, w->queues[i]->keys.list);
            return;
        }
    if (store_queue_init(&other, w->prefix, found.name, NULL, NULL) == 0)
        buf_add_str(out, other.list);
    else
        buf_add_str(out, q->list); /* no legal name: rather here than nowhere */
    store_queue_done(&other);
}

bool finish_command(const struct worker *w, const struct store_queue *q,
                    const struct incarnation *inc, uint64_t seq, const struct finish *f,
                    struct buf *out)
{
    const struct document *doc = f->doc;
    struct buf outcome = BUF_INIT, reply_to = BUF_INIT, list = BUF_INIT, keep = BUF_INIT;
    struct store_finish end = {.dead = f->dead};
    write_outcome(f, &outcome);
    end.outcome = buf_span(&outcome);
    if (doc->has & DOC_HAS_REPLY_TO) {
        json_string_decode(doc->reply_to, &reply_to);
        end.reply_to = buf_span(&reply_to);
    }
    if (is_success(f->outcome) && (doc->has & DOC_HAS_ON_SUCCESS))
        end.follow_up = doc->on_success;
    if (is_failure(f->outcome) && (doc->has & DOC_HAS_ON_FAILURE))
        end.follow_up = doc->on_failure;
    if (end.follow_up.len > 0) {
        follow_list(w, q, end.follow_up, &list);
        end.follow_list = buf_span(&list);
    }
    if (is_success(f->outcome) && doc->keep_ms > 0) {
        const char *id = f->rec->id[0] != '\0' ? f->rec->id : doc->id;
        store_result_key(q, SPAN_OF_STR(id), &keep);
        end.keep_key = buf_span(&keep);
        end.keep_ms = doc->keep_ms;
    }
    CRASH_POINT("settle.finish");
    store_cmd_finish(out, q, inc, seq, &end);
    bool relays = store_finish_relays(q, &end);
    buf_done(&outcome);
    buf_done(&reply_to);
    buf_done(&list);
    buf_done(&keep);
    return relays;
}
