/* queues.c - queues, pause, resume. */
#include "jobctl/jobctl.h"

#include <stdio.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/inspect_json.h"
#include "common/repair.h"
#include "common/text_table.h"
#include "common/when.h"

static const struct table_column columns[] = {
    {"QUEUE", false, 60},   {"WAITING", true, 0}, {"RUNNING", true, 0}, {"SCHEDULED", true, 0},
    {"RETRY", true, 0},     {"PARKED", true, 0},  {"DEAD", true, 0},    {"OLDEST", true, 0},
    {"REMARK", false, 120}, {NULL, false, 0},
};

static const enum store_place shown[] = {PLACE_WAITING, PLACE_RUNNING, PLACE_SCHEDULED,
                                         PLACE_RETRY,   PLACE_PARKED,  PLACE_DEAD};

static void add_row(struct jobctl *ctl, struct text_table *t, const struct store_queue *q,
                    const struct inspect_sizes *sizes)
{
    table_cell_str(t, q->name, &ctl->out);
    for (size_t i = 0; i < ARRAY_COUNT(shown); i++) {
        if (sizes->of[shown[i]] >= 0)
            table_cell_int(t, sizes->of[shown[i]], &ctl->out);
        else
            table_cell_str(t, "?", &ctl->out);
    }
    char age[48] = "-";
    if (sizes->oldest_wait_ms >= 0) {
        int64_t ms = sizes->oldest_wait_ms;
        duration_format(ms < 1000 ? ms : ms - ms % 1000, age);
    }
    table_cell_str(t, age, &ctl->out);
    struct buf remark = BUF_INIT;
    if (sizes->paused)
        buf_printf(&remark, "paused%s%s", sizes->pause_reason[0] != '\0' ? ": " : "",
                   sizes->pause_reason);
    if (sizes->problem[0] != '\0')
        buf_printf(&remark, "%s%s", remark.len > 0 ? "; " : "", sizes->problem);
    if (sizes->of[PLACE_OUTBOX] > 0)
        buf_printf(&remark, "%s%lld follow-ups on their way", remark.len > 0 ? "; " : "",
                   (long long)sizes->of[PLACE_OUTBOX]);
    table_cell(t, buf_span(&remark), &ctl->out);
    buf_done(&remark);
}

int verb_queues(struct jobctl *ctl)
{
    int code = jobctl_choose_queues(ctl, ctl->operand_count, ctl->operands);
    if (code != EX_OK)
        return code;
    struct text_table t;
    struct err err = {0};
    table_init(&t, columns);
    for (int i = 0; i < ctl->queues.count && code == EX_OK; i++) {
        const struct store_queue *q = &ctl->queues.items[i];
        struct inspect_sizes sizes;
        if (inspect_sizes(ctl->session.client, q, wall_ms(), &sizes, &err) != 0)
            code = jobctl_fail(&err);
        else if (ctl->json)
            jobctl_json_item(ctl, inspect_sizes_json(q, &sizes));
        else
            add_row(ctl, &t, q, &sizes);
    }
    table_flush(&t, &ctl->out);
    table_done(&t);
    if (ctl->json)
        jobctl_json_end(ctl);
    else if (ctl->queues.count == 0)
        jobctl_say("no queues");
    return code;
}

int verb_pause(struct jobctl *ctl)
{
    int code = jobctl_choose_queues(ctl, 1, ctl->operands);
    if (code != EX_OK)
        return code;
    struct err err = {0};
    const struct store_queue *q = &ctl->queues.items[0];
    const char *why = ctl->reason != NULL ? ctl->reason : "";
    if (repair_pause(ctl->session.client, q, why, &err) != 0)
        return jobctl_fail(&err);
    if (ctl->json)
        jobctl_json_object(ctl, json_pack("{s:s, s:b}", "queue", q->name, "paused", 1));
    else
        buf_printf(&ctl->out, "queue %s is paused\n", q->name);
    return EX_OK;
}

int verb_resume(struct jobctl *ctl)
{
    int code = jobctl_choose_queues(ctl, 1, ctl->operands);
    if (code != EX_OK)
        return code;
    struct err err = {0};
    bool was_paused = false;
    const struct store_queue *q = &ctl->queues.items[0];
    if (repair_resume(ctl->session.client, q, &was_paused, &err) != 0)
        return jobctl_fail(&err);
    if (ctl->json)
        jobctl_json_object(ctl, json_pack("{s:s, s:b, s:b}", "queue", q->name, "paused", 0,
                                          "was_paused", was_paused));
    else
        buf_printf(&ctl->out, "queue %s %s\n", q->name,
                   was_paused ? "is resumed" : "was not paused");
    return EX_OK;
}
