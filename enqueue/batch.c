#include "enqueue/batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/store_print.h"

/* One command in flight. */
struct flight {
    struct batch *batch;
    int64_t first_line, last_line;
    int count;
};

struct batch {
    struct redis_client *client; /* NULL: print */
    struct buf *print;
    const struct store_queue *queue;
    struct batch_account account;

    struct buf gathered; /* room for the command's beginning, then documents as its arguments */
    size_t room; /* bytes of the longest beginning */
    int count; /* documents gathered */
    int64_t last_line; /* of the last one gathered */
    struct buf beginning;
};

/* What comes first depends on how many documents follow: it is written at last, right before them. */
static void gather_anew(struct batch *b)
{
    buf_clear(&b->gathered);
    store_begin_push(&b->gathered, b->queue, BATCH_DOCUMENTS);
    b->room = b->gathered.len;
    b->count = 0;
}

static struct span gathered_command(struct batch *b)
{
    buf_clear(&b->beginning);
    store_begin_push(&b->beginning, b->queue, b->count);
    size_t start = b->room - b->beginning.len;
    memcpy(b->gathered.data + start, b->beginning.data, b->beginning.len);
    return (struct span){b->gathered.data + start, b->gathered.len - start};
}

struct batch *batch_new(struct redis_client *client, struct buf *print,
                        const struct store_queue *queue)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->client = client;
    b->print = print;
    b->queue = queue;
    buf_init(&b->gathered);
    buf_init(&b->beginning);
    gather_anew(b);
    return b;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    ranges_done(&b->account.stored_lines);
    ranges_done(&b->account.refused_lines);
    ranges_done(&b->account.unknown_lines);
    buf_done(&b->gathered);
    buf_done(&b->beginning);
    free(b);
}

const struct batch_account *batch_account(const struct batch *b)
{
    return &b->account;
}

static void note_failure(struct batch *b, enum store_answer answer, const struct err *why)
{
    if (b->account.answer != STORE_OK)
        return;
    b->account.answer = answer;
    b->account.why = *why;
}

static void settle(struct batch *b, const struct flight *f, enum store_answer answer,
                   const struct err *why)
{
    struct ranges *lines = answer == STORE_OK     ? &b->account.stored_lines
                           : answer == STORE_GONE ? &b->account.unknown_lines
                                                  : &b->account.refused_lines;
    ranges_append(lines, f->first_line, f->last_line);
    if (answer == STORE_OK)
        b->account.stored += f->count;
    else
        note_failure(b, answer, why);
}

static void on_pushed(void *arg, const struct redisReply *reply)
{
    struct flight *f = arg;
    struct err why = {0};
    settle(f->batch, f, store_classify(reply, &why), &why);
    free(f);
}

static int failed(struct batch *b, struct err *err)
{
    return err_set(err, ERR_CLOSED, "%s", b->account.why.text);
}

/* Hands on what is gathered.  The caller sees the outcome in the account. */
static int send_gathered(struct batch *b, struct err *err)
{
    struct flight f = {
        .batch = b,
        .first_line = b->account.last_line + 1,
        .last_line = b->last_line,
        .count = b->count,
    };
    struct span command = gathered_command(b);
    b->account.last_line = f.last_line;
    int rc = 0;
    if (b->client == NULL) {
        settle(b, &f, STORE_OK, NULL);
        rc = store_print(command, b->print, err);
    } else {
        struct flight *sent = xmemdup(&f, sizeof f);
        struct err why = {0};
        if (redis_client_send(b->client, command, on_pushed, sent, &why) != 0) {
            /* Nothing was written, so nothing is unknown about this one. */
            free(sent);
            settle(b, &f, STORE_AWAY, &why);
        }
    }
    gather_anew(b);
    return rc;
}

static int send_and_wait(struct batch *b, size_t in_flight, struct err *err)
{
    if (b->count > 0 && b->account.answer == STORE_OK) {
        int rc = send_gathered(b, err);
        if (rc != 0)
            return rc;
    }
    if (b->client != NULL) {
        struct err why = {0};
        if (redis_client_drain(b->client, b->account.answer == STORE_OK ? in_flight : 0, &why) != 0)
            note_failure(b, STORE_GONE, &why);
    }
    return b->account.answer == STORE_OK ? 0 : failed(b, err);
}

int batch_add(struct batch *b, int64_t line, struct span document, struct err *err)
{
    if (b->account.answer != STORE_OK)
        return failed(b, err);
    if (b->count > 0 && b->gathered.len + document.len > BATCH_BYTES) {
        int rc = send_and_wait(b, BATCH_WINDOW - 1, err);
        if (rc != 0)
            return rc;
    }
    store_arg(&b->gathered, document);
    b->count++;
    b->last_line = line;
    return b->count < BATCH_DOCUMENTS ? 0 : send_and_wait(b, BATCH_WINDOW - 1, err);
}

int batch_flush(struct batch *b, struct err *err)
{
    return send_and_wait(b, 0, err);
}
