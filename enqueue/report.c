#include "enqueue/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"

enum { PROGRESS_EVERY_MS = 100 };

void progress_start(struct progress *p)
{
    *p = (struct progress){.on = isatty(STDERR_FILENO) == 1, .start_mono_ms = mono_ms()};
    p->next_mono_ms = p->start_mono_ms + PROGRESS_EVERY_MS;
}

void progress_step(struct progress *p, int64_t sent)
{
    if (!p->on)
        return;
    int64_t now = mono_ms();
    if (now < p->next_mono_ms)
        return;
    p->next_mono_ms = now + PROGRESS_EVERY_MS;
    p->shown = true;
    int64_t took = now - p->start_mono_ms;
    fprintf(stderr, "\r%" PRId64 " jobs, %" PRId64 "/s\033[K", sent, sent * 1000 / took);
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}

void report_answer(struct buf *out, enum store_answer answer, const char *text)
{
    switch (answer) {
    case STORE_OOM:
        buf_printf(out, "Redis is full and takes no new jobs (%s)\n", text);
        return;
    case STORE_GONE:
        buf_printf(out, "the connection to Redis was lost (%s)\n", text);
        return;
    case STORE_AWAY:
    case STORE_MOVED:
        buf_printf(out, "Redis cannot take jobs now (%s)\n", text);
        return;
    case STORE_WRONGTYPE:
        buf_printf(out, "the queue's key is no list (%s)\n", text);
        return;
    case STORE_DENIED:
        buf_printf(out, "Redis does not allow this user to push (%s)\n", text);
        return;
    case STORE_OK:
    case STORE_NOSCRIPT:
    case STORE_DUPTOKEN:
    case STORE_ERROR:
        buf_printf(out, "Redis refused (%s)\n", text);
        return;
    }
}

int report_exit_code(enum store_answer answer)
{
    switch (answer) {
    case STORE_OK:
        return EX_OK;
    case STORE_OOM:
    case STORE_GONE:
    case STORE_AWAY:
    case STORE_MOVED:
        return EX_TEMPFAIL;
    case STORE_WRONGTYPE:
        return EX_DATAERR;
    case STORE_DENIED:
        return EX_UNAVAILABLE;
    case STORE_NOSCRIPT:
    case STORE_DUPTOKEN:
    case STORE_ERROR:
        return EX_SOFTWARE;
    }
    return EX_SOFTWARE;
}

static void add_ranges(struct buf *out, const char *what, const char *noun, const struct ranges *r)
{
    if (r->count == 0)
        return;
    buf_printf(out, "%s: %ss ", what, noun);
    ranges_show(r, ", ", out);
    buf_add_char(out, '\n');
}

void report_failure(struct buf *out, const struct batch_account *a, const char *noun, bool complete)
{
    if (a->answer != STORE_OK)
        report_answer(out, a->answer, a->why.text);
    buf_printf(out, "stored: %" PRId64 " jobs (%ss ", a->stored, noun);
    ranges_show(&a->stored_lines, ", ", out);
    buf_add_str(out, ")\n");
    add_ranges(out, "refused, not stored", noun, &a->refused_lines);
    add_ranges(out, "unknown, perhaps stored", noun, &a->unknown_lines);
    if (!complete)
        buf_printf(out, "not sent: from %s %" PRId64 " on\n", noun, a->last_line + 1);
    buf_add_str(out, "to go on: --skip ");
    if (a->stored_lines.count > 0)
        ranges_show(&a->stored_lines, ",", out);
    else
        buf_add_char(out, '0');
    if (a->unknown_lines.count > 0)
        buf_printf(out,
                   " (add %" PRId64 "-%" PRId64 " to leave out the unknown ones too: "
                   "rather lost than twice)",
                   a->unknown_lines.items[0].first, ranges_last(&a->unknown_lines));
    buf_add_char(out, '\n');
}
