/* Every key we use is spelled here and nowhere else.
 *
 * Companions put the list's whole name in braces: Redis Cluster then hashes them to the slot of the
 * plain list, so one script may touch them all, and nothing has to be known about the server.  That
 * works only while no name holds a brace itself, hence they are refused.
 */
#include "common/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char workers_name[] = "bucketline:workers";

static char *companion(const char *list, const char *part)
{
    return xasprintf("{%s}:%s", list, part);
}

int store_queue_init(struct store_queue *q, const char *prefix, const char *name, const char *key,
                     struct err *err)
{
    if (prefix == NULL)
        prefix = "";
    if (name == NULL || name[0] == '\0')
        return err_set(err, ERR_INVALID, "a queue without a name");
    if (key != NULL && key[0] == '\0')
        return err_set(err, ERR_INVALID, "queue %s: its key is empty", name);
    char *list =
        key != NULL ? xasprintf("%s%s", prefix, key) : xasprintf("%squeue:%s", prefix, name);
    int rc = 0;
    if (strpbrk(list, "{}") != NULL)
        rc = err_set(err, ERR_INVALID, "queue %s: its key \"%s\" holds { or }", name, list);
    else if (store_is_reply_key(SPAN_OF_STR(list)))
        rc = err_set(err, ERR_INVALID,
                     "queue %s: its key \"%s\" is the name of a reply list, and those expire", name,
                     list);
    else if (key != NULL && strcmp(key, workers_name) == 0)
        rc = err_set(err, ERR_INVALID, "queue %s: the key \"%s\" is used for the workers", name,
                     list);
    if (rc < 0) {
        free(list);
        return rc;
    }
    *q = (struct store_queue){
        .name = xstrdup(name),
        .list = list,
        .run = companion(list, "run"),
        .scheduled = companion(list, "scheduled"),
        .retry = companion(list, "retry"),
        .parked = companion(list, "parked"),
        .dead = companion(list, "dead"),
        .outbox = companion(list, "outbox"),
        .stats = companion(list, "stats"),
        .paused = companion(list, "paused"),
        .hands = companion(list, "hands"),
    };
    return 0;
}

void store_queue_done(struct store_queue *q)
{
    char *all[] = {q->name, q->list,   q->run,   q->scheduled, q->retry, q->parked,
                   q->dead, q->outbox, q->stats, q->paused,    q->hands};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++)
        free(all[i]);
    *q = (struct store_queue){0};
}

void store_globals_init(struct store_globals *g, const char *prefix)
{
    char *workers = xasprintf("%s%s", prefix != NULL ? prefix : "", workers_name);
    *g = (struct store_globals){.workers = workers, .info = companion(workers, "info")};
}

void store_globals_done(struct store_globals *g)
{
    free(g->workers);
    free(g->info);
    *g = (struct store_globals){0};
}

void store_hand_key(const struct store_queue *q, const struct incarnation *inc, struct buf *out)
{
    buf_printf(out, "{%s}:hand:%s", q->list, inc->hex);
}

void store_result_key(const struct store_queue *q, struct span id, struct buf *out)
{
    buf_printf(out, "{%s}:result:", q->list);
    buf_add_span(out, id);
}

bool store_is_reply_key(struct span key)
{
    static const char inner[] = ":reply:";
    if (key.len == 0)
        return false;
    return (key.len >= sizeof inner - 2 && memcmp(key.ptr, inner + 1, sizeof inner - 2) == 0) ||
           memmem(key.ptr, key.len, inner, sizeof inner - 1) != NULL;
}

bool store_hash_tag(struct span key, struct span *ret)
{
    const char *open = key.len > 0 ? memchr(key.ptr, '{', key.len) : NULL;
    if (open == NULL)
        return false;
    size_t left = key.len - (size_t)(open + 1 - key.ptr);
    const char *close = left > 0 ? memchr(open + 1, '}', left) : NULL;
    if (close == NULL || close == open + 1)
        return false;
    *ret = (struct span){open + 1, (size_t)(close - open - 1)};
    return true;
}

int store_relayed_key(struct span target, struct span id, struct buf *out, struct err *err)
{
    struct span tag;
    if (target.len == 0)
        return err_set(err, ERR_INVALID, "a relay without a target");
    if (!store_hash_tag(target, &tag)) {
        /* A brace that makes no tag cannot be put in braces to make one. */
        if (memchr(target.ptr, '}', target.len) != NULL)
            return err_set(err, ERR_INVALID,
                           "the list's name holds a brace that makes no hash tag");
        tag = target;
    }
    buf_add_char(out, '{');
    buf_add_span(out, tag);
    buf_add_str(out, "}:relayed:");
    buf_add_span(out, id);
    return 0;
}

void store_cmd_rename_workers(struct buf *out, const struct store_globals *g, int64_t now_wall_ms)
{
    store_begin(out, 3);
    store_arg_str(out, "RENAMENX");
    store_arg_str(out, g->workers);
    char *aside = xasprintf("{%s}:aside:%lld", g->workers, (long long)now_wall_ms);
    store_arg_str(out, aside);
    free(aside);
}
