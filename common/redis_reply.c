/* redis_reply.c - a reply's root is the first thing in its first block, so the block is found from
 * it; further blocks are chained behind the first.  While a reply is being read the root's address
 * reaches the functions below through the parser's tasks, so nothing needs to be kept beside it.
 */
#include "common/redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mem.h"

enum { FIRST_BYTES = 256, LARGEST_BYTES = 64 * 1024, ALIGN = 16 };

struct block {
    struct block *next; /* of the first: the newest, then older ones */
    size_t used, size; /* of bytes */
    _Alignas(ALIGN) char bytes[];
};

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static struct block *block_new(size_t size)
{
    struct block *b = xmalloc(sizeof *b + size);
    b->next = NULL;
    b->used = 0;
    b->size = size;
    return b;
}

static void *take(struct block *b, size_t n)
{
    void *p = b->bytes + b->used;
    b->used += n;
    return p;
}

static struct block *first_block(redisReply *root)
{
    return (struct block *)(void *)((char *)root - offsetof(struct block, bytes));
}

/* `n` bytes for the reply that `task` is part of.  Blocks double, as the whole grows. */
static void *allocate(const redisReadTask *task, size_t n)
{
    n = aligned(n);
    const redisReadTask *top = task;
    while (top->parent != NULL)
        top = top->parent;
    struct block *first = first_block(top->obj);
    struct block *b = first->next != NULL ? first->next : first;
    if (b->size - b->used < n) {
        size_t size = b->size * 2 < LARGEST_BYTES ? b->size * 2 : LARGEST_BYTES;
        b = block_new(size > n ? size : n);
        b->next = first->next;
        first->next = b;
    }
    return take(b, n);
}

/* The object of `task`, in its place, with room for `extra` bytes behind it. */
static redisReply *make(const redisReadTask *task, size_t extra, void **ret_extra)
{
    redisReply *r;
    size_t whole = aligned(sizeof *r) + aligned(extra);
    if (task->parent == NULL) {
        struct block *b = block_new(whole > FIRST_BYTES ? whole : FIRST_BYTES);
        r = take(b, whole);
    } else {
        redisReply *parent = task->parent->obj;
        r = allocate(task, whole);
        parent->element[task->idx] = r;
    }
    memset(r, 0, sizeof *r);
    r->type = task->type;
    if (ret_extra != NULL)
        *ret_extra = (char *)r + aligned(sizeof *r);
    return r;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t len)
{
    void *copy;
    redisReply *r = make(task, len + 1, &copy);
    r->str = copy;
    r->len = len;
    memcpy(r->str, bytes, len);
    r->str[len] = '\0';
    return r;
}

static void *create_any_array(const redisReadTask *task, size_t count)
{
    void *elements;
    if (count > REDIS_REPLY_ELEMENTS_MAX)
        return NULL; /* the parser's error */
    redisReply *r = make(task, count * sizeof(redisReply *), &elements);
    r->elements = count;
    if (count > 0) {
        r->element = elements;
        memset(elements, 0, count * sizeof(redisReply *));
    }
    return r;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    redisReply *r = make(task, 0, NULL);
    r->integer = value;
    return r;
}

static void *create_nil(const redisReadTask *task)
{
    redisReply *r = make(task, 0, NULL);
    r->type = REDIS_REPLY_NIL; /* the task says what it would have been: `*-1` is an array */
    return r;
}

static void free_object(void *root)
{
    redis_reply_free(root);
}

#if HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t count)
{
    return create_any_array(task, count);
}

/* Of RESP3, which is never asked for. */
static void *create_double(const redisReadTask *task, double value, char *bytes, size_t len)
{
    (void)value;
    return create_string(task, bytes, len);
}

static void *create_bool(const redisReadTask *task, int value)
{
    return create_integer(task, value);
}
#else
static void *create_array(const redisReadTask *task, int count)
{
    return create_any_array(task, count < 0 ? SIZE_MAX : (size_t)count);
}
#endif

redisReader *redis_reply_reader(void)
{
    static redisReplyObjectFunctions functions = {
        .createString = create_string,
        .createArray = create_array,
        .createInteger = create_integer,
        .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
        .createDouble = create_double,
        .createBool = create_bool,
#endif
        .freeObject = free_object,
    };
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    if (reader == NULL)
        BUG("hiredis is out of memory");
    return reader;
}

void redis_reply_free(redisReply *root)
{
    if (root == NULL)
        return;
    for (struct block *b = first_block(root), *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
}
