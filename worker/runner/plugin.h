/* plugin.h - loads the plugins and knows which handler runs a type.  The only file with dlfcn.h.
 *
 * A plugin is code that runs as us, so its file is looked at first: a regular file of root's or
 * ours that nobody else may write.  One that is refused takes only its own types away.
 */
#ifndef BL_WORKER_RUNNER_PLUGIN_H
#define BL_WORKER_RUNNER_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/mem.h"
#include "jobs/bucketline.h"

struct plugin {
    char *path;
    char *name; /* NULL until it is loaded */
    char *error; /* why it was refused; NULL = it works */
    bool set_up; /* its teardown() is due */
    const struct bl_plugin *table; /* borrowed from the loaded file */
};

struct plugin_handler {
    struct span type; /* borrowed from the plugin or the configuration */
    int plugin; /* index; -1 = a program of worker.yaml */
    enum bl_result (*run)(struct bl_job *); /* NULL for programs */
    const struct config_handler *program; /* NULL for plugins; borrowed from the configuration */
    int64_t timeout_ms; /* what the plugin's table says; -1 = nothing */
    int retries; /* likewise */
    int clean_looks; /* how often its runs were seen to leave the process as it was */
    int64_t run_us; /* how long the last run took; INT64_MAX = never run */
};

struct plugins {
    struct plugin *items;
    int count;
    struct plugin_handler *handlers; /* sorted by type once loaded */
    int handler_count;
};

/* What happens while loading; either may be NULL. */
struct plugins_events {
    void (*on_loading)(void *arg, const char *path);
    void (*on_loaded)(void *arg, const struct plugin *p); /* p->error says how */
    void *arg;
};

/* Loads all that `c` names, relative to `directory`; with `setup` calls each plugin's setup().
 * Returns how many were refused.  `c` must outlive `ret`. */
int plugins_load(const struct config *c, const char *directory, bool setup,
                 const struct plugins_events *events, struct plugins *ret);
/* Calls teardown() where setup was asked for.  Nothing is unloaded: threads of a plugin may still run in it. */
void plugins_done(struct plugins *p);

/* NULL = nobody runs this type. */
struct plugin_handler *plugins_find(const struct plugins *p, struct span type);

#endif
