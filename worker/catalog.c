#include "worker/catalog.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "worker/child.h"
#include "worker/launch.h"

enum { DESCRIBE_MAX_BYTES = 4 * 1024 * 1024 };

void catalog_init(struct catalog *c)
{
    *c = (struct catalog){0};
}

static void forget_broken(struct catalog *c)
{
    for (int i = 0; i < c->broken_count; i++)
        free(c->broken[i]);
    free(c->broken);
    c->broken = NULL;
    c->broken_count = 0;
}

void catalog_done(struct catalog *c)
{
    for (int i = 0; i < c->count; i++) {
        free(c->items[i]->type);
        free(c->items[i]);
    }
    free(c->items);
    forget_broken(c);
    catalog_init(c);
}

/* Index of `type`, or of where it belongs; `*ret_found` tells which. */
static int search(const struct catalog *c, const char *type, bool *ret_found)
{
    int low = 0, high = c->count;
    *ret_found = false;
    while (low < high) {
        int mid = (low + high) / 2;
        int order = strcmp(c->items[mid]->type, type);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct handler *catalog_find(const struct catalog *c, const char *type)
{
    bool found;
    int at = search(c, type, &found);
    return found && !c->items[at]->gone ? c->items[at] : NULL;
}

static struct handler *add(struct catalog *c, const char *type)
{
    bool found;
    int at = search(c, type, &found);
    if (found)
        return c->items[at];
    c->items = xreallocarray(c->items, (size_t)c->count + 1, sizeof *c->items);
    memmove(c->items + at + 1, c->items + at, (size_t)(c->count - at) * sizeof *c->items);
    struct handler *h = xcalloc(1, sizeof *h);
    h->type = xstrdup(type);
    c->items[at] = h;
    c->count++;
    return h;
}

static void add_broken(struct catalog *c, const char *path, const char *why)
{
    c->broken = xreallocarray(c->broken, (size_t)c->broken_count + 1, sizeof *c->broken);
    c->broken[c->broken_count++] = xasprintf("%s: %s", path, why);
}

/* Default, then the plugin's table, then worker.yaml. */
static void apply_settings(struct handler *h, const struct config *cfg, int64_t plugin_timeout_ms,
                           int64_t plugin_retries, bool has_retries)
{
    h->timeout_ms = plugin_timeout_ms > 0 ? plugin_timeout_ms : cfg->timeout_ms;
    h->retry = (struct retry_policy)RETRY_POLICY_INIT;
    if (has_retries)
        h->retry.retries = (int)plugin_retries;
    const struct config_handler *set = config_handler_find(cfg, h->type);
    if (set == NULL)
        return;
    h->program = set->exec != NULL;
    if (set->timeout_ms >= 0)
        h->timeout_ms = set->timeout_ms;
    if (set->retries >= 0)
        h->retry.retries = set->retries;
    if (set->has_backoff)
        h->retry.backoff = set->backoff;
}

static int read_line(struct catalog *c, const struct config *cfg, json_t *line, char **loading,
                     struct err *err)
{
    const char *path = json_string_value(json_object_get(line, "loading"));
    if (path != NULL) {
        free(*loading);
        *loading = xstrdup(path);
        return 0;
    }
    const char *type = json_string_value(json_object_get(line, "type"));
    if (type != NULL) {
        struct handler *h = add(c, type);
        json_t *retries = json_object_get(line, "retries");
        int64_t count = json_integer_value(retries);
        h->fresh = true;
        apply_settings(h, cfg, json_integer_value(json_object_get(line, "timeout_ms")), count,
                       json_is_integer(retries) && count >= 0);
        return 0;
    }
    const char *plugin = json_string_value(json_object_get(line, "plugin"));
    if (plugin == NULL)
        return err_set(err, ERR_PROTOCOL, "the runner's description has a line of no known kind");
    const char *why = json_string_value(json_object_get(line, "error"));
    if (why != NULL)
        add_broken(c, plugin, why);
    free(*loading);
    *loading = NULL;
    return 0;
}

int catalog_read(struct catalog *c, const struct config *cfg, struct span text, const char *crashed,
                 struct err *err)
{
    char *loading = NULL;
    int rc = 0;
    forget_broken(c);
    for (int i = 0; i < c->count; i++)
        c->items[i]->fresh = false;
    while (text.len > 0 && rc == 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.ptr) : text.len;
        if (n > 0) {
            json_error_t where;
            json_t *line = json_loadb(text.ptr, n, JSON_REJECT_DUPLICATES, &where);
            rc = line != NULL ? read_line(c, cfg, line, &loading, err)
                              : err_set(err, ERR_PROTOCOL,
                                        "the runner's description cannot be read: %s", where.text);
            json_decref(line);
        }
        size_t used = end != NULL ? n + 1 : n;
        text.ptr += used;
        text.len -= used;
    }
    if (rc == 0 && crashed != NULL) {
        if (loading != NULL)
            add_broken(c, loading, crashed);
        else
            rc = err_set(err, ERR_SYSTEM, "the describing runner ended early: %s", crashed);
    }
    for (int i = 0; rc == 0 && i < c->count; i++)
        c->items[i]->gone = !c->items[i]->fresh;
    free(loading);
    return rc;
}

/* Reads `fd` to its end into `out`, until `deadline_mono_ms`. */
static int read_all(int fd, int64_t deadline_mono_ms, struct buf *out, struct err *err)
{
    for (;;) {
        int64_t left_ms = deadline_mono_ms - mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        if (n == -1 && errno == EINTR)
            continue;
        if (n == 0)
            return err_set(err, ERR_TIMEOUT, "loading the plugins takes too long");
        ssize_t got = n == -1 ? -1 : read(fd, buf_reserve(out, 65536), 65536);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return err_errno(err, ERR_SYSTEM, "reading the runner's description");
        if (got == 0)
            return 0;
        buf_grown(out, (size_t)got);
        if (out->len > DESCRIBE_MAX_BYTES)
            return err_set(err, ERR_TOO_BIG, "the runner's description is over %d bytes",
                           DESCRIBE_MAX_BYTES);
    }
}

int catalog_load(struct catalog *c, const struct config *cfg, int exe_fd, int64_t timeout_ms,
                 struct err *err)
{
    struct buf text = BUF_INIT;
    int out_fd = -1;
    pid_t pid = 0;
    int rc = launch_describe(cfg, exe_fd, &pid, &out_fd, err);
    if (rc == 0) {
        rc = read_all(out_fd, mono_ms() + timeout_ms, &text, err);
        if (rc < 0)
            child_kill_group(pid, 0, SIGKILL);
        struct child_end end;
        (void)child_wait_dead(pid, -1); /* it has closed its output or was just killed */
        child_kill_group(pid, 0, SIGKILL);
        child_reap(pid, &end);
        char how[64];
        bool ended_well = end.exit_code == 0 || end.exit_code == 78;
        child_end_format(&end, how, sizeof how);
        if (rc == 0)
            rc = catalog_read(c, cfg, buf_span(&text), ended_well ? NULL : how, err);
    }
    if (out_fd >= 0)
        close(out_fd);
    buf_done(&text);
    return rc;
}
