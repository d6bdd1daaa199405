#include "worker/claims.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 1024, SPARE_MAX = 4096 };

static uint32_t slot_of(const struct claims *c, uint64_t seq)
{
    return (uint32_t)(seq * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (c->capacity - 1);
}

void claims_init(struct claims *c)
{
    *c = (struct claims){.capacity = FIRST_CAPACITY};
    c->table = xcalloc(c->capacity, sizeof *c->table);
}

static void free_contents(struct claim *claim)
{
    if (claim->bytes != claim->small)
        free(claim->bytes);
    buf_done(&claim->storage);
    buf_done(&claim->result);
    buf_done(&claim->message);
    buf_done(&claim->stderr_tail);
    buf_done(&claim->record);
}

void claims_done(struct claims *c)
{
    for (uint32_t i = 0; i < c->capacity; i++)
        for (struct claim *claim = c->table[i], *next; claim != NULL; claim = next) {
            next = claim->chain;
            free_contents(claim);
            free(claim);
        }
    for (struct claim *claim = c->spare, *next; claim != NULL; claim = next) {
        next = claim->chain;
        free(claim);
    }
    free(c->table);
    *c = (struct claims){0};
}

static void grow(struct claims *c)
{
    struct claims bigger = {.capacity = c->capacity * 2, .count = c->count};
    bigger.table = xcalloc(bigger.capacity, sizeof *bigger.table);
    for (uint32_t i = 0; i < c->capacity; i++)
        for (struct claim *claim = c->table[i], *next; claim != NULL; claim = next) {
            next = claim->chain;
            uint32_t at = slot_of(&bigger, claim->seq);
            claim->chain = bigger.table[at];
            bigger.table[at] = claim;
        }
    free(c->table);
    c->table = bigger.table;
    c->capacity = bigger.capacity;
}

struct claim *claims_add(struct claims *c, uint64_t seq, struct queue *q, struct span bytes)
{
    if ((uint32_t)c->count >= c->capacity)
        grow(c);
    struct claim *claim = c->spare;
    if (claim != NULL) {
        c->spare = claim->chain;
        c->spare_count--;
    } else {
        claim = xmalloc(sizeof *claim);
    }
    memset(claim, 0, offsetof(struct claim, rec));
    claim->seq = seq;
    claim->queue = q;
    claim->bytes = bytes.len <= sizeof claim->small ? claim->small : xmalloc(bytes.len);
    if (bytes.len > 0)
        memcpy(claim->bytes, bytes.ptr, bytes.len);
    claim->len = bytes.len;
    claim->block = claim->slot = -1;
    buf_init(&claim->storage);
    buf_init(&claim->result);
    buf_init(&claim->message);
    buf_init(&claim->stderr_tail);
    buf_init(&claim->record);
    uint32_t at = slot_of(c, seq);
    claim->chain = c->table[at];
    c->table[at] = claim;
    c->count++;
    return claim;
}

struct claim *claims_find(const struct claims *c, uint64_t seq)
{
    for (struct claim *claim = c->table[slot_of(c, seq)]; claim != NULL; claim = claim->chain)
        if (claim->seq == seq)
            return claim;
    return NULL;
}

void claims_remove(struct claims *c, struct claim *claim)
{
    struct claim **link = &c->table[slot_of(c, claim->seq)];
    while (*link != NULL && *link != claim)
        link = &(*link)->chain;
    if (*link == NULL)
        BUG("claim %llu is not in the table", (unsigned long long)claim->seq);
    *link = claim->chain;
    c->count--;
    claim_list_remove(claim);
    free_contents(claim);
    if (c->spare_count >= SPARE_MAX) {
        free(claim);
        return;
    }
    claim->chain = c->spare;
    c->spare = claim;
    c->spare_count++;
}

void claims_each(struct claims *c, void (*fn)(void *arg, struct claim *claim), void *arg)
{
    for (uint32_t i = 0; i < c->capacity; i++)
        for (struct claim *claim = c->table[i], *next; claim != NULL; claim = next) {
            next = claim->chain;
            fn(arg, claim);
        }
}

void claim_list_remove(struct claim *c)
{
    struct claim_list *l = c->list;
    if (l == NULL)
        return;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    l->count--;
    c->list = NULL;
    c->prev = c->next = NULL;
}

void claim_list_append(struct claim_list *l, struct claim *c)
{
    claim_list_remove(c);
    c->list = l;
    c->prev = l->last;
    if (l->last != NULL)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
    l->count++;
}

void claim_list_prepend(struct claim_list *l, struct claim *c)
{
    claim_list_remove(c);
    c->list = l;
    c->next = l->first;
    if (l->first != NULL)
        l->first->prev = c;
    else
        l->last = c;
    l->first = c;
    l->count++;
}

struct claim *claim_list_pop(struct claim_list *l)
{
    struct claim *c = l->first;
    if (c != NULL)
        claim_list_remove(c);
    return c;
}
