/* proc_file.h - small files in which the kernel says something: /proc, /sys. */
#ifndef BL_COMMON_PROC_FILE_H
#define BL_COMMON_PROC_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Reads a file whole, or the first `size` - 1 bytes of it, and ends the text with '\0', even of nothing.
 * Returns the bytes read; -1 = it cannot be opened or read (errno).  Async-signal-safe. */
ssize_t proc_file_read(const char *path, char *text, size_t size);

/* Which start of this machine this is: 36 characters of a UUID, cut to `size` - 1; "" = unknown. */
void proc_boot_id(char *text, size_t size);

#endif
