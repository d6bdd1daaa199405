/* harden.h - keeps passwords and what is in jobs away from where they do not belong: from core files, and
 * from the environment of what the worker starts.  See docs/security.md.
 */
#ifndef BL_WORKER_HARDEN_H
#define BL_WORKER_HARDEN_H

#include <stdbool.h>

/* Unless `core_dumps`: no core file of this process or of any that it starts, by file or by a pipe to a
 * collector; and this process, which has the passwords, may not be traced or read through /proc by
 * others of its user.  Runners may: they hold what handlers know anyway. */
void harden_process(bool core_dumps);

/* The environment for runners and the guard: ours without Redis' URLs and what is meant for the main
 * process of a service.  The array is the caller's (free), the strings are borrowed from environ. */
char **harden_environment(void);

#endif
