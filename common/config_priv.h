/* config_priv.h - what the config_*.c files share: a load under way. */
#ifndef BL_COMMON_CONFIG_PRIV_H
#define BL_COMMON_CONFIG_PRIV_H

#include <stdbool.h>

#include "common/config.h"
#include "common/options.h"
#include "common/yaml_tree.h"

struct config_loader {
    const char *name; /* of the file, for messages */
    struct config *config; /* being filled; its directory is set */
    struct config_errors *errors;
    int held_back; /* problems beyond the most that are kept */
};

/* Notes a problem at a place.  Returns -code. */
int config_problem(struct config_loader *l, enum err_code code, int line, int col, const char *fmt,
                   ...) PRINTF_LIKE(5, 6);

/* Loads the members of `map` into the struct at `base`; `prefix` is "" or ends with a dot.  False
 * when `map` is no map.  A null is an empty map: all its lines may be comments. */
bool config_load_section(struct config_loader *l, const char *prefix, const struct yaml_node *map,
                         void *base);
/* `path` resolved against the file's directory, unless absolute.  Caller owns (free). */
char *config_resolve(const struct config_loader *l, const char *path);
/* Is it a list (a map) of at most `o->max` items?  Notes a problem if not. */
bool config_is_sequence(struct config_loader *l, const struct option *o, enum yaml_kind kind,
                        const struct yaml_node *node);

void config_load_queues(struct config_loader *l, const struct option *o,
                        const struct yaml_node *node);
void config_load_handlers(struct config_loader *l, const struct option *o,
                          const struct yaml_node *node);

/* What one value cannot show: required ones, pairs that must agree. */
void config_check(struct config_loader *l, const struct yaml_node *root);

void config_queue_done(struct config_queue *q);
void config_handler_init(struct config_handler *h);
void config_handler_done(struct config_handler *h);

#endif
