/* A handler for tests: appends "begin ID ATTEMPT" and "end ID ATTEMPT" to a ledger, one write(2) each
 * with O_APPEND, and sleeps in between.
 *
 *   {"ledger":"/path","ms":50}     done after 50 ms
 *   {...,"fail":1}                 fails instead (after its end line)
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bucketline.h"

static int note(const char *path, const char *what, const struct bl_job *job)
{
    char line[512];
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1)
        return -1;
    int n = snprintf(line, sizeof line, "%s %s %u\n", what, job->id, job->attempt);
    int ok = write(fd, line, (size_t)n) == n;
    close(fd);
    return ok ? 0 : -1;
}

static const char *after(const char *args, const char *key)
{
    const char *at = strstr(args, key);
    return at != NULL ? at + strlen(key) : NULL;
}

static enum bl_result run(struct bl_job *job)
{
    char path[256];
    const char *ledger = after(job->args, "\"ledger\":\"");
    if (ledger == NULL || strcspn(ledger, "\"") >= sizeof path) {
        bl_fail(job, "no ledger");
        return BL_DEAD;
    }
    snprintf(path, sizeof path, "%.*s", (int)strcspn(ledger, "\""), ledger);
    const char *ms_text = after(job->args, "\"ms\":");
    long ms = ms_text != NULL ? strtol(ms_text, NULL, 10) : 0;
    if (note(path, "begin", job) != 0) {
        bl_fail(job, "cannot write the ledger");
        return BL_DEAD;
    }
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&left, &left) == -1)
        if (bl_cancelled(job)) {
            bl_fail(job, "told to stop");
            return BL_RETRY;
        }
    note(path, "end", job);
    return after(job->args, "\"fail\":1") != NULL ? BL_RETRY : BL_DONE;
}

static const struct bl_handler handlers[] = {{.name = "ledger", .run = run}};
const struct bl_plugin bl_plugin = BL_PLUGIN("ledger", handlers);
