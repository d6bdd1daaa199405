/* err.h - error codes, and the error a fallible function leaves for its caller.
 *
 * Library code neither logs nor prints: it returns -ERR_x and fills the caller's `struct err`.
 * The program that handles the error says it, once.  The first setter wins; callers on the way
 * up add where it happened with err_prefix().
 */
#ifndef BL_COMMON_ERR_H
#define BL_COMMON_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* code, name, meaning.  The one list of error codes. */
#define ERR_MAP(X)                                                                                 \
    X(INVALID, "a value that can never be right")                                                  \
    X(SYNTAX, "text that cannot be parsed")                                                        \
    X(TYPE, "a value of the wrong type")                                                           \
    X(RANGE, "a number outside its limits")                                                        \
    X(TOO_BIG, "more bytes than allowed")                                                          \
    X(TOO_DEEP, "nested deeper than allowed")                                                      \
    X(DUPLICATE, "given twice")                                                                    \
    X(UNKNOWN, "a name nobody knows")                                                              \
    X(MISSING, "something required was not given")                                                 \
    X(NEWER, "written by a newer version than this one")                                           \
    X(NOT_FOUND, "no such thing")                                                                  \
    X(PERMISSION, "not allowed")                                                                   \
    X(SYSTEM, "the operating system said no")                                                      \
    X(CONNECT, "no connection to Redis, or it was lost")                                           \
    X(REDIS, "Redis answered with an error")                                                       \
    X(PROTOCOL, "an answer or a frame of an unexpected shape")                                     \
    X(TIMEOUT, "no answer in time")                                                                \
    X(EXHAUSTED, "retries are spent")                                                              \
    X(UNSUPPORTED, "not in this build or on this system")                                          \
    X(CLOSED, "the other side is gone")

enum err_code {
    ERR_NONE = 0,
#define ERR_ENUM(name, text) ERR_##name,
    ERR_MAP(ERR_ENUM)
#undef ERR_ENUM
};

enum { ERR_TEXT_BYTES = 512, ERR_FILE_BYTES = 256 };

/* An error by value.  Initialise with `struct err err = {0};`.  Owns nothing. */
struct err {
    int code; /* enum err_code; 0 = nothing was set */
    int line, col; /* 1-based; 0 = unknown */
    char file[ERR_FILE_BYTES]; /* "" = none */
    char text[ERR_TEXT_BYTES]; /* one line, no newline, cut at the limit */
};

/* As `= {0}` does, where every job passes: beyond their first byte the texts, most of its size, are
 * left as they are. */
static inline void err_init(struct err *e)
{
    e->code = e->line = e->col = 0;
    e->file[0] = e->text[0] = '\0';
}

/* Sets `e` (NULL is fine) unless it already holds an error.  Returns -code, so that
 * `return err_set(err, ERR_TYPE, ...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
int err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);

/* As err_set(), with strerror(errno) after the text.  `what` names the call or path. */
int err_errno(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set(), at a place in a file; col 0 = no column. */
int err_at(struct err *e, enum err_code code, const char *file, int line, int col, const char *fmt,
           ...) PRINTF_LIKE(6, 7);

/* Puts "text: " before the message of a set error; does nothing to an unset or NULL one. */
void err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "file:line:col: text" (parts that are unknown left out) into `out`, always terminated.
 * Returns `out`. */
const char *err_format(const struct err *e, char *out, size_t size);

/* "SYNTAX" for ERR_SYNTAX or -ERR_SYNTAX; "NONE" for 0; "?" for what is no code. */
const char *err_name(int code);

/* Says that a result is ignored on purpose; a comment beside it says why. */
static inline void ignore_result(int rc)
{
    (void)rc;
}

/* Aborts with the place: for broken invariants of ours only, never for input. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
