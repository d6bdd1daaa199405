/* failure.h - the failures on a record, told to a person.  Used by `show`. */
#ifndef BL_JOBCTL_FAILURE_H
#define BL_JOBCTL_FAILURE_H

#include "common/buf.h"
#include "common/record.h"

/* Appends the last failure in full and the earlier ones of the history, a line for each fact. */
void failure_show_all(struct buf *out, const struct record *r);

/* What a record's reason means; "" = the word says it, or is not ours. */
const char *failure_reason_words(const char *reason);

#endif
