#include "worker/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "common/mem.h"
#include "worker/lifecycle.h"
#include "worker/reload.h"
#include "worker/stats.h"
#include "worker/worker.h"

static void on_term(struct worker *w)
{
    lifecycle_stop(w, "TERM");
}

static void on_int(struct worker *w)
{
    lifecycle_stop(w, "INT");
}

static void on_hup(struct worker *w)
{
    if (w->phase <= PHASE_QUIET)
        reload_start(w);
}

static void on_tstp(struct worker *w)
{
    lifecycle_quiet(w, true);
}

static void on_cont(struct worker *w)
{
    lifecycle_quiet(w, false);
}

static void on_ttin(struct worker *w)
{
    pool_set_wanted(w, w->pool.wanted + 1);
}

static void on_ttou(struct worker *w)
{
    pool_set_wanted(w, w->pool.wanted - 1);
}

static const struct {
    int signum;
    void (*act)(struct worker *w);
} actions[] = {
    {SIGTERM, on_term}, {SIGINT, on_int},      {SIGHUP, on_hup},   {SIGTSTP, on_tstp},
    {SIGCONT, on_cont}, {SIGUSR1, stats_dump}, {SIGTTIN, on_ttin}, {SIGTTOU, on_ttou},
};

struct signals {
    uv_signal_t handles[ARRAY_COUNT(actions)];
    int open;
};

static void on_signal(uv_signal_t *handle, int signum)
{
    struct worker *w = handle->data;
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (actions[i].signum == signum)
            actions[i].act(w);
    worker_wake(w);
}

static void mask(int how)
{
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        sigaddset(&ours, actions[i].signum);
    (void)pthread_sigmask(how, &ours, NULL); /* fails only for a wrong argument */
}

void signals_hold(void)
{
    mask(SIG_BLOCK);
}

void signals_start(struct worker *w)
{
    struct signals *s = xcalloc(1, sizeof *s);
    w->signals = s;
    s->open = (int)ARRAY_COUNT(actions);
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        s->handles[i].data = w;
        if (uv_signal_init(w->loop, &s->handles[i]) != 0 ||
            uv_signal_start(&s->handles[i], on_signal, actions[i].signum) != 0)
            BUG("cannot watch signal %d", actions[i].signum);
    }
    mask(SIG_UNBLOCK);
}

static void on_closed(uv_handle_t *handle)
{
    struct signals *s = handle->data;
    if (--s->open == 0)
        free(s);
}

void signals_stop(struct worker *w)
{
    struct signals *s = w->signals;
    mask(SIG_BLOCK);
    w->signals = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        s->handles[i].data = s;
        uv_close((uv_handle_t *)&s->handles[i], on_closed);
    }
}
