/* batch.h - documents on their way to one list: many per command, a few commands in flight, and an
 * exact account of which lines are stored, refused or unknown when Redis fails in the middle.
 *
 * Order is kept: documents go out in the order they are added, and Redis runs the commands of one
 * connection in order.  After the first failure nothing more is sent; what was already in flight is
 * awaited, so that each line has an answer or is known to have none.
 *
 *   add -> [gathering] -> command -> [in flight] -> stored | refused | unknown
 */
#ifndef BL_ENQUEUE_BATCH_H
#define BL_ENQUEUE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"
#include "common/ranges.h"
#include "common/redis_link.h"
#include "common/store.h"

enum {
    BATCH_DOCUMENTS = 500, /* of one command */
    BATCH_BYTES = 256 * 1024, /* and so many bytes; one larger document goes alone */
    BATCH_WINDOW = 4, /* commands in flight */
};

/* What became of the lines.  Lines between the documents (blank, bad, skipped) count to the batch
 * they stand in. */
struct batch_account {
    int64_t stored; /* documents that Redis acknowledged */
    struct ranges stored_lines, refused_lines, unknown_lines;
    int64_t last_line; /* of the last document sent or printed */
    enum store_answer answer; /* STORE_OK, or how the first failure read */
    struct err why; /* its text */
};

struct batch;

/* With a client the commands are sent; with `print` instead (client NULL) they are appended there
 * in redis-cli's syntax and count as stored.  All are borrowed for the life of the batch. */
struct batch *batch_new(struct redis_client *client, struct buf *print,
                        const struct store_queue *queue);
void batch_free(struct batch *b);

/* Adds the document of a line (ascending, from 1); the bytes are copied.  Sends when a command is
 * full and then waits while too many are in flight.  -ERR_CLOSED once a failure is on record (see
 * the account); the document is then not sent. */
MUST_CHECK int batch_add(struct batch *b, int64_t line, struct span document, struct err *err);

/* Sends what is gathered and waits for every answer: at the end, and whenever the next document may
 * be long in coming.  0 if all so far was stored, else -ERR_CLOSED. */
MUST_CHECK int batch_flush(struct batch *b, struct err *err);

/* Borrowed; complete after the last batch_flush(). */
const struct batch_account *batch_account(const struct batch *b);

#endif
