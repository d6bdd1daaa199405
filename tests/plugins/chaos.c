/* A handler for the chaos runs, as a plugin and (with -DPROGRAM) as a program.  It appends what it
 * does to a ledger, one write(2) a line with O_APPEND:
 *
 *   B US PID WORKER RUNNER KEY ID ATTEMPT LENGTH CRC   it begins; LENGTH and CRC are of its args
 *   E US PID WORKER RUNNER KEY ID ATTEMPT WHAT -       it ends: done, fail, dead, snooze or stop
 *
 * US is CLOCK_BOOTTIME in microseconds.  A plugin's PID is its runner.  The args, in this order:
 *
 *   {"ledger":"/path","key":"k1","ms":50,"do":"done"}   done after 50 ms
 *   "do":"fail:2"    fails while the attempt is <= 2, then is done
 *   "do":"dead"      fails for good
 *   "do":"snooze"    comes back once (a file beside the ledger remembers), then is done
 *   "do":"spin"      an endless loop that heeds nothing
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bucketline.h"

struct chaos {
    const char *args;
    size_t args_len;
    const char *id;
    unsigned attempt;
    int pid, worker, runner;
    char ledger[200], key[100], what[20];
    long ms;
};

static uint32_t crc32_of(const char *bytes, size_t len)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

static int text_member(const char *args, const char *name, char *out, size_t size)
{
    const char *at = strstr(args, name);
    if (at == NULL)
        return -1;
    at += strlen(name);
    size_t n = strcspn(at, "\"");
    if (n >= size)
        return -1;
    memcpy(out, at, n);
    out[n] = '\0';
    return 0;
}

static int chaos_read(struct chaos *c)
{
    const char *ms = strstr(c->args, "\"ms\":");
    c->ms = ms != NULL ? strtol(ms + 5, NULL, 10) : 0;
    if (text_member(c->args, "\"ledger\":\"", c->ledger, sizeof c->ledger) != 0)
        return -1;
    if (text_member(c->args, "\"key\":\"", c->key, sizeof c->key) != 0)
        return -1;
    return text_member(c->args, "\"do\":\"", c->what, sizeof c->what);
}

static int note(const struct chaos *c, char kind, const char *last)
{
    struct timespec now;
    char line[700];
    clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    int n = snprintf(line, sizeof line, "%c %" PRId64 " %d %d %d %s %s %u %s\n", kind, us, c->pid,
                     c->worker, c->runner, c->key, c->id, c->attempt, last);
    int fd = open(c->ledger, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1)
        return -1;
    int ok = write(fd, line, (size_t)n) == n;
    close(fd);
    return ok ? 0 : -1;
}

static int note_begin(const struct chaos *c)
{
    char last[40];
    snprintf(last, sizeof last, "%zu %08x", c->args_len, crc32_of(c->args, c->args_len));
    return note(c, 'B', last);
}

/* True the first time it is asked for this key. */
static int snoozes_now(const struct chaos *c)
{
    char path[400];
    snprintf(path, sizeof path, "%s.snoozed.%s", c->ledger, c->key);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1)
        return 0;
    close(fd);
    return 1;
}

/* What this attempt comes to. */
static enum bl_result chaos_end(const struct chaos *c)
{
    static const char *const names[] = {[BL_DONE] = "done -",
                                        [BL_RETRY] = "fail -",
                                        [BL_DEAD] = "dead -",
                                        [BL_SNOOZE] = "snooze -"};
    enum bl_result result = BL_DONE;
    if (strncmp(c->what, "fail:", 5) == 0 && c->attempt <= strtoul(c->what + 5, NULL, 10))
        result = BL_RETRY;
    else if (strcmp(c->what, "dead") == 0)
        result = BL_DEAD;
    else if (strcmp(c->what, "snooze") == 0 && snoozes_now(c))
        result = BL_SNOOZE;
    for (volatile int forever = strcmp(c->what, "spin") == 0; forever;)
        ;
    note(c, 'E', names[result]);
    return result;
}

#ifdef PROGRAM

/* The parent of a process, from /proc; 0 = it is not there. */
static int parent_of(int pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    int parent = 0;
    return at != NULL && sscanf(at, ") %*c %d", &parent) == 1 ? parent : 0;
}

int main(void)
{
    static char args[65536];
    const char *attempt = getenv("JOB_ATTEMPT");
    struct chaos c = {.args = args, .id = getenv("JOB_ID"), .pid = getpid(), .runner = getppid()};
    ssize_t n;
    while (c.args_len < sizeof args - 1 &&
           (n = read(0, args + c.args_len, sizeof args - 1 - c.args_len)) > 0)
        c.args_len += (size_t)n;
    c.worker = parent_of(c.runner);
    c.attempt = attempt != NULL ? (unsigned)strtoul(attempt, NULL, 10) : 0;
    if (c.id == NULL || chaos_read(&c) != 0 || note_begin(&c) != 0)
        return 65;
    struct timespec left = {c.ms / 1000, c.ms % 1000 * 1000000};
    while (c.ms > 0 && nanosleep(&left, &left) == -1)
        ;
    static const int codes[] = {[BL_DONE] = 0, [BL_RETRY] = 1, [BL_DEAD] = 65, [BL_SNOOZE] = 75};
    return codes[chaos_end(&c)];
}

#else

static enum bl_result run(struct bl_job *job)
{
    struct chaos c = {.args = job->args,
                      .args_len = job->args_len,
                      .id = job->id,
                      .attempt = job->attempt,
                      .pid = getpid(),
                      .worker = getppid(),
                      .runner = getpid()};
    if (chaos_read(&c) != 0 || note_begin(&c) != 0) {
        bl_fail(job, "cannot write the ledger");
        return BL_DEAD;
    }
    struct timespec left = {c.ms / 1000, c.ms % 1000 * 1000000};
    while (c.ms > 0 && nanosleep(&left, &left) == -1)
        if (errno == EINTR && bl_cancelled(job)) {
            note(&c, 'E', "stop -");
            bl_fail(job, "told to stop");
            return BL_RETRY;
        }
    enum bl_result result = chaos_end(&c);
    char text[40];
    int n = snprintf(text, sizeof text, "{\"pid\":%d}", c.pid);
    if (result == BL_DONE)
        bl_set_result(job, text, (size_t)n);
    return result;
}

static const struct bl_handler handlers[] = {{.name = "chaos", .run = run}};
const struct bl_plugin bl_plugin = BL_PLUGIN("chaos", handlers);

#endif
