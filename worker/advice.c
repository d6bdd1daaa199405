#include "worker/advice.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/hazard.h"
#include "worker/worker.h"

/* Freed with the last answer; every question gets one, if only NULL when the connection is lost. */
struct advice {
    struct store_info info;
    struct hazard_facts facts;
    int64_t asked_wall_ms, asked_mono_us;
    int open;
};

static void say(const struct advice *a)
{
    struct hazard list[HAZARD_MAX];
    int count = hazard_list(&a->facts, list);
    for (int i = 0; i < count; i++)
        log_msg(list[i].grade == HAZARD_NOTE ? LOG_INFO : LOG_WARN, "Redis and the safety of jobs",
                KV_STR("what", list[i].text));
}

static void answered(struct advice *a)
{
    if (--a->open > 0)
        return;
    say(a);
    free(a);
}

static void on_appendfsync(void *arg, const struct redisReply *reply)
{
    struct advice *a = arg;
    a->facts.has_appendfsync =
        store_read_config(reply, a->facts.appendfsync, sizeof a->facts.appendfsync, NULL) == 0;
    answered(a);
}

static void on_save(void *arg, const struct redisReply *reply)
{
    struct advice *a = arg;
    a->facts.has_save = store_read_config(reply, a->facts.save, sizeof a->facts.save, NULL) == 0;
    answered(a);
}

static void on_time(void *arg, const struct redisReply *reply)
{
    struct advice *a = arg;
    int64_t redis_ms;
    if (store_read_time(reply, &redis_ms, NULL) == 0) {
        a->facts.has_skew = true;
        a->facts.skew_ms = hazard_skew_ms(a->asked_wall_ms, wall_ms(), redis_ms);
        a->facts.round_trip_us = mono_us() - a->asked_mono_us;
    }
    answered(a);
}

static void ask(struct worker *w, struct advice *a, const struct buf *cmd, redis_reply_fn fn)
{
    a->open++;
    if (redis_link_send(w->main, buf_span(cmd), fn, a) < 0)
        a->open--;
}

void advice_start(struct worker *w, const struct store_info *info)
{
    struct advice *a = xcalloc(1, sizeof *a);
    struct buf cmd = BUF_INIT;
    a->info = *info;
    a->facts = (struct hazard_facts)HAZARD_FACTS_INIT;
    a->facts.info = &a->info;
    a->asked_wall_ms = wall_ms();
    a->asked_mono_us = mono_us();
    a->open = 1; /* ours, until all questions are asked */
    store_cmd_time(&cmd);
    ask(w, a, &cmd, on_time);
    buf_clear(&cmd);
    store_cmd_config_get(&cmd, "appendfsync");
    ask(w, a, &cmd, on_appendfsync);
    buf_clear(&cmd);
    store_cmd_config_get(&cmd, "save");
    ask(w, a, &cmd, on_save);
    buf_done(&cmd);
    answered(a);
}
