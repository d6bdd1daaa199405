/* repair.h - what a person may do to a queue: run a letter again, remove it, pause, resume.
 *
 * A letter is moved by script, copied before it is removed, and only if it still lies where it was
 * seen: two people at work, or a worker, cannot make two of one.  Blocking: commands only.
 */
#ifndef BL_COMMON_REPAIR_H
#define BL_COMMON_REPAIR_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/inspect.h"
#include "common/redis_link.h"
#include "common/store.h"

/* Appends the record that goes back to the waiting list.  What was dead starts anew (no attempts,
 * no crashes) with its history kept; what was parked or due later keeps its counters.  The
 * document's bytes stay what they are; bytes that are no document come back as they were pushed.
 * -ERR_NEWER for a record that a newer version wrote, -ERR_SYNTAX for a broken one.  Pure. */
MUST_CHECK int repair_record(const struct inspect_letter *letter, struct buf *out, struct err *err);

/* Puts a letter back to the left end of its queue's list.  `*ret_done` false = it was not there any
 * more.  Errors as repair_record(), or of Redis. */
MUST_CHECK int repair_retry(struct redis_client *client, const struct inspect_letter *letter,
                            bool *ret_done, struct err *err);

/* Removes a letter for good; `*ret_done` as above. */
MUST_CHECK int repair_remove(struct redis_client *client, const struct inspect_letter *letter,
                             bool *ret_done, struct err *err);

/* While paused nothing is claimed; what runs, runs on.  `why` is shown to people. */
MUST_CHECK int repair_pause(struct redis_client *client, const struct store_queue *queue,
                            const char *why, struct err *err);
/* `*ret_was_paused` tells whether it changed anything. */
MUST_CHECK int repair_resume(struct redis_client *client, const struct store_queue *queue,
                             bool *ret_was_paused, struct err *err);

#endif
