#include "worker/oom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/small_file.h"

enum { FILE_BYTES = 16 * 1024, GROUP_BYTES = 1024, LOOK_EVERY_MS = 1000 };

/* The number behind "oom_kill " at the start of a line; -1 = there is none. */
static int64_t counter_in(const char *path)
{
    char text[FILE_BYTES];
    static const char name[] = "oom_kill ";
    if (small_file_read(path, text, sizeof text) < 0)
        return -1;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, sizeof name - 1) == 0)
            return strtoll(line + sizeof name - 1, NULL, 10);
    }
    return -1;
}

/* Our group in the hierarchy of that controller ("" = version 2), from lines of "id:names:path". */
static bool find_group(const char *text, const char *controller, char *ret, size_t size)
{
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *names = strchr(line, ':');
        const char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL)
            return false;
        size_t len = (size_t)(path - names - 1);
        if (len == strlen(controller) && memcmp(names + 1, controller, len) == 0) {
            snprintf(ret, size, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
            return true;
        }
    }
    return false;
}

/* The file of our group, or, where a container shows its own group as the root, the root's. */
static int64_t counter_of(const char *mount, const char *group, const char *file)
{
    char path[GROUP_BYTES + 128];
    snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
    int64_t n = counter_in(path);
    if (n >= 0)
        return n;
    snprintf(path, sizeof path, "%s/%s", mount, file);
    return counter_in(path);
}

int64_t oom_kills(void)
{
    char text[FILE_BYTES], group[GROUP_BYTES];
    if (small_file_read("/proc/self/cgroup", text, sizeof text) > 0) {
        if (find_group(text, "memory", group, sizeof group)) {
            int64_t n = counter_of("/sys/fs/cgroup/memory", group, "memory.oom_control");
            if (n >= 0)
                return n;
        }
        if (find_group(text, "", group, sizeof group)) {
            int64_t n = counter_of("/sys/fs/cgroup", group, "memory.events");
            if (n >= 0)
                return n;
        }
    }
    return counter_in("/proc/vmstat");
}

int64_t oom_watch_run(struct oom_watch *o, int64_t now_mono_ms)
{
    if (now_mono_ms >= o->look_mono_ms) {
        o->kills_before = o->kills;
        o->kills = oom_kills();
        if (o->kills_before < 0)
            o->kills_before = o->kills;
        o->look_mono_ms = now_mono_ms + LOOK_EVERY_MS;
    }
    return o->look_mono_ms;
}

bool oom_watch_fresh(const struct oom_watch *o)
{
    return o->kills_before >= 0 && oom_kills() > o->kills_before;
}
