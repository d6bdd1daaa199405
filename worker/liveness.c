#include "worker/liveness.h"

#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/reconcile.h"
#include "worker/recover.h"
#include "worker/schedule.h"
#include "worker/settle.h"
#include "worker/stats.h"
#include "worker/worker.h"

enum { LOOK_MS = 1000, STAMP_MS = 500, FROZEN_MS = 4000, INFO_MS = 5000 };

enum beat_verdict beat_judge(int64_t last, int64_t sent, int64_t counter, bool same_server)
{
    if (last < 0)
        return counter <= sent ? BEAT_GOOD : BEAT_CLONE;
    if (!same_server && counter > last + sent)
        return BEAT_BEHIND; /* it went back to before we were dropped: no proof of a clone */
    if (counter > last + sent)
        return BEAT_CLONE;
    return counter <= last ? BEAT_BEHIND : BEAT_GOOD;
}

static void refused(struct worker *w, const char *what, enum store_answer answer, struct err *err)
{
    if (answer == STORE_GONE)
        return;
    observe_gap(&w->live.observe);
    if (answer == STORE_WRONGTYPE) {
        struct buf cmd = BUF_INIT;
        store_cmd_rename_workers(&cmd, &w->globals, wall_ms());
        log_msg(LOG_ERROR, "the workers' key has another type; renamed aside",
                KV_STR("key", w->globals.workers));
        ignore_result(
            redis_link_send(w->main, buf_span(&cmd), stats_ignore, NULL)); /* or at the next beat */
        buf_done(&cmd);
        return;
    }
    if (answer == STORE_NOSCRIPT) {
        settle_reload_scripts(w);
        return;
    }
    log_msg(LOG_WARN, "Redis refuses, connecting again", KV_STR("command", what),
            KV_STR("error", err->text));
    redis_link_reset(w->main, err->text);
}

/* So old the last good beat must be for others to take our jobs soon, or to have done so. */
static bool unheard(const struct worker *w)
{
    return boot_ms() - w->live.good_beat_boot_ms > w->cfg.dead_after_ms / 2;
}

bool liveness_doubtful(const struct worker *w)
{
    return w->live.doubt || unheard(w);
}

/* What we hold may be another's by now: nothing goes out, and nothing begins, before a reconcile. */
static void doubt(struct worker *w)
{
    w->live.doubt = true;
    w->synced = false;
    w->live.first_done = false;
    reconcile_abort(w);
}

static void beat_good(struct worker *w, int64_t counter)
{
    bool late = unheard(w);
    w->live.last = counter;
    w->live.sent = 0;
    CRASH_POINT("beat.answered");
    w->live.good_beat_boot_ms = w->live.beat_sent_boot_ms;
    if (late && w->synced)
        doubt(w);
    if (w->synced || !late)
        slots_header(w->slots)->good_beat_boot_ms = w->live.good_beat_boot_ms;
    bool first = !w->live.first_done;
    w->live.good = true;
    w->live.first_done = true;
    stats_notify(w);
    if (first)
        reconcile_start(w);
}

static void on_beat(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    struct err err = {0};
    int64_t counter = 0;
    w->live.beat_under_way = false;
    enum store_answer answer = store_classify(reply, &err);
    if (answer == STORE_OK && store_read_count(reply, &counter, &err) < 0)
        answer = STORE_ERROR;
    if (answer != STORE_OK) {
        w->live.good = false;
        refused(w, "beat", answer, &err);
        return;
    }
    bool same_server = w->live.first_done || !w->server_changed;
    switch (beat_judge(w->live.last, w->live.sent, counter, same_server)) {
    case BEAT_CLONE:
        log_msg(LOG_ERROR, "somebody else beats under our incarnation", KV_INT("counter", counter),
                KV_INT("expected_at_most", w->live.last + w->live.sent));
        reconcile_we_are_a_clone(w);
        return;
    case BEAT_BEHIND:
        log_msg(LOG_WARN, "our beat counter is another: declared dead, or Redis went back in time",
                KV_INT("counter", counter), KV_INT("last", w->live.last));
        beat_good(w, counter);
        reconcile_soon(w);
        return;
    case BEAT_GOOD:
        beat_good(w, counter);
        return;
    }
}

static void send_beat(struct worker *w)
{
    if (w->live.beat_under_way || redis_link_state(w->main) != LINK_READY)
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_beat(&cmd, &w->globals, &w->inc);
    w->live.beat_sent_boot_ms = boot_ms();
    w->live.beat_sent_mono_ms = mono_ms();
    if (redis_link_send(w->main, buf_span(&cmd), on_beat, w) == 0) {
        w->live.beat_under_way = true;
        w->live.sent++;
    }
    CRASH_POINT("beat.sent");
    if (mono_ms() - w->live.info_mono_ms >= INFO_MS) {
        w->live.info_mono_ms = mono_ms();
        stats_publish(w);
    }
    buf_done(&cmd);
}

static enum store_owner owner_of(const struct observe_peer *p)
{
    if (p->counter != OBSERVE_ABSENT || p->named == OWNER_SILENT)
        return OWNER_SILENT;
    return p->named == OWNER_DIED ? OWNER_BURIED : OWNER_LEFT;
}

static void find_dead(struct worker *w)
{
    int index = 0;
    const struct observe_peer *p;
    while ((p = observe_dead(&w->live.observe, &index, w->cfg.dead_after_ms)) != NULL)
        if (!recover_under_way(w, &p->inc)) {
            log_msg(p->counter == OBSERVE_ABSENT ? LOG_DEBUG : LOG_WARN,
                    "a worker is silent, its jobs are taken over",
                    KV_STR("incarnation", p->inc.hex), KV_INT("silent_ms", p->still_ms));
            CRASH_POINT("recover.silent");
            recover_start(w, &p->inc, NULL, p->counter, owner_of(p), NULL, NULL);
        }
}

static void on_look(void *arg, const struct redisReply *reply)
{
    struct worker *w = arg;
    struct err err = {0};
    w->live.look_under_way = false;
    enum store_answer answer = store_classify(reply, &err);
    if (answer != STORE_OK) {
        refused(w, "look", answer, &err);
        return;
    }
    CRASH_POINT("look.answered");
    int64_t now = mono_ms();
    bool healthy = w->live.good && now - w->live.look_sent_mono_ms <= OBSERVE_LOOK_MAX_MS;
    if (!healthy)
        observe_gap(&w->live.observe);
    observe_begin(&w->live.observe);
    for (size_t i = 0; i < store_look_count(reply); i++) {
        struct store_beat b;
        if (store_read_look(reply, i, &b) && !incarnation_equal(&b.inc, &w->inc))
            observe_see(&w->live.observe, &b.inc, b.counter);
    }
    observe_end(&w->live.observe, now);
    int listed = (int)store_look_count(reply);
    if (listed < w->live.live_count)
        schedule_due_soon(w);
    w->live.live_count = listed;
    if (healthy && w->synced)
        find_dead(w);
}

static void send_look(struct worker *w)
{
    if (w->live.look_under_way || !w->live.first_done || redis_link_state(w->main) != LINK_READY)
        return;
    struct buf cmd = BUF_INIT;
    store_cmd_look(&cmd, &w->globals);
    w->live.look_sent_mono_ms = mono_ms();
    w->live.look_under_way = redis_link_send(w->main, buf_span(&cmd), on_look, w) == 0;
    buf_done(&cmd);
}

static void on_beat_timer(uv_timer_t *t)
{
    send_beat(t->data);
}

static void on_look_timer(uv_timer_t *t)
{
    send_look(t->data);
}

/* The loop's stamp must not be older. */
static int64_t frozen_ms(const struct worker *w)
{
    int64_t ms = w->cfg.dead_after_ms / 2;
    return ms < 2 * STAMP_MS ? 2 * STAMP_MS : ms < FROZEN_MS ? ms : FROZEN_MS;
}

void liveness_stamp(struct worker *w)
{
    struct slots_header *h = slots_header(w->slots);
    int64_t now = boot_ms();
    int64_t old = h->loop_boot_ms;
    if (now - old < STAMP_MS / 2)
        return;
    h->loop_boot_ms = now;
    if (old == 0 || now - old <= frozen_ms(w))
        return;
    log_msg(LOG_WARN, "the worker was frozen; beating and reconciling before anything else",
            KV_INT("ms", now - old));
    observe_gap(&w->live.observe);
    if (w->synced) {
        doubt(w);
        send_beat(w);
    }
}

void liveness_synced(struct worker *w)
{
    w->live.doubt = false;
    slots_header(w->slots)->good_beat_boot_ms = w->live.good_beat_boot_ms;
}

static void on_stamp_timer(uv_timer_t *t)
{
    liveness_stamp(t->data);
}

void liveness_init(struct worker *w)
{
    w->live.last = -1;
    observe_init(&w->live.observe);
    uv_timer_t *timers[] = {&w->live.beat_timer, &w->live.look_timer, &w->stamp_timer};
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
        if (uv_timer_init(w->loop, timers[i]) != 0)
            BUG("uv_timer_init");
        timers[i]->data = w;
    }
    slots_header(w->slots)->loop_boot_ms = boot_ms();
    uint64_t beat = (uint64_t)w->cfg.beat_ms;
    if (uv_timer_start(&w->live.beat_timer, on_beat_timer, beat, beat) != 0 ||
        uv_timer_start(&w->live.look_timer, on_look_timer, LOOK_MS, LOOK_MS) != 0 ||
        uv_timer_start(&w->stamp_timer, on_stamp_timer, STAMP_MS, STAMP_MS) != 0)
        BUG("uv_timer_start");
}

void liveness_connected(struct worker *w)
{
    w->live.good = w->live.first_done = false;
    w->live.beat_under_way = w->live.look_under_way = false;
    observe_gap(&w->live.observe);
    send_beat(w);
}

void liveness_disconnected(struct worker *w)
{
    w->live.good = w->live.first_done = false;
    observe_gap(&w->live.observe);
}

void liveness_stop(struct worker *w)
{
    uv_close((uv_handle_t *)&w->live.beat_timer, NULL);
    uv_close((uv_handle_t *)&w->live.look_timer, NULL);
    uv_close((uv_handle_t *)&w->stamp_timer, NULL);
    observe_done(&w->live.observe);
}
