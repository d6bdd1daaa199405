/* text_table.h - aligned columns for a terminal, in bounded memory: the widths are those of the
 * first TABLE_ROWS rows; what comes later and is wider only moves what stands right of it.
 *
 * Cells come from other people's jobs: control characters, which could steer a terminal, become
 * spaces or "?".
 */
#ifndef BL_COMMON_TEXT_TABLE_H
#define BL_COMMON_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/mem.h"

enum { TABLE_ROWS = 200, TABLE_COLUMNS = 16 };

struct table_column {
    const char *title;
    bool right; /* numbers */
    int limit; /* longest cell in characters, cut with "..."; 0 = any */
};

struct text_table {
    const struct table_column *columns; /* borrowed */
    int count;
    struct buf cells; /* each NUL-terminated */
    int cell_count;
    int column; /* of the next cell */
    int widths[TABLE_COLUMNS];
    bool measured; /* widths are fixed, the titles are out */
};

/* `columns` end with a NULL title; at most TABLE_COLUMNS. */
void table_init(struct text_table *t, const struct table_column *columns);
void table_done(struct text_table *t);

/* Adds the next cell, row by row.  When enough rows are there they are appended to `out`. */
void table_cell(struct text_table *t, struct span text, struct buf *out);
void table_cell_str(struct text_table *t, const char *text, struct buf *out);
void table_cell_int(struct text_table *t, int64_t value, struct buf *out);

/* Appends what is left; with no row at all, nothing. */
void table_flush(struct text_table *t, struct buf *out);

/* Appends `text` as one line that is safe on a terminal. */
void table_add_safe(struct buf *out, struct span text);

#endif
