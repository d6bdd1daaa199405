/* crash - does what a handler should never do: to see that only this job is hurt.
 *
 *     enqueue crash '{"mode":"segv"}' --timeout 5s
 *
 *     segv    writes to address 0
 *     abort   calls abort()
 *     exit0   ends the process as if all were well (it counts as a crash nevertheless)
 *     spin    never returns, never looks at bl_cancelled(): ended by SIGKILL at its time-out
 *     stack   recurses until the stack is used up
 *
 * After three crashes a job is a dead letter; its neighbours carry no blame. */
#include <stdlib.h>
#include <string.h>

#include "bucketline.h"

static int dig(volatile char *above, int depth)
{
    volatile char here[4096];
    here[0] = above[0];
    if (depth < 0)
        return here[0];
    return dig(here, depth + 1) + here[0];
}

/* LIMIT: looks for the word, not for a member. */
static int asked(const struct bl_job *job, const char *mode)
{
    return strstr(job->args, mode) != NULL;
}

static enum bl_result crash(struct bl_job *job)
{
    bl_log(job, BL_LOG_WARN, "crashing as asked");
    if (asked(job, "segv")) {
        volatile int *volatile nowhere = NULL;
        *nowhere = 1;
    }
    if (asked(job, "abort"))
        abort();
    if (asked(job, "exit0"))
        exit(0);
    if (asked(job, "stack"))
        return dig("", 0) == 0 ? BL_DONE : BL_RETRY;
    if (asked(job, "spin"))
        for (volatile unsigned turns = 0;; turns = turns + 1)
            ;
    bl_fail(job, "\"mode\" must be segv, abort, exit0, spin or stack");
    return BL_DEAD;
}

/* A short time-out by default, since one of the modes never ends.  Jobs and worker.yaml may say
 * otherwise. */
static const struct bl_handler handlers[] = {
    {.name = "crash", .run = crash, .timeout_ms = 30000},
};

const struct bl_plugin bl_plugin = BL_PLUGIN("crash", handlers);
