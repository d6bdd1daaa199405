/* small_file.h - small files of text, read whole: what the kernel says in /proc and /sys, a pid file. */
#ifndef BL_COMMON_SMALL_FILE_H
#define BL_COMMON_SMALL_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Reads a file whole, or the first `size` - 1 bytes of it, and ends the text with '\0', even of nothing.
 * Returns the bytes read; -1 = it cannot be opened or read (errno).  Async-signal-safe. */
ssize_t small_file_read(const char *path, char *text, size_t size);

/* Which start of this machine this is, from /proc: 36 characters of a UUID, cut to `size` - 1; "" = unknown. */
void boot_id_read(char *text, size_t size);

#endif
