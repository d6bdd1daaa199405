/* finish.h - the end of a job that somebody waits for: `reply_to`, `keep`, `on_success` and
 * `on_failure`, in the same atomic step as its acknowledgement or burial.
 *
 * The outcome they get is one JSON object:
 *   {"id":"...","type":"...","outcome":"done|dead|forgotten|dropped|expired","attempt":1,
 *    "result":<JSON>|"text","error":{...}}
 */
#ifndef BL_WORKER_FINISH_H
#define BL_WORKER_FINISH_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/document.h"
#include "common/record.h"
#include "common/store.h"
#include "worker/decide.h"

struct worker;

/* What an ended job's outcome is called; NULL when the decision does not end it. */
const char *finish_outcome(const struct ending *e, const struct decision *d);
/* Does the document ask for anything at this end? */
bool finish_wanted(const struct document *doc, const char *outcome);

struct finish {
    const struct record *rec;
    const struct document *doc;
    const char *outcome;
    struct span result; /* bytes of the handler; len 0 = none */
    struct span dead; /* record for the dead letters; len 0 = none */
};
/* Appends the command that ends claim (inc, seq) of `q`.  True if something is left in the outbox. */
bool finish_command(const struct worker *w, const struct store_queue *q,
                    const struct incarnation *inc, uint64_t seq, const struct finish *f,
                    struct buf *out);

#endif
