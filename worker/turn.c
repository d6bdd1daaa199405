#include "worker/turn.h"

#include <sched.h>

#include "common/clock.h"
#include "worker/claim.h"
#include "worker/dispatch.h"
#include "worker/hand.h"
#include "worker/janitor.h"
#include "worker/lifecycle.h"
#include "worker/liveness.h"
#include "worker/once.h"
#include "worker/outbox.h"
#include "worker/reconcile.h"
#include "worker/recover.h"
#include "worker/schedule.h"
#include "worker/settle.h"
#include "worker/takeover.h"
#include "worker/wait.h"
#include "worker/worker.h"

enum {
    DUTY_STEP_MS = 5, /* periodic duties run at most so often */
    OFFER_STEP_MS = 3, /* the core is offered likewise: it puts us behind all who want one */
};

int64_t worker_mono_ms(const struct worker *w)
{
    return (int64_t)uv_now(w->loop); /* CLOCK_MONOTONIC too */
}

int64_t worker_wall_ms(struct worker *w)
{
    uint64_t turn = uv_now(w->loop);
    if (turn != w->wall_read_at || w->wall_now_ms == 0) {
        w->wall_read_at = turn;
        w->wall_now_ms = wall_ms();
    }
    return w->wall_now_ms;
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* it only keeps the loop from waiting */
}

void worker_wake(struct worker *w)
{
    if (w->turn_wanted || w->closed)
        return;
    w->turn_wanted = true;
    uv_idle_start(&w->turn_idle, on_idle);
}

static int64_t duties(struct worker *w, int64_t now)
{
    int64_t next = pool_deadlines(w, now);
    int64_t others[] = {
        dispatch_check(w, now), settle_retry_blocked(w, now),
        reconcile_due(w, now),  recover_run(w, now),
        recover_audit(w, now),  schedule_run(w, now),
        wait_sweep(w, now),     takeover_run(w, now),
        outbox_run(w, now),     janitor_run(w, now),
        once_due(w, now),       lifecycle_due(w),
    };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        next = others[i] < next ? others[i] : next;
    return next;
}

static void on_duty_timer(uv_timer_t *t)
{
    worker_wake(t->data);
}

static void arm_duties(struct worker *w, int64_t at_mono_ms, int64_t now_mono_ms)
{
    if (at_mono_ms == INT64_MAX) {
        uv_timer_stop(&w->duty_timer);
        return;
    }
    int64_t in_ms = at_mono_ms > now_mono_ms ? at_mono_ms - now_mono_ms : 0;
    if (uv_timer_start(&w->duty_timer, on_duty_timer, (uint64_t)in_ms, 0) != 0)
        BUG("uv_timer_start");
}

/* A runner was called to this core: it goes before the rest of the turn, unless acknowledgements wait. */
static void offer_core(struct worker *w, int64_t now)
{
    if (now - w->offer_mono_ms < OFFER_STEP_MS || w->settle.to_send.count > 0)
        return;
    w->offer_mono_ms = now;
    (void)sched_yield(); /* never fails */
}

static void turn(struct worker *w)
{
    int64_t now = mono_ms();
    bool called = false;
    liveness_stamp(w); /* what this turn heard may be old */
    if (w->phase < PHASE_DRAINING) { /* before anything else: somebody may wait for this one job */
        if (w->pool.worn_out)
            pool_balance(w);
        if (w->phase == PHASE_QUIET)
            lifecycle_give_back(w);
        else
            called = dispatch_run(w);
        pool_flush(w);
        if (called)
            offer_core(w, now);
    }
    if (now - w->duty_mono_ms >= DUTY_STEP_MS) {
        w->duty_mono_ms = now;
        arm_duties(w, duties(w, now), now);
    } else {
        arm_duties(w, w->duty_mono_ms + DUTY_STEP_MS, now);
    }
    if (w->phase >= PHASE_DRAINING) {
        if (w->phase != PHASE_LEAVING)
            lifecycle_stop_step(w);
    } else {
        claim_run(w);
        once_run(w);
        hand_tidy(w);
        wait_run(w);
        lifecycle_check_burst(w);
    }
    pool_flush(w);
    settle_flush(w);
}

/* turn_idle is active while a turn is wanted and while the loop spins. */
static void on_check(uv_check_t *handle)
{
    struct worker *w = handle->data;
    bool news = w->turn_wanted;
    if (w->closed || !uv_is_active((uv_handle_t *)&w->turn_idle))
        return;
    if (news) {
        w->turn_wanted = false;
        turn(w);
    }
    if (w->turn_wanted)
        return;
    if (!spin_wanted(&w->spin, mono_us()))
        uv_idle_stop(&w->turn_idle);
    else if (!news)
        (void)sched_yield(); /* to a runner or Redis on this core; never fails */
}

void turn_init(struct worker *w)
{
    if (uv_check_init(w->loop, &w->turn_check) != 0 || uv_idle_init(w->loop, &w->turn_idle) != 0 ||
        uv_timer_init(w->loop, &w->duty_timer) != 0)
        BUG("libuv handles");
    w->turn_check.data = w->turn_idle.data = w->duty_timer.data = w;
    uv_check_start(&w->turn_check, on_check);
}

void turn_close(struct worker *w)
{
    uv_close((uv_handle_t *)&w->turn_check, NULL);
    uv_close((uv_handle_t *)&w->turn_idle, NULL);
    uv_close((uv_handle_t *)&w->duty_timer, NULL);
}
