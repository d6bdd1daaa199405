/* Looking at a queue and repairing it: for jobctl, and for the caps on dead letters. */
#include "common/store_priv.h"

#include <string.h>

enum shape { SHAPE_LIST, SHAPE_HASH, SHAPE_ZSET };

struct place {
    const char *name;
    const char *key; /* borrowed from the queue */
    enum shape shape;
};

static struct place place_of(const struct store_queue *q, enum store_place p)
{
    switch (p) {
    case PLACE_WAITING:
        return (struct place){"waiting", q->list, SHAPE_LIST};
    case PLACE_RUNNING:
        return (struct place){"running", q->run, SHAPE_HASH};
    case PLACE_SCHEDULED:
        return (struct place){"scheduled", q->scheduled, SHAPE_ZSET};
    case PLACE_RETRY:
        return (struct place){"retry", q->retry, SHAPE_ZSET};
    case PLACE_PARKED:
        return (struct place){"parked", q->parked, SHAPE_LIST};
    case PLACE_DEAD:
        return (struct place){"dead", q->dead, SHAPE_LIST};
    case PLACE_OUTBOX:
        return (struct place){"outbox", q->outbox, SHAPE_LIST};
    case STORE_PLACE_COUNT:
        break;
    }
    BUG("no place %d", (int)p);
}

const char *store_place_name(enum store_place p)
{
    return place_of(&(struct store_queue){0}, p).name;
}

void store_cmd_size(struct buf *out, const struct store_queue *q, enum store_place p)
{
    static const char *const commands[] = {
        [SHAPE_LIST] = "LLEN", [SHAPE_HASH] = "HLEN", [SHAPE_ZSET] = "ZCARD"};
    struct place place = place_of(q, p);
    store_begin(out, 2);
    store_arg_str(out, commands[place.shape]);
    store_arg_str(out, place.key);
}

void store_cmd_page(struct buf *out, const struct store_queue *q, enum store_place p, int64_t start,
                    int64_t stop)
{
    struct place place = place_of(q, p);
    if (place.shape == SHAPE_HASH)
        BUG("a page of %s", place.name);
    bool zset = place.shape == SHAPE_ZSET;
    store_begin(out, zset ? 5 : 4);
    store_arg_str(out, zset ? "ZRANGE" : "LRANGE");
    store_arg_str(out, place.key);
    store_arg_int(out, start);
    store_arg_int(out, stop);
    if (zset)
        store_arg_str(out, "WITHSCORES");
}

/* The script's call up to its token; `target` NULL = to no list. */
static void begin_take(struct buf *out, const struct store_queue *q, const char *source,
                       const char *target, struct span record, struct span moved, int64_t index,
                       bool token)
{
    store_begin_script(out, SCRIPT_TAKE, target != NULL ? 3 : 2, token ? 4 : 3);
    store_arg_str(out, q->run);
    store_arg_str(out, source);
    if (target != NULL)
        store_arg_str(out, target);
    store_arg(out, record);
    store_arg(out, moved);
    store_arg_int(out, index);
}

void store_cmd_take(struct buf *out, const struct store_queue *q, enum store_place from,
                    struct span record, enum store_place to, struct span moved, int64_t index)
{
    struct place source = place_of(q, from), target = place_of(q, to);
    bool move = moved.len > 0;
    if (from == PLACE_WAITING || from == PLACE_RUNNING)
        BUG("a record taken out of %s", source.name);
    if (move && target.shape != SHAPE_LIST)
        BUG("a record moved to %s", target.name);
    begin_take(out, q, source.key, move ? target.key : NULL, record, moved, index, false);
}

void store_cmd_unpark(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      uint64_t seq, struct span record, int64_t index)
{
    begin_take(out, q, q->parked, NULL, record, (struct span){0}, index, true);
    store_arg_token(out, inc, seq);
}

void store_cmd_trim(struct buf *out, const struct store_queue *q, int64_t keep)
{
    store_begin_script(out, SCRIPT_TRIM, 2, 1);
    store_arg_str(out, q->run);
    store_arg_str(out, q->dead);
    store_arg_int(out, keep);
}

void store_cmd_pause(struct buf *out, const struct store_queue *q, struct span why)
{
    store_begin(out, 3);
    store_arg_str(out, "SET");
    store_arg_str(out, q->paused);
    store_arg(out, why);
}

void store_cmd_resume(struct buf *out, const struct store_queue *q)
{
    store_begin(out, 2);
    store_arg_str(out, "DEL");
    store_arg_str(out, q->paused);
}

void store_cmd_paused(struct buf *out, const struct store_queue *q)
{
    store_begin(out, 2);
    store_arg_str(out, "GET");
    store_arg_str(out, q->paused);
}

void store_cmd_count(struct buf *out, const struct store_queue *q, const char *name, int64_t n)
{
    store_begin(out, 4);
    store_arg_str(out, "HINCRBY");
    store_arg_str(out, q->stats);
    store_arg_str(out, name);
    store_arg_int(out, n);
}

void store_cmd_result(struct buf *out, struct span key)
{
    store_begin(out, 2);
    store_arg_str(out, "GET");
    store_arg(out, key);
}
