"""How fast jobs that do nothing go through, against what Redis allows a bare client."""

from stage import Stage
from table import Row

FIRST_JOBS, SECONDS = 20000, 2
GRID_BATCHES, GRID_DEPTHS = (64, 128, 256), (2, 4, 8)


def tune(bench, stage, mode):
    """The batch and depth with which the bare client is fastest: the ceiling is its best."""
    count = bench.scale(100000, 20000)
    speeds = {}
    for batch in GRID_BATCHES:
        for depth in GRID_DEPTHS:
            got = stage.ceiling_drain(mode, count, batch=batch, depth=depth)
            speeds[got["jobs/s"]] = {"batch": batch, "depth": depth}
    return speeds[max(speeds)]


def with_worker(stage, count, runners, delivery=None, bytes=100):
    """Figures of a worker of its own: at most `count` jobs, fewer if they would last long."""
    worker = stage.worker(runners, delivery=delivery)
    once = delivery is not None
    speed = stage.drain(worker, min(count, FIRST_JOBS), bytes, once)["jobs/s"]
    count = int(min(count, max(FIRST_JOBS, speed * SECONDS)))
    figures = stage.drain(worker, count, bytes, once)
    stage.stop(worker)
    stage.clear()
    return figures


def _one_kind(bench, stage, title, mode, delivery):
    count = bench.scale(600000, 20000)
    best = tune(bench, stage, mode)
    ceiling = "ceiling"
    cases = {ceiling: lambda: stage.ceiling_drain(mode, count, **best)}
    if mode == "pop":
        ceiling = "ceiling, BRPOP"
        cases[ceiling] = lambda: stage.ceiling_drain("pop-one", count, depth=256)
    for runners in bench.scale((1, 2, 4, 8), (1, 2)):
        cases["worker, %d runner%s" % (runners, "s" * (runners > 1))] = \
            lambda runners=runners: with_worker(stage, count, runners, delivery)
    results = bench.interleave(cases)
    bench.table.section(
        title, bench.rows(results, "jobs/s", "jobs/s", ceiling),
        "at most %s jobs of 100 bytes; ceiling: %d a command, %d in flight, the best of a grid%s" % (
            "{:,}".format(count), best["batch"], best["depth"],
            "; BRPOP: one by one, 256 in flight" if mode == "pop" else ""))
    rows = bench.rows({"%s: one claim" % name: metrics for name, metrics in results.items()},
                      "per claim", "jobs")
    rows += bench.rows({"%s: one HDEL" % name: metrics for name, metrics in results.items()},
                       "per ack", "jobs")
    if rows:
        bench.table.section("Jobs per command: " + title, rows)
    redis = {name: {"jobs/s": [100000 / cpu for cpu in metrics["cpu redis"] if cpu]}
             for name, metrics in results.items()}
    bench.table.section("What one core of Redis allows, by the CPU time it used: " + title,
                        bench.rows(redis, "jobs/s", "jobs/s", ceiling),
                        "hardly depends on what else the machine does")
    for kind, unit, what in (("cpu", "s", "CPU seconds per 100,000 jobs"),
                             ("busy", "% of a core", "How busy they were")):
        rows = []
        for name, metrics in results.items():
            for who in ("client", "worker", "runners", "redis"):
                if "%s %s" % (kind, who) in metrics:
                    rows.append(Row("%s: %s" % (name, who), unit, metrics["%s %s" % (kind, who)]))
        bench.table.section("%s: %s" % (what, title), rows)


def run(bench):
    with Stage() as stage:
        _one_kind(bench, stage, "Drain of noop, at least once", "claim", None)
        _one_kind(bench, stage, "Drain of noop, at most once", "pop", "at-most-once")
