#include "common/repair.h"

#include <string.h>

#include <hiredis/hiredis.h>

#include "common/redis_reply.h"

int repair_record(const struct inspect_letter *letter, struct buf *out, struct err *err)
{
    struct record r = letter->record;
    switch (r.kind) {
    case RECORD_NEWER:
        return err_set(err, ERR_NEWER, "it was written by a newer version of this program");
    case RECORD_RAW:
        return record_unwrap(&r, out, err);
    case RECORD_PLAIN:
        buf_add_span(out, letter->bytes);
        return 0;
    case RECORD_WRAPPED:
        break;
    }
    if (letter->place == PLACE_DEAD) {
        r.attempt = 0;
        r.crashes = 0;
        r.lost = 0;
        r.snoozes = 0;
        r.interrupted = 0;
        r.dead_at_ms = 0;
    }
    r.parked_at_ms = 0;
    r.reason[0] = '\0';
    record_write(out, &r);
    return 0;
}

/* One script call that answers with a count.  A server that forgot the script had done nothing. */
static int call_count(struct redis_client *client, struct span command, int64_t *ret,
                      struct err *err)
{
    redisReply *reply = NULL;
    struct err first = {0};
    int rc = redis_client_call(client, command, &reply, &first);
    if (rc == -ERR_REDIS && strstr(first.text, "NOSCRIPT") != NULL) {
        struct buf load = BUF_INIT;
        store_cmd_script_load(&load, SCRIPT_TAKE);
        rc = redis_client_call(client, buf_span(&load), &reply, err);
        buf_done(&load);
        if (rc == 0) {
            redis_reply_free(reply);
            reply = NULL;
            rc = redis_client_call(client, command, &reply, err);
        }
    } else if (rc != 0) {
        rc = err_set(err, (enum err_code)first.code, "%s", first.text);
    }
    if (rc == 0)
        rc = store_read_count(reply, ret, err);
    if (reply != NULL)
        redis_reply_free(reply);
    return rc;
}

static int take(struct redis_client *client, const struct inspect_letter *letter, struct span moved,
                bool *ret_done, struct err *err)
{
    struct buf command = BUF_INIT;
    int64_t count = 0;
    store_cmd_take(&command, letter->queue, letter->place, letter->bytes, PLACE_WAITING, moved,
                   letter->index);
    int rc = call_count(client, buf_span(&command), &count, err);
    if (rc == 0)
        *ret_done = count > 0;
    buf_done(&command);
    return rc;
}

int repair_retry(struct redis_client *client, const struct inspect_letter *letter, bool *ret_done,
                 struct err *err)
{
    struct buf record = BUF_INIT;
    int rc = repair_record(letter, &record, err);
    if (rc == 0 && record.len == 0)
        rc = err_set(err, ERR_SYNTAX, "it holds nothing that could be run");
    if (rc == 0)
        rc = take(client, letter, buf_span(&record), ret_done, err);
    buf_done(&record);
    return rc;
}

int repair_remove(struct redis_client *client, const struct inspect_letter *letter, bool *ret_done,
                  struct err *err)
{
    return take(client, letter, (struct span){0}, ret_done, err);
}

int repair_pause(struct redis_client *client, const struct store_queue *queue, const char *why,
                 struct err *err)
{
    struct buf command = BUF_INIT;
    redisReply *reply = NULL;
    store_cmd_pause(&command, queue, SPAN_OF_STR(why));
    int rc = redis_client_call(client, buf_span(&command), &reply, err);
    if (reply != NULL)
        redis_reply_free(reply);
    buf_done(&command);
    return rc;
}

int repair_resume(struct redis_client *client, const struct store_queue *queue,
                  bool *ret_was_paused, struct err *err)
{
    struct buf command = BUF_INIT;
    int64_t count = 0;
    store_cmd_resume(&command, queue);
    int rc = call_count(client, buf_span(&command), &count, err);
    if (rc == 0)
        *ret_was_paused = count > 0;
    buf_done(&command);
    return rc;
}
