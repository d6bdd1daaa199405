#include "common/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/buf.h"

static const char hex_digits[] = "0123456789abcdef";

static int random_bytes(void *out, size_t len, struct err *err)
{
    unsigned char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n == -1) {
            if (errno == EINTR)
                continue;
            return err_errno(err, ERR_SYSTEM, "getrandom");
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int incarnation_new(struct incarnation *ret, struct err *err)
{
    unsigned char bytes[INCARNATION_BYTES / 2];
    int rc = random_bytes(bytes, sizeof bytes, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof bytes; i++) {
        ret->hex[2 * i] = hex_digits[bytes[i] >> 4];
        ret->hex[2 * i + 1] = hex_digits[bytes[i] & 15];
    }
    ret->hex[INCARNATION_BYTES] = '\0';
    return 0;
}

bool incarnation_parse(struct span text, struct incarnation *ret)
{
    if (text.len != INCARNATION_BYTES)
        return false;
    for (size_t i = 0; i < INCARNATION_BYTES; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    memcpy(ret->hex, text.ptr, INCARNATION_BYTES);
    ret->hex[INCARNATION_BYTES] = '\0';
    return true;
}

bool incarnation_equal(const struct incarnation *a, const struct incarnation *b)
{
    return memcmp(a->hex, b->hex, INCARNATION_BYTES) == 0;
}

size_t token_format(const struct incarnation *inc, uint64_t seq, char out[TOKEN_MAX_BYTES])
{
    if (seq > TOKEN_SEQ_MAX)
        BUG("sequence number above 2^53");
    memcpy(out, inc->hex, INCARNATION_BYTES);
    out[INCARNATION_BYTES] = ':';
    char *end = decimal_write(out + INCARNATION_BYTES + 1, seq);
    *end = '\0';
    return (size_t)(end - out);
}

bool token_parse(struct span text, struct incarnation *ret_inc, uint64_t *ret_seq)
{
    if (text.len < INCARNATION_BYTES + 2 || text.len >= TOKEN_MAX_BYTES ||
        text.ptr[INCARNATION_BYTES] != ':')
        return false;
    const char *digits = text.ptr + INCARNATION_BYTES + 1;
    size_t count = text.len - INCARNATION_BYTES - 1;
    if (digits[0] == '0' && count > 1)
        return false;
    uint64_t seq = 0;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        seq = seq * 10 + (uint64_t)(digits[i] - '0');
        if (seq > TOKEN_SEQ_MAX)
            return false;
    }
    struct incarnation inc;
    if (!incarnation_parse((struct span){text.ptr, INCARNATION_BYTES}, &inc))
        return false;
    *ret_inc = inc;
    *ret_seq = seq;
    return true;
}

/* The counter starts in the lower half of its 42 bits, so that a millisecond has room for 2^41
 * more; should it still run over, the time is advanced by one ahead of the clock. */
int uuid_v7(struct uuid_source *src, int64_t now_wall_ms, char out[UUID_BYTES + 1], struct err *err)
{
    static const uint64_t time_mask = (UINT64_C(1) << 48) - 1;
    static const uint64_t counter_max = (UINT64_C(1) << 42) - 1;
    if (src->left == 0) {
        int rc = random_bytes(src->stock, sizeof src->stock, err);
        if (rc < 0)
            return rc;
        src->left = UUID_STOCK;
    }
    struct uuid_random rnd = src->stock[--src->left];

    uint64_t now = now_wall_ms < 0 ? 0 : (uint64_t)now_wall_ms & time_mask;
    bool first = src->last_ms == 0 && src->counter == 0;
    if (first || now > src->last_ms) {
        src->last_ms = now;
        src->counter = rnd.counter & (counter_max >> 1);
    } else if (src->counter < counter_max) {
        src->counter++;
    } else {
        src->last_ms = (src->last_ms + 1) & time_mask;
        src->counter = rnd.counter & (counter_max >> 1);
    }

    uint64_t high = src->last_ms << 16 | UINT64_C(7) << 12 | src->counter >> 30;
    uint64_t low = UINT64_C(2) << 62 | (src->counter & ((UINT64_C(1) << 30) - 1)) << 32 | rnd.tail;
    char *p = out;
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *p++ = '-';
        uint64_t half = i < 16 ? high : low;
        *p++ = hex_digits[half >> (60 - 4 * (i & 15)) & 15];
    }
    *p = '\0';
    return 0;
}
