#include "worker/rest.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum rest { AWAKE = 0, RESTING, CALLED };

_Static_assert(sizeof(cpu_set_t) == SLOTS_CORES / 8, "a set of cores fits the page");

void rest_init(struct runner_page *page)
{
    atomic_store_explicit(&page->rest, AWAKE, memory_order_relaxed);
}

void rest_begin(struct runner_page *page)
{
    atomic_store_explicit(&page->rest, RESTING, memory_order_relaxed);
}

void rest_end(struct runner_page *page)
{
    if (atomic_exchange_explicit(&page->rest, AWAKE, memory_order_acquire) != CALLED)
        return;
    cpu_set_t cores;
    memcpy(&cores, page->cores, sizeof cores);
    (void)sched_setaffinity(0, sizeof cores, &cores); /* they were ours a moment ago */
}

bool rest_call(struct runner_page *page, pid_t pid)
{
    cpu_set_t ours, its, here;
    int core = sched_getcpu();
    if (atomic_load_explicit(&page->rest, memory_order_relaxed) != RESTING || core < 0 ||
        core >= CPU_SETSIZE || sched_getaffinity(0, sizeof ours, &ours) == -1 ||
        sched_getaffinity(pid, sizeof its, &its) == -1 || !CPU_EQUAL(&ours, &its) ||
        CPU_COUNT(&ours) < 2)
        return false;
    CPU_ZERO(&here);
    CPU_SET(core, &here);
    memcpy(page->cores, &its, sizeof its);
    if (sched_setaffinity(pid, sizeof here, &here) == -1)
        return false;
    int expected = RESTING;
    if (atomic_compare_exchange_strong_explicit(&page->rest, &expected, CALLED,
                                                memory_order_release, memory_order_relaxed))
        return true;
    (void)sched_setaffinity(pid, sizeof its, &its); /* it woke meanwhile, and cannot know */
    return false;
}
