/* refused_call.h - a system call that is refused to this process, as a seccomp filter may do. */
#ifndef BL_TESTS_LIB_REFUSED_CALL_H
#define BL_TESTS_LIB_REFUSED_CALL_H

#include <stdbool.h>

/* From here on `call` (SYS_...) fails with `error` in this process and its children, and cannot be had
 * back: for a child of the test.  False = the kernel allows no filter (errno). */
bool refuse_call(long call, int error);

#endif
