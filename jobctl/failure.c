#include "jobctl/failure.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_span.h"
#include "common/json_value.h"
#include "common/text_table.h"

const char *failure_reason_words(const char *reason)
{
    static const struct {
        const char *reason, *words;
    } rows[] = {
        {"failed", "it said so, or may not be retried"},
        {"retries-spent", "every attempt failed"},
        {"poison", "it took its runner or worker with it too often"},
        {"malformed", "it is no document that can be run"},
        {"snoozed-too-often", "it asked for later again and again"},
        {"unknown-type", "nobody handles its type"},
        {"handler", "its handler asked to wait for a person or a newer handler"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (strcmp(rows[i].reason, reason) == 0)
            return rows[i].words;
    return "";
}

static void say_bytes(struct buf *out, int64_t n)
{
    if (n < 1024 * 1024)
        buf_printf(out, "%" PRId64 " KiB", (n + 1023) / 1024);
    else
        buf_printf(out, "%.1f MiB", (double)n / (1024 * 1024));
}

static void say_ms(struct buf *out, int64_t ms)
{
    if (ms < 1000)
        buf_printf(out, "%" PRId64 " ms", ms);
    else if (ms < 600 * 1000)
        buf_printf(out, "%.1f s", (double)ms / 1000);
    else
        buf_printf(out, "%" PRId64 " min", ms / 60000);
}

static void say_time(struct buf *out, int64_t ms)
{
    char time[CLOCK_TEXT_BYTES];
    buf_add_str(out, wall_format(ms, time));
}

static void say_kind(struct buf *out, struct span kind)
{
    static const struct {
        const char *kind, *words;
    } rows[] = {
        {"crash", "its process died under it"},
        {"oom", "out of memory"},
        {"timeout", "it took too long"},
        {"lost", "its worker was lost"},
    };
    struct buf name = BUF_INIT;
    json_string_decode(kind, &name);
    buf_add_span(out, buf_span(&name));
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (strcmp(rows[i].kind, name.data) == 0)
            buf_printf(out, " (%s)", rows[i].words);
    buf_done(&name);
}

/* A member in words: its name here, and how its number reads. */
static void say_member(const struct json_member *m, const char **ret_name, struct buf *out)
{
    static const struct {
        const char *key, *name;
        void (*say)(struct buf *out, int64_t value); /* NULL = as it is */
    } rows[] = {
        {"at", "at", say_time},         {"exit_code", "exit code", NULL},
        {"run_ms", "ran for", say_ms},  {"max_rss_bytes", "peak memory", say_bytes},
        {"cpu_ms", "CPU time", say_ms}, {"stderr", "last output", NULL},
    };
    int64_t number;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (!json_key_is(m->key, rows[i].key))
            continue;
        *ret_name = rows[i].name;
        if (rows[i].say != NULL && m->kind == JK_NUMBER && json_number_int64(m->value, &number)) {
            rows[i].say(out, number);
            return;
        }
    }
    if (m->kind == JK_STRING && json_key_is(m->key, "kind"))
        say_kind(out, m->value);
    else if (m->kind == JK_STRING)
        json_string_decode(m->value, out);
    else
        buf_add_span(out, m->value);
}

/* A failure's members, one a line below its heading. */
static int on_failure_member(void *arg, const struct json_member *m, struct err *err)
{
    (void)err; /* nothing here fails */
    struct buf *out = arg;
    struct buf value = BUF_INIT;
    char key[32];
    const char *name = key;
    snprintf(key, sizeof key, "%.*s", (int)m->key.len, m->key.ptr);
    say_member(m, &name, &value);
    buf_printf(out, "  %-14s", name);
    /* Lines of a handler's own output stay lines. */
    const char *line = value.data, *end = value.data + value.len;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;
        if (line != value.data)
            buf_printf(out, "\n%16s", "");
        table_add_safe(out, (struct span){line, (size_t)(stop - line)});
        line = newline != NULL ? newline + 1 : end;
    }
    buf_add_char(out, '\n');
    buf_done(&value);
    return 0;
}

/* The failures before the last, oldest first. */
struct history {
    struct buf *out; /* NULL: only count */
    int count, shown;
};

static int on_history_item(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    struct history *h = arg;
    if (h->out == NULL) {
        h->count++;
        return 0;
    }
    if (kind != JK_OBJECT || h->shown++ >= h->count)
        return 0;
    buf_add_str(h->out, "earlier\n");
    return json_object_scan(item, 16, on_failure_member, h->out, err);
}

void failure_show_all(struct buf *out, const struct record *r)
{
    struct history history = {0};
    int rc = 0;
    if (r->error.len > 0) {
        buf_add_str(out, "last failure\n");
        rc = json_object_scan(r->error, 16, on_failure_member, out, NULL);
    }
    if (rc == 0 && r->history.len > 0)
        rc = json_array_scan(r->history, 16, on_history_item, &history, NULL);
    if (rc == 0 && r->history.len > 0) {
        /* The last of the history is the last failure, which stands above in full. */
        history.out = out;
        history.count -= r->error.len > 0;
        rc = json_array_scan(r->history, 16, on_history_item, &history, NULL);
    }
    if (rc != 0)
        buf_add_str(out, "  (unreadable)\n");
}
