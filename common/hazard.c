#include "common/hazard.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    OLDEST_VERSION = 60200,
    SKEW_MS = 1000, /* a smaller one nobody notices: due times are in seconds */
    ROUND_TRIP_US = 50 * 1000,
};

struct list {
    struct hazard *items;
    int count;
};

static void add(struct list *l, enum hazard_grade grade, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void add(struct list *l, enum hazard_grade grade, const char *fmt, ...)
{
    if (l->count == HAZARD_MAX)
        return;
    struct hazard *h = &l->items[l->count++];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->text, sizeof h->text, fmt, ap);
    va_end(ap);
    h->grade = grade;
}

static void add_server(struct list *l, const struct store_info *info)
{
    if (info->version_num != 0 && info->version_num < OLDEST_VERSION)
        add(l, HAZARD_STOP, "version %s is too old: 6.2 or later is needed", info->version);
    if (!info->is_master)
        add(l, HAZARD_STOP, "it is a replica: it takes no writes, and so no jobs");
}

static void add_persistence(struct list *l, const struct hazard_facts *f)
{
    const struct store_info *info = f->info;
    if (info->aof) {
        if (!f->has_appendfsync)
            add(l, HAZARD_NOTE,
                "appendfsync could not be read; unless it is \"always\", a power cut "
                "loses the last seconds");
        else if (strcmp(f->appendfsync, "no") == 0)
            add(l, HAZARD_WARN,
                "appendfsync no: a power cut may lose the last 30 s; set everysec or "
                "always");
        else if (strcmp(f->appendfsync, "everysec") == 0)
            add(l, HAZARD_NOTE, "appendfsync everysec: a power cut may lose the last 2 s");
    } else if (f->has_save && f->save[0] == '\0') {
        add(l, HAZARD_WARN,
            "appendonly is off and there are no save points: a restart of Redis loses "
            "every job");
    } else if (f->has_save) {
        add(l, HAZARD_WARN,
            "appendonly is off: a crash of Redis loses what came after the last "
            "snapshot (save %.60s)",
            f->save);
    } else {
        add(l, HAZARD_WARN,
            "appendonly is off (save points could not be read): a restart of Redis "
            "loses jobs");
    }
    if (info->write_failed)
        add(l, HAZARD_WARN, "its last write to disk failed: it may refuse jobs, or lose them");
}

static void add_memory(struct list *l, const struct store_info *info)
{
    const char *policy = info->maxmemory_policy;
    if (policy[0] == '\0')
        add(l, HAZARD_NOTE,
            "maxmemory-policy could not be read; anything but noeviction loses jobs");
    else if (strcmp(policy, "noeviction") != 0)
        add(l, HAZARD_WARN, "maxmemory-policy %s: %s; set noeviction", policy,
            info->maxmemory > 0 ? "full memory may throw jobs away"
                                : "once maxmemory is set, full memory may throw jobs away");
}

static void add_time(struct list *l, const struct hazard_facts *f)
{
    if (f->has_skew && (f->skew_ms >= SKEW_MS || f->skew_ms <= -SKEW_MS))
        add(l, HAZARD_WARN,
            "this machine's clock is %.1f s %s Redis': delays go by Redis', the times "
            "of `at` and in the log by their maker's",
            (double)(f->skew_ms < 0 ? -f->skew_ms : f->skew_ms) / 1000,
            f->skew_ms < 0 ? "behind" : "ahead of");
    if (f->round_trip_us >= ROUND_TRIP_US)
        add(l, HAZARD_WARN, "a round trip takes %" PRId64 " ms: jobs begin and end that much later",
            f->round_trip_us / 1000);
}

int64_t hazard_skew_ms(int64_t asked_wall_ms, int64_t answered_wall_ms, int64_t redis_wall_ms)
{
    return asked_wall_ms + (answered_wall_ms - asked_wall_ms) / 2 - redis_wall_ms;
}

int hazard_list(const struct hazard_facts *facts, struct hazard *ret)
{
    struct hazard found[HAZARD_MAX] = {0};
    struct list l = {.items = found};
    add_server(&l, facts->info);
    add_memory(&l, facts->info);
    add_persistence(&l, facts);
    add_time(&l, facts);
    int n = 0;
    for (int grade = HAZARD_STOP; grade >= HAZARD_NOTE; grade--)
        for (int i = 0; i < l.count; i++)
            if ((int)found[i].grade == grade)
                ret[n++] = found[i];
    return n;
}
