#include "common/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
    if (e != NULL && e->code == 0) {
        e->code = code;
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        for (char *p = e->text; *p != '\0'; p++)
            if (*p == '\n' || *p == '\r')
                *p = ' ';
    }
    return -(int)code;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vset(e, code, fmt, ap);
    va_end(ap);
    return -(int)code;
}

int err_errno(struct err *e, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    if (e != NULL && e->code == 0) {
        va_list ap;
        va_start(ap, fmt);
        err_vset(e, code, fmt, ap);
        va_end(ap);
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(saved));
    }
    return -(int)code;
}

int err_at(struct err *e, enum err_code code, const char *file, int line, int col, const char *fmt,
           ...)
{
    if (e != NULL && e->code == 0) {
        va_list ap;
        va_start(ap, fmt);
        err_vset(e, code, fmt, ap);
        va_end(ap);
        snprintf(e->file, sizeof e->file, "%s", file);
        e->line = line;
        e->col = col;
    }
    return -(int)code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
    if (e == NULL || e->code == 0)
        return;
    char head[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    char tail[ERR_TEXT_BYTES];
    memcpy(tail, e->text, sizeof tail);
    size_t n = strlen(head);
    if (n > sizeof e->text - 3)
        n = sizeof e->text - 3;
    memcpy(e->text, head, n);
    memcpy(e->text + n, ": ", 3);
    strncat(e->text, tail, sizeof e->text - n - 3);
}

const char *err_format(const struct err *e, char *out, size_t size)
{
    if (e->file[0] == '\0')
        snprintf(out, size, "%s", e->text);
    else if (e->line == 0)
        snprintf(out, size, "%s: %s", e->file, e->text);
    else if (e->col == 0)
        snprintf(out, size, "%s:%d: %s", e->file, e->line, e->text);
    else
        snprintf(out, size, "%s:%d:%d: %s", e->file, e->line, e->col, e->text);
    return out;
}

const char *err_name(int code)
{
    static const char *const names[] = {"NONE",
#define ERR_NAME(name, text) #name,
                                        ERR_MAP(ERR_NAME)
#undef ERR_NAME
    };
    if (code < 0)
        code = -code;
    if ((size_t)code >= sizeof names / sizeof names[0])
        return "?";
    return names[code];
}

void bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "BUG at %s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}
