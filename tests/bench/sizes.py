"""How fast documents of 100 bytes to 100 KB go through."""

from drain import with_worker
from stage import Stage
from table import Row

RUNNERS = 2


def run(bench):
    sizes = {100: 200000, 1000: 100000, 10000: 20000, 100000: 3000}
    rows = []
    with Stage() as stage:
        for size, count in sizes.items():
            count = bench.scale(count, max(300, count // 20))
            results = bench.interleave({
                "ceiling": lambda: stage.ceiling_drain("claim", count, size, batch=256, depth=4),
                "worker": lambda: with_worker(stage, count, RUNNERS, bytes=size)})
            ceiling = Row("ceiling, %d B" % size, "jobs/s", results["ceiling"]["jobs/s"])
            worker = results["worker"]["jobs/s"]
            rows += [ceiling, Row("worker, %d B" % size, "jobs/s", worker, ceiling),
                     Row("worker, %d B" % size, "MB/s", [v * size / 1e6 for v in worker])]
            base = Row("ceiling, %d B: redis" % size, "CPU s/100k", results["ceiling"]["cpu redis"])
            used = results["worker"]
            rows += [base, Row("worker, %d B: redis" % size, "CPU s/100k", used["cpu redis"], base),
                     Row("worker, %d B: worker" % size, "CPU s/100k", used["cpu worker"]),
                     Row("worker, %d B: runners" % size, "CPU s/100k", used["cpu runners"])]
    bench.table.section("Size of the documents, at least once", rows,
                        "worker with %d runners; ceiling: 256 a claim, 4 in flight; a claim ends "
                        "at 256 KiB" % RUNNERS)
