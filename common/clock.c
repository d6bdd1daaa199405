#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t boot_ms(void)
{
    return read_us(CLOCK_BOOTTIME) / 1000;
}

const char *wall_format(int64_t ms, char *out)
{
    static const int64_t latest_ms = INT64_C(253402300799999);
    if (ms < 0)
        ms = 0;
    if (ms > latest_ms)
        ms = latest_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_TEXT_BYTES - n, ".%03dZ", (int)(ms % 1000));
    return out;
}
