/* What a worker does by the clock: due jobs, its own beat, a look at the others'. */
#include "common/store_priv.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

void store_cmd_due(struct buf *out, const struct store_queue *q, const char *which, int max)
{
    store_begin_script(out, SCRIPT_DUE, 3, 1);
    store_arg_str(out, which);
    store_arg_str(out, q->list);
    store_arg_str(out, q->run);
    store_arg_int(out, max < STORE_BATCH_MAX ? max : STORE_BATCH_MAX);
}

int store_read_due(const struct redisReply *reply, struct store_due *ret, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_ARRAY, "due", err);
    if (rc < 0)
        return rc;
    if (reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return err_set(err, ERR_PROTOCOL, "due: an answer of another shape");
    *ret = (struct store_due){.moved = reply->element[0]->integer,
                              .next_in_ms = reply->element[1]->integer};
    return 0;
}

void store_cmd_beat(struct buf *out, const struct store_globals *g, const struct incarnation *inc)
{
    store_begin_script(out, SCRIPT_BEAT, 1, 1);
    store_arg_str(out, g->workers);
    store_arg_str(out, inc->hex);
}

static void get_all(struct buf *out, const char *key)
{
    store_begin(out, 2);
    store_arg_str(out, "HGETALL");
    store_arg_str(out, key);
}

void store_cmd_look(struct buf *out, const struct store_globals *g)
{
    get_all(out, g->workers);
}

void store_cmd_counter(struct buf *out, const struct store_globals *g,
                       const struct incarnation *inc)
{
    store_begin(out, 3);
    store_arg_str(out, "HGET");
    store_arg_str(out, g->workers);
    store_arg_str(out, inc->hex);
}

void store_cmd_infos(struct buf *out, const struct store_globals *g)
{
    get_all(out, g->info);
}

void store_cmd_stats(struct buf *out, const struct store_queue *q)
{
    get_all(out, q->stats);
}

size_t store_look_count(const struct redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY ? reply->elements / 2 : 0;
}

bool store_read_look(const struct redisReply *reply, size_t i, struct store_beat *ret)
{
    if (i >= store_look_count(reply))
        return false;
    const struct redisReply *field = reply->element[2 * i], *value = reply->element[2 * i + 1];
    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
        return false;
    struct store_beat beat = {0};
    if (!incarnation_parse((struct span){field->str, field->len}, &beat.inc))
        return false;
    if (value->len == 0 || value->len > 18 || strspn(value->str, "0123456789") != value->len)
        return false;
    beat.counter = strtoll(value->str, NULL, 10);
    *ret = beat;
    return true;
}

void store_cmd_drop_owner(struct buf *out, const struct store_globals *g,
                          const struct incarnation *inc, int64_t counter)
{
    store_begin_script(out, SCRIPT_DROP_OWNER, 2, 2);
    store_arg_str(out, g->workers);
    store_arg_str(out, g->info);
    store_arg_str(out, inc->hex);
    store_arg_int(out, counter);
}

void store_cmd_set_info(struct buf *out, const struct store_globals *g,
                        const struct incarnation *inc, struct span json)
{
    store_begin(out, 4);
    store_arg_str(out, "HSET");
    store_arg_str(out, g->info);
    store_arg_str(out, inc->hex);
    store_arg(out, json);
}
