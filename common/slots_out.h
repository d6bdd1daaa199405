/* slots_out.h - the file beside the journal that keeps what does not fit into a slot: a job's result
 * and the full text of its failure.
 *
 * `<dir>/<incarnation>.<runner>.<slot>.out`: one line of JSON,
 *   {"result_bytes":n,"message_bytes":m,"stderr_bytes":k,"seq":s,"cut":0|1}
 * then those bytes.  The runner writes it before slot_return() and sets has_out; the worker, or
 * whoever takes over, reads it when a RETURNED slot says so and removes it once the settlement was
 * answered.  A temporary name and rename make it whole or absent; like the journal it outlives any
 * kill -9, not a power cut (there is no fsync: Redis still has the job then).
 */
#ifndef BL_COMMON_SLOTS_OUT_H
#define BL_COMMON_SLOTS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

/* Of one part; a file that says more is damaged. */
enum { SLOTS_OUT_MAX_BYTES = 1024 * 1024 };

struct slots_out {
    struct span result, message, stderr_tail; /* len 0 = none */
    bool result_cut; /* at the cap */
};

/* Writes (replaces) the file of that slot.  `incarnation` is its hex text.  -ERR_SYSTEM (nothing is
 * left behind), -ERR_TOO_BIG. */
MUST_CHECK int slots_out_write(const char *dir, const char *incarnation, int runner, int slot,
                               uint64_t seq, const struct slots_out *out, struct err *err);

/* Reads it back.  The spans are borrowed from `storage` (emptied first; caller owns).
 * -ERR_NOT_FOUND, -ERR_SYSTEM, -ERR_PROTOCOL when it is damaged or of another job than `seq`. */
MUST_CHECK int slots_out_read(const char *dir, const char *incarnation, int runner, int slot,
                              uint64_t seq, struct buf *storage, struct slots_out *ret,
                              struct err *err);

/* Removes it; none there is fine. */
void slots_out_remove(const char *dir, const char *incarnation, int runner, int slot);

#endif
