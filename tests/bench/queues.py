"""What many queues cost."""

from latency import spread
from stage import Stage

PUSHES, PUSHES_PER_SECOND = 40, 20


def _late(stage, worker, key):
    """Latency of single pushes to one of the queues, all of them empty."""
    stage.board.clear_stamps()
    target = stage.board.done() + PUSHES
    stage.tool("pusher", "job", key=key, rate=PUSHES_PER_SECOND, count=PUSHES)
    stage.await_done(target, keys=[key])
    return spread(stage.board.stamps())


def _case(stage, queues, count):
    names = ["q%d" % i for i in range(queues)]
    worker = stage.worker(2, queues=names)
    figures = stage.drain(worker, count, keys=["queue:" + name for name in names])
    late = _late(stage, worker, "queue:" + names[-1])
    figures["p50"], figures["max"] = late["p50"] / 1000, late["p999"] / 1000
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
    for figure in ("p50", "max"):
        rows += bench.rows({"%s: push to begin, last queue, %s" % (name, figure): metrics
                            for name, metrics in results.items()}, figure, "ms")
    bench.table.section("Number of queues, drain of noop", rows,
                        "{:,} jobs of 100 bytes, spread evenly; strict order; 2 runners\n"
                        "push to begin: {} pushes, {} a second, all queues empty".format(
                            count, PUSHES, PUSHES_PER_SECOND))
