#include "worker/runner/capture.h"

#include <math.h>
#include <string.h>

#include "common/document.h"
#include "common/json_span.h"
#include "common/json_value.h"
#include "common/when.h"
#include "worker/runner/host.h"
#include "worker/runner/job.h"

enum {
    ERROR_LINE_BYTES = 4096,
    REPORT_LINE_BYTES = 8192, /* at least; a result may be longer */
    LAST_LINES = 3,
    LAST_LINES_BYTES = 1024,
    SHOWN_BYTES = 200, /* of a line that was not understood */
    PROGRESS_TEXT_BYTES = 256,
};

void capture_init(struct capture *c, struct job *j, int64_t now_mono_us)
{
    int64_t max = j->runner->config.result_max_bytes;
    *c = (struct capture){
        .job = j,
        .result_max = max < 0                  ? 0
                      : max > JOB_RESULT_BYTES ? JOB_RESULT_BYTES
                                               : (size_t)max,
        .error = {.bytes = BUF_INIT},
        .report = {.bytes = BUF_INIT},
        .said_result = BUF_INIT,
        .fail = BUF_INIT,
        .snooze_ms = -1,
    };
    log_budget_start(&c->budget, now_mono_us);
}

void capture_done(struct capture *c)
{
    buf_done(&c->error.bytes);
    buf_done(&c->report.bytes);
    buf_done(&c->said_result);
    buf_done(&c->fail);
}

void capture_stdout(struct capture *c, struct span bytes)
{
    struct job *j = c->job;
    size_t room = c->result_max - j->result.len;
    if (bytes.len > room) {
        bytes.len = room;
        j->result_cut = true;
    }
    buf_add_span(&j->result, bytes);
    j->has_result = true;
}

/* Moves bytes up to a newline from `*bytes` into the line; true when it is complete. */
static bool line_add(struct capture_line *l, struct span *bytes, size_t max)
{
    const char *end = memchr(bytes->ptr, '\n', bytes->len);
    size_t n = end != NULL ? (size_t)(end - bytes->ptr) : bytes->len;
    size_t room = max - l->bytes.len;
    l->cut = l->cut || n > room;
    buf_add(&l->bytes, bytes->ptr, n < room ? n : room);
    if (end != NULL)
        n++;
    bytes->ptr += n;
    bytes->len -= n;
    return end != NULL;
}

static void line_clear(struct capture_line *l)
{
    buf_clear(&l->bytes);
    l->cut = false;
}

static void say_unlogged(struct capture *c)
{
    struct job *j = c->job;
    if (c->unlogged > 0)
        log_msg(LOG_WARN, "lines of a program were left out: too many", KV_STR("stream", "stderr"),
                KV_INT("lines", c->unlogged), KV_SPAN("job", j->wire.id),
                KV_SPAN("type", j->wire.type));
    c->unlogged = 0;
}

static void log_error_line(struct capture *c, int64_t now_us)
{
    const struct job *j = c->job;
    if (!log_budget_take(&c->budget, c->error.bytes.len, now_us)) {
        c->unlogged++;
        return;
    }
    say_unlogged(c);
    log_msg(LOG_INFO, "program says", KV_STR("stream", "stderr"),
            KV_SPAN("text", buf_span(&c->error.bytes)), KV_SPAN("job", j->wire.id),
            KV_SPAN("type", j->wire.type), KV_SPAN("queue", j->wire.queue),
            KV_INT("attempt", j->wire.attempt));
}

static void tail_end(struct buf *tail)
{
    if (tail->len <= JOB_TAIL_BYTES)
        return;
    size_t cut = tail->len - JOB_TAIL_BYTES;
    while (cut < tail->len && ((unsigned char)tail->data[cut] & 0xc0) == 0x80)
        cut++;
    buf_consume(tail, cut);
}

void capture_stderr(struct capture *c, struct span bytes, int64_t now_mono_us)
{
    buf_add_tail(&c->job->stderr_tail, bytes, JOB_TAIL_BYTES);
    while (bytes.len > 0) {
        if (!line_add(&c->error, &bytes, ERROR_LINE_BYTES))
            continue;
        log_error_line(c, now_mono_us);
        line_clear(&c->error);
    }
}

/* What a line on descriptor 3 says; applied only once all of it is known to be valid. */
struct report {
    struct span progress, text, result, snooze, fail; /* values; len 0 = not said */
};

static int on_report_member(void *arg, const struct json_member *m, struct err *err)
{
    struct report *r = arg;
    const struct {
        const char *name;
        struct span *value;
        bool wanted;
        const char *what;
    } rows[] = {
        {"progress", &r->progress, m->kind == JK_NUMBER, "a number"},
        {"text", &r->text, m->kind == JK_STRING, "a string"},
        {"result", &r->result, true, "anything"},
        {"snooze", &r->snooze, m->kind == JK_NUMBER, "a number of seconds"},
        {"fail", &r->fail, m->kind == JK_STRING, "a string"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (!json_key_is(m->key, rows[i].name))
            continue;
        if (!rows[i].wanted)
            return err_set(err, ERR_TYPE, "\"%s\" must be %s, not %s", rows[i].name, rows[i].what,
                           json_kind_name(m->kind));
        *rows[i].value = m->value;
    }
    return 0;
}

static void apply_progress(struct capture *c, const struct report *r)
{
    double percent = -1;
    struct buf text = BUF_INIT;
    if (r->progress.len > 0 && !json_number_double(r->progress, &percent))
        percent = -1;
    if (r->text.len > 0)
        json_string_decode(r->text, &text);
    percent = percent > 100 ? 100 : percent;
    host_progress(c->job, percent < 0 ? -1 : (int64_t)percent, text.data,
                  text.len < PROGRESS_TEXT_BYTES ? text.len : PROGRESS_TEXT_BYTES);
    buf_done(&text);
}

static int apply(struct capture *c, const struct report *r, struct err *err)
{
    if (r->result.len > c->result_max)
        return err_set(err, ERR_TOO_BIG, "a result of %zu bytes; result_max is %zu", r->result.len,
                       c->result_max);
    if (r->snooze.len > 0) {
        double seconds = 0;
        int64_t ms = 0;
        if (!json_number_double(r->snooze, &seconds))
            return err_set(err, ERR_RANGE, "\"snooze\" is out of range");
        int rc = duration_from_seconds(seconds, &ms, err);
        if (rc < 0)
            return rc;
        c->snooze_ms = ms;
    }
    if (r->result.len > 0) {
        buf_clear(&c->said_result);
        buf_add_span(&c->said_result, r->result);
        c->has_said_result = true;
    }
    if (r->fail.len > 0) {
        buf_clear(&c->fail);
        json_string_decode(r->fail, &c->fail);
    }
    if (r->progress.len > 0 || r->text.len > 0)
        apply_progress(c, r);
    return 0;
}

static void on_report_line(struct capture *c)
{
    struct err err = {0};
    struct report r = {0};
    struct span line = buf_span(&c->report.bytes);
    if (line.len == 0)
        return;
    int rc = 0;
    if (c->report.cut)
        rc = err_set(&err, ERR_TOO_BIG, "a line that is too long");
    if (rc == 0)
        rc = json_object_scan(line, DOC_DEFAULT_NESTING, on_report_member, &r, &err);
    if (rc == 0 && r.progress.len + r.text.len + r.result.len + r.snooze.len + r.fail.len == 0)
        rc = err_set(&err, ERR_UNKNOWN, "none of progress, text, result, snooze, fail is in it");
    if (rc == 0)
        rc = apply(c, &r, &err);
    if (rc == 0)
        return;
    struct buf text = BUF_INIT;
    buf_add_str(&text, err.text);
    if (log_on(LOG_DEBUG)) {
        buf_add_str(&text, ": ");
        buf_add(&text, line.ptr, line.len < SHOWN_BYTES ? line.len : SHOWN_BYTES);
    }
    job_log(c->job, LOG_WARN, "a line on descriptor 3 was not understood, ignoring it", "error",
            buf_span(&text));
    buf_done(&text);
}

void capture_report(struct capture *c, struct span bytes)
{
    size_t max = c->result_max + REPORT_LINE_BYTES;
    while (bytes.len > 0) {
        if (!line_add(&c->report, &bytes, max))
            continue;
        on_report_line(c);
        line_clear(&c->report);
    }
}

void capture_end(struct capture *c, int64_t now_mono_us)
{
    struct job *j = c->job;
    if (c->error.bytes.len > 0)
        log_error_line(c, now_mono_us);
    say_unlogged(c);
    on_report_line(c);
    tail_end(&j->stderr_tail);
    if (c->has_said_result) {
        buf_clear(&j->result);
        buf_add_span(&j->result, buf_span(&c->said_result));
        j->has_result = true;
        j->result_cut = false;
    }
}

struct span capture_last_lines(const struct capture *c)
{
    struct span s = buf_span(&c->job->stderr_tail);
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) != NULL)
        s.len--;
    size_t start = s.len;
    int lines = 1;
    while (start > 0 && s.len - start < LAST_LINES_BYTES) {
        if (s.ptr[start - 1] == '\n' && ++lines > LAST_LINES)
            break;
        start--;
    }
    while (start < s.len && ((unsigned char)s.ptr[start] & 0xc0) == 0x80)
        start++;
    return (struct span){s.ptr + start, s.len - start};
}
