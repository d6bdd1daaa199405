/* bucketline.h - the one header a handler plugin needs.
 *
 *     cc -shared -fPIC -o hello.so hello.c
 *
 * A plugin exports `const struct bl_plugin bl_plugin`: a table of handlers.  Each runs in a process
 * of its own, one job at a time, so it needs no thread safety and may block, crash or be killed
 * without harm to others.  It links against nothing of ours: the host is reached through
 * `job->host`.  See docs/handlers.md.
 *
 *     static enum bl_result hello(struct bl_job *job)
 *     {
 *         bl_log(job, BL_LOG_INFO, "hello");
 *         return BL_DONE;
 *     }
 *     static const struct bl_handler handlers[] = {{.name = "hello", .run = hello}};
 *     const struct bl_plugin bl_plugin = BL_PLUGIN("hello", handlers);
 */
#ifndef BUCKETLINE_H
#define BUCKETLINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BL_ABI_VERSION 1

/* How an attempt ended. */
enum bl_result {
    BL_DONE = 0, /* success */
    BL_RETRY = 1, /* failed; run again after the back-off, or after bl_again_in() */
    BL_DEAD = 2, /* failed for good: to the dead letters, no further attempt */
    BL_SNOOZE = 3, /* not now: come back after bl_again_in(), no attempt spent */
    BL_DROP = 4 /* forget this job, no dead letter */
};

enum bl_log_level { BL_LOG_ERROR = 0, BL_LOG_WARN = 1, BL_LOG_INFO = 2, BL_LOG_DEBUG = 3 };

struct bl_job;

/* What the host offers.  Grows only at its end: look at `size` before you use what is newer. */
struct bl_host {
    uint32_t size; /* sizeof(struct bl_host) of the host */
    uint32_t abi; /* BL_ABI_VERSION of the host */
    /* One line to the worker's log, with the job's id and type; `text` is cut at 4 KiB. */
    void (*log)(struct bl_job *job, int level, const char *text);
    /* Why it failed: goes on the job's record, cut at 2 KiB.  Say it before you return. */
    void (*fail)(struct bl_job *job, const char *message);
    /* With BL_RETRY or BL_SNOOZE: how long to wait, in ms >= 0. */
    void (*again_in)(struct bl_job *job, int64_t ms);
    /* 0..100, and a short text (NULL is fine). */
    void (*progress)(struct bl_job *job, int percent, const char *text);
    /* Result bytes (JSON or not), kept if the job asks for it; at most 1 MiB.  0, or -1 = too big. */
    int (*set_result)(struct bl_job *job, const void *bytes, size_t len);
    /* Not 0 once the job should stop: timeout, cancel, shutdown.  SIGKILL follows after the grace. */
    int (*cancelled)(struct bl_job *job);
    /* Pushes a document (JSON) onto a queue the worker knows; waits for Redis' answer.  0, or -1
     * with the reason in `error` (may be NULL). */
    int (*enqueue)(struct bl_job *job, const char *queue, const char *document, size_t len,
                   char *error, size_t error_size);
};

/* The job.  Everything is borrowed until the handler returns. */
struct bl_job {
    uint32_t size; /* sizeof(struct bl_job) of the host */
    uint32_t attempt; /* 1 = first */
    const char *id;
    const char *type;
    const char *queue;
    const char *args; /* the producer's bytes of "args", untouched, and a NUL after them */
    size_t args_len;
    const char *meta; /* JSON object of strings, or "{}" */
    size_t meta_len;
    int64_t deadline_ms; /* since the epoch: when this attempt times out */
    const struct bl_host *host;
    void *host_data; /* the host's own */
};

/* One handler.  Fields after `run` are defaults that worker.yaml and the job may override;
 * 0 = the host's default. */
struct bl_handler {
    const char *name; /* 1 to 200 bytes of [A-Za-z0-9._:/-] */
    enum bl_result (*run)(struct bl_job *job);
    int64_t timeout_ms;
    int32_t retries; /* -1 = none at all */
    int32_t reserved;
};

struct bl_plugin {
    uint32_t abi; /* BL_ABI_VERSION */
    uint32_t size; /* sizeof(struct bl_plugin) */
    const char *name;
    const struct bl_handler *handlers;
    uint32_t handler_size; /* sizeof(struct bl_handler) */
    uint32_t handler_count;
    /* Called once in each runner before the first job / after the last; NULL is fine.  setup
     * returns 0, or not 0 with the reason in `error`. */
    int (*setup)(char *error, size_t error_size);
    void (*teardown)(void);
};

#define BL_PLUGIN(plugin_name, table)                                                              \
    {                                                                                              \
        BL_ABI_VERSION, (uint32_t)sizeof(struct bl_plugin), (plugin_name), (table),                \
            (uint32_t)sizeof((table)[0]), (uint32_t)(sizeof(table) / sizeof((table)[0])), 0, 0     \
    }

static inline void bl_log(struct bl_job *job, int level, const char *text)
{
    job->host->log(job, level, text);
}
static inline void bl_fail(struct bl_job *job, const char *message)
{
    job->host->fail(job, message);
}
static inline void bl_again_in(struct bl_job *job, int64_t ms)
{
    job->host->again_in(job, ms);
}
static inline void bl_progress(struct bl_job *job, int percent, const char *text)
{
    job->host->progress(job, percent, text);
}
static inline int bl_set_result(struct bl_job *job, const void *bytes, size_t len)
{
    return job->host->set_result(job, bytes, len);
}
static inline int bl_cancelled(struct bl_job *job)
{
    return job->host->cancelled(job);
}
static inline int bl_enqueue(struct bl_job *job, const char *queue, const char *document,
                             size_t len, char *error, size_t error_size)
{
    return job->host->enqueue(job, queue, document, len, error, error_size);
}

/* What the host looks for; visible even in a plugin built with -fvisibility=hidden. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
extern const struct bl_plugin bl_plugin;

#ifdef __cplusplus
}
#endif

#endif
