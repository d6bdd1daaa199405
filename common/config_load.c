/* config_load.c - the members of a map into the fields of a struct, as the option table says. */
#include "common/config_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/redis_url.h"
#include "common/when.h"

enum { NAME_BYTES = 128, VARIABLE_BYTES_MAX = 200, ARGUMENT_BYTES_MAX = 64 * 1024 };

char *config_resolve(const struct config_loader *l, const char *path)
{
    const char *base = l->config->directory;
    if (path[0] == '/' || base[0] == '\0')
        return xstrdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    return xasprintf("%.*s/%s", (int)len, base, path);
}

static const char *kind_name(const struct yaml_node *node)
{
    switch (node->kind) {
    case YAML_LIST:
        return "a list";
    case YAML_MAP:
        return "a map";
    case YAML_TEXT:
        break;
    }
    return "a single value";
}

bool config_is_sequence(struct config_loader *l, const struct option *o, enum yaml_kind kind,
                        const struct yaml_node *node)
{
    const char *wanted = kind == YAML_LIST ? "a list, such as [a, b]" : "a map, such as {a: b}";
    if (node->kind != kind) {
        (void)config_problem(l, ERR_TYPE, node->line, node->col, "`%s` must be %s, not %s",
                             option_label(o), wanted, kind_name(node));
        return false;
    }
    int64_t count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
        if (++count > o->max) {
            (void)config_problem(l, ERR_TOO_BIG, n->line, n->col, "`%s` has more than %d entries",
                                 option_label(o), (int)o->max);
            return false;
        }
    return true;
}

/* A text to be taken as it is; NULL after noting a problem. */
static const char *item_text(struct config_loader *l, const struct option *o,
                             const struct yaml_node *node)
{
    const char *label = option_label(o);
    if (node->kind != YAML_TEXT)
        (void)config_problem(l, ERR_TYPE, node->line, node->col, "`%s` must hold texts, not %s",
                             label, kind_name(node));
    else if (yaml_tree_is_null(node))
        (void)config_problem(l, ERR_MISSING, node->line, node->col,
                             "`%s` has an entry without a value: write \"\" for an empty text",
                             label);
    else if (strlen(node->text) > ARGUMENT_BYTES_MAX)
        (void)config_problem(l, ERR_TOO_BIG, node->line, node->col,
                             "`%s` has an entry of more than %d bytes", label, ARGUMENT_BYTES_MAX);
    else if (node->text[0] == '\0' && (o->flags & OPTION_EMPTY) == 0)
        (void)config_problem(l, ERR_INVALID, node->line, node->col, "`%s` has an empty entry",
                             label);
    else
        return node->text;
    return NULL;
}

static bool is_variable(const char *name)
{
    size_t len = strlen(name);
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    return len > 0 && len <= VARIABLE_BYTES_MAX && strchr(letters, name[0]) != NULL &&
           strspn(name + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") ==
               len - 1;
}

static bool check_variable(struct config_loader *l, const struct yaml_node *node)
{
    static const char *const ours[] = {"JOB_ID",      "JOB_TYPE",     "JOB_QUEUE",
                                       "JOB_ATTEMPT", "JOB_DEADLINE", "TRACEPARENT"};
    char shown[YAML_TREE_SHOW_BYTES];
    if (!is_variable(node->key)) {
        (void)config_problem(l, ERR_INVALID, node->key_line, node->key_col,
                             "`%s` is no name of a variable: letters, digits and _",
                             yaml_tree_show(node->key, shown));
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
        if (strcmp(ours[i], node->key) == 0) {
            (void)config_problem(l, ERR_INVALID, node->key_line, node->key_col,
                                 "`%s` is set by the worker", ours[i]);
            return false;
        }
    return true;
}

/* The texts of a list, or "NAME=value" of a map. */
static void load_list(struct config_loader *l, const struct option *o, const struct yaml_node *node,
                      void *base)
{
    bool is_map = o->type == OPTION_MAP;
    if (!config_is_sequence(l, o, is_map ? YAML_MAP : YAML_LIST, node))
        return;
    int count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
        count++;
    char **items = xcalloc((size_t)count + 1, sizeof(char *));
    int used = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        const char *text = item_text(l, o, n);
        if (n->duplicate || text == NULL || (is_map && !check_variable(l, n)))
            continue;
        items[used++] = is_map ? xasprintf("%s=%s", n->key, text) : xstrdup(text);
    }
    *(char ***)(void *)((char *)base + o->offset) = items;
    *(int *)(void *)((char *)base + o->count_offset) = used;
}

static void load_value(struct config_loader *l, const struct option *o,
                       const struct yaml_node *node, void *base)
{
    struct err err = {0};
    if (node->kind != YAML_TEXT) {
        (void)config_problem(l, ERR_TYPE, node->line, node->col,
                             "`%s` must be a single value (%s), not %s", option_label(o),
                             option_type_name(o->type), kind_name(node));
        return;
    }
    int rc = option_set(o, node->text, node->plain, base, &err);
    if (rc < 0) {
        (void)config_problem(l, (enum err_code) - rc, node->line, node->col, "%s", err.text);
        return;
    }
    if (o->type == OPTION_PATH && node->text[0] != '\0') {
        char **at = (char **)(void *)((char *)base + o->offset);
        free(*at);
        *at = config_resolve(l, node->text);
    }
}

static void load_option(struct config_loader *l, const struct option *o,
                        const struct yaml_node *node, void *base)
{
    bool is_compound = o->type >= OPTION_LIST;
    if (yaml_tree_is_null(node)) {
        /* all entries may have been commented out; a single value can be left out itself */
        if (!is_compound)
            (void)config_problem(l, ERR_MISSING, node->key_line, node->key_col,
                                 "`%s` has no value: give one, or leave the line out",
                                 option_label(o));
    } else if (o->type == OPTION_QUEUES) {
        config_load_queues(l, o, node);
    } else if (o->type == OPTION_HANDLERS) {
        config_load_handlers(l, o, node);
    } else if (is_compound) {
        load_list(l, o, node, base);
    } else {
        load_value(l, o, node, base);
    }
}

static void unknown_option(struct config_loader *l, const char *prefix,
                           const struct yaml_node *node)
{
    char shown[YAML_TREE_SHOW_BYTES], nearest[NAME_BYTES];
    const char *hint = NULL;
    if (l->held_back == 0) /* a file of nothing else would take seconds */
        hint = option_nearest(prefix, node->key, nearest, sizeof nearest);
    const char *dot = strchr(node->key, '.');
    yaml_tree_show(node->key, shown);
    if (hint == NULL)
        (void)config_problem(l, ERR_UNKNOWN, node->key_line, node->key_col, "unknown option `%s`",
                             shown);
    else if (dot != NULL && strcmp(hint, node->key) == 0)
        (void)config_problem(l, ERR_UNKNOWN, node->key_line, node->key_col,
                             "unknown option `%s`; write `%s` inside `%.*s:`", shown, dot + 1,
                             (int)(dot - node->key), node->key);
    else
        (void)config_problem(l, ERR_UNKNOWN, node->key_line, node->key_col,
                             "unknown option `%s`; did you mean `%s`?", shown, hint);
}

bool config_load_section(struct config_loader *l, const char *prefix, const struct yaml_node *map,
                         void *base)
{
    if (yaml_tree_is_null(map))
        return true;
    if (map->kind != YAML_MAP) {
        (void)config_problem(l, ERR_TYPE, map->line, map->col, "`%s` must be a map, not %s",
                             map->key != NULL ? map->key : "an entry", kind_name(map));
        return false;
    }
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (n->duplicate)
            continue;
        char name[NAME_BYTES];
        int len = snprintf(name, sizeof name, "%s%s", prefix, n->key);
        /* the table's own notation is none of the file's */
        bool fits = len < NAME_BYTES && strpbrk(n->key, ".[]*") == NULL && n->key[0] != '\0';
        const struct option *o = fits ? option_find(name) : NULL;
        if (o != NULL) {
            load_option(l, o, n, base);
        } else if (fits && option_is_section(name)) {
            snprintf(name, sizeof name, "%s%s.", prefix, n->key);
            (void)config_load_section(l, name, n, base); /* the problem was noted */
        } else {
            unknown_option(l, prefix, n);
        }
    }
    return true;
}

static void check_redis(struct config_loader *l, const struct yaml_node *redis)
{
    const struct config *c = l->config;
    const struct yaml_node *url = yaml_tree_get(redis, "url");
    if (c->redis.url != NULL && url != NULL) {
        struct redis_url parsed;
        struct err err = {0};
        int rc = redis_url_parse(c->redis.url, &parsed, &err);
        if (rc < 0)
            (void)config_problem(l, (enum err_code) - rc, url->line, url->col, "%s", err.text);
    }
    if ((c->redis.cert_file == NULL) != (c->redis.key_file == NULL)) {
        const char *there = c->redis.cert_file != NULL ? "cert_file" : "key_file";
        const struct yaml_node *node = yaml_tree_get(redis, there);
        if (node != NULL)
            (void)config_problem(l, ERR_MISSING, node->key_line, node->key_col,
                                 "`redis.%s` needs `redis.%s` beside it", there,
                                 c->redis.cert_file != NULL ? "key_file" : "cert_file");
    }
}

void config_check(struct config_loader *l, const struct yaml_node *root)
{
    struct config *c = l->config;
    const struct yaml_node *queues = yaml_tree_get(root, "queues");
    if (queues == NULL)
        (void)config_problem(l, ERR_MISSING, 1, 1,
                             "`queues` is missing: name the queues to serve, such as "
                             "`queues: [default]`");
    else if (yaml_tree_is_null(queues) || (queues->kind == YAML_LIST && queues->first == NULL))
        (void)config_problem(l, ERR_MISSING, queues->key_line, queues->key_col,
                             "`queues` is empty: name at least one");
    check_redis(l, yaml_tree_get(root, "redis"));
    if (c->beat_ms > c->dead_after_ms / 4) {
        const struct yaml_node *node = yaml_tree_get(root, "beat");
        if (node == NULL)
            node = yaml_tree_get(root, "dead_after");
        char beat[48], dead_after[48];
        if (node != NULL)
            (void)config_problem(l, ERR_RANGE, node->line, node->col,
                                 "`beat` (%s) must be at most a quarter of `dead_after` (%s): a "
                                 "worker with one late beat would be taken for dead",
                                 duration_format(c->beat_ms, beat),
                                 duration_format(c->dead_after_ms, dead_after));
    }
}
