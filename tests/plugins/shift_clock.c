/* LD_PRELOAD for tests: the program's wall clock is BL_SHIFT_S seconds off. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void)
{
    const char *s = getenv("BL_SHIFT_S");
    return s != NULL ? strtol(s, NULL, 10) : 0;
}

int gettimeofday(struct timeval *tv, void *tz)
{
    long rc = syscall(SYS_gettimeofday, tv, tz);
    tv->tv_sec += shift();
    return (int)rc;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    long rc = syscall(SYS_clock_gettime, id, ts);
    if (id == CLOCK_REALTIME)
        ts->tv_sec += shift();
    return (int)rc;
}

time_t time(time_t *ret)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret != NULL)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}
