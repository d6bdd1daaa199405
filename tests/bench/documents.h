/* documents.h - the documents of the benchmark: of a given size, as `enqueue` writes them, each with
 * an id of its own.  Pure.
 */
#ifndef BL_TESTS_BENCH_DOCUMENTS_H
#define BL_TESTS_BENCH_DOCUMENTS_H

#include <stdint.h>

#include "common/buf.h"

enum { DOCUMENT_BYTES_MIN = 100 };

/* Appends document number `n` of type `type`, of `bytes` bytes (at least DOCUMENT_BYTES_MIN, or what
 * type and members need); args is a string that fills it up. */
void document_append(struct buf *out, const char *type, int64_t n, size_t bytes);

#endif
