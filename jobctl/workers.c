/* workers.c - which workers are there. */
#include "jobctl/jobctl.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/inspect_json.h"
#include "common/text_table.h"

static const struct table_column columns[] = {
    {"INCARNATION", false, 0}, {"HOST", false, 40},  {"PID", true, 0},      {"SINCE", false, 0},
    {"PHASE", false, 20},      {"RUNNERS", true, 0}, {"BUSY", true, 0},     {"DONE", true, 0},
    {"FAILED", true, 0},       {"BEAT", true, 0},    {"QUEUES", false, 80}, {NULL, false, 0},
};

struct listing {
    struct jobctl *ctl;
    struct text_table table;
    int count;
};

/* A member of the worker's own JSON, whatever it is, as text; "" = not there. */
static void add_value(struct buf *out, const json_t *value)
{
    if (json_is_string(value))
        buf_add(out, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        buf_add_int(out, json_integer_value(value));
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item)
    {
        if (i > 0)
            buf_add_char(out, ',');
        add_value(out, item);
    }
}

static void add_cell(struct listing *l, const json_t *info, const char *name)
{
    struct buf text = BUF_INIT;
    add_value(&text, json_object_get(info, name));
    table_cell(&l->table, buf_span(&text), &l->ctl->out);
    buf_done(&text);
}

static void add_since(struct listing *l, const json_t *info)
{
    const json_t *since = json_object_get(info, "started_at_ms");
    char text[CLOCK_TEXT_BYTES] = "";
    if (json_is_integer(since)) {
        wall_format(json_integer_value(since), text);
        memcpy(text + 19, "Z", 2); /* whole seconds are enough here */
    }
    table_cell_str(&l->table, text, &l->ctl->out);
}

static int on_worker(void *arg, const struct inspect_worker *worker, struct err *err)
{
    (void)err; /* nothing here fails */
    struct listing *l = arg;
    struct buf *out = &l->ctl->out;
    l->count++;
    if (l->ctl->json) {
        jobctl_json_item(l->ctl, inspect_worker_json(worker));
        return 0;
    }
    json_t *info =
        worker->info.len > 0 ? json_loadb(worker->info.ptr, worker->info.len, 0, NULL) : NULL;
    table_cell_str(&l->table, worker->inc.hex, out);
    add_cell(l, info, "host");
    add_cell(l, info, "pid");
    add_since(l, info);
    add_cell(l, info, "phase");
    add_cell(l, info, "runners");
    add_cell(l, info, "busy");
    add_cell(l, info, "done");
    add_cell(l, info, "failed");
    if (worker->beat >= 0)
        table_cell_int(&l->table, worker->beat, out);
    else
        table_cell_str(&l->table, "none", out);
    add_cell(l, info, "queues");
    json_decref(info);
    return 0;
}

int verb_workers(struct jobctl *ctl)
{
    struct listing l = {.ctl = ctl};
    struct err err = {0};
    table_init(&l.table, columns);
    int rc =
        inspect_workers(ctl->session.client, session_prefix(&ctl->session), on_worker, &l, &err);
    table_flush(&l.table, &ctl->out);
    table_done(&l.table);
    if (ctl->json)
        jobctl_json_end(ctl);
    if (rc != 0)
        return jobctl_fail(&err);
    if (l.count == 0 && !ctl->json)
        jobctl_say("no workers");
    return EX_OK;
}
