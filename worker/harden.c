#include "worker/harden.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

extern char **environ;

/* Not 0: a limit of 0 does not hold for cores that go into a pipe, a limit of 1 byte does, and nothing
 * that small is written to a file either. */
enum { CORE_BYTES = 1 };

void harden_process(bool core_dumps)
{
    if (core_dumps)
        return;
    struct rlimit now = {0};
    rlim_t limit = CORE_BYTES;
    if (getrlimit(RLIMIT_CORE, &now) == 0 && now.rlim_max < limit)
        limit = now.rlim_max;
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){limit, limit}) == -1 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
        log_msg(LOG_WARN, "core files could not be forbidden");
}

char **harden_environment(void)
{
    static const char *const secret[] = {
        "BUCKETLINE_REDIS_URL=", "REDIS_URL=", "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID="};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **env = xcalloc(count + 1, sizeof *env);
    for (size_t i = 0; i < count; i++) {
        bool hidden = false;
        for (size_t k = 0; k < ARRAY_COUNT(secret) && !hidden; k++)
            hidden = strncmp(environ[i], secret[k], strlen(secret[k])) == 0;
        if (!hidden)
            env[kept++] = environ[i];
    }
    return env;
}
