/* Taking jobs: claims, waits, at-most-once pops, what lies in `run`, and what is parked. */
#include "common/store_priv.h"

#include <hiredis/hiredis.h>
#include <string.h>

void store_cmd_claim(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                     uint64_t first_seq, int count, size_t max_bytes)
{
    if (count < 1 || count > STORE_CLAIM_MAX)
        BUG("a claim of %d records", count);
    if (max_bytes > STORE_CLAIM_MAX_BYTES)
        max_bytes = STORE_CLAIM_MAX_BYTES;
    store_begin_script(out, SCRIPT_CLAIM, 3, 4);
    store_arg_str(out, q->list);
    store_arg_str(out, q->run);
    store_arg_str(out, q->paused);
    store_arg_str(out, inc->hex);
    store_arg_int(out, (int64_t)first_seq);
    store_arg_int(out, count);
    store_arg_int(out, (int64_t)max_bytes);
}

/* Elements `from`.. of an array must all be bulk strings. */
static int all_strings(const struct redisReply *reply, size_t from, const char *what,
                       struct err *err)
{
    for (size_t i = from; i < reply->elements; i++)
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return err_set(err, ERR_PROTOCOL, "%s: element %zu is of type %d", what, i,
                           reply->element[i]->type);
    return 0;
}

static const struct redisReply *const *elements(const struct redisReply *reply, size_t from)
{
    return (const struct redisReply *const *)(reply->element + from);
}

int store_read_claim(const struct redisReply *reply, struct store_claimed *ret, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_ARRAY, "claim", err);
    if (rc < 0)
        return rc;
    if (reply->elements < 2 || reply->elements > 2 + STORE_CLAIM_MAX ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return err_set(err, ERR_PROTOCOL, "claim: an answer of another shape");
    rc = all_strings(reply, 2, "claim", err);
    if (rc < 0)
        return rc;
    *ret = (struct store_claimed){
        .paused = reply->element[0]->integer != 0,
        .remaining = reply->element[1]->integer,
        .count = (int)reply->elements - 2,
        .records = elements(reply, 2),
    };
    return 0;
}

static void arg_hand(struct buf *out, const struct store_queue *q, const struct incarnation *inc)
{
    struct buf key = BUF_INIT;
    store_hand_key(q, inc, &key);
    store_arg(out, buf_span(&key));
    buf_done(&key);
}

void store_cmd_wait(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    int seconds)
{
    store_begin(out, 6);
    store_arg_str(out, "BLMOVE");
    store_arg_str(out, q->list);
    arg_hand(out, q, inc);
    store_arg_str(out, "RIGHT");
    store_arg_str(out, "LEFT");
    store_arg_int(out, seconds);
}

void store_cmd_is_paused(struct buf *out, const struct store_queue *q)
{
    store_begin(out, 2);
    store_arg_str(out, "EXISTS");
    store_arg_str(out, q->paused);
}

void store_cmd_hold(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record)
{
    store_begin_script(out, SCRIPT_HOLD, 3, 2);
    store_arg_str(out, q->run);
    arg_hand(out, q, inc);
    store_arg_str(out, q->list);
    store_arg_token(out, inc, seq);
    store_arg(out, record);
}

static const char waits[] = "waits", died[] = "died"; /* what `hands` says */

void store_cmd_let_go(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      enum store_owner owner)
{
    store_begin_script(out, SCRIPT_LET_GO, 4, 3);
    store_arg_str(out, q->run);
    arg_hand(out, q, inc);
    store_arg_str(out, q->list);
    store_arg_str(out, q->hands);
    store_arg_str(out, inc->hex);
    store_arg_str(out, owner == OWNER_WAITS ? waits : owner == OWNER_DIED ? died : "");
    store_arg_str(out, owner == OWNER_LEFT ? waits : owner == OWNER_BURIED ? died : "");
}

void store_cmd_hands(struct buf *out, const struct store_queue *q)
{
    store_begin(out, 2);
    store_arg_str(out, "HGETALL");
    store_arg_str(out, q->hands);
}

bool store_read_hand(const struct redisReply *reply, size_t i, struct incarnation *ret,
                     enum store_owner *ret_owner)
{
    if (reply->type != REDIS_REPLY_ARRAY || 2 * i + 1 >= reply->elements)
        return false;
    const struct redisReply *name = reply->element[2 * i], *says = reply->element[2 * i + 1];
    if (name->type != REDIS_REPLY_STRING || says->type != REDIS_REPLY_STRING)
        return false;
    *ret_owner = strcmp(says->str, died) == 0 ? OWNER_DIED : OWNER_WAITS;
    return incarnation_parse((struct span){name->str, name->len}, ret);
}

void store_cmd_length(struct buf *out, const struct store_queue *q)
{
    store_cmd_size(out, q, PLACE_WAITING);
}

void store_cmd_exist(struct buf *out, const struct store_queue *const *queues, int count)
{
    store_begin(out, 1 + count);
    store_arg_str(out, "EXISTS");
    for (int i = 0; i < count; i++)
        store_arg_str(out, queues[i]->list);
}

void store_cmd_brpop(struct buf *out, const struct store_queue *const *queues, int count,
                     int seconds)
{
    store_begin(out, 2 + count);
    store_arg_str(out, "BRPOP");
    for (int i = 0; i < count; i++)
        store_arg_str(out, queues[i]->list);
    store_arg_int(out, seconds);
}

void store_cmd_rpop(struct buf *out, const struct store_queue *q, int count)
{
    store_begin(out, 3);
    store_arg_str(out, "RPOP");
    store_arg_str(out, q->list);
    store_arg_int(out, count);
}

static void begin_push(struct buf *out, const char *command, const char *list, int count)
{
    if (count < 1)
        BUG("%s of %d records", command, count);
    store_begin(out, 2 + count);
    store_arg_str(out, command);
    store_arg_str(out, list);
}

static void push(struct buf *out, const char *command, const char *list, const struct span *records,
                 int count)
{
    begin_push(out, command, list, count);
    for (int i = 0; i < count; i++)
        store_arg(out, records[i]);
}

void store_cmd_rpush(struct buf *out, const struct store_queue *q, const struct span *records,
                     int count)
{
    push(out, "RPUSH", q->list, records, count);
}

void store_cmd_push_dead(struct buf *out, const struct store_queue *q, struct span record)
{
    push(out, "LPUSH", q->dead, &record, 1);
}

void store_cmd_push_parked(struct buf *out, const struct store_queue *q, struct span record)
{
    push(out, "LPUSH", q->parked, &record, 1);
}

void store_cmd_push(struct buf *out, const struct store_queue *q, const struct span *docs,
                    int count)
{
    push(out, "LPUSH", q->list, docs, count);
}

void store_begin_push(struct buf *out, const struct store_queue *q, int count)
{
    begin_push(out, "LPUSH", q->list, count);
}

void store_cmd_push_scheduled(struct buf *out, const struct store_queue *q, int64_t at_ms,
                              struct span record)
{
    store_begin(out, 4);
    store_arg_str(out, "ZADD");
    store_arg_str(out, q->scheduled);
    store_arg_int(out, at_ms);
    store_arg(out, record);
}

void store_cmd_wait_replicas(struct buf *out, int replicas, int64_t timeout_ms)
{
    store_begin(out, 3);
    store_arg_str(out, "WAIT");
    store_arg_int(out, replicas);
    store_arg_int(out, timeout_ms);
}

/* ---- what is claimed, what is parked ------------------------------------------------------ */

void store_cmd_scan(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    struct span cursor)
{
    store_begin_script(out, SCRIPT_SCAN, 1, 2);
    store_arg_str(out, q->run);
    store_arg(out, cursor);
    store_arg_str(out, inc != NULL ? inc->hex : "");
}

/* SCAN answers {cursor, {key...}}, our script {cursor, token...}. */
int store_read_scan(const struct redisReply *reply, struct store_scan *ret, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_ARRAY, "scan", err);
    if (rc < 0)
        return rc;
    if (reply->elements < 1 || reply->element[0]->type != REDIS_REPLY_STRING)
        return err_set(err, ERR_PROTOCOL, "scan: an answer of another shape");
    const struct redisReply *list = reply;
    size_t from = 1;
    if (reply->elements == 2 && reply->element[1]->type == REDIS_REPLY_ARRAY) {
        list = reply->element[1];
        from = 0;
    }
    rc = all_strings(list, from, "scan", err);
    if (rc < 0)
        return rc;
    *ret = (struct store_scan){
        .cursor = {reply->element[0]->str, reply->element[0]->len},
        .count = list->elements - from,
        .tokens = list->elements > from ? elements(list, from) : NULL,
    };
    return 0;
}

void store_cmd_get_run(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                       const uint64_t *seqs, int count)
{
    if (count < 1)
        BUG("HMGET of %d tokens", count);
    store_begin(out, 2 + count);
    store_arg_str(out, "HMGET");
    store_arg_str(out, q->run);
    for (int i = 0; i < count; i++)
        store_arg_token(out, inc, seqs[i]);
}

void store_cmd_parked_page(struct buf *out, const struct store_queue *q, int64_t start,
                           int64_t stop)
{
    store_cmd_page(out, q, PLACE_PARKED, start, stop);
}
