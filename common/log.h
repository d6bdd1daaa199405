/* log.h - one event, one line on stderr: `ts=... level=... msg=... key=value ...`, or as JSON.
 *
 * error = someone must act; warn = we go on, and the text says how; info = lifecycle;
 * debug = everything else.  Payloads (args, documents, results) appear at debug only.
 * Each line is one write(2), so processes do not interleave.  Values are quoted and control bytes
 * escaped when needed.  Level, format and descriptor are the only state; commands set nothing
 * and get warn and logfmt.
 */
#ifndef BL_COMMON_LOG_H
#define BL_COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/err.h"
#include "common/mem.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT = 0, LOG_JSON };

/* -ERR_UNKNOWN for a name that is none of error, warn, info, debug / logfmt, json. */
MUST_CHECK int log_level_parse(const char *name, enum log_level *ret_level);
MUST_CHECK int log_format_parse(const char *name, enum log_format *ret_format);
const char *log_level_name(enum log_level level);
const char *log_format_name(enum log_format format);

void log_setup(enum log_level level, enum log_format format);
/* Lines go to this descriptor instead of stderr, which is a plugin's in a runner. */
void log_to(int fd);
enum log_level log_get_level(void);
static inline bool log_on(enum log_level level)
{
    return level <= log_get_level();
}

/* One key and value of a line. */
struct log_kv {
    const char *key; /* NULL ends the list */
    enum { LOG_KV_INT = 0, LOG_KV_SPAN } kind;
    int64_t num;
    struct span text;
};
#define KV_INT(k, v)  ((struct log_kv){.key = (k), .kind = LOG_KV_INT, .num = (int64_t)(v)})
#define KV_SPAN(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_SPAN, .text = (v)})
#define KV_STR(k, v)  ((struct log_kv){.key = (k), .kind = LOG_KV_SPAN, .text = {(v), strlen(v)}})

/* log_msg(LOG_INFO, "runner started", KV_INT("pid", pid), KV_STR("queue", name)).  `msg` is a
 * constant sentence; what varies goes into the pairs. */
#define log_msg(level, msg, ...)                                                                   \
    log_write((level), (msg),                                                                      \
              (const struct log_kv[]){{.key = ""}, ##__VA_ARGS__, {.key = NULL}} + 1)
void log_write(enum log_level level, const char *msg, const struct log_kv *kvs);

/* The line log_write() would write, newline included, for tests and for relaying. */
struct buf;
void log_render(struct buf *out, int64_t now_wall_ms, enum log_format format, enum log_level level,
                const char *msg, const struct log_kv *kvs);

/* Lets a repeated failure speak at most once per `every_ms`.  `struct log_gate g = {0};`
 * Returns true when the caller may log now; `*ret_skipped` is how many were held since. */
struct log_gate {
    int64_t next_mono_ms;
    int64_t skipped;
};
bool log_gate(struct log_gate *g, int64_t now_mono_ms, int64_t every_ms, int64_t *ret_skipped);

/* What one job's output may put into the log: 64 KiB at once, 16 KiB a second. */
struct log_budget {
    double bytes;
    int64_t mono_us; /* when that was reckoned */
};
void log_budget_start(struct log_budget *b, int64_t now_mono_us);
/* True if a line of `len` bytes may be logged; it is then paid for. */
bool log_budget_take(struct log_budget *b, size_t len, int64_t now_mono_us);

#endif
