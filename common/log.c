#include "common/log.h"

#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log_sink.h"

/* LIMIT: of one value.  A line longer than a pipe's buffer would be cut between processes. */
enum { VALUE_BYTES = 8 * 1024 };

static enum log_level current_level = LOG_WARN;
static enum log_format current_format = LOG_LOGFMT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const format_names[] = {"logfmt", "json"};

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++)
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return -ERR_UNKNOWN;
}

int log_format_parse(const char *name, enum log_format *ret_format)
{
    for (size_t i = 0; i < ARRAY_COUNT(format_names); i++)
        if (strcmp(name, format_names[i]) == 0) {
            *ret_format = (enum log_format)i;
            return 0;
        }
    return -ERR_UNKNOWN;
}

const char *log_level_name(enum log_level level)
{
    return (size_t)level < ARRAY_COUNT(level_names) ? level_names[level] : "?";
}

const char *log_format_name(enum log_format format)
{
    return (size_t)format < ARRAY_COUNT(format_names) ? format_names[format] : "?";
}

void log_setup(enum log_level level, enum log_format format)
{
    current_level = level;
    current_format = format;
    log_sink_open();
}

void log_to(int fd)
{
    log_sink_to(fd);
}

enum log_level log_get_level(void)
{
    return current_level;
}

/* What a logfmt reader takes as one word without quotes.  Bytes above ASCII go the quoted way,
 * where they are checked. */
static bool is_bare(struct span text)
{
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static void add_quoted(struct buf *out, struct span text)
{
    if (text.len <= VALUE_BYTES) {
        buf_add_json_string(out, text);
        return;
    }
    size_t cut = VALUE_BYTES;
    while (cut > VALUE_BYTES - 4 && ((unsigned char)text.ptr[cut] & 0xc0) == 0x80)
        cut--;
    buf_add_json_string(out, (struct span){text.ptr, cut});
    out->len--; /* the closing quote comes after the mark */
    buf_add_str(out, "...\"");
}

static void add_logfmt(struct buf *out, const char *key, struct span value)
{
    if (out->len > 0 && out->data[out->len - 1] != '\n')
        buf_add_char(out, ' ');
    buf_add_str(out, key);
    buf_add_char(out, '=');
    if (value.len <= VALUE_BYTES && is_bare(value))
        buf_add_span(out, value);
    else
        add_quoted(out, value);
}

static void add_json(struct buf *out, const char *key, struct span value)
{
    buf_add_char(out, ',');
    buf_add_json_string(out, SPAN_OF_STR(key));
    buf_add_char(out, ':');
    add_quoted(out, value);
}

static void render_logfmt(struct buf *out, const char *ts, enum log_level level, const char *msg,
                          const struct log_kv *kvs)
{
    add_logfmt(out, "ts", SPAN_OF_STR(ts));
    add_logfmt(out, "level", SPAN_OF_STR(log_level_name(level)));
    add_logfmt(out, "msg", SPAN_OF_STR(msg));
    for (const struct log_kv *kv = kvs; kv != NULL && kv->key != NULL; kv++) {
        if (kv->kind == LOG_KV_SPAN) {
            add_logfmt(out, kv->key, kv->text);
            continue;
        }
        buf_add_char(out, ' ');
        buf_add_str(out, kv->key);
        buf_add_char(out, '=');
        buf_add_int(out, kv->num);
    }
}

static void render_json(struct buf *out, const char *ts, enum log_level level, const char *msg,
                        const struct log_kv *kvs)
{
    buf_add_str(out, "{\"ts\":");
    buf_add_json_string(out, SPAN_OF_STR(ts));
    add_json(out, "level", SPAN_OF_STR(log_level_name(level)));
    add_json(out, "msg", SPAN_OF_STR(msg));
    for (const struct log_kv *kv = kvs; kv != NULL && kv->key != NULL; kv++) {
        if (kv->kind == LOG_KV_SPAN) {
            add_json(out, kv->key, kv->text);
            continue;
        }
        buf_add_char(out, ',');
        buf_add_json_string(out, SPAN_OF_STR(kv->key));
        buf_add_char(out, ':');
        buf_add_int(out, kv->num);
    }
    buf_add_char(out, '}');
}

void log_render(struct buf *out, int64_t now_wall_ms, enum log_format format, enum log_level level,
                const char *msg, const struct log_kv *kvs)
{
    char ts[CLOCK_TEXT_BYTES];
    wall_format(now_wall_ms, ts);
    switch (format) {
    case LOG_LOGFMT:
        render_logfmt(out, ts, level, msg, kvs);
        break;
    case LOG_JSON:
        render_json(out, ts, level, msg, kvs);
        break;
    }
    buf_add_char(out, '\n');
}

/* Lines that were dropped before this one, told in front of it. */
static void tell_dropped(struct buf *out, uint64_t count)
{
    const struct log_kv kvs[] = {KV_INT("lines", count), {.key = NULL}};
    log_render(out, wall_ms(), current_format, LOG_WARN, "log lines were dropped: nobody read them",
               kvs);
}

/* A line that cannot be written is dropped: a full log must not stop a worker. */
void log_write(enum log_level level, const char *msg, const struct log_kv *kvs)
{
    if (!log_on(level))
        return;
    struct buf line = BUF_INIT;
    uint64_t dropped = log_sink_take_dropped();
    if (dropped > 0)
        tell_dropped(&line, dropped);
    log_render(&line, wall_ms(), current_format, level, msg, kvs);
    if (!log_sink_write(buf_span(&line)))
        log_sink_add_dropped(dropped);
    buf_done(&line);
}

bool log_gate(struct log_gate *g, int64_t now_mono_ms, int64_t every_ms, int64_t *ret_skipped)
{
    if (now_mono_ms < g->next_mono_ms) {
        g->skipped++;
        return false;
    }
    *ret_skipped = g->skipped;
    g->skipped = 0;
    g->next_mono_ms = now_mono_ms + every_ms;
    return true;
}

enum { BUDGET_BURST_BYTES = 64 * 1024, BUDGET_BYTES_PER_S = 16 * 1024, BUDGET_LINE_OVERHEAD = 128 };

void log_budget_start(struct log_budget *b, int64_t now_mono_us)
{
    *b = (struct log_budget){.bytes = BUDGET_BURST_BYTES, .mono_us = now_mono_us};
}

bool log_budget_take(struct log_budget *b, size_t len, int64_t now_mono_us)
{
    double cost = (double)(len + BUDGET_LINE_OVERHEAD);
    b->bytes += (double)(now_mono_us - b->mono_us) / 1e6 * BUDGET_BYTES_PER_S;
    b->bytes = b->bytes > BUDGET_BURST_BYTES ? BUDGET_BURST_BYTES : b->bytes;
    b->mono_us = now_mono_us;
    if (cost > b->bytes)
        return false;
    b->bytes -= cost;
    return true;
}
