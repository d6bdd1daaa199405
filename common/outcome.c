#include "common/outcome.h"

#include <stddef.h>

const char *outcome_name(enum outcome o)
{
    static const char *const names[] = {
#define OUTCOME_NAME(name, text) text,
        OUTCOME_MAP(OUTCOME_NAME)
#undef OUTCOME_NAME
    };
    if ((size_t)o >= sizeof names / sizeof names[0])
        return "?";
    return names[o];
}
