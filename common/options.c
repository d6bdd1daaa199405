#include "common/options.h"

#include <stdio.h>
#include <string.h>

#include "common/config.h"

#define SECONDS(n) ((n)*INT64_C(1000))
#define HOURS(n)   ((n)*INT64_C(3600000))
#define DAYS(n)    ((n)*INT64_C(86400000))
#define KIB        INT64_C(1024)
#define MIB        (1024 * KIB)
#define TIB        (1024 * 1024 * MIB)

static const char *const delivery_choices[] = {"at-least-once", "at-most-once", NULL};
static const char *const on_lost_choices[] = {"finish", "stop", NULL};
static const char *const backoff_choices[] = {"poly", "fixed", "exp", NULL};
static const char *const level_choices[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_choices[] = {"logfmt", "json", NULL};

#define CONFIG(field)  .scope = OPTION_OF_CONFIG, .offset = offsetof(struct config, field)
#define QUEUE(field)   .scope = OPTION_OF_QUEUE, .offset = offsetof(struct config_queue, field)
#define HANDLER(field) .scope = OPTION_OF_HANDLER, .offset = offsetof(struct config_handler, field)

/* One row is one paragraph, which the formatter would stretch to eight lines. */
/* clang-format off */
static const struct option table[] = {
    {.name = "redis.url", .type = OPTION_TEXT, CONFIG(redis.url),
     .example = "redis://127.0.0.1:6379/0", .flags = OPTION_RESTART | OPTION_SHOWN,
     .help = "Where Redis is: redis://[user[:password]@]host[:port][/db], rediss:// for TLS, or "
             "unix:///path. The environment (BUCKETLINE_REDIS_URL, REDIS_URL) goes before this."},
    {.name = "redis.prefix", .type = OPTION_TEXT, CONFIG(redis.prefix), .fallback = "",
     .flags = OPTION_RESTART | OPTION_EMPTY | OPTION_KEY,
     .help = "Stands before every key, so that several installations can share one Redis."},
    {.name = "redis.password_file", .type = OPTION_PATH, CONFIG(redis.password_file),
     .example = "/etc/bucketline/redis.password", .flags = OPTION_RESTART,
     .help = "A file whose first line is the password, in place of one in the URL."},
    {.name = "redis.ca_file", .type = OPTION_PATH, CONFIG(redis.ca_file),
     .example = "/etc/bucketline/ca.pem", .flags = OPTION_RESTART,
     .help = "Certificates to trust with rediss://. Not set: those of the system."},
    {.name = "redis.cert_file", .type = OPTION_PATH, CONFIG(redis.cert_file),
     .example = "/etc/bucketline/client.pem", .flags = OPTION_RESTART,
     .help = "The client's own certificate, if the server asks for one; goes with key_file."},
    {.name = "redis.key_file", .type = OPTION_PATH, CONFIG(redis.key_file),
     .example = "/etc/bucketline/client.key", .flags = OPTION_RESTART,
     .help = "The private key of cert_file."},
    {.name = "redis.verify", .type = OPTION_BOOL, CONFIG(redis.verify), .fallback = "true",
     .flags = OPTION_RESTART,
     .help = "Check the server's certificate and name. false is for trying things out only."},
    {.name = "redis.connect_timeout", .type = OPTION_DURATION, CONFIG(redis.connect_timeout_ms),
     .min = 10, .max = HOURS(1), .fallback = "5s", .flags = OPTION_RESTART,
     .help = "How long a connection may take to come up."},
    {.name = "redis.reply_timeout", .type = OPTION_DURATION, CONFIG(redis.reply_timeout_ms),
     .min = 10, .max = HOURS(1), .fallback = "4s", .flags = OPTION_RESTART,
     .help = "After so long without an answer the connection is taken for dead."},

    {.name = "queues", .type = OPTION_QUEUES, CONFIG(queues),
     .count_offset = offsetof(struct config, queue_count), .max = 1024,
     .help = "The queues to serve. In strict order: a later one is looked at when those before it "
             "are empty. If each has a weight, they share instead, in proportion."},
    {.name = "queues[].name", .type = OPTION_TEXT, QUEUE(name), .example = "mail",
     .flags = OPTION_NAME | OPTION_SHOWN,
     .help = "The queue's name: 1 to 200 of A-Z a-z 0-9 . _ : / -"},
    {.name = "queues[].key", .type = OPTION_TEXT, QUEUE(key), .example = "task_queue",
     .flags = OPTION_KEY | OPTION_SHOWN,
     .help = "The Redis list that is the queue. Not set: \"queue:\" and the name."},
    {.name = "queues[].weight", .type = OPTION_INT, QUEUE(weight), .min = 0, .max = 1000,
     .fallback = "0",
     .help = "1 to 1000: the queue's share; then every queue must have one. 0: strict order."},
    {.name = "queues[].delivery", .type = OPTION_ENUM, QUEUE(delivery),
     .choices = delivery_choices, .fallback = "at-least-once",
     .help = "at-least-once, or at-most-once: taken off the list before it runs, never again."},
    {.name = "queues[].dead_max", .type = OPTION_COUNT, QUEUE(dead_max), .min = 0,
     .max = INT64_C(1000000000), .fallback = "0",
     .help = "Keep so many dead letters, the newest. 0: all. What is removed is counted."},
    {.name = "queues[].dead_age", .type = OPTION_DURATION, QUEUE(dead_age_ms), .min = 0,
     .max = DAYS(36525), .fallback = "0s",
     .help = "Keep dead letters for so long. 0s: for ever."},

    {.name = "runners", .type = OPTION_INT, CONFIG(runners), .min = 1, .max = 1000,
     .example = "4",
     .help = "How many jobs run at once, each in a process of its own. Not set: one for each "
             "processor, at least 2."},
    {.name = "plugins", .type = OPTION_LIST, CONFIG(plugins),
     .count_offset = offsetof(struct config, plugin_count), .max = 256,
     .example = "[build/jobs/*.so]", .flags = OPTION_SHOWN,
     .help = "Handlers in C: files, or patterns of files, relative to this file."},

    {.name = "handlers", .type = OPTION_HANDLERS, CONFIG(handlers),
     .count_offset = offsetof(struct config, handler_count), .max = 4096,
     .help = "Settings by job type. With exec, a program is the handler of that type; without, "
             "they are settings of a plugin's handler. A job's own timeout, retry and backoff "
             "go before these."},
    {.name = "handlers.*.exec", .type = OPTION_LIST, HANDLER(exec),
     .count_offset = offsetof(struct config_handler, exec_count), .max = 1024,
     .example = "[/usr/bin/python3, jobs/report.py]", .flags = OPTION_EMPTY | OPTION_SHOWN,
     .help = "The program and its arguments; no shell. The job's args come on its stdin. Exit 0: "
             "done, 65: dead, 75: again without spending an attempt, 78: park, else: retry."},
    {.name = "handlers.*.directory", .type = OPTION_PATH, HANDLER(directory),
     .example = "/srv/reports", .flags = OPTION_PROGRAM,
     .help = "Where the program runs. Not set: the directory of this file."},
    {.name = "handlers.*.user", .type = OPTION_TEXT, HANDLER(user), .example = "reports",
     .flags = OPTION_PROGRAM,
     .help = "Run the program as this user; the worker must be root for that."},
    {.name = "handlers.*.env", .type = OPTION_MAP, HANDLER(env),
     .count_offset = offsetof(struct config_handler, env_count), .max = 1024,
     .example = "{LANG: C.UTF-8}", .flags = OPTION_EMPTY | OPTION_PROGRAM,
     .help = "Variables added to the program's environment, which is otherwise nearly empty."},
    {.name = "handlers.*.timeout", .type = OPTION_DURATION, HANDLER(timeout_ms), .min = 1,
     .max = DAYS(365), .example = "30s", .flags = OPTION_SHOWN,
     .help = "One attempt may take so long. Not set: the timeout below."},
    {.name = "handlers.*.retry", .type = OPTION_INT, HANDLER(retries), .min = 0, .max = RETRY_MAX,
     .example = "3", .flags = OPTION_SHOWN,
     .help = "Retries after the first attempt; 0: straight to the dead letters. Not set: 25."},
    {.name = "handlers.*.backoff.type", .type = OPTION_ENUM, HANDLER(backoff.type),
     .choices = backoff_choices, .fallback = "poly", .example = "exp", .flags = OPTION_SHOWN,
     .help = "Waits between retries. poly: base + (n-1)^4 s, fixed: base, exp: base * 2^(n-1)."},
    {.name = "handlers.*.backoff.base", .type = OPTION_DURATION, HANDLER(backoff.base_ms),
     .min = 1, .max = DAYS(365), .fallback = "15s", .example = "2s", .flags = OPTION_SHOWN,
     .help = "See type. Default: 15s."},
    {.name = "handlers.*.backoff.max", .type = OPTION_DURATION, HANDLER(backoff.max_ms),
     .min = 1, .max = DAYS(365), .example = "10m", .flags = OPTION_SHOWN,
     .help = "No wait is longer than this. Default: 30d with poly, else 1d."},
    {.name = "handlers.*.backoff.jitter", .type = OPTION_FRACTION, HANDLER(backoff.jitter),
     .min = 0, .max = 1, .fallback = "0.1",
     .help = "Each wait is made longer by a random part of itself, up to this fraction."},
    {.name = "handlers.*.limits.memory", .type = OPTION_BYTES, HANDLER(limit_memory_bytes),
     .min = 0, .max = 16 * TIB, .fallback = "0", .flags = OPTION_PROGRAM,
     .help = "Address space of the program, such as 512MiB. 0: no limit."},
    {.name = "handlers.*.limits.cpu", .type = OPTION_DURATION, HANDLER(limit_cpu_ms), .min = 0,
     .max = DAYS(365), .fallback = "0s", .flags = OPTION_PROGRAM,
     .help = "Processor time of the program, in whole seconds. 0s: no limit."},
    {.name = "handlers.*.limits.files", .type = OPTION_INT, HANDLER(limit_files), .min = 0,
     .max = 1048576, .fallback = "0", .flags = OPTION_PROGRAM,
     .help = "Files the program may have open. 0: as the worker."},
    {.name = "handlers.*.nice", .type = OPTION_INT, HANDLER(nice), .min = 0, .max = 19,
     .fallback = "0", .flags = OPTION_PROGRAM,
     .help = "The program gives way to others: 0 (not) to 19 (most)."},

    {.name = "state_dir", .type = OPTION_PATH, CONFIG(state_dir), .example = "/var/lib/bucketline",
     .flags = OPTION_RESTART | OPTION_EMPTY,
     .help = "Where the worker notes what its jobs have done, so that a restart repeats nothing; "
             "on a local disk. Not set: a place of the user's own. \"\": in memory only."},
    {.name = "pidfile", .type = OPTION_PATH, CONFIG(pidfile),
     .example = "/run/bucketline/worker.pid", .flags = OPTION_RESTART,
     .help = "A file for the worker's process id."},
    {.name = "user", .type = OPTION_TEXT, CONFIG(user), .example = "bucketline",
     .flags = OPTION_RESTART,
     .help = "Become this user before any handler is loaded, when started as root."},
    {.name = "core_dumps", .type = OPTION_BOOL, CONFIG(core_dumps), .fallback = "false",
     .flags = OPTION_RESTART,
     .help = "Let crashes leave core files. They hold what is in the jobs, and the worker's the "
             "password of Redis."},
    {.name = "on_lost", .type = OPTION_ENUM, CONFIG(on_lost), .choices = on_lost_choices,
     .fallback = "finish",
     .help = "What running jobs do when Redis is out of reach for 6 s: finish, or stop, which "
             "makes sure that no job runs in two places at once."},
    {.name = "shutdown_timeout", .type = OPTION_DURATION, CONFIG(shutdown_timeout_ms), .min = 0,
     .max = DAYS(1), .fallback = "8s",
     .help = "On stopping, running jobs have so long to end; then they are killed and given back."},
    {.name = "grace", .type = OPTION_DURATION, CONFIG(grace_ms), .min = 0, .max = HOURS(1),
     .fallback = "5s",
     .help = "A job that is to end gets a soft signal, and SIGKILL this much later."},
    {.name = "timeout", .type = OPTION_DURATION, CONFIG(timeout_ms), .min = 1, .max = DAYS(365),
     .fallback = "30m",
     .help = "One attempt may take so long, if neither job nor handler says otherwise."},
    {.name = "dead_after", .type = OPTION_DURATION, CONFIG(dead_after_ms), .min = 200,
     .max = HOURS(1), .fallback = "10s",
     .help = "A worker that is silent for so long is gone, and others take its jobs."},
    {.name = "beat", .type = OPTION_DURATION, CONFIG(beat_ms), .min = 10, .max = HOURS(1),
     .fallback = "2s",
     .help = "How often a worker says that it is there; at most a quarter of dead_after."},
    {.name = "recycle_after", .type = OPTION_INT, CONFIG(recycle_after), .min = 0,
     .max = 1000000000, .fallback = "100000",
     .help = "A runner is replaced after so many jobs. 0: never."},
    {.name = "recycle_rss", .type = OPTION_BYTES, CONFIG(recycle_rss_bytes), .min = 0,
     .max = 16 * TIB, .fallback = "512MiB",
     .help = "A runner is replaced when it holds more memory than this. 0: never."},
    {.name = "result_max", .type = OPTION_BYTES, CONFIG(result_max_bytes), .min = 0, .max = MIB,
     .fallback = "64KiB",
     .help = "So much of a program's stdout is kept as its result, at most 1MiB."},
    {.name = "max_snoozes", .type = OPTION_INT, CONFIG(max_snoozes), .min = 0, .max = 1000000000,
     .fallback = "1000",
     .help = "A job that asked to come back later more often than this is dead."},
    {.name = "park_for", .type = OPTION_DURATION, CONFIG(park_ms), .min = SECONDS(1),
     .max = DAYS(3650), .fallback = "7d",
     .help = "A job of a type that nobody handles waits so long for a handler; then it is dead."},
    {.name = "limits.document_bytes", .type = OPTION_BYTES, CONFIG(limits.document_bytes),
     .min = KIB, .max = 32 * MIB, .fallback = "1MiB",
     .help = "A larger document is a dead letter."},
    {.name = "limits.nesting", .type = OPTION_INT, CONFIG(limits.nesting), .min = 1, .max = 512,
     .fallback = "64", .help = "So is one whose JSON is nested deeper."},
    {.name = "log.level", .type = OPTION_ENUM, CONFIG(log.level), .choices = level_choices,
     .fallback = "info", .help = "error, warn, info or debug. debug shows what is in the jobs."},
    {.name = "log.format", .type = OPTION_ENUM, CONFIG(log.format), .choices = format_choices,
     .fallback = "logfmt", .help = "logfmt or json, one line per event, on stderr."},
};
/* clang-format on */

const struct option *options_all(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(table);
    return table;
}

const char *option_type_name(enum option_type type)
{
    static const char *const names[] = {
        [OPTION_BOOL] = "bool",         [OPTION_INT] = "int",     [OPTION_COUNT] = "int",
        [OPTION_DURATION] = "duration", [OPTION_BYTES] = "bytes", [OPTION_FRACTION] = "fraction",
        [OPTION_ENUM] = "enum",         [OPTION_TEXT] = "string", [OPTION_PATH] = "path",
        [OPTION_LIST] = "list",         [OPTION_MAP] = "map",     [OPTION_QUEUES] = "list",
        [OPTION_HANDLERS] = "map",
    };
    return names[type];
}

const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

bool option_is_section(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strncmp(table[i].name, name, len) == 0 && table[i].name[len] == '.')
            return true;
    return false;
}

const char *option_label(const struct option *o)
{
    switch (o->scope) {
    case OPTION_OF_CONFIG:
        return o->name;
    case OPTION_OF_QUEUE:
        return o->name + strlen("queues[].");
    case OPTION_OF_HANDLER:
        return o->name + strlen("handlers.*.");
    }
    return o->name;
}

const char *option_leaf(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

static char fold(char c)
{
    return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int min3(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

int option_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len > LONGEST || b_len > LONGEST)
        return LONGEST + 1;
    int rows[3][LONGEST + 1]; /* of the usual matrix: two before, the one before, this one */
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= a_len; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_len; j++) {
            char x = fold(a[i - 1]), y = fold(b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y && x != y;
            if (swapped && above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

static bool begins_alike(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] != '\0' && fold(a[i]) == fold(b[i]))
        i++;
    return i >= 3 && (a[i] == '\0' || b[i] == '\0');
}

/* A third of the letters may be wrong, at least one ("que" is no misspelt "user"); or one is the
 * other's beginning ("warning"). */
static bool is_alike(int distance, const char *key, const char *candidate)
{
    size_t len = strlen(key);
    return distance <= (len < 6 ? 1 : (int)(len / 3)) || begins_alike(key, candidate);
}

const char *option_nearest(const char *prefix, const char *key, char *out, size_t size)
{
    size_t prefix_len = strlen(prefix);
    int best = INT32_MAX;
    bool is_path = strchr(key, '.') != NULL && option_find(key) != NULL;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        const char *name = table[i].name;
        if (is_path || strncmp(name, prefix, prefix_len) != 0)
            continue;
        /* the next part of the path: an option here, or a section */
        char part[64];
        size_t len = strcspn(name + prefix_len, ".[");
        snprintf(part, sizeof part, "%.*s", (int)len, name + prefix_len);
        int distance = option_distance(key, part);
        if (distance < best && is_alike(distance, key, part)) {
            best = distance;
            snprintf(out, size, "%s", part);
        }
    }
    if (best < INT32_MAX)
        return out;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].scope == OPTION_OF_CONFIG &&
            (strcmp(option_leaf(table[i].name), key) == 0 || strcmp(table[i].name, key) == 0)) {
            snprintf(out, size, "%s", table[i].name);
            return out;
        }
    return NULL;
}

const char *option_nearest_choice(const struct option *o, const char *text)
{
    const char *nearest = NULL;
    int best = INT32_MAX;
    for (size_t i = 0; o->choices[i] != NULL; i++) {
        int distance = option_distance(text, o->choices[i]);
        if (distance < best && is_alike(distance, text, o->choices[i])) {
            best = distance;
            nearest = o->choices[i];
        }
    }
    return nearest;
}

void options_reset(enum option_scope scope, void *base)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].scope == scope)
            option_reset(&table[i], base);
}

void options_release(enum option_scope scope, void *base)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].scope == scope)
            option_release(&table[i], base);
}

int options_need_restart(const struct config *a, const struct config *b, struct buf *ret_names)
{
    int count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        if ((table[i].flags & OPTION_RESTART) == 0 || option_equal(&table[i], a, b))
            continue;
        buf_add_str(ret_names, count++ > 0 ? ", " : "");
        buf_add_str(ret_names, table[i].name);
    }
    return count;
}
