/* echo - hands its arguments back as the job's result.
 *
 *     enqueue echo '{"hello":"world"}' --keep 1h     # jobctl show ID prints the result
 *
 * `job->args` are the producer's own bytes: nothing was parsed, rounded or reordered on the way. */
#include "bucketline.h"

static enum bl_result echo(struct bl_job *job)
{
    if (bl_set_result(job, job->args, job->args_len) != 0) {
        /* The reason goes on the dead letter; a retry could not end better. */
        bl_fail(job, "the arguments are too large for a result");
        return BL_DEAD;
    }
    return BL_DONE;
}

static const struct bl_handler handlers[] = {{.name = "echo", .run = echo}};

const struct bl_plugin bl_plugin = BL_PLUGIN("echo", handlers);
