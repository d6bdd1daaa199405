"""What many runners cost."""

from drain import with_worker
from stage import Stage


def run(bench):
    count = bench.scale(150000, 10000)
    with Stage() as stage:
        results = bench.interleave({
            "%d runners" % runners: lambda runners=runners: with_worker(stage, count, runners)
            for runners in bench.scale((1, 2, 4, 8, 16, 32, 64), (1, 8))})
    rows = bench.rows(results, "jobs/s", "jobs/s", "1 runners")
    for who in ("worker", "runners", "redis"):
        rows += bench.rows({"%s: %s" % (name, who): metrics for name, metrics in results.items()},
                           "cpu " + who, "s/100k")
    bench.table.section("Size of the pool, drain of noop", rows,
                        "at most {:,} jobs of 100 bytes, at least once".format(count))
