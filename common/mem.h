/* mem.h - allocation that aborts when memory is gone, and small things every file needs.
 *
 * A worker is restartable and its jobs are claimed, not held, so running out of memory ends the
 * process.  Sizes that come from outside are capped before they get here.
 */
#ifndef BL_COMMON_MEM_H
#define BL_COMMON_MEM_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_COUNT(a)                  (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Bytes that live elsewhere.  Borrowed: whoever hands one out says until when. */
struct span {
    const char *ptr; /* NULL only when len is 0 */
    size_t len;
};
#define SPAN_OF_STR(s) ((struct span){(s), strlen(s)})

/* Called when there is none left, before the process aborts; it may end it in another way.  Must not
 * allocate.  NULL = none.  Set once at a process' start. */
void mem_on_exhaustion(void (*fn)(void));

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
/* `count` * `size` bytes; aborts on overflow as on exhaustion. */
void *xreallocarray(void *ptr, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
void *xmemdup(const void *ptr, size_t len);
/* printf into fresh memory; caller owns (free). */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
