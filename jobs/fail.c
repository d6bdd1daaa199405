/* fail - fails the way it is asked to: for trying out retries, dead letters and alerts.
 *
 *     enqueue fail '{"message":"no luck","times":2}'
 *
 *     message   what is said; default "failed as asked"
 *     result    "retry" (default), "dead", "snooze" or "drop"
 *     times     fail so many attempts, then succeed; default: always
 *     after_ms  with retry and snooze: when to come back; default: the policy's delay
 *
 * LIMIT: members are found by name at any depth, and a message is taken up to the next quote, its
 * escapes as they stand.  A plugin with more to read links a JSON library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bucketline.h"

/* Where the value of `name` begins, or NULL. */
static const char *find(const char *args, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    const char *p = strstr(args, quoted);
    if (p == NULL)
        return NULL;
    p += strlen(quoted);
    return p + strspn(p, " \t\r\n:");
}

static long find_number(const char *args, const char *name, long otherwise)
{
    const char *p = find(args, name);
    return p != NULL ? strtol(p, NULL, 10) : otherwise;
}

/* Is the value of `name` the string `text`? */
static int says(const char *args, const char *name, const char *text)
{
    const char *p = find(args, name);
    size_t n = strlen(text);
    return p != NULL && p[0] == '"' && strncmp(p + 1, text, n) == 0 && p[1 + n] == '"';
}

static enum bl_result fail(struct bl_job *job)
{
    long times = find_number(job->args, "times", -1);
    if (times >= 0 && job->attempt > (unsigned long)times)
        return BL_DONE;

    char message[1024] = "failed as asked";
    const char *p = find(job->args, "message");
    if (p != NULL && p[0] == '"')
        snprintf(message, sizeof message, "%.*s", (int)strcspn(p + 1, "\""), p + 1);
    bl_fail(job, message); /* on the job's record, for jobctl and the dashboard */

    long after_ms = find_number(job->args, "after_ms", -1);
    if (after_ms >= 0)
        bl_again_in(job, after_ms);

    if (says(job->args, "result", "dead"))
        return BL_DEAD; /* no further attempt: it could not end better */
    if (says(job->args, "result", "snooze"))
        return BL_SNOOZE; /* not now: no attempt is spent */
    if (says(job->args, "result", "drop"))
        return BL_DROP; /* nobody needs it any more: no dead letter */
    return BL_RETRY;
}

static const struct bl_handler handlers[] = {{.name = "fail", .run = fail}};

const struct bl_plugin bl_plugin = BL_PLUGIN("fail", handlers);
