"""What many queues cost."""

from stage import Stage


def _case(stage, queues, count):
    names = ["q%d" % i for i in range(queues)]
    worker = stage.worker(2, queues=names)
    figures = stage.drain(worker, count, keys=["queue:" + name for name in names])
    stage.stop(worker)
    stage.clear()
    return figures


def run(bench):
    count = bench.scale(150000, 10000)
    with Stage() as stage:
        results = bench.interleave({
            "%d queues" % queues: lambda queues=queues: _case(stage, queues, count)
            for queues in (1, 10, 100)})
    rows = bench.rows(results, "jobs/s", "jobs/s", "1 queues")
    for who in ("worker", "redis"):
        rows += bench.rows({"%s: %s" % (name, who): metrics for name, metrics in results.items()},
                           "cpu " + who, "s/100k")
    bench.table.section("Number of queues, drain of noop", rows,
                        "{:,} jobs of 100 bytes, spread evenly; strict order; 2 runners".format(
                            count))
