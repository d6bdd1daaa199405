#include "common/text_table.h"

#include <string.h>

#include "common/json_span.h"

void table_init(struct text_table *t, const struct table_column *columns)
{
    *t = (struct text_table){.columns = columns, .cells = BUF_INIT};
    while (columns[t->count].title != NULL)
        if (++t->count > TABLE_COLUMNS)
            BUG("a table of more than %d columns", TABLE_COLUMNS);
}

void table_done(struct text_table *t)
{
    buf_done(&t->cells);
}

/* Characters of UTF-8 text: bytes that continue none. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void table_add_safe(struct buf *out, struct span text)
{
    bool valid = utf8_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '\t' || c == '\n' || c == '\r') {
            buf_add_char(out, ' ');
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !valid)) {
            buf_add_char(out, '?');
        } else if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.ptr[i + 1] < 0xa0) {
            buf_add_char(out, '?'); /* U+0080..U+009F steer some terminals too */
            i++;
        } else {
            buf_add_char(out, (char)c);
        }
    }
}

/* Cuts the text that begins at `start` of `out` to `limit` characters. */
static void cut(struct buf *out, size_t start, int limit)
{
    if (limit == 0 || width_of(out->data + start) <= limit)
        return;
    size_t at = start;
    for (int n = 0; n < limit - 3; n++) {
        at++;
        while (((unsigned char)out->data[at] & 0xc0) == 0x80)
            at++;
    }
    out->len = at;
    out->data[at] = '\0';
    buf_add_str(out, "...");
}

static void put_cell(struct text_table *t, int column, const char *text, struct buf *out)
{
    int pad = t->widths[column] - width_of(text);
    bool last = column == t->count - 1;
    if (column > 0)
        buf_add_str(out, "  ");
    for (int i = 0; t->columns[column].right && i < pad; i++)
        buf_add_char(out, ' ');
    buf_add_str(out, text);
    for (int i = 0; !t->columns[column].right && !last && i < pad; i++)
        buf_add_char(out, ' ');
    if (last)
        buf_add_char(out, '\n');
}

static void measure(struct text_table *t, struct buf *out)
{
    for (int c = 0; c < t->count; c++)
        t->widths[c] = width_of(t->columns[c].title);
    const char *cell = t->cells.data;
    for (int i = 0; i < t->cell_count; i++) {
        int width = width_of(cell);
        if (width > t->widths[i % t->count])
            t->widths[i % t->count] = width;
        cell += strlen(cell) + 1;
    }
    for (int c = 0; c < t->count; c++)
        put_cell(t, c, t->columns[c].title, out);
    t->measured = true;
}

void table_flush(struct text_table *t, struct buf *out)
{
    if (t->cell_count == 0)
        return;
    if (!t->measured)
        measure(t, out);
    const char *cell = t->cells.data;
    for (int i = 0; i < t->cell_count; i++) {
        put_cell(t, i % t->count, cell, out);
        cell += strlen(cell) + 1;
    }
    buf_clear(&t->cells);
    t->cell_count = 0;
}

void table_cell(struct text_table *t, struct span text, struct buf *out)
{
    size_t start = t->cells.len;
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL &&
           text.ptr[text.len - 1] != '\0')
        text.len--;
    table_add_safe(&t->cells, text);
    cut(&t->cells, start, t->columns[t->column].limit);
    if (t->cells.len == start)
        buf_add_char(&t->cells, '-'); /* an empty cell would be hard to see */
    buf_add_char(&t->cells, '\0');
    t->cell_count++;
    t->column = (t->column + 1) % t->count;
    if (t->column == 0 && t->cell_count >= TABLE_ROWS * t->count)
        table_flush(t, out);
}

void table_cell_str(struct text_table *t, const char *text, struct buf *out)
{
    table_cell(t, SPAN_OF_STR(text), out);
}

void table_cell_int(struct text_table *t, int64_t value, struct buf *out)
{
    struct buf digits = BUF_INIT;
    buf_add_int(&digits, value);
    table_cell(t, buf_span(&digits), out);
    buf_done(&digits);
}
