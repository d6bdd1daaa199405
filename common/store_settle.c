/* Ending a claim, and the outbox of what its end brings to other slots. */
#include "common/store_priv.h"

#include <hiredis/hiredis.h>
#include <string.h>

enum {
    RELAYED_SECONDS = 86400, /* how long an id counts as relayed */
    RELAYED_REPLY_SECONDS = 3600, /* of a reply: there are many, and a second one does less harm */
    REPLY_LIST_SECONDS = 86400, /* how long an unread reply stays */
};

void store_cmd_ack(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                   const uint64_t *seqs, int count)
{
    if (count < 1)
        BUG("an ack of %d tokens", count);
    store_begin(out, 2 + count);
    store_arg_str(out, "HDEL");
    store_arg_str(out, q->run);
    for (int i = 0; i < count; i++)
        store_arg_token(out, inc, seqs[i]);
}

static void later(struct buf *out, const struct store_queue *q, const char *zset,
                  const struct incarnation *inc, uint64_t seq, int64_t ms, bool relative,
                  struct span record)
{
    store_begin_script(out, SCRIPT_RETRY, 2, 4);
    store_arg_str(out, q->run);
    store_arg_str(out, zset);
    store_arg_token(out, inc, seq);
    store_arg_int(out, ms);
    store_arg_str(out, relative ? "1" : "0");
    store_arg(out, record);
}

void store_cmd_retry(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                     uint64_t seq, int64_t delay_ms, struct span record)
{
    later(out, q, q->retry, inc, seq, delay_ms, true, record);
}

void store_cmd_schedule(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                        uint64_t seq, int64_t at_ms, bool relative, struct span record)
{
    later(out, q, q->scheduled, inc, seq, at_ms, relative, record);
}

static void aside(struct buf *out, const struct store_queue *q, const char *list,
                  const struct incarnation *inc, uint64_t seq, struct span record)
{
    store_begin_script(out, SCRIPT_BURY, 2, 2);
    store_arg_str(out, q->run);
    store_arg_str(out, list);
    store_arg_token(out, inc, seq);
    store_arg(out, record);
}

void store_cmd_bury(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record)
{
    aside(out, q, q->dead, inc, seq, record);
}

void store_cmd_park(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record)
{
    aside(out, q, q->parked, inc, seq, record);
}

void store_cmd_back(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    const struct store_back *items, int count)
{
    if (count < 1 || count > STORE_CLAIM_MAX)
        BUG("%d records given back at once", count);
    store_begin_script(out, SCRIPT_BACK, 2, 2 * count);
    store_arg_str(out, q->run);
    store_arg_str(out, q->list);
    for (int i = 0; i < count; i++) {
        store_arg_token(out, inc, items[i].seq);
        store_arg(out, items[i].record);
    }
}

/* ---- finish ------------------------------------------------------------------------------- */

static bool is_own_list(const struct store_queue *q, struct span key)
{
    return key.len == strlen(q->list) && memcmp(key.ptr, q->list, key.len) == 0;
}

static bool wants_follow_up(const struct store_finish *f)
{
    return f->follow_up.len > 0 && f->follow_list.len > 0;
}

static bool relays_follow_up(const struct store_queue *q, const struct store_finish *f)
{
    return wants_follow_up(f) && !is_own_list(q, f->follow_list);
}

bool store_finish_relays(const struct store_queue *q, const struct store_finish *f)
{
    return f->reply_to.len > 0 || relays_follow_up(q, f);
}

/* A record of the outbox: "job 34 13\n" or "reply 34 13\n", the lengths of id and target, then id,
 * target and body, which may hold any bytes. */
static void add_relay(struct buf *out, const struct store_relay *r)
{
    buf_printf(out, "%s %zu %zu\n", r->reply ? "reply" : "job", r->id.len, r->target.len);
    buf_add_span(out, r->id);
    buf_add_span(out, r->target);
    buf_add_span(out, r->body);
}

void store_cmd_finish(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      uint64_t seq, const struct store_finish *f)
{
    char token[TOKEN_MAX_BYTES];
    size_t token_len = token_format(inc, seq, token);
    struct span id = f->relay_id.len > 0 ? f->relay_id : (struct span){token, token_len};
    struct buf reply = BUF_INIT, follow = BUF_INIT;
    if (f->reply_to.len > 0)
        add_relay(&reply, &(struct store_relay){
                              .reply = true, .id = id, .target = f->reply_to, .body = f->outcome});
    if (relays_follow_up(q, f))
        add_relay(&follow,
                  &(struct store_relay){.id = id, .target = f->follow_list, .body = f->follow_up});
    bool direct = wants_follow_up(f) && !relays_follow_up(q, f);
    bool keep = f->keep_key.len > 0 && f->keep_ms > 0;

    store_begin_script(out, SCRIPT_FINISH, keep ? 5 : 4, 7);
    store_arg_str(out, q->run);
    store_arg_str(out, q->list);
    store_arg_str(out, q->dead);
    store_arg_str(out, q->outbox);
    if (keep)
        store_arg(out, f->keep_key);
    store_arg(out, (struct span){token, token_len});
    store_arg(out, f->dead);
    store_arg(out, direct ? f->follow_up : (struct span){0});
    store_arg(out, buf_span(&reply));
    store_arg(out, buf_span(&follow));
    store_arg(out, keep ? f->outcome : (struct span){0});
    store_arg_int(out, keep ? f->keep_ms : 0);
    buf_done(&reply);
    buf_done(&follow);
}

/* ---- outbox ------------------------------------------------------------------------------- */

void store_cmd_outbox_page(struct buf *out, const struct store_queue *q, int count)
{
    store_cmd_page(out, q, PLACE_OUTBOX, -count, -1);
}

/* Takes "digits" and the byte `end` from the front of `s`.  At most 9 digits. */
static bool take_length(struct span *s, char end, size_t *ret)
{
    size_t n = 0, i = 0;
    while (i < s->len && i < 9 && s->ptr[i] >= '0' && s->ptr[i] <= '9')
        n = n * 10 + (size_t)(s->ptr[i++] - '0');
    if (i == 0 || i == s->len || s->ptr[i] != end)
        return false;
    *ret = n;
    *s = (struct span){s->ptr + i + 1, s->len - i - 1};
    return true;
}

static bool take_word(struct span *s, const char *word)
{
    size_t n = strlen(word);
    if (s->len < n || memcmp(s->ptr, word, n) != 0)
        return false;
    *s = (struct span){s->ptr + n, s->len - n};
    return true;
}

static struct span take_bytes(struct span *s, size_t n)
{
    struct span head = {s->ptr, n};
    *s = (struct span){s->ptr + n, s->len - n};
    return head;
}

int store_read_relay(struct span record, struct store_relay *ret, struct err *err)
{
    struct store_relay r = {0};
    struct span rest = record;
    size_t id_len, target_len;
    r.reply = take_word(&rest, "reply ");
    if ((!r.reply && !take_word(&rest, "job ")) || !take_length(&rest, ' ', &id_len) ||
        !take_length(&rest, '\n', &target_len) || id_len == 0 || id_len > rest.len ||
        target_len > rest.len - id_len)
        return err_set(err, ERR_SYNTAX, "a record in the outbox that is none of ours");
    r.id = take_bytes(&rest, id_len);
    r.target = take_bytes(&rest, target_len);
    r.body = rest;
    struct buf key = BUF_INIT;
    int rc = store_relayed_key(r.target, r.id, &key, err);
    buf_done(&key);
    if (rc == 0)
        *ret = r;
    return rc;
}

void store_cmd_relay(struct buf *out, const struct store_relay *r)
{
    struct buf mark = BUF_INIT;
    struct err err = {0};
    /* A job may leave both a reply and a follow-up for one list under one id. */
    struct buf id = BUF_INIT;
    buf_add_str(&id, r->reply ? "reply:" : "job:");
    buf_add_span(&id, r->id);
    if (store_relayed_key(r->target, buf_span(&id), &mark, &err) < 0)
        BUG("a relay that store_read_relay() refuses: %s", err.text);
    bool expires = r->reply && store_is_reply_key(r->target);
    store_begin_script(out, SCRIPT_RELAY, 2, 4);
    store_arg(out, buf_span(&mark));
    store_arg(out, r->target);
    store_arg(out, r->body);
    store_arg_str(out, r->reply ? "RPUSH" : "LPUSH");
    store_arg_int(out, r->reply ? RELAYED_REPLY_SECONDS : RELAYED_SECONDS);
    store_arg_int(out, expires ? REPLY_LIST_SECONDS : 0);
    buf_done(&id);
    buf_done(&mark);
}

void store_cmd_outbox_remove(struct buf *out, const struct store_queue *q, struct span record)
{
    store_begin(out, 4);
    store_arg_str(out, "LREM");
    store_arg_str(out, q->outbox);
    store_arg_int(out, -1);
    store_arg(out, record);
}
