#include "worker/runner/host.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "worker/runner/job.h"

enum {
    LOG_TEXT_BYTES = 4096,
    PROGRESS_TEXT_BYTES = 255,
    PROGRESS_UNSAID = 255,
    PROGRESS_EVERY_US = 50000,
    QUEUE_NAME_BYTES = 200,
};

static struct job *job_of(struct bl_job *view)
{
    return view->host_data;
}

/* A handler's text: NULL is nothing, longer than `max` is cut at a character. */
static struct span text_of(const char *s, size_t max)
{
    if (s == NULL)
        return (struct span){NULL, 0};
    size_t len = strnlen(s, max + 1);
    if (len <= max)
        return (struct span){s, len};
    len = max;
    while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
        len--;
    return (struct span){s, len};
}

static void on_log(struct bl_job *view, int level, const char *text)
{
    enum log_level severity = level <= BL_LOG_ERROR   ? LOG_ERROR
                              : level >= BL_LOG_DEBUG ? LOG_DEBUG
                                                      : (enum log_level)level;
    if (log_on(severity))
        job_log(job_of(view), severity, "job says", "text", text_of(text, LOG_TEXT_BYTES));
}

static void on_fail(struct bl_job *view, const char *message)
{
    struct job *j = job_of(view);
    buf_clear(&j->message);
    job_say(j, text_of(message, JOB_MESSAGE_BYTES));
}

static void on_again_in(struct bl_job *view, int64_t ms)
{
    job_of(view)->delay_ms = ms >= 0 ? ms : -1;
}

void host_progress(struct job *j, int64_t percent, const char *text, size_t len)
{
    int64_t now_us = mono_us();
    if (j->progress_us != 0 && percent != 100 && now_us - j->progress_us < PROGRESS_EVERY_US)
        return; /* a hint for people: a loop that says it each time round must not flood the line */
    j->progress_us = now_us;
    char bytes[1 + PROGRESS_TEXT_BYTES];
    bytes[0] = (char)(percent < 0 ? PROGRESS_UNSAID : percent > 100 ? 100 : percent);
    if (len > PROGRESS_TEXT_BYTES)
        len = PROGRESS_TEXT_BYTES;
    if (len > 0)
        memcpy(bytes + 1, text, len);
    struct channel *ch = &j->runner->channel;
    channel_write(ch, WIRE_PROGRESS, 0, j->slot_index, j->seq, (struct span){bytes, 1 + len});
    channel_flush(ch, now_us);
}

static void on_progress(struct bl_job *view, int percent, const char *text)
{
    struct span s = text_of(text, PROGRESS_TEXT_BYTES);
    host_progress(job_of(view), percent, s.ptr, s.len);
}

static int on_set_result(struct bl_job *view, const void *bytes, size_t len)
{
    struct job *j = job_of(view);
    if (len > JOB_RESULT_BYTES || (bytes == NULL && len > 0))
        return -1;
    buf_clear(&j->result);
    buf_add(&j->result, bytes, len);
    j->has_result = true;
    return 0;
}

static int on_cancelled(struct bl_job *view)
{
    return job_stopped(job_of(view)) ? 1 : 0;
}

static int refuse(char *error, size_t error_size, const char *why)
{
    if (error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", why);
    return -1;
}

static int on_enqueue(struct bl_job *view, const char *queue, const char *document, size_t len,
                      char *error, size_t error_size)
{
    struct job *j = job_of(view);
    struct channel *ch = &j->runner->channel;
    size_t name_len = queue != NULL ? strnlen(queue, QUEUE_NAME_BYTES + 1) : 0;
    if (name_len == 0 || name_len > QUEUE_NAME_BYTES)
        return refuse(error, error_size, "a queue's name has 1 to 200 bytes");
    if (document == NULL || len == 0)
        return refuse(error, error_size, "an empty document");
    if (len > WIRE_REPLY_MAX - 2 - name_len)
        return refuse(error, error_size, "the document is too large");
    struct buf b = BUF_INIT;
    buf_add_char(&b, (char)(name_len & 0xff));
    buf_add_char(&b, (char)(name_len >> 8));
    buf_add(&b, queue, name_len);
    buf_add(&b, document, len);
    channel_write(ch, WIRE_ENQUEUE, 0, j->slot_index, j->seq, buf_span(&b));
    buf_clear(&b);
    channel_flush(ch, mono_us());
    struct err err = {0};
    int rc = channel_await_enqueued(ch, j->slot_index, j->seq, &job_stop_flag, &b, &err);
    if (rc < 0)
        rc = refuse(error, error_size, err.text);
    else if (b.len > 0)
        rc = refuse(error, error_size, b.data);
    buf_done(&b);
    return rc;
}

const struct bl_host host_table = {
    .size = sizeof host_table,
    .abi = BL_ABI_VERSION,
    .log = on_log,
    .fail = on_fail,
    .again_in = on_again_in,
    .progress = on_progress,
    .set_result = on_set_result,
    .cancelled = on_cancelled,
    .enqueue = on_enqueue,
};
