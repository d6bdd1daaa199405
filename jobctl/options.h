/* options.h - jobctl's command line: one table for reading it and for --help.  No I/O. */
#ifndef BL_JOBCTL_OPTIONS_H
#define BL_JOBCTL_OPTIONS_H

#include "common/buf.h"
#include "common/err.h"
#include "jobctl/jobctl.h"

/* Fills in the command line part of `ctl`.  A password in --url is wiped from argv. 0, or a
 * negative code with a text for the user (exit 64).  With `help` set nothing else is checked. */
MUST_CHECK int jobctl_options_read(struct jobctl *ctl, int argc, char **argv, struct err *err);

/* Appends the help of the program, of a noun, or of a verb, as the command line asks. */
void jobctl_options_help(const struct jobctl *ctl, struct buf *out);

#endif
