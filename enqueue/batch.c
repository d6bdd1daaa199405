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

    struct buf documents; /* gathered, one after the other */
    size_t ends[BATCH_DOCUMENTS];
    int count;
    int64_t last_line; /* of the last one gathered */
    struct buf command;
    struct span spans[BATCH_DOCUMENTS];
};

struct batch *batch_new(struct redis_client *client, struct buf *print,
                        const struct store_queue *queue)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->client = client;
    b->print = print;
    b->queue = queue;
    buf_init(&b->documents);
    buf_init(&b->command);
    return b;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    ranges_done(&b->account.stored_lines);
    ranges_done(&b->account.refused_lines);
    ranges_done(&b->account.unknown_lines);
    buf_done(&b->documents);
    buf_done(&b->command);
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

/* Encodes what is gathered and hands it on.  The caller sees the outcome in the account. */
static int send_gathered(struct batch *b, struct err *err)
{
    struct flight f = {
        .batch = b,
        .first_line = b->account.last_line + 1,
        .last_line = b->last_line,
        .count = b->count,
    };
    for (int i = 0; i < b->count; i++) {
        size_t from = i > 0 ? b->ends[i - 1] : 0;
        b->spans[i] = (struct span){b->documents.data + from, b->ends[i] - from};
    }
    buf_clear(&b->command);
    store_cmd_push(&b->command, b->queue, b->spans, b->count);
    buf_clear(&b->documents);
    b->count = 0;
    b->account.last_line = f.last_line;
    if (b->client == NULL) {
        settle(b, &f, STORE_OK, NULL);
        return store_print(buf_span(&b->command), b->print, err);
    }
    struct flight *sent = xmemdup(&f, sizeof f);
    struct err why = {0};
    int rc = redis_client_send(b->client, buf_span(&b->command), on_pushed, sent, &why);
    if (rc != 0) {
        /* Nothing was written, so nothing is unknown about this one. */
        free(sent);
        settle(b, &f, STORE_AWAY, &why);
    }
    return 0;
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
    if (b->count > 0 && b->documents.len + document.len > BATCH_BYTES) {
        int rc = send_and_wait(b, BATCH_WINDOW - 1, err);
        if (rc != 0)
            return rc;
    }
    buf_add_span(&b->documents, document);
    b->ends[b->count++] = b->documents.len;
    b->last_line = line;
    return b->count < BATCH_DOCUMENTS ? 0 : send_and_wait(b, BATCH_WINDOW - 1, err);
}

int batch_flush(struct batch *b, struct err *err)
{
    return send_and_wait(b, 0, err);
}
