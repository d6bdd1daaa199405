/* config.h - worker.yaml as a struct.  Read by worker (and by a runner, from the text its worker
 * hands it), enqueue, jobctl and the tests.
 *
 * One table (options.c) holds each option's name, type, range, default and help; the loader, the
 * printer, --check, the shipped worker.yaml and the manual all follow it.  All errors of a file are
 * reported, each as `file:line:col: text`, with "did you mean" for misspelt keys.
 */
#ifndef BL_COMMON_CONFIG_H
#define BL_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/retry.h"

enum delivery { DELIVERY_AT_LEAST_ONCE = 0, DELIVERY_AT_MOST_ONCE };
enum on_lost { ON_LOST_FINISH = 0, ON_LOST_STOP };

struct config_queue {
    char *name; /* [A-Za-z0-9._:/-]{1,200}; owned by the config */
    char *key; /* the Redis list without prefix; default "queue:" + name */
    int weight; /* 0 = strict order; 1..1000 = weighted (then all have one) */
    enum delivery delivery;
    int64_t dead_max; /* keep so many dead letters; 0 = all */
    int64_t dead_age_ms; /* and for so long; 0 = for ever */
    int line; /* in the file, for messages of others; 0 = none */
};

/* Settings of one handler.  timeout_ms and retries -1, NULL, has_backoff false = not set here; the
 * others have no other place to be set, and 0 is their default. */
struct config_handler {
    char *type;
    char **exec; /* argv, NULL-terminated; NULL = a plugin's handler, settings only */
    int exec_count;
    char *directory; /* working directory of the program; default: worker.yaml's */
    char *user; /* run the program as this user (needs root) */
    char **env; /* "NAME=value", NULL-terminated; added to the scrubbed environment */
    int env_count;
    int64_t timeout_ms;
    int retries;
    bool has_backoff;
    struct backoff backoff;
    int64_t limit_memory_bytes, limit_cpu_ms; /* rlimits of the program; 0 = none */
    int limit_files;
    int nice; /* 0..19 */
    int line;
};

struct config {
    char *path; /* of the file, "" when from text */
    char *directory; /* of the file (absolute), against which relative paths are resolved */

    struct {
        char *url; /* NULL = not said here */
        char *prefix; /* "" default; before every key */
        char *password_file; /* NULL; its first line replaces the URL's password */
        char *ca_file, *cert_file, *key_file; /* for rediss:// */
        bool verify; /* check the server's certificate; default true */
        int64_t connect_timeout_ms; /* default 5 s */
        int64_t reply_timeout_ms; /* default 4 s: an unanswered beat means the link is dead */
    } redis;

    struct config_queue *queues; /* at least one */
    int queue_count;
    int runners; /* 1..1000; default: number of processors, at least 2 */
    char **plugins; /* glob patterns as written */
    int plugin_count;
    struct config_handler *handlers;
    int handler_count;

    char *state_dir; /* NULL = default place; "" = none (journal in memory only) */
    char *pidfile; /* NULL = none */
    char *user; /* NULL = stay who we are */
    bool core_dumps; /* default false */
    enum on_lost on_lost;
    int64_t shutdown_timeout_ms; /* 8 s */
    int64_t grace_ms; /* 5 s between the soft signal and SIGKILL */
    int64_t timeout_ms; /* default for one attempt, 30 min */
    int64_t dead_after_ms; /* 10 s of silence: a worker counts as gone */
    int64_t beat_ms; /* 2 s */
    int recycle_after; /* jobs of one runner; default 100000; 0 = never */
    int64_t recycle_rss_bytes; /* default 512 MiB; 0 = never */
    int64_t result_max_bytes; /* 64 KiB of a program's stdout kept */
    int max_snoozes; /* 1000 */
    int64_t park_ms; /* parked with an unknown type for so long -> dead; 7 d */
    struct {
        int64_t document_bytes; /* 1 MiB */
        int nesting; /* 64 */
    } limits;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
};

/* A list of errors, in file order.  Caller owns (config_errors_done). */
struct config_errors {
    struct err *items;
    int count;
};
void config_errors_done(struct config_errors *e);

void config_init(struct config *c); /* all defaults, no queue */
void config_done(struct config *c);

/* Reads a file / text (`name` stands in messages, the absolute `directory` resolves relative paths;
 * it must be UTF-8).  `ret` is {0} or was initialised; what it held is freed and replaced.  0, or
 * -ERR_INVALID with every problem (100 at most, and how many more) in `ret_errors`, which is
 * overwritten, and `*ret` untouched. */
MUST_CHECK int config_load(const char *path, struct config *ret, struct config_errors *ret_errors);
MUST_CHECK int config_load_text(const char *name, const char *directory, struct span text,
                                struct config *ret, struct config_errors *ret_errors);

/* The whole effective configuration as YAML that config_load_text() reads back to the same.  The
 * password in redis.url is shown as "***", or with `for_runner` the redis section is left out. */
void config_print(const struct config *c, bool for_runner, struct buf *out);

/* Where worker.yaml is when no -c was given: ./worker.yaml, /etc/bucketline/worker.yaml.
 * -ERR_NOT_FOUND names both. */
MUST_CHECK int config_find(char *ret_path, size_t size, struct err *err);

/* NULL when there is none. */
const struct config_handler *config_handler_find(const struct config *c, const char *type);
const struct config_queue *config_queue_find(const struct config *c, const char *name);

/* The shipped worker.yaml: every option, its default, one comment each, from the option table. */
void config_sample(struct buf *out);

#endif
