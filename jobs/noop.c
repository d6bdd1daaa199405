/* noop - the smallest plugin: a handler that does nothing, well.
 *
 *     enqueue noop
 *
 * Good for measuring what the queue itself costs, and as a start for a plugin of your own:
 *     cc -shared -fPIC -I jobs -o noop.so noop.c */
#include "bucketline.h"

static enum bl_result noop(struct bl_job *job)
{
    (void)job; /* id, type, queue, attempt, args, ... are all in there */
    return BL_DONE;
}

/* One row per job type this plugin can run. */
static const struct bl_handler handlers[] = {{.name = "noop", .run = noop}};

/* The one symbol the worker looks for. */
const struct bl_plugin bl_plugin = BL_PLUGIN("noop", handlers);
