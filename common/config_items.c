/* config_items.c - the two options that are not single values: queues and handlers. */
#include "common/config_priv.h"

#include <stdlib.h>
#include <string.h>

static int count_children(const struct yaml_node *node)
{
    int count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
        count++;
    return count;
}

/* The name is checked by its option, whether it stands alone or in a map. */
static void load_queue(struct config_loader *l, const struct yaml_node *node,
                       struct config_queue *q)
{
    q->line = node->line;
    if (node->kind == YAML_MAP) {
        if (yaml_tree_get(node, "name") == NULL)
            (void)config_problem(l, ERR_MISSING, node->line, node->col, "this queue has no `name`");
        (void)config_load_section(l, "queues[].", node, q); /* it is a map */
    } else if (node->kind == YAML_TEXT && !yaml_tree_is_null(node)) {
        struct err err = {0};
        int rc = option_set(option_find("queues[].name"), node->text, node->plain, q, &err);
        if (rc < 0)
            (void)config_problem(l, (enum err_code) - rc, node->line, node->col, "%s", err.text);
    } else {
        (void)config_problem(l, ERR_TYPE, node->line, node->col,
                             "a queue must be a name or a map, such as {name: mail}");
    }
    if (q->key == NULL && q->name != NULL)
        q->key = xasprintf("queue:%s", q->name);
}

/* `bucketline:` begins the keys that belong to no queue. */
static void check_queue(struct config_loader *l, const struct config_queue *q,
                        const struct yaml_node *node)
{
    char shown[YAML_TREE_SHOW_BYTES];
    const struct config *c = l->config;
    if (q->name == NULL || q->key == NULL)
        return;
    if (strncmp(q->key, "bucketline:", strlen("bucketline:")) == 0)
        (void)config_problem(l, ERR_INVALID, node->line, node->col,
                             "the key `%s` of queue `%s` must not begin with `bucketline:`",
                             yaml_tree_show(q->key, shown), q->name);
    for (const struct config_queue *p = c->queues; p < q; p++) {
        if (p->name == NULL || p->key == NULL)
            continue;
        if (strcmp(p->name, q->name) == 0) {
            (void)config_problem(l, ERR_DUPLICATE, node->line, node->col,
                                 "queue `%s` is given twice; the first is in line %d", q->name,
                                 p->line);
            return;
        }
        if (strcmp(p->key, q->key) == 0) {
            (void)config_problem(l, ERR_DUPLICATE, node->line, node->col,
                                 "queues `%s` and `%s` have the same Redis list `%s`", p->name,
                                 q->name, yaml_tree_show(q->key, shown));
            return;
        }
    }
}

/* Once is enough: the first queue that is unlike the first. */
static void check_weights(struct config_loader *l, const struct yaml_node *list)
{
    const struct config *c = l->config;
    const struct yaml_node *node = list->first;
    for (int i = 0; i < c->queue_count && node != NULL; i++, node = node->next) {
        const struct config_queue *a = &c->queues[0], *b = &c->queues[i];
        if ((a->weight > 0) == (b->weight > 0) || a->name == NULL || b->name == NULL)
            continue;
        const char *weighted = a->weight > 0 ? a->name : b->name;
        const char *strict = a->weight > 0 ? b->name : a->name;
        (void)config_problem(l, ERR_INVALID, node->line, node->col,
                             "strict order and weights cannot be mixed: `%s` has a weight, `%s` "
                             "has none",
                             weighted, strict);
        return;
    }
}

void config_load_queues(struct config_loader *l, const struct option *o,
                        const struct yaml_node *node)
{
    struct config *c = l->config;
    if (!config_is_sequence(l, o, YAML_LIST, node))
        return;
    c->queues = xcalloc((size_t)count_children(node), sizeof *c->queues);
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        struct config_queue *q = &c->queues[c->queue_count++];
        options_reset(OPTION_OF_QUEUE, q);
        load_queue(l, n, q);
        check_queue(l, q, n);
    }
    check_weights(l, node);
}

/* Where the option of that label ("limits.memory") stands, or the handler itself. */
static const struct yaml_node *find_label(const struct yaml_node *node, const char *label)
{
    const struct yaml_node *at = node;
    for (const char *p = label; at != NULL && *p != '\0';) {
        char part[64];
        size_t len = strcspn(p, ".");
        memcpy(part, p, len);
        part[len] = '\0';
        at = yaml_tree_get(at, part);
        p += len + (p[len] == '.');
    }
    return at != NULL ? at : node;
}

static void check_handler(struct config_loader *l, const struct yaml_node *node,
                          const struct config_handler *h, const struct config_handler *fresh)
{
    size_t count;
    const struct option *all = options_all(&count);
    for (size_t i = 0; i < count && h->exec == NULL; i++) {
        const struct option *o = &all[i];
        if ((o->flags & OPTION_PROGRAM) == 0 || option_equal(o, h, fresh))
            continue;
        const struct yaml_node *at = find_label(node, option_label(o));
        (void)config_problem(l, ERR_INVALID, at->key_line, at->key_col,
                             "`%s` needs `exec` beside it: it is for programs only",
                             option_label(o));
    }
    if (h->has_backoff && h->backoff.max_ms < h->backoff.base_ms) {
        const struct yaml_node *at = find_label(node, "backoff.max");
        (void)config_problem(l, ERR_RANGE, at->line, at->col,
                             "`backoff.max` must not be less than `backoff.base`");
    }
}

/* argv[0] with a slash is a file beside worker.yaml; without, it is looked for in PATH. */
static void finish_exec(struct config_loader *l, const struct yaml_node *node,
                        struct config_handler *h)
{
    const struct yaml_node *list = yaml_tree_get(node, "exec");
    if (list == NULL || (list->kind != YAML_LIST && !yaml_tree_is_null(list)))
        return;
    if (list->first == NULL) {
        (void)config_problem(l, ERR_MISSING, list->key_line, list->key_col,
                             "`exec` is empty: name a program, such as [/usr/bin/python3, job.py]");
    } else if (h->exec != NULL && h->exec_count > 0 && h->exec[0][0] == '\0') {
        (void)config_problem(l, ERR_INVALID, list->first->line, list->first->col,
                             "`exec` must begin with the name of a program");
    } else if (h->exec != NULL && h->exec_count > 0 && strchr(h->exec[0], '/') != NULL) {
        char *resolved = config_resolve(l, h->exec[0]);
        free(h->exec[0]);
        h->exec[0] = resolved;
    }
}

static void finish_backoff(const struct yaml_node *node, struct config_handler *h)
{
    const struct yaml_node *backoff = yaml_tree_get(node, "backoff");
    h->has_backoff = backoff != NULL && backoff->first != NULL;
    if (h->backoff.max_ms >= 0)
        return;
    static const struct backoff poly = BACKOFF_INIT;
    int64_t day_ms = INT64_C(86400000);
    int64_t max_ms = h->backoff.type == BACKOFF_POLY ? poly.max_ms : day_ms;
    h->backoff.max_ms = max_ms > h->backoff.base_ms ? max_ms : h->backoff.base_ms;
}

static void load_handler(struct config_loader *l, const struct yaml_node *node,
                         struct config_handler *h)
{
    struct config_handler fresh;
    config_handler_init(&fresh);
    h->line = node->key_line;
    h->type = xstrdup(node->key);
    if (config_load_section(l, "handlers.*.", node, h)) {
        finish_exec(l, node, h);
        finish_backoff(node, h);
        check_handler(l, node, h, &fresh);
    }
    config_handler_done(&fresh);
}

/* A type keeps the rules of a queue's name: borrow its option to check it. */
static bool check_type(struct config_loader *l, const struct yaml_node *node)
{
    struct config_queue scratch = {0};
    struct err err = {0};
    int rc = option_set(option_find("queues[].name"), node->key, true, &scratch, &err);
    free(scratch.name);
    char shown[YAML_TREE_SHOW_BYTES];
    if (rc < 0)
        (void)config_problem(l, ERR_INVALID, node->key_line, node->key_col,
                             "a job type must be 1 to 200 of A-Z a-z 0-9 . _ : / -, not `%s`",
                             yaml_tree_show(node->key, shown));
    return rc == 0;
}

void config_load_handlers(struct config_loader *l, const struct option *o,
                          const struct yaml_node *node)
{
    struct config *c = l->config;
    if (!config_is_sequence(l, o, YAML_MAP, node))
        return;
    c->handlers = xcalloc((size_t)count_children(node), sizeof *c->handlers);
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (n->duplicate || !check_type(l, n))
            continue;
        struct config_handler *h = &c->handlers[c->handler_count++];
        config_handler_init(h);
        load_handler(l, n, h);
    }
}
