#include "common/store_print.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/json_span.h"

/* Reads "<mark><digits>\r\n" off the front. */
static bool take_header(struct span *rest, char mark, size_t *ret)
{
    size_t i = 0, value = 0;
    if (rest->len == 0 || rest->ptr[i++] != mark)
        return false;
    size_t digits = i;
    while (i < rest->len && rest->ptr[i] >= '0' && rest->ptr[i] <= '9' && i < digits + 18)
        value = value * 10 + (size_t)(rest->ptr[i++] - '0');
    if (i == digits || i + 2 > rest->len || memcmp(rest->ptr + i, "\r\n", 2) != 0)
        return false;
    rest->ptr += i + 2;
    rest->len -= i + 2;
    *ret = value;
    return true;
}

static bool take_argument(struct span *rest, struct span *ret)
{
    size_t len;
    if (!take_header(rest, '$', &len) || rest->len < 2 || len > rest->len - 2 ||
        memcmp(rest->ptr + len, "\r\n", 2) != 0)
        return false;
    *ret = (struct span){rest->ptr, len};
    rest->ptr += len + 2;
    rest->len -= len + 2;
    return true;
}

static bool is_bare(struct span s)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-.:/@%+=,";
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\0' || strchr(fine, s.ptr[i]) == NULL)
            return false;
    return s.len > 0;
}

static bool fits_single_quotes(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f || c == '\'')
            return false;
    }
    /* redis-cli would read a backslash at the end as an escaped quote. */
    return s.len == 0 || (s.ptr[s.len - 1] != '\\' && utf8_valid(s));
}

static void add_double_quoted(struct buf *out, struct span s)
{
    bool text = utf8_valid(s);
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !text))
            buf_printf(out, "\\x%02x", c);
        else
            buf_add_char(out, (char)c);
    }
    buf_add_char(out, '"');
}

static void add_argument(struct buf *out, struct span s)
{
    if (is_bare(s)) {
        buf_add_span(out, s);
    } else if (fits_single_quotes(s)) {
        buf_add_char(out, '\'');
        buf_add_span(out, s);
        buf_add_char(out, '\'');
    } else {
        add_double_quoted(out, s);
    }
}

int store_print(struct span commands, struct buf *out, struct err *err)
{
    struct buf text = BUF_INIT;
    while (commands.len > 0) {
        size_t argc;
        struct span arg;
        if (!take_header(&commands, '*', &argc))
            goto bad;
        for (size_t i = 0; i < argc; i++) {
            if (!take_argument(&commands, &arg))
                goto bad;
            if (i > 0)
                buf_add_char(&text, ' ');
            add_argument(&text, arg);
        }
        buf_add_char(&text, '\n');
    }
    buf_add_span(out, buf_span(&text));
    buf_done(&text);
    return 0;
bad:
    buf_done(&text);
    return err_set(err, ERR_PROTOCOL, "no encoded Redis command");
}
