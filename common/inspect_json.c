#include "common/inspect_json.h"

#include <string.h>

#include "common/clock.h"
#include "common/json_span.h"

/* jansson takes NULL for a value that could not be made, and says so with -1. */
static void set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) == -1)
        BUG("no memory, or text that was said to be UTF-8 is not");
}

static void set_int(json_t *object, const char *name, int64_t value)
{
    set(object, name, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *name, const char *value)
{
    struct span text = SPAN_OF_STR(value);
    set(object, name, utf8_valid(text) ? json_string_nocheck(value) : json_null());
}

static void set_time(json_t *object, const char *name, int64_t wall)
{
    char text[CLOCK_TEXT_BYTES];
    if (wall > 0)
        set_text(object, name, wall_format(wall, text));
}

/* JSON of ours that lies in a record. */
static void set_raw(json_t *object, const char *name, struct span raw)
{
    if (raw.len == 0)
        return;
    json_t *value = json_loadb(raw.ptr, raw.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    set(object, name, value != NULL ? value : json_null());
}

static void set_bytes(json_t *object, const char *name, const char *base64_name, struct span bytes)
{
    if (utf8_valid(bytes)) {
        set(object, name, json_stringn_nocheck(bytes.len > 0 ? bytes.ptr : "", bytes.len));
        return;
    }
    struct buf base64 = BUF_INIT;
    buf_add_base64(&base64, bytes);
    set(object, base64_name, json_string_nocheck(base64.data));
    buf_done(&base64);
}

json_t *inspect_sizes_json(const struct store_queue *queue, const struct inspect_sizes *sizes)
{
    json_t *o = json_object();
    set_text(o, "queue", queue->name);
    set_text(o, "list", queue->list);
    for (int p = 0; p < STORE_PLACE_COUNT; p++)
        set(o, store_place_name((enum store_place)p),
            sizes->of[p] >= 0 ? json_integer((json_int_t)sizes->of[p]) : json_null());
    set(o, "paused", json_boolean(sizes->paused));
    if (sizes->pause_reason[0] != '\0')
        set_text(o, "pause_reason", sizes->pause_reason);
    set(o, "oldest_wait_ms",
        sizes->oldest_wait_ms >= 0 ? json_integer((json_int_t)sizes->oldest_wait_ms) : json_null());
    if (sizes->problem[0] != '\0')
        set_text(o, "problem", sizes->problem);
    return o;
}

json_t *inspect_letter_json(const struct inspect_letter *letter)
{
    const struct record *r = &letter->record;
    json_t *o = json_object();
    set_text(o, "queue", letter->queue->name);
    set_text(o, "place", store_place_name(letter->place));
    set_text(o, "id", letter->id);
    set_text(o, "uid", r->uid);
    set_text(o, "type", letter->type);
    set_text(o, "reason", r->reason);
    set_int(o, "attempt", r->attempt);
    set_int(o, "crashes", r->crashes);
    set_int(o, "lost", r->lost);
    set_int(o, "snoozes", r->snoozes);
    set_int(o, "interrupted", r->interrupted);
    set_time(o, "first_failed_at", r->first_failed_at_ms);
    set_time(o, "failed_at", r->failed_at_ms);
    set_time(o, "parked_at", r->parked_at_ms);
    set_time(o, "dead_at", r->dead_at_ms);
    set_time(o, "due_at", letter->due_ms);
    if (letter->has_parsed)
        set_time(o, "enqueued_at", letter->parsed.enqueued_at_ms);
    set_raw(o, "error", r->error);
    set_raw(o, "history", r->history);
    set_raw(o, "from", r->queue);
    if (r->kind == RECORD_NEWER)
        set_bytes(o, "record", "record_base64", letter->bytes);
    else
        set_bytes(o, "document", "document_base64", letter->document);
    return o;
}

json_t *inspect_worker_json(const struct inspect_worker *worker)
{
    json_t *o = json_object();
    set_text(o, "incarnation", worker->inc.hex);
    set(o, "beat", worker->beat >= 0 ? json_integer((json_int_t)worker->beat) : json_null());
    set_raw(o, "info", worker->info);
    return o;
}
