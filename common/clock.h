/* clock.h - the clocks.  Wall time and monotonic time never mix: the names say which is which.
 *
 * wall_: since the epoch, for what people read and for producers' times.  Due times are decided
 *        by Redis' clock, not by this one.
 * mono_: CLOCK_MONOTONIC, for durations inside one process.
 * boot_: CLOCK_BOOTTIME, the same in all processes of a machine and running through a suspend:
 *        for the stamps on the shared page.
 */
#ifndef BL_COMMON_CLOCK_H
#define BL_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t wall_ms(void);
int64_t mono_ms(void);
int64_t mono_us(void);
int64_t boot_ms(void);

enum { CLOCK_TEXT_BYTES = 32 };

/* "2026-11-22T10:11:12.123Z" into out (>= CLOCK_TEXT_BYTES); years 1970 to 9999, else clamped. */
const char *wall_format(int64_t ms, char *out);

#endif
