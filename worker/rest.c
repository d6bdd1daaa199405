#include "worker/rest.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum rest { REST_AWAKE = 0, REST_RESTING, REST_CALLED, REST_SHUT };

_Static_assert(sizeof(cpu_set_t) == SLOTS_CORES / 8, "a set of cores fits the page");

/* Lets a process use the cores it had, `before`.  All there are is what a process has that nobody bound;
 * the same cores by their numbers would be a choice, which outlasts a change of its cpuset. */
static bool unbind(pid_t pid, const cpu_set_t *before)
{
    cpu_set_t all, has;
    memset(&all, 0xff, sizeof all);
    if (sched_setaffinity(pid, sizeof all, &all) == 0 &&
        sched_getaffinity(pid, sizeof has, &has) == 0 && CPU_EQUAL(&has, before))
        return true;
    return sched_setaffinity(pid, sizeof *before, before) == 0;
}

void rest_init(struct runner_page *page)
{
    cpu_set_t ours;
    bool can = sched_getaffinity(0, sizeof ours, &ours) == 0 && unbind(0, &ours);
    atomic_store_explicit(&page->rest, can ? REST_AWAKE : REST_SHUT, memory_order_relaxed);
}

void rest_begin(struct runner_page *page)
{
    int expected = REST_AWAKE;
    (void)atomic_compare_exchange_strong_explicit(&page->rest, &expected, REST_RESTING,
                                                  memory_order_release, memory_order_relaxed);
}

void rest_end(struct runner_page *page)
{
    int was = REST_RESTING;
    if (atomic_compare_exchange_strong_explicit(&page->rest, &was, REST_AWAKE, memory_order_acquire,
                                                memory_order_acquire) ||
        was != REST_CALLED)
        return;
    cpu_set_t before;
    memcpy(&before, page->cores, sizeof before);
    atomic_store_explicit(&page->rest, REST_AWAKE, memory_order_relaxed);
    (void)unbind(0, &before); /* not refused: rest_init() tried */
}

bool rest_call(struct runner_page *page, pid_t pid)
{
    cpu_set_t ours, its, here;
    int core = sched_getcpu();
    if (atomic_load_explicit(&page->rest, memory_order_acquire) != REST_RESTING || core < 0 ||
        core >= CPU_SETSIZE || sched_getaffinity(0, sizeof ours, &ours) == -1 ||
        sched_getaffinity(pid, sizeof its, &its) == -1 || !CPU_EQUAL(&ours, &its) ||
        CPU_COUNT(&ours) < 2)
        return false;
    CPU_ZERO(&here);
    CPU_SET(core, &here);
    memcpy(page->cores, &its, sizeof its);
    if (sched_setaffinity(pid, sizeof here, &here) == -1)
        return false;
    int expected = REST_RESTING;
    if (atomic_compare_exchange_strong_explicit(&page->rest, &expected, REST_CALLED,
                                                memory_order_release, memory_order_relaxed))
        return true;
    (void)unbind(pid, &its); /* it woke meanwhile, and cannot know; refused = it has gone */
    return false;
}
