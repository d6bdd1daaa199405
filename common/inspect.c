#include "common/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "common/redis_reply.h"
#include "common/store_find.h"

/* What lies in Redis may be larger than worker.yaml's limits: that may be why it is a dead
 * letter. */
enum { ANY_DEPTH = 1000, ANY_BYTES = 512 * 1024 * 1024 };

/* A page grows to PAGE_ITEMS while the last ones were small. */
enum { PAGE_FIRST = 8, PAGE_ITEMS = 100, PAGE_BYTES = 2 * 1024 * 1024 };

static struct span reply_span(const struct redisReply *r)
{
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        return (struct span){0};
    return (struct span){r->str, r->len};
}

/* Fills everything but queue, place, bytes and due_ms, which are there.  A document that had to be
 * unwrapped lives in `storage`. */
static void read_letter(struct inspect_letter *l, struct buf *storage)
{
    static const struct document_limits any = {.max_bytes = ANY_BYTES, .max_depth = ANY_DEPTH};
    record_parse(l->bytes, ANY_DEPTH, &l->record);
    l->document = (struct span){0};
    l->has_parsed = false;
    if (l->record.kind == RECORD_RAW) {
        buf_clear(storage);
        if (record_unwrap(&l->record, storage, NULL) == 0)
            l->document = buf_span(storage);
    } else if (l->record.kind != RECORD_NEWER) {
        l->document = l->record.job;
        l->has_parsed = document_parse(l->document, &any, &l->parsed, NULL) == 0;
    }
    l->type = l->has_parsed ? l->parsed.type : "";
    l->id = l->record.id[0] != '\0' ? l->record.id : l->has_parsed ? l->parsed.id : "";
}

/* ---- sizes ------------------------------------------------------------------------------ */

struct size_question {
    struct inspect_sizes *sizes;
    enum store_place place;
};

static void on_size(void *arg, const struct redisReply *reply)
{
    struct size_question *q = arg;
    struct err why = {0};
    int64_t n = -1;
    if (store_read_count(reply, &n, &why) == 0)
        q->sizes->of[q->place] = n;
    else if (q->sizes->problem[0] == '\0')
        snprintf(q->sizes->problem, sizeof q->sizes->problem, "%s: %.100s",
                 store_place_name(q->place), why.text);
}

static void on_paused(void *arg, const struct redisReply *reply)
{
    struct inspect_sizes *sizes = arg;
    if (reply == NULL || reply->type == REDIS_REPLY_NIL)
        return;
    /* Whatever is there pauses the queue, a key of another type too. */
    sizes->paused = true;
    struct span why = reply_span(reply);
    snprintf(sizes->pause_reason, sizeof sizes->pause_reason, "%.*s",
             (int)(why.len < 127 ? why.len : 127), why.len > 0 ? why.ptr : "");
}

struct oldest_question {
    struct inspect_sizes *sizes;
    int64_t now_wall_ms;
};

static void on_oldest(void *arg, const struct redisReply *reply)
{
    struct oldest_question *q = arg;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return;
    struct inspect_letter l = {.bytes = reply_span(reply->element[0])};
    struct buf storage = BUF_INIT;
    read_letter(&l, &storage);
    if (l.has_parsed && l.parsed.enqueued_at_ms > 0) {
        int64_t age = q->now_wall_ms - l.parsed.enqueued_at_ms;
        q->sizes->oldest_wait_ms = age > 0 ? age : 0;
    }
    buf_done(&storage);
}

int inspect_sizes(struct redis_client *client, const struct store_queue *queue, int64_t now_wall_ms,
                  struct inspect_sizes *ret, struct err *err)
{
    struct inspect_sizes sizes = {.oldest_wait_ms = -1};
    struct size_question questions[STORE_PLACE_COUNT];
    struct oldest_question oldest = {&sizes, now_wall_ms};
    struct buf command = BUF_INIT;
    int rc = 0;
    for (int p = 0; p < STORE_PLACE_COUNT && rc == 0; p++) {
        sizes.of[p] = -1;
        questions[p] = (struct size_question){&sizes, (enum store_place)p};
        buf_clear(&command);
        store_cmd_size(&command, queue, (enum store_place)p);
        rc = redis_client_send(client, buf_span(&command), on_size, &questions[p], err);
    }
    if (rc == 0) {
        buf_clear(&command);
        store_cmd_paused(&command, queue);
        rc = redis_client_send(client, buf_span(&command), on_paused, &sizes, err);
    }
    if (rc == 0) {
        buf_clear(&command);
        store_cmd_page(&command, queue, PLACE_WAITING, -1, -1);
        rc = redis_client_send(client, buf_span(&command), on_oldest, &oldest, err);
    }
    /* Also after a failure: what was sent holds pointers into this frame until it is answered. */
    int drained = redis_client_drain(client, 0, err);
    buf_done(&command);
    if (rc == 0)
        rc = drained;
    if (rc == 0)
        *ret = sizes;
    return rc;
}

/* ---- letters ---------------------------------------------------------------------------- */

struct walk {
    struct redis_client *client;
    const struct store_queue *queue;
    enum store_place place;
    enum inspect_order order;
    const struct inspect_filter *filter;
    inspect_letter_fn fn;
    void *arg;
    struct buf storage;
};

static bool is_zset(enum store_place place)
{
    return place == PLACE_SCHEDULED || place == PLACE_RETRY;
}

static bool passes(const struct inspect_filter *f, const struct inspect_letter *l)
{
    if (f == NULL)
        return true;
    if (f->type != NULL && strcmp(f->type, l->type) != 0)
        return false;
    if (f->id == NULL)
        return true;
    return strcmp(f->id, l->id) == 0 || strcmp(f->id, l->record.uid) == 0 ||
           (l->has_parsed && strcmp(f->id, l->parsed.id) == 0);
}

/* `count` records of which the first is the `position`th, 0-based, in the walk's order out of
 * `total`.  Lists grow at the left, so they are counted from the right: then what is buried while
 * we read moves nothing. */
static int read_page(struct walk *w, int64_t total, int64_t position, int64_t count,
                     redisReply **ret, struct err *err)
{
    struct buf command = BUF_INIT;
    int64_t start, stop;
    if (is_zset(w->place)) {
        start = position;
        stop = position + count - 1;
    } else if (w->order == INSPECT_OLDEST_FIRST) {
        start = -(position + count);
        stop = -(position + 1);
    } else {
        start = -(total - position);
        stop = start + count - 1;
    }
    store_cmd_page(&command, w->queue, w->place, start, stop);
    int rc = redis_client_call(w->client, buf_span(&command), ret, err);
    if (rc == 0 && (*ret)->type != REDIS_REPLY_ARRAY) {
        redis_reply_free(*ret);
        *ret = NULL;
        rc = err_set(err, ERR_PROTOCOL, "a page of %s is no array", store_place_name(w->place));
    }
    buf_done(&command);
    return rc;
}

/* What the callback says of one record, the `position`th of the walk, INSPECT_KEEP for one it is not asked about. */
static int visit(struct walk *w, struct span bytes, int64_t due_ms, int64_t position,
                 struct err *err)
{
    struct inspect_letter l = {
        .queue = w->queue,
        .place = w->place,
        .bytes = bytes,
        .due_ms = due_ms,
        .index = w->order == INSPECT_OLDEST_FIRST ? -(position + 1) : position,
    };
    read_letter(&l, &w->storage);
    if (!passes(w->filter, &l))
        return INSPECT_KEEP;
    return w->fn(w->arg, &l, err);
}

/* Visits the records of a page in the walk's order.  Returns as the callback; `*ret_kept` counts
 * those that still lie there, `*ret_bytes` all bytes. */
static int visit_page(struct walk *w, const redisReply *page, int64_t position, int64_t *ret_kept,
                      size_t *ret_bytes, struct err *err)
{
    size_t step = is_zset(w->place) ? 2 : 1;
    size_t count = page->elements / step;
    bool backwards = step == 1 && w->order == INSPECT_OLDEST_FIRST;
    int64_t kept = 0;
    size_t bytes = 0;
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (backwards ? count - 1 - i : i) * step;
        struct span record = reply_span(page->element[at]);
        struct span due = step == 2 ? reply_span(page->element[at + 1]) : (struct span){0};
        bytes += record.len;
        rc = visit(w, record, due.len > 0 ? (int64_t)strtod(due.ptr, NULL) : 0, position + kept,
                   err);
        if (rc == INSPECT_KEEP)
            kept++;
        else if (rc != INSPECT_REMOVED)
            break;
    }
    *ret_kept = kept;
    *ret_bytes = bytes;
    return rc == INSPECT_REMOVED ? INSPECT_KEEP : rc;
}

static int place_size(struct walk *w, int64_t *ret, struct err *err)
{
    struct buf command = BUF_INIT;
    redisReply *reply = NULL;
    store_cmd_size(&command, w->queue, w->place);
    int rc = redis_client_call(w->client, buf_span(&command), &reply, err);
    if (rc == 0)
        rc = store_read_count(reply, ret, err);
    if (reply != NULL)
        redis_reply_free(reply);
    buf_done(&command);
    return rc;
}

static int walk_pages(struct walk *w, struct err *err)
{
    int64_t total = 0, seen = 0, position = 0, count = PAGE_FIRST;
    int rc = place_size(w, &total, err);
    while (rc == 0 && seen < total) {
        redisReply *page = NULL;
        if (count > total - seen)
            count = total - seen;
        rc = read_page(w, total, position, count, &page, err);
        if (rc != 0)
            break;
        int64_t kept = 0;
        size_t bytes = 0;
        bool empty = page->elements == 0;
        rc = visit_page(w, page, position, &kept, &bytes, err);
        redis_reply_free(page);
        if (empty)
            break;
        seen += count;
        /* Counted from the right, a newest-first walk is not moved by what goes behind it. */
        position += w->order == INSPECT_NEWEST_FIRST && !is_zset(w->place) ? count : kept;
        if (bytes > PAGE_BYTES && count > 1)
            count /= 2;
        else if (bytes < PAGE_BYTES / 4)
            count = count * 2 < PAGE_ITEMS ? count * 2 : PAGE_ITEMS;
    }
    return rc < 0 ? rc : 0;
}

int inspect_letters(struct redis_client *client, const struct store_queue *queue,
                    enum store_place place, enum inspect_order order,
                    const struct inspect_filter *filter, inspect_letter_fn fn, void *arg,
                    struct err *err)
{
    struct walk w = {
        .client = client,
        .queue = queue,
        .place = place,
        .order = order,
        .filter = filter,
        .fn = fn,
        .arg = arg,
        .storage = BUF_INIT,
    };
    int rc = walk_pages(&w, err);
    if (rc != 0)
        err_prefix(err, "%s of queue %s", store_place_name(place), queue->name);
    buf_done(&w.storage);
    return rc;
}

/* ---- workers ------------------------------------------------------------------------------ */

/* The beat of one incarnation in a look's reply; -1 = none. */
static int64_t beat_of(const redisReply *look, const struct incarnation *inc)
{
    struct store_beat beat;
    for (size_t i = 0; i < store_look_count(look); i++)
        if (store_read_look(look, i, &beat) && incarnation_equal(&beat.inc, inc))
            return beat.counter;
    return -1;
}

static struct span info_of(const redisReply *infos, const struct incarnation *inc)
{
    for (size_t i = 0; i + 1 < infos->elements; i += 2) {
        struct incarnation other;
        if (incarnation_parse(reply_span(infos->element[i]), &other) &&
            incarnation_equal(&other, inc))
            return reply_span(infos->element[i + 1]);
    }
    return (struct span){0};
}

static int report_workers(const redisReply *look, const redisReply *infos, inspect_worker_fn fn,
                          void *arg, struct err *err)
{
    struct inspect_worker w = {0};
    struct store_beat beat;
    int rc = 0;
    for (size_t i = 0; i < store_look_count(look) && rc == 0; i++) {
        if (!store_read_look(look, i, &beat))
            continue;
        w = (struct inspect_worker){beat.inc, beat.counter, info_of(infos, &beat.inc)};
        rc = fn(arg, &w, err);
    }
    for (size_t i = 0; i + 1 < infos->elements && rc == 0; i += 2) {
        if (!incarnation_parse(reply_span(infos->element[i]), &w.inc) ||
            beat_of(look, &w.inc) != -1)
            continue;
        w.beat = -1;
        w.info = reply_span(infos->element[i + 1]);
        rc = fn(arg, &w, err);
    }
    return rc;
}

int inspect_workers(struct redis_client *client, const char *prefix, inspect_worker_fn fn,
                    void *arg, struct err *err)
{
    struct store_globals globals;
    struct buf command = BUF_INIT;
    redisReply *look = NULL, *infos = NULL;
    store_globals_init(&globals, prefix);
    store_cmd_look(&command, &globals);
    int rc = redis_client_call(client, buf_span(&command), &look, err);
    if (rc == 0) {
        buf_clear(&command);
        store_cmd_infos(&command, &globals);
        rc = redis_client_call(client, buf_span(&command), &infos, err);
    }
    if (rc == 0)
        rc = report_workers(look, infos, fn, arg, err);
    if (look != NULL)
        redis_reply_free(look);
    if (infos != NULL)
        redis_reply_free(infos);
    buf_done(&command);
    store_globals_done(&globals);
    return rc;
}

/* ---- which queues are there ----------------------------------------------------------------- */

bool inspect_queues_add(struct inspect_queues *queues, struct store_queue *q)
{
    for (int i = 0; i < queues->count; i++) {
        if (strcmp(queues->items[i].list, q->list) == 0) {
            store_queue_done(q);
            return false;
        }
    }
    queues->items = xreallocarray(queues->items, (size_t)queues->count + 1, sizeof *queues->items);
    queues->items[queues->count++] = *q;
    *q = (struct store_queue){0};
    return true;
}

void inspect_queues_done(struct inspect_queues *queues)
{
    for (int i = 0; i < queues->count; i++)
        store_queue_done(&queues->items[i]);
    free(queues->items);
    *queues = (struct inspect_queues){0};
}

static int by_name(const void *a, const void *b)
{
    const struct store_queue *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void add_found(struct inspect_queues *queues, enum store_find what, const char *prefix,
                      struct span key)
{
    struct span list, name;
    if (!store_found_list(what, prefix, key, &list, &name))
        return;
    if (queues->count == INSPECT_FIND_QUEUES) {
        queues->cut = true;
        return;
    }
    char *name_text = xstrndup(name.ptr, name.len);
    char *list_text = xstrndup(list.ptr, list.len);
    struct store_queue q;
    /* The prefix is part of the list already. */
    if (store_queue_init(&q, "", name_text, list_text, NULL) == 0)
        (void)inspect_queues_add(queues, &q); /* most are found more than once */
    free(name_text);
    free(list_text);
}

static int find(struct redis_client *client, enum store_find what, const char *prefix,
                struct inspect_queues *queues, struct err *err)
{
    struct buf command = BUF_INIT;
    struct buf cursor = BUF_INIT;
    int rc = 0, pages = 0;
    buf_add_str(&cursor, "0");
    do {
        redisReply *reply = NULL;
        struct store_scan page;
        buf_clear(&command);
        store_cmd_find(&command, what, prefix, buf_span(&cursor));
        rc = redis_client_call(client, buf_span(&command), &reply, err);
        if (rc == 0)
            rc = store_read_scan(reply, &page, err);
        for (size_t i = 0; rc == 0 && i < page.count; i++)
            add_found(queues, what, prefix, reply_span(page.tokens[i]));
        if (rc == 0) {
            buf_clear(&cursor);
            buf_add_span(&cursor, page.cursor);
        }
        if (reply != NULL)
            redis_reply_free(reply);
    } while (rc == 0 && strcmp(cursor.data, "0") != 0 && ++pages < INSPECT_FIND_PAGES);
    if (pages == INSPECT_FIND_PAGES)
        queues->cut = true;
    buf_done(&command);
    buf_done(&cursor);
    return rc;
}

int inspect_find_queues(struct redis_client *client, const char *prefix, struct inspect_queues *ret,
                        struct err *err)
{
    struct inspect_queues found = {0};
    int rc = find(client, FIND_LISTS, prefix, &found, err);
    if (rc == 0)
        rc = find(client, FIND_COMPANIONS, prefix, &found, err);
    if (rc != 0) {
        inspect_queues_done(&found);
        return rc;
    }
    if (found.count > 1)
        qsort(found.items, (size_t)found.count, sizeof *found.items, by_name);
    *ret = found;
    return 0;
}
