/* session.h - what a command needs before it can work: worker.yaml if there is one, where Redis is,
 * and a connection.  enqueue and jobctl (later the dashboard) start with it.
 *
 * A worker.yaml that was named must be good.  One that was only found (./worker.yaml,
 * /etc/bucketline/worker.yaml) must be good too, since it maps queues to lists; but one that this
 * user may not read is passed over with a notice, so that producers need no right to it.
 */
#ifndef BL_COMMON_SESSION_H
#define BL_COMMON_SESSION_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"
#include "common/redis_link.h"
#include "common/redis_url.h"
#include "common/store.h"

/* What the command line said; NULL = nothing. */
struct session_options {
    const char *url;
    const char *config_path;
    const char *prefix;
    const char *key; /* the Redis list instead of the one the queue's name stands for */
};

struct session {
    struct session_options options; /* as given; borrowed */
    struct config config; /* all defaults if has_config is false */
    bool has_config;
    char *notice; /* a sentence for the user, NULL = none; ours */
    struct redis_url url; /* once connected */
    struct redis_client *client; /* NULL until connected; ours */
};

/* Reads worker.yaml.  0, or -ERR_INVALID with all its errors in `ret_errors` (caller owns;
 * config_errors_done).  `s` can be ended with session_done() in either case. */
MUST_CHECK int session_init(struct session *s, const struct session_options *options,
                            struct config_errors *ret_errors);
void session_done(struct session *s);

/* Finds Redis and connects.  `name` is for CLIENT SETNAME; `scripts` = load them.  Errors as
 * redis_url_find() and redis_client_open(); the text names the server without its password. */
MUST_CHECK int session_connect(struct session *s, const char *name, bool scripts, struct err *err);

/* The keys of a queue by its name: from worker.yaml if it is there, else "queue:" + name, or of
 * options.key.  Caller owns `ret` (store_queue_done).  -ERR_INVALID for an illegal name. */
MUST_CHECK int session_queue(const struct session *s, const char *name, struct store_queue *ret,
                             struct err *err);

/* Is there a worker.yaml, and does it not know this queue? */
bool session_queue_unlisted(const struct session *s, const char *name);

/* What precedes every key. */
const char *session_prefix(const struct session *s);

/* The exit code (sysexits) that belongs to an error's code: usage 64, data 65, no Redis 69,
 * internal 70, try again 75, configuration 78. */
int session_exit_code(int code);

#endif
