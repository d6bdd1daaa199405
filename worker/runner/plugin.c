#include "worker/runner/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/document.h"
#include "common/retry.h"

enum {
    PLUGIN_MAX_HANDLERS = 10000,
    PLUGIN_MAX_HANDLER_BYTES = 4096, /* of one row of a table made by a later header */
    SETUP_ERROR_BYTES = 512,
};

static int compare_types(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.ptr, b.ptr, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_handlers(const void *a, const void *b)
{
    const struct plugin_handler *x = a, *y = b;
    return compare_types(x->type, y->type);
}

struct plugin_handler *plugins_find(const struct plugins *p, struct span type)
{
    int low = 0, high = p->handler_count;
    while (low < high) {
        int mid = (low + high) / 2;
        int order = compare_types(type, p->handlers[mid].type);
        if (order == 0)
            return &p->handlers[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static struct plugin_handler *add_handler(struct plugins *p)
{
    p->handlers = xreallocarray(p->handlers, (size_t)p->handler_count + 1, sizeof *p->handlers);
    p->handlers[p->handler_count] = (struct plugin_handler){
        .plugin = -1,
        .timeout_ms = -1,
        .retries = -1,
        .run_us = INT64_MAX,
    };
    return &p->handlers[p->handler_count++];
}

static void sort_handlers(struct plugins *p)
{
    if (p->handler_count > 0)
        qsort(p->handlers, (size_t)p->handler_count, sizeof *p->handlers, compare_handlers);
}

/* NULL = fine, else why not (caller owns). */
static char *check_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd == -1)
        return xstrdup(strerror(errno));
    char *why = NULL;
    if (fstat(fd, &st) == -1)
        why = xstrdup(strerror(errno));
    else if (!S_ISREG(st.st_mode))
        why = xstrdup("it is not a regular file");
    else if (st.st_uid != 0 && st.st_uid != geteuid())
        why = xasprintf("it belongs to uid %u, and must belong to root or to uid %u, who runs it",
                        (unsigned)st.st_uid, (unsigned)geteuid());
    else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        why = xasprintf("others may write to it (mode %04o); run: chmod go-w",
                        (unsigned)(st.st_mode & 07777));
    close(fd);
    return why;
}

/* NULL = nobody else can put another file in the place of one in `dir`.  Sticky: others may add, not
 * replace.  A group that is ours or root's is trusted. */
static char *check_directory(const char *dir)
{
    struct stat st;
    if (stat(dir, &st) == -1)
        return xasprintf("its directory %s: %s", dir, strerror(errno));
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return xasprintf("its directory %s belongs to uid %u, and must belong to root or to uid %u",
                         dir, (unsigned)st.st_uid, (unsigned)geteuid());
    bool group = (st.st_mode & S_IWGRP) != 0 && st.st_gid != 0 && st.st_gid != getegid();
    if ((group || (st.st_mode & S_IWOTH) != 0) && (st.st_mode & S_ISVTX) == 0)
        return xasprintf("others may write to its directory %s (mode %04o)", dir,
                         (unsigned)(st.st_mode & 07777));
    return NULL;
}

/* Every directory above an absolute path. */
static char *check_directories(const char *path)
{
    char *why = NULL;
    char *dir = xstrdup(path);
    for (char *slash = strrchr(dir, '/'); slash != NULL && why == NULL; slash = strrchr(dir, '/')) {
        slash[slash == dir] = '\0';
        why = check_directory(dir);
        if (slash == dir)
            break;
    }
    free(dir);
    return why;
}

/* The way to the file as it is written and, past symbolic links, as it is.  `*ret_real` (caller owns)
 * is what is then loaded: nobody else can change it. */
static char *check_way(const char *path, char **ret_real)
{
    char *real = realpath(path, NULL);
    if (real == NULL)
        return xstrdup(strerror(errno));
    char *why = path[0] == '/' ? check_directories(path) : NULL;
    if (why == NULL)
        why = check_directories(real);
    if (why == NULL)
        why = check_file(real);
    if (why == NULL)
        *ret_real = real;
    else
        free(real);
    return why;
}

/* The header only: whether the rest can be read at all. */
static char *check_table(const struct bl_plugin *t)
{
    if (t->abi != BL_ABI_VERSION)
        return xasprintf("it was built for ABI %u, this program has ABI %d", (unsigned)t->abi,
                         BL_ABI_VERSION);
    if (t->size < sizeof *t)
        return xasprintf("its table says %u bytes instead of %zu", (unsigned)t->size, sizeof *t);
    if (t->handler_size < sizeof(struct bl_handler) || t->handler_size > PLUGIN_MAX_HANDLER_BYTES ||
        t->handler_size % _Alignof(struct bl_handler) != 0)
        return xasprintf("its handlers have %u bytes instead of %zu", (unsigned)t->handler_size,
                         sizeof(struct bl_handler));
    if (t->handlers == NULL || t->handler_count < 1 || t->handler_count > PLUGIN_MAX_HANDLERS)
        return xasprintf("it has %u handlers", (unsigned)t->handler_count);
    if (t->name == NULL || t->name[0] == '\0')
        return xstrdup("it has no name");
    return NULL;
}

static const struct bl_handler *table_row(const struct bl_plugin *t, uint32_t i)
{
    return (const struct bl_handler *)(const void *)((const char *)t->handlers +
                                                     (size_t)t->handler_size * i);
}

static char *check_handler(const struct bl_plugin *t, uint32_t i)
{
    const struct bl_handler *h = table_row(t, i);
    if (h->name == NULL || !document_type_valid(SPAN_OF_STR(h->name)))
        return xasprintf("handler %u has no legal name (1 to 200 bytes of A-Z a-z 0-9 . _ : / -)",
                         (unsigned)i + 1);
    if (h->run == NULL)
        return xasprintf("handler \"%s\" has no function", h->name);
    if (h->timeout_ms < 0)
        return xasprintf("handler \"%s\" has a negative timeout", h->name);
    if (h->retries < -1 || h->retries > RETRY_MAX)
        return xasprintf("handler \"%s\" asks for %d retries; -1 to %d can be", h->name,
                         (int)h->retries, RETRY_MAX);
    for (uint32_t j = 0; j < i; j++)
        if (strcmp(table_row(t, j)->name, h->name) == 0)
            return xasprintf("handler \"%s\" is twice in its table", h->name);
    return NULL;
}

/* Does anyone have this type already?  Says who. */
static char *check_taken(const struct plugins *p, const struct config *c, const char *name)
{
    struct span type = SPAN_OF_STR(name);
    for (int i = 0; i < p->handler_count; i++) {
        const struct plugin_handler *h = &p->handlers[i];
        if (compare_types(h->type, type) != 0)
            continue;
        if (h->plugin >= 0)
            return xasprintf("handler \"%s\" is already in %s", name, p->items[h->plugin].path);
        return xasprintf("handler \"%s\" is already a program (exec) in %s:%d", name,
                         c->path != NULL ? c->path : "", h->program->line);
    }
    return NULL;
}

static char *check_handlers(const struct plugins *p, const struct config *c,
                            const struct bl_plugin *t)
{
    for (uint32_t i = 0; i < t->handler_count; i++) {
        char *why = check_handler(t, i);
        if (why == NULL)
            why = check_taken(p, c, table_row(t, i)->name);
        if (why != NULL)
            return why;
    }
    return NULL;
}

static char *call_setup(const struct bl_plugin *t)
{
    char text[SETUP_ERROR_BYTES] = "";
    if (t->setup == NULL)
        return NULL;
    int rc = t->setup(text, sizeof text);
    text[sizeof text - 1] = '\0';
    return rc == 0 ? NULL
                   : xasprintf("its setup failed: %s", text[0] != '\0' ? text : "no reason given");
}

/* dlerror() puts the path first; it is named by whoever reports the error. */
static char *dl_reason(const char *path)
{
    const char *text = dlerror();
    if (text == NULL)
        text = "unknown reason";
    size_t n = strlen(path);
    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0)
        text += n + 2;
    return xasprintf("it cannot be loaded: %s", text);
}

static void add_table(struct plugins *p, int index)
{
    const struct bl_plugin *t = p->items[index].table;
    for (uint32_t i = 0; i < t->handler_count; i++) {
        const struct bl_handler *from = table_row(t, i);
        struct plugin_handler *h = add_handler(p);
        h->type = SPAN_OF_STR(from->name);
        h->plugin = index;
        h->run = from->run;
        h->timeout_ms = from->timeout_ms > 0 ? from->timeout_ms : -1;
        h->retries = from->retries == 0 ? -1 : from->retries == -1 ? 0 : from->retries;
    }
}

/* Fills in item `index`: its table and handlers, or its error. */
static void load_one(struct plugins *p, int index, const struct config *c, bool setup)
{
    struct plugin *m = &p->items[index];
    char *real = NULL;
    m->error = check_way(m->path, &real);
    if (m->error != NULL)
        return;
    void *handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        m->error = dl_reason(real);
    free(real);
    if (handle == NULL)
        return;
    const struct bl_plugin *t = dlsym(handle, "bl_plugin");
    if (t == NULL)
        m->error = xstrdup("it exports no symbol \"bl_plugin\"");
    else
        m->error = check_table(t);
    if (m->error == NULL)
        m->error = check_handlers(p, c, t);
    if (m->error == NULL && setup)
        m->error = call_setup(t);
    if (m->error != NULL)
        return; /* it stays loaded: unloading runs yet more code of a plugin that is no good */
    m->name = xstrdup(t->name);
    m->table = t;
    m->set_up = setup;
    add_table(p, index);
}

static bool is_wildcard(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

/* `directory`/`pattern`; if that goes to glob(), what it would take for a wildcard in the directory
 * is escaped. */
static char *make_path(const char *directory, const char *pattern)
{
    struct buf b = BUF_INIT;
    if (pattern[0] != '/') {
        for (const char *s = directory; *s != '\0'; s++) {
            if (is_wildcard(pattern) && strchr("*?[]\\", *s) != NULL)
                buf_add_char(&b, '\\');
            buf_add_char(&b, *s);
        }
        buf_add_char(&b, '/');
    }
    buf_add_str(&b, pattern);
    return buf_detach(&b);
}

/* Index of a new item, or -1 when two patterns name the same file. */
static int add_item(struct plugins *p, const char *path)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->items[i].path, path) == 0)
            return -1;
    p->items = xreallocarray(p->items, (size_t)p->count + 1, sizeof *p->items);
    p->items[p->count] = (struct plugin){.path = xstrdup(path)};
    return p->count++;
}

static void load_path(struct plugins *p, const struct config *c, const char *path, bool setup,
                      const struct plugins_events *events)
{
    int index = add_item(p, path);
    if (index == -1)
        return;
    if (events->on_loading != NULL)
        events->on_loading(events->arg, path);
    load_one(p, index, c, setup);
    if (events->on_loaded != NULL)
        events->on_loaded(events->arg, &p->items[index]);
}

/* A wildcard that finds nothing is an empty directory; a plain name that is not there is refused as
 * missing. */
static void load_pattern(struct plugins *p, const struct config *c, const char *directory,
                         const char *pattern, bool setup, const struct plugins_events *events)
{
    char *path = make_path(directory, pattern);
    glob_t found = {0};
    if (!is_wildcard(pattern)) {
        load_path(p, c, path, setup, events);
    } else if (glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            load_path(p, c, found.gl_pathv[i], setup, events);
        globfree(&found);
    }
    free(path);
}

int plugins_load(const struct config *c, const char *directory, bool setup,
                 const struct plugins_events *events, struct plugins *ret)
{
    struct plugins p = {0};
    for (int i = 0; i < c->handler_count; i++) {
        if (c->handlers[i].exec == NULL)
            continue;
        struct plugin_handler *h = add_handler(&p);
        h->type = SPAN_OF_STR(c->handlers[i].type);
        h->program = &c->handlers[i];
    }
    for (int i = 0; i < c->plugin_count; i++)
        load_pattern(&p, c, directory, c->plugins[i], setup, events);
    sort_handlers(&p);
    int refused = 0;
    for (int i = 0; i < p.count; i++)
        refused += p.items[i].error != NULL;
    *ret = p;
    return refused;
}

void plugins_done(struct plugins *p)
{
    for (int i = p->count - 1; i >= 0; i--) {
        struct plugin *m = &p->items[i];
        if (m->set_up && m->table->teardown != NULL)
            m->table->teardown();
        free(m->path);
        free(m->name);
        free(m->error);
    }
    free(p->items);
    free(p->handlers);
    *p = (struct plugins){0};
}
