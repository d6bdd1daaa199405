/* A handler for tests that go through every way a job can end.  It appends "begin ID ATTEMPT" and
 * "end ID ATTEMPT" to a ledger, one write(2) each with O_APPEND.  Members of args, all but the first
 * optional:
 *
 *   "ledger":"/path"
 *   "ms":5                sleeps so long, whatever it is told
 *   "fail_until":3        fails before attempt 3
 *   "dead":1              fails for good
 *   "snooze":"/mark"      the first time (there is no such file yet) it asks to come back
 *   "crash":"/mark"       the first time it kills its process
 *   "hang":"/mark"        the first time it never ends
 *   "result_bytes":100    sets a result of so many bytes: a JSON string of x
 *   "enqueue":"doc","to":"queue"   pushes {"type":"life","id":"<id>-child","args":{the ledger}}
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bucketline.h"

/* Straight to the kernel: a test may have made the library's calls fail, and what a handler did must
 * be known nevertheless. */
static int open_file(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
}

static const char *after(const struct bl_job *job, const char *key)
{
    const char *at = strstr(job->args, key);
    return at != NULL ? at + strlen(key) : NULL;
}

static long number(const struct bl_job *job, const char *key)
{
    const char *at = after(job, key);
    return at != NULL ? strtol(at, NULL, 10) : 0;
}

static int text(const struct bl_job *job, const char *key, char out[256])
{
    const char *at = after(job, key);
    if (at == NULL || strcspn(at, "\"") >= 256)
        return 0;
    snprintf(out, 256, "%.*s", (int)strcspn(at, "\""), at);
    return 1;
}

static void note(const struct bl_job *job, const char *what)
{
    char path[256], line[512];
    int fd = text(job, "\"ledger\":\"", path) ? open_file(path, O_APPEND) : -1;
    int n = snprintf(line, sizeof line, "%s %s %u\n", what, job->id, job->attempt);
    if (fd == -1 || syscall(SYS_write, fd, line, (size_t)n) != n)
        abort();
    close(fd);
}

/* True the first time that `key` names this file. */
static int first_time(const struct bl_job *job, const char *key)
{
    char path[256];
    if (!text(job, key, path))
        return 0;
    int fd = open_file(path, O_EXCL);
    if (fd != -1)
        close(fd);
    return fd != -1;
}

static void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&left, &left) == -1)
        ;
}

static void set_result(struct bl_job *job, long bytes)
{
    char *result = malloc((size_t)bytes);
    if (result == NULL || bytes < 2)
        abort();
    memset(result, 'x', (size_t)bytes);
    result[0] = result[bytes - 1] = '"';
    if (bl_set_result(job, result, (size_t)bytes) != 0)
        abort();
    free(result);
}

static int push_child(struct bl_job *job)
{
    char queue[256], path[256], document[1024], error[256] = "";
    if (!text(job, "\"to\":\"", queue) || !text(job, "\"ledger\":\"", path))
        return -1;
    int n = snprintf(document, sizeof document,
                     "{\"type\":\"life\",\"id\":\"%s-child\",\"args\":{\"ledger\":\"%s\"}}",
                     job->id, path);
    int rc = bl_enqueue(job, queue, document, (size_t)n, error, sizeof error);
    if (rc != 0)
        bl_fail(job, error);
    return rc;
}

static enum bl_result run(struct bl_job *job)
{
    note(job, "begin");
    if (first_time(job, "\"crash\":\""))
        raise(SIGKILL);
    if (first_time(job, "\"hang\":\""))
        for (;;)
            sleep_ms(60000);
    sleep_ms(number(job, "\"ms\":"));
    int pushed = after(job, "\"enqueue\":\"doc\"") != NULL ? push_child(job) : 0;
    if (after(job, "\"result_bytes\":") != NULL)
        set_result(job, number(job, "\"result_bytes\":"));
    enum bl_result result = BL_DONE;
    if (first_time(job, "\"snooze\":\"")) {
        bl_again_in(job, 100);
        result = BL_SNOOZE;
    } else if (pushed != 0 || job->attempt < number(job, "\"fail_until\":")) {
        result = BL_RETRY;
    } else if (after(job, "\"dead\":1") != NULL) {
        bl_fail(job, "told to");
        result = BL_DEAD;
    }
    note(job, "end");
    return result;
}

static const struct bl_handler handlers[] = {{.name = "life", .run = run}};
const struct bl_plugin bl_plugin = BL_PLUGIN("life", handlers);
