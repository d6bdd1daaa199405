#include "tests/bench/documents.h"

#include <stdio.h>
#include <string.h>

void document_append(struct buf *out, const char *type, int64_t n, size_t bytes)
{
    char head[320];
    static const char tail[] = "\",\"enqueued_at\":1795634750379}";
    int len = snprintf(head, sizeof head,
                       "{\"type\":\"%s\",\"id\":\"01a2142b-e3ab-7738-b233-%012llx\",\"args\":\"",
                       type, (unsigned long long)n & 0xffffffffffffULL);
    size_t fixed = (size_t)len + sizeof tail - 1;
    size_t fill = bytes > fixed ? bytes - fixed : 0;
    buf_add(out, head, (size_t)len);
    memset(buf_reserve(out, fill), 'x', fill);
    buf_grown(out, fill);
    buf_add(out, tail, sizeof tail - 1);
}
