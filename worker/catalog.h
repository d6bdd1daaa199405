/* catalog.h - the job types this worker can run, and their settings.
 *
 * Learned from `worker --runner --describe` (the worker itself never loads a plugin) and from
 * worker.yaml.  An entry, once made, lives as long as the worker, so claims may point at it; a type
 * that a reload took away is marked gone.
 */
#ifndef BL_WORKER_CATALOG_H
#define BL_WORKER_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/mem.h"
#include "common/retry.h"

struct handler {
    char *type;
    bool gone; /* not in the latest description */
    bool fresh; /* seen in the description being read */
    bool program; /* exec: in worker.yaml */
    int64_t timeout_ms; /* worker.yaml, else the plugin's, else the worker's default */
    struct retry_policy retry;
    int64_t job_us; /* how long its jobs last, estimated; 0 = unknown */
};

struct catalog {
    struct handler **items; /* sorted by type */
    int count;
    char **broken; /* "path: reason" per plugin that cannot be used */
    int broken_count;
};

void catalog_init(struct catalog *c);
void catalog_done(struct catalog *c);

/* NULL = no handler of that type. */
struct handler *catalog_find(const struct catalog *c, const char *type);

/* Reads what --describe printed and merges worker.yaml's settings.  `crashed` = the describing
 * process died: the plugin it was loading is listed as broken with `how`. -ERR_PROTOCOL. */
MUST_CHECK int catalog_read(struct catalog *c, const struct config *cfg, struct span text,
                            const char *crashed, struct err *err);

/* Runs --describe through `exe_fd` and reads it, waiting at most `timeout_ms`: for the start of the
 * worker and for --check, before there is a loop.  -ERR_SYSTEM, -ERR_TIMEOUT, -ERR_PROTOCOL. */
MUST_CHECK int catalog_load(struct catalog *c, const struct config *cfg, int exe_fd,
                            int64_t timeout_ms, struct err *err);

#endif
