/* letters.c - ls, show, retry and rm: for dead letters, parked, scheduled and retried jobs alike.
 *
 * Whoever names one ID gets one job: the place is read once to see how many there are, and again to
 * act.  Records change between the two only by other people's hands, and each act is checked by the
 * script that does it.
 */
#include "jobctl/jobctl.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/inspect_json.h"
#include "common/json_span.h"
#include "common/repair.h"
#include "common/text_table.h"
#include "jobctl/failure.h"

static const struct table_column columns[] = {
    {"QUEUE", false, 40}, {"ID", false, 0},      {"TYPE", false, 60},   {"ATTEMPTS", true, 0},
    {"TIME", false, 0},   {"REASON", false, 40}, {"ERROR", false, 100}, {NULL, false, 0},
};
static const struct table_column match_columns[] = {
    {"QUEUE", false, 40}, {"ID", false, 0},   {"UID", false, 0},
    {"TYPE", false, 60},  {"TIME", false, 0}, {NULL, false, 0},
};

enum { MATCHES_SHOWN = 20, BAD_SHOWN = 20 };

/* One walk over the chosen queues. */
struct walk {
    struct jobctl *ctl;
    struct text_table table;
    int64_t seen; /* letters that passed the filter */
    int64_t done; /* of them listed, retried or removed */
    int64_t gone; /* others were faster */
    int64_t bad; /* cannot be retried */
    bool more; /* --limit left some out */
    enum inspect_order order;
};

static const char *noun(const struct jobctl *ctl)
{
    switch (ctl->verb->place) {
    case PLACE_DEAD:
        return "dead letter";
    case PLACE_PARKED:
        return "parked job";
    case PLACE_SCHEDULED:
        return "scheduled job";
    case PLACE_RETRY:
        return "job waiting for a retry";
    case PLACE_WAITING:
    case PLACE_RUNNING:
    case PLACE_OUTBOX:
    case STORE_PLACE_COUNT:
        break;
    }
    BUG("no verbs for place %d", (int)ctl->verb->place);
}

/* Exit code. */
static int walk_queues(struct walk *w, const char *id, inspect_letter_fn fn)
{
    struct jobctl *ctl = w->ctl;
    struct inspect_filter filter = {.type = ctl->type, .id = id};
    struct err err = {0};
    for (int i = 0; i < ctl->queues.count && !w->more; i++)
        if (inspect_letters(ctl->session.client, &ctl->queues.items[i], ctl->verb->place, w->order,
                            &filter, fn, w, &err) != 0)
            return jobctl_fail(&err);
    return EX_OK;
}

/* ---- ls --------------------------------------------------------------------------------- */

/* When it came where it is, or falls due; 0 = not known. */
static int64_t time_of(const struct inspect_letter *l)
{
    const struct record *r = &l->record;
    if (l->due_ms > 0)
        return l->due_ms;
    return r->dead_at_ms > 0 ? r->dead_at_ms : r->parked_at_ms;
}

static void add_time(struct text_table *t, int64_t ms, struct buf *out)
{
    char text[CLOCK_TEXT_BYTES] = "";
    if (ms > 0) {
        wall_format(ms, text);
        memcpy(text + 19, "Z", 2); /* whole seconds are enough here */
    }
    table_cell_str(t, text, out);
}

static int on_error_member(void *arg, const struct json_member *m, struct err *err)
{
    (void)err; /* nothing here fails */
    if (m->kind == JK_STRING && json_key_is(m->key, "message")) {
        buf_clear(arg);
        json_string_decode(m->value, arg);
    } else if (m->kind == JK_STRING && json_key_is(m->key, "kind") &&
               ((struct buf *)arg)->len == 0) {
        json_string_decode(m->value, arg);
    }
    return 0;
}

/* The last failure in words: its message, else its kind. */
static void error_text(const struct inspect_letter *l, struct buf *out)
{
    if (l->record.error.len == 0 ||
        json_object_scan(l->record.error, 16, on_error_member, out, NULL) == 0)
        return;
    buf_clear(out);
}

static void add_row(struct walk *w, const struct inspect_letter *l)
{
    struct buf *out = &w->ctl->out;
    struct buf error = BUF_INIT;
    error_text(l, &error);
    table_cell_str(&w->table, l->queue->name, out);
    table_cell_str(&w->table, l->id, out);
    table_cell_str(&w->table, l->type, out);
    table_cell_int(&w->table, l->record.attempt, out);
    add_time(&w->table, time_of(l), out);
    table_cell_str(&w->table, l->record.reason, out);
    table_cell(&w->table, buf_span(&error), out);
    buf_done(&error);
}

static int on_listed(void *arg, const struct inspect_letter *l, struct err *err)
{
    (void)err; /* nothing here fails */
    struct walk *w = arg;
    struct jobctl *ctl = w->ctl;
    if (w->seen++ < ctl->offset)
        return INSPECT_KEEP;
    if (ctl->limit > 0 && w->done == ctl->limit) {
        w->more = true;
        return INSPECT_STOP;
    }
    w->done++;
    if (ctl->json)
        jobctl_json_item(ctl, inspect_letter_json(l));
    else
        add_row(w, l);
    jobctl_write(ctl, 64 * 1024);
    return INSPECT_KEEP;
}

int verb_ls(struct jobctl *ctl)
{
    int code = jobctl_choose_queues(ctl, ctl->operand_count, ctl->operands);
    if (code != EX_OK)
        return code;
    struct walk w = {.ctl = ctl, .order = INSPECT_NEWEST_FIRST};
    table_init(&w.table, columns);
    code = walk_queues(&w, NULL, on_listed);
    table_flush(&w.table, &ctl->out);
    table_done(&w.table);
    if (ctl->json)
        jobctl_json_end(ctl);
    if (code == EX_OK && w.more) {
        jobctl_write(ctl, 0);
        jobctl_say("there are more: --offset %lld", (long long)(ctl->offset + w.done));
    }
    if (code == EX_OK && w.done == 0 && !ctl->json)
        jobctl_say("no %s", noun(ctl));
    return code;
}

/* ---- one ID, or all ------------------------------------------------------------------------ */

static int on_counted(void *arg, const struct inspect_letter *l, struct err *err)
{
    (void)err; /* nothing here fails */
    struct walk *w = arg;
    if (w->seen++ >= MATCHES_SHOWN)
        return INSPECT_KEEP;
    struct buf *out = &w->ctl->out;
    table_cell_str(&w->table, l->queue->name, out);
    table_cell_str(&w->table, l->id, out);
    table_cell_str(&w->table, l->record.uid, out);
    table_cell_str(&w->table, l->type, out);
    add_time(&w->table, time_of(l), out);
    return INSPECT_KEEP;
}

/* Chooses the queues and counts what the command line means.  Lists the matches and fails if an ID
 * is that of several.  Exit code; `*ret_id` NULL = all. */
static int choose(struct jobctl *ctl, const char **ret_id, int64_t *ret_count)
{
    char *named[] = {(char *)(uintptr_t)ctl->queue};
    int code = jobctl_choose_queues(ctl, ctl->queue != NULL ? 1 : 0, named);
    if (code != EX_OK)
        return code;
    const char *id = ctl->operand_count > 0 ? ctl->operands[0] : NULL;
    struct walk w = {.ctl = ctl, .order = INSPECT_NEWEST_FIRST};
    struct buf listed = BUF_INIT;
    table_init(&w.table, match_columns);
    code = walk_queues(&w, id, on_counted);
    if (code == EX_OK && id != NULL && w.seen == 0) {
        jobctl_say("no %s %s", noun(ctl), id);
        code = EX_DATAERR;
    } else if (code == EX_OK && id != NULL && w.seen > 1 && !ctl->all) {
        table_flush(&w.table, &listed);
        jobctl_say("%lld of them have the id %s%s; name one by its uid, or all with --all:",
                   (long long)w.seen, id, w.seen > MATCHES_SHOWN ? " (some shown here)" : "");
        fputs(listed.data, stderr);
        code = EX_DATAERR;
    }
    buf_done(&listed);
    table_done(&w.table);
    *ret_id = id;
    *ret_count = w.seen;
    return code;
}

/* ---- show ------------------------------------------------------------------------------- */

static void add_line(struct buf *out, const char *name, struct span value)
{
    if (value.len == 0)
        return;
    buf_printf(out, "%-16s", name);
    table_add_safe(out, value);
    buf_add_char(out, '\n');
}

static void add_count_line(struct buf *out, const char *name, int count)
{
    if (count > 0)
        buf_printf(out, "%-16s%d\n", name, count);
}

static void add_time_line(struct buf *out, const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_BYTES];
    if (ms > 0)
        add_line(out, name, SPAN_OF_STR(wall_format(ms, text)));
}

static void show_reason(struct buf *out, const struct record *r)
{
    struct buf text = BUF_INIT;
    const char *words = failure_reason_words(r->reason);
    buf_add_str(&text, r->reason);
    if (words[0] != '\0')
        buf_printf(&text, " (%s)", words);
    add_line(out, "reason", buf_span(&text));
    buf_done(&text);
}

static void show_document(struct buf *out, const struct inspect_letter *l)
{
    bool newer = l->record.kind == RECORD_NEWER;
    struct span bytes = newer ? l->bytes : l->document;
    const char *name = newer ? "record" : "document";
    if (utf8_valid(bytes)) {
        buf_printf(out, "%s, %zu bytes%s\n", name, bytes.len,
                   newer ? ", of a newer version of this program" : "");
        buf_add_span(out, bytes);
    } else {
        buf_printf(out, "%s, %zu bytes, no UTF-8: as base64\n", name, bytes.len);
        buf_add_base64(out, bytes);
    }
    buf_add_char(out, '\n');
}

static int on_shown(void *arg, const struct inspect_letter *l, struct err *err)
{
    (void)err; /* nothing here fails */
    struct walk *w = arg;
    struct jobctl *ctl = w->ctl;
    struct buf *out = &ctl->out;
    const struct record *r = &l->record;
    if (ctl->json && ctl->all) {
        jobctl_json_item(ctl, inspect_letter_json(l));
    } else if (ctl->json) {
        jobctl_json_object(ctl, inspect_letter_json(l));
    } else {
        if (w->done > 0)
            buf_add_char(out, '\n');
        add_line(out, "id", SPAN_OF_STR(l->id));
        add_line(out, "type", SPAN_OF_STR(l->type));
        add_line(out, "queue", SPAN_OF_STR(l->queue->name));
        add_line(out, "uid", SPAN_OF_STR(r->uid));
        show_reason(out, r);
        add_time_line(out, "enqueued", l->has_parsed ? l->parsed.enqueued_at_ms : 0);
        add_time_line(out, "first failed", r->first_failed_at_ms);
        add_time_line(out, "failed", r->failed_at_ms);
        add_time_line(out, "parked", r->parked_at_ms);
        add_time_line(out, "dead", r->dead_at_ms);
        add_time_line(out, "due", l->due_ms);
        add_count_line(out, "attempts", r->attempt);
        add_count_line(out, "crashes", r->crashes);
        add_count_line(out, "lost", r->lost);
        add_count_line(out, "snoozes", r->snoozes);
        add_count_line(out, "interrupted", r->interrupted);
        failure_show_all(out, r);
        show_document(out, l);
    }
    w->done++;
    jobctl_write(ctl, 64 * 1024);
    return ctl->all ? INSPECT_KEEP : INSPECT_STOP;
}

int verb_show(struct jobctl *ctl)
{
    const char *id;
    int64_t count;
    int code = choose(ctl, &id, &count);
    if (code != EX_OK)
        return code;
    struct walk w = {.ctl = ctl, .order = INSPECT_NEWEST_FIRST};
    code = walk_queues(&w, id, on_shown);
    if (ctl->json && ctl->all)
        jobctl_json_end(ctl);
    return code;
}

/* ---- retry and rm ------------------------------------------------------------------------- */

/* One that cannot be retried is named and stays; the others go on. */
static int on_bad(struct walk *w, const struct inspect_letter *l, const struct err *why)
{
    if (w->bad++ < BAD_SHOWN)
        jobctl_say("%s %s stays: %s", noun(w->ctl), l->id[0] != '\0' ? l->id : l->record.uid,
                   why->text);
    return INSPECT_KEEP;
}

static int acted(struct walk *w, bool done)
{
    if (done)
        w->done++;
    else
        w->gone++;
    /* One ID without --all is one job; when it was gone, it lies there no more either. */
    return w->ctl->all ? INSPECT_REMOVED : INSPECT_STOP;
}

static int on_retry(void *arg, const struct inspect_letter *l, struct err *err)
{
    struct walk *w = arg;
    struct err why = {0};
    bool done = false;
    int rc = repair_retry(w->ctl->session.client, l, &done, &why);
    if (rc == -ERR_NEWER || rc == -ERR_SYNTAX)
        return on_bad(w, l, &why);
    if (rc != 0)
        return err_set(err, (enum err_code)why.code, "%s", why.text);
    return acted(w, done);
}

static int on_remove(void *arg, const struct inspect_letter *l, struct err *err)
{
    struct walk *w = arg;
    bool done = false;
    int rc = repair_remove(w->ctl->session.client, l, &done, err);
    return rc != 0 ? rc : acted(w, done);
}

/* What came of it.  Exit code. */
static int conclude(struct walk *w, int code, const char *word)
{
    struct jobctl *ctl = w->ctl;
    if (ctl->json)
        jobctl_json_object(ctl, json_pack("{s:I, s:I, s:I}", word, (json_int_t)w->done, "gone",
                                          (json_int_t)w->gone, "refused", (json_int_t)w->bad));
    else
        buf_printf(&ctl->out, "%lld %s\n", (long long)w->done, word);
    if (w->gone > 0)
        jobctl_say("%lld were gone, or had moved while others were at work: look again",
                   (long long)w->gone);
    if (w->bad > BAD_SHOWN)
        jobctl_say("%lld in all stay", (long long)w->bad);
    if (code == EX_OK && (w->bad > 0 || (w->gone > 0 && w->done == 0)))
        return EX_DATAERR;
    return code;
}

int verb_retry(struct jobctl *ctl)
{
    const char *id;
    int64_t count;
    int code = choose(ctl, &id, &count);
    if (code != EX_OK)
        return code;
    /* The oldest first, so that they come back in the order in which they came. */
    struct walk w = {.ctl = ctl, .order = INSPECT_OLDEST_FIRST};
    code = walk_queues(&w, id, on_retry);
    return conclude(&w, code, "retried");
}

/* True if it may be done: --yes, or a person at a terminal says so. */
static bool confirmed(struct jobctl *ctl, int64_t count)
{
    if (ctl->yes)
        return true;
    fprintf(stderr, "Remove %lld %s%s for good? [y/N] ", (long long)count, noun(ctl),
            count == 1 ? "" : "s");
    char answer[16] = "";
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

int verb_rm(struct jobctl *ctl)
{
    if (!ctl->yes && isatty(STDIN_FILENO) != 1) {
        jobctl_say("removing for good wants --yes where nobody can be asked");
        return EX_USAGE;
    }
    const char *id;
    int64_t count;
    int code = choose(ctl, &id, &count);
    if (code != EX_OK)
        return code;
    struct walk w = {.ctl = ctl, .order = INSPECT_OLDEST_FIRST};
    if (count > 0) {
        if (!confirmed(ctl, count)) {
            jobctl_say("nothing is removed");
            return EX_OK;
        }
        code = walk_queues(&w, id, on_remove);
    }
    return conclude(&w, code, "removed");
}
