/* inspect.h - what lies in a queue, read for people: sizes, letters one by one, workers, and
 * which queues there are.  jobctl is a thin shell over it and over repair.h.
 *
 * Everything is read in pages, so that memory stays bounded and Redis is never held up; a listing
 * is therefore no snapshot.  Blocking: commands only, never the worker's loop.
 */
#ifndef BL_COMMON_INSPECT_H
#define BL_COMMON_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/document.h"
#include "common/err.h"
#include "common/record.h"
#include "common/redis_link.h"
#include "common/store.h"
#include "common/token.h"

/* ---- sizes ------------------------------------------------------------------------------ */

struct inspect_sizes {
    int64_t of[STORE_PLACE_COUNT]; /* -1 = could not be read, see `problem` */
    bool paused;
    int64_t oldest_wait_ms; /* since the longest waiting job was enqueued; -1 = unknown or none */
    char pause_reason[128];
    char problem[160]; /* such as a key of a wrong type; "" = none */
};

/* One round trip.  A key of the wrong type is reported in `ret->problem`, not as an error. */
MUST_CHECK int inspect_sizes(struct redis_client *client, const struct store_queue *queue,
                             int64_t now_wall_ms, struct inspect_sizes *ret, struct err *err);

/* ---- letters: the records of one place ----------------------------------------------------- */

/* One record as it lies in its place.  Borrowed during the callback. */
struct inspect_letter {
    const struct store_queue *queue;
    enum store_place place;
    struct span bytes; /* exactly as it lies there */
    struct record record;
    struct span document; /* as pushed; len 0 if it cannot be got out */
    struct document parsed; /* if has_parsed */
    bool has_parsed;
    const char *id; /* record's, else the document's; "" = none */
    const char *type; /* "" = unknown */
    int64_t due_ms; /* scheduled and retry; else 0 */
    int64_t index; /* in a list, about: as LINDEX counts, from the end where the walk began */
};

struct inspect_filter {
    const char *type; /* NULL = any */
    const char *id; /* the record's id, the document's or the uid; NULL = any */
};

enum inspect_order {
    INSPECT_NEWEST_FIRST = 0,
    INSPECT_OLDEST_FIRST, /* what is removed on the way is best met in this order */
};

/* What the callback wants next; or a negative code after err_set() to end the walk with it. */
enum inspect_next {
    INSPECT_KEEP = 0, /* the record still lies there; go on */
    INSPECT_REMOVED, /* it does not: positions have moved */
    INSPECT_STOP,
};
typedef int (*inspect_letter_fn)(void *arg, const struct inspect_letter *letter, struct err *err);

/* Calls `fn` for each letter of a place (not PLACE_RUNNING) that passes the filter, at most as many
 * as lay there at the start, so that it ends although jobs come back while it runs. */
MUST_CHECK int inspect_letters(struct redis_client *client, const struct store_queue *queue,
                               enum store_place place, enum inspect_order order,
                               const struct inspect_filter *filter, inspect_letter_fn fn, void *arg,
                               struct err *err);

/* ---- workers ------------------------------------------------------------------------------ */

struct inspect_worker {
    struct incarnation inc;
    int64_t beat; /* counter; -1 = has an entry about itself but beats no more */
    struct span info; /* JSON as the worker wrote it; len 0 = none.  Borrowed */
};
typedef int (*inspect_worker_fn)(void *arg, const struct inspect_worker *worker, struct err *err);
MUST_CHECK int inspect_workers(struct redis_client *client, const char *prefix,
                               inspect_worker_fn fn, void *arg, struct err *err);

/* ---- which queues are there ----------------------------------------------------------------- */

enum {
    INSPECT_FIND_PAGES = 500, /* of each search: half a million keys */
    INSPECT_FIND_QUEUES = 1000,
};
struct inspect_queues {
    struct store_queue *items; /* by name */
    int count;
    bool cut; /* a limit ended the search: there may be more */
};
MUST_CHECK int inspect_find_queues(struct redis_client *client, const char *prefix,
                                   struct inspect_queues *ret, struct err *err);
/* Takes `q`, unless its list is there already (then it is ended).  True if it was added. */
bool inspect_queues_add(struct inspect_queues *queues, struct store_queue *q);
void inspect_queues_done(struct inspect_queues *queues);

#endif
