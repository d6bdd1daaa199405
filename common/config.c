#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config_priv.h"

enum { ERRORS_MAX = 100, RUNNERS_MAX = 1000 };

static const char *const places[] = {"./worker.yaml", "/etc/bucketline/worker.yaml"};

/* Processors this process may use: fewer than the machine's in many a container. */
static int default_runners(void)
{
    cpu_set_t set;
    long count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    else
        count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 2 ? 2 : count > RUNNERS_MAX ? RUNNERS_MAX : (int)count;
}

void config_init(struct config *c)
{
    *c = (struct config){.path = xstrdup(""), .directory = xstrdup("")};
    options_reset(OPTION_OF_CONFIG, c);
    c->runners = default_runners();
}

void config_queue_done(struct config_queue *q)
{
    options_release(OPTION_OF_QUEUE, q);
}

void config_handler_init(struct config_handler *h)
{
    *h = (struct config_handler){0};
    options_reset(OPTION_OF_HANDLER, h);
}

void config_handler_done(struct config_handler *h)
{
    free(h->type);
    options_release(OPTION_OF_HANDLER, h);
}

void config_done(struct config *c)
{
    for (int i = 0; i < c->queue_count; i++)
        config_queue_done(&c->queues[i]);
    for (int i = 0; i < c->handler_count; i++)
        config_handler_done(&c->handlers[i]);
    free(c->queues);
    free(c->handlers);
    options_release(OPTION_OF_CONFIG, c);
    free(c->directory);
    free(c->path);
    *c = (struct config){0};
}

void config_errors_done(struct config_errors *e)
{
    free(e->items);
    *e = (struct config_errors){0};
}

static void add_error(struct config_loader *l, const struct err *e)
{
    struct config_errors *all = l->errors;
    if (all->count == ERRORS_MAX) {
        l->held_back++;
        return;
    }
    all->items = xreallocarray(all->items, (size_t)all->count + 1, sizeof *all->items);
    all->items[all->count++] = *e;
}

static void on_problem(void *arg, const struct err *problem)
{
    add_error(arg, problem);
}

int config_problem(struct config_loader *l, enum err_code code, int line, int col, const char *fmt,
                   ...)
{
    struct err text = {0}, e = {0};
    va_list ap;
    va_start(ap, fmt);
    err_vset(&text, code, fmt, ap);
    va_end(ap);
    int rc = err_at(&e, code, l->name, line, col, "%s", text.text);
    add_error(l, &e);
    return rc;
}

static bool is_before(const struct err *a, const struct err *b)
{
    return a->line != b->line ? a->line < b->line : a->col < b->col;
}

/* In file order, those of one place as they were found; and how many were held back. */
static void finish_errors(struct config_loader *l)
{
    struct config_errors *all = l->errors;
    for (int i = 1; i < all->count; i++) {
        struct err e = all->items[i];
        int j = i;
        for (; j > 0 && is_before(&e, &all->items[j - 1]); j--)
            all->items[j] = all->items[j - 1];
        all->items[j] = e;
    }
    if (l->held_back == 0)
        return;
    struct err rest = {0};
    (void)err_at(&rest, ERR_INVALID, l->name, 0, 0, "and %d more problems", l->held_back);
    all->items = xreallocarray(all->items, (size_t)all->count + 1, sizeof *all->items);
    all->items[all->count++] = rest;
}

static void load_tree(struct config_loader *l, struct span text)
{
    struct yaml_node *root = NULL;
    if (yaml_tree_read(l->name, text, on_problem, l, &root) < 0)
        return; /* the problem was told */
    if (root != NULL && root->kind != YAML_MAP && !yaml_tree_is_null(root))
        (void)config_problem(l, ERR_TYPE, root->line, root->col,
                             "the file must hold options, such as `runners: 4`");
    else if (root == NULL || config_load_section(l, "", root, l->config))
        config_check(l, root);
    yaml_tree_free(root);
}

int config_load_text(const char *name, const char *directory, struct span text, struct config *ret,
                     struct config_errors *ret_errors)
{
    *ret_errors = (struct config_errors){0};
    struct config c;
    config_init(&c);
    free(c.directory);
    c.directory = xstrdup(directory);
    struct config_loader l = {.name = name, .config = &c, .errors = ret_errors};
    if (!yaml_tree_is_utf8(directory))
        (void)config_problem(&l, ERR_INVALID, 1, 1, "the path of its directory is no UTF-8 text");
    else
        load_tree(&l, text);
    if (ret_errors->count > 0) {
        finish_errors(&l);
        config_done(&c);
        return -ERR_INVALID;
    }
    config_done(ret);
    *ret = c;
    return 0;
}

/* One byte more than is allowed is read, so that a file that is too large shows. */
static int read_file(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd == -1)
        return err_errno(err, ERR_NOT_FOUND, "cannot open it");
    int rc = 0;
    while (out->len <= YAML_MAX_BYTES) {
        enum { CHUNK = 64 * 1024 };
        ssize_t n = read(fd, buf_reserve(out, CHUNK), CHUNK);
        if (n == 0)
            break;
        if (n > 0) {
            buf_grown(out, (size_t)n);
        } else if (errno != EINTR) {
            rc = err_errno(err, ERR_SYSTEM, "cannot read it");
            break;
        }
    }
    (void)close(fd); /* nothing was written */
    return rc;
}

/* The absolute directory of `path`; symbolic links stay as they are, so that what a link like
 * `current` points to may change between two loads.  Caller owns (free). */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    while (len >= 2 && path[0] == '.' && path[1] == '/') {
        path += 2;
        len -= 2;
    }
    if (len == 1 && path[0] == '.')
        len = 0;
    if (len > 0 && path[0] == '/')
        return xstrndup(path, len);
    char *cwd = getcwd(NULL, 0);
    const char *base = cwd != NULL ? cwd : ".";
    char *joined = len == 0 ? xstrdup(base) : xasprintf("%s/%.*s", base, (int)len, path);
    free(cwd);
    return joined;
}

int config_load(const char *path, struct config *ret, struct config_errors *ret_errors)
{
    struct buf text = BUF_INIT;
    struct err err = {0};
    char *directory = directory_of(path);
    int rc = read_file(path, &text, &err);
    if (rc < 0) {
        *ret_errors = (struct config_errors){0};
        struct config_loader l = {.name = path, .errors = ret_errors};
        rc = -ERR_INVALID;
        (void)config_problem(&l, err.code, 0, 0, "%s", err.text);
    } else {
        rc = config_load_text(path, directory, buf_span(&text), ret, ret_errors);
        if (rc == 0) {
            free(ret->path);
            ret->path = xstrdup(path);
        }
    }
    free(directory);
    buf_done(&text);
    return rc;
}

int config_find(char *ret_path, size_t size, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(places); i++)
        if (access(places[i], F_OK) == 0) {
            snprintf(ret_path, size, "%s", places[i]);
            return 0;
        }
    return err_set(err, ERR_NOT_FOUND,
                   "no configuration: neither %s nor %s is there; name one "
                   "with -c",
                   places[0], places[1]);
}

const struct config_handler *config_handler_find(const struct config *c, const char *type)
{
    for (int i = 0; i < c->handler_count; i++)
        if (strcmp(c->handlers[i].type, type) == 0)
            return &c->handlers[i];
    return NULL;
}

const struct config_queue *config_queue_find(const struct config *c, const char *name)
{
    for (int i = 0; i < c->queue_count; i++)
        if (strcmp(c->queues[i].name, name) == 0)
            return &c->queues[i];
    return NULL;
}
