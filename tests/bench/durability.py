"""What Redis' persistence costs."""

from drain import with_worker
from stage import Stage
from table import Row


def run(bench):
    count = bench.scale(150000, 10000)
    rows = []
    for name, aof in (("none", None), ("AOF everysec", "everysec"), ("AOF always", "always")):
        with Stage(aof=aof) as stage:
            results = bench.interleave({
                "ceiling": lambda: stage.ceiling_drain("claim", count, batch=256, depth=4),
                "worker": lambda: with_worker(stage, count, 2)})
        ceiling = Row("%s: ceiling" % name, "jobs/s", results["ceiling"]["jobs/s"])
        rows += [ceiling, Row("%s: worker" % name, "jobs/s", results["worker"]["jobs/s"], ceiling)]
    bench.table.section("Persistence of Redis, drain of noop at least once", rows,
                        "at most {:,} jobs of 100 bytes; 2 runners".format(count))
