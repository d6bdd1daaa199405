/* sleep - a job that takes its time, and stops when it is told to.
 *
 *     enqueue sleep '{"ms":1500}'
 *
 * A job is told to stop (time-out, cancel, shutdown) by SIGTERM to its process, which interrupts
 * blocking calls, and from then on bl_cancelled() is true.  A handler that goes on regardless is
 * killed after the grace period.  Handlers may block as long as they like: each process runs one
 * job at a time. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bucketline.h"

enum { SLICE_MS = 100, DEFAULT_MS = 1000 };

/* The number after "ms":.  LIMIT: finds the first member of that name at any depth; a plugin with
 * more to read links a JSON library. */
static long read_ms(const char *args)
{
    const char *p = strstr(args, "\"ms\"");
    if (p == NULL)
        return DEFAULT_MS;
    p += strlen("\"ms\"");
    p += strspn(p, " \t\r\n:");
    long ms = strtol(p, NULL, 10);
    return ms > 0 ? ms : 0;
}

static long now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static enum bl_result sleep_job(struct bl_job *job)
{
    long end = now_ms() + read_ms(job->args);
    for (long left; (left = end - now_ms()) > 0;) {
        /* In slices: the signal may come just before the call it should interrupt. */
        long ms = left < SLICE_MS ? left : SLICE_MS;
        struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        nanosleep(&ts, NULL);
        if (bl_cancelled(job)) {
            bl_fail(job, "woken before the time was over");
            return BL_RETRY;
        }
    }
    return BL_DONE;
}

static const struct bl_handler handlers[] = {{.name = "sleep", .run = sleep_job}};

const struct bl_plugin bl_plugin = BL_PLUGIN("sleep", handlers);
