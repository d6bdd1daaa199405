/* yaml_tree.h - YAML text as a small tree of maps, lists and texts, each with its line and column.
 *
 * The one user of libyaml.  Its event interface is used and stopped at a depth, because its document
 * interface loads alias bombs, cycles and, in quadratic time, a hundred thousand nested brackets.
 * What a configuration has no use for is refused with a message of its own: anchors, aliases, tags,
 * a second document, tabs in the indentation, text that is no UTF-8.  Called by config; knows
 * nothing about options.  Pure.
 */
#ifndef BL_COMMON_YAML_TREE_H
#define BL_COMMON_YAML_TREE_H

#include <stdbool.h>

#include "common/err.h"
#include "common/mem.h"

enum {
    YAML_MAX_BYTES = 1024 * 1024,
    YAML_MAX_DEPTH = 32, /* maps and lists inside each other */
    YAML_TREE_SHOW_BYTES = 80,
};

enum yaml_kind { YAML_TEXT = 0, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    int line, col; /* 1-based, columns in characters */
    char *text; /* YAML_TEXT: the value, without NUL bytes inside; else NULL */
    bool plain; /* YAML_TEXT: written without quotes */

    char *key; /* NULL unless this is a value in a map */
    int key_line, key_col;
    bool duplicate; /* the same key stands above; reported when the tree was read */

    struct yaml_node *first, *last; /* children of a list or map, in file order */
    struct yaml_node *next;
};

/* Told of each problem with its place filled in; the error is borrowed for the call. */
typedef void (*yaml_problem_fn)(void *arg, const struct err *problem);

/* Reads `text`; `name` stands in the messages.  Returns 0 and the tree (caller owns, yaml_tree_free();
 * NULL when the text holds nothing), or the negative code of the problem that ended the reading.
 * Problems that leave a tree (duplicate keys, NUL characters) are told too but do not change the
 * result: whoever minds looks at what `fn` was told. */
MUST_CHECK int yaml_tree_read(const char *name, struct span text, yaml_problem_fn fn, void *arg,
                              struct yaml_node **ret_root);
void yaml_tree_free(struct yaml_node *node);

/* Nothing was written where a value could be: no characters, `~` or `null`, unquoted. */
bool yaml_tree_is_null(const struct yaml_node *node);

/* The value of `key` in a map; NULL when `map` is NULL, no map, or has no such key. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key);

bool yaml_tree_is_utf8(const char *text);

/* `text` for a message: cut at a character boundary, control characters as '?'.  `out` has
 * YAML_TREE_SHOW_BYTES.  Returns `out`. */
const char *yaml_tree_show(const char *text, char *out);

#endif
