/* outcome.h - how an attempt ended.  Shared by the runner (which reports it), the slots page (which
 * keeps it) and the settle decision.
 */
#ifndef BL_COMMON_OUTCOME_H
#define BL_COMMON_OUTCOME_H

#define OUTCOME_MAP(X)                                                                             \
    X(NONE, "none") /* nothing said yet */                                                         \
    X(DONE, "done") /* success */                                                                  \
    X(RETRY, "retry") /* failed; again after the policy's delay, or the one given */               \
    X(DEAD, "dead") /* failed for good */                                                          \
    X(SNOOZE, "snooze") /* come back later, no attempt spent */                                    \
    X(DROP, "drop") /* forget it, no dead letter */                                                \
    X(PARK, "park") /* the handler cannot work now (exit 78): wait for jobctl or a reload */       \
    X(UNKNOWN_TYPE, "unknown-type") /* this runner has no such handler */

enum outcome {
#define OUTCOME_ENUM(name, text) OUTCOME_##name,
    OUTCOME_MAP(OUTCOME_ENUM)
#undef OUTCOME_ENUM
        OUTCOME_COUNT
};

const char *outcome_name(enum outcome o); /* "?" for what is none */

#endif
