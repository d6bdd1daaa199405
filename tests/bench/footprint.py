"""Memory of the worker and of each runner, idle and after load."""

import statistics

import usage
from stage import Stage


def _weigh(stage, worker, when):
    runners = [usage.memory(pid) for pid in worker.runners()]
    own = usage.memory(worker.pid)
    figures = {}
    for kind, name in (("private_dirty", "private"), ("rss", "resident")):
        figures["worker, %s, %s" % (when, name)] = own[kind]
        figures["each runner, %s, %s" % (when, name)] = statistics.mean(r[kind] for r in runners)
    return figures


def _case(stage, count, bytes):
    worker = stage.worker(2, warm=False)
    figures = _weigh(stage, worker, "idle")
    stage.drain(worker, count, bytes)
    figures.update(_weigh(stage, worker, "after load"))
    stage.stop(worker)
    stage.clear()
    return figures


def run(bench):
    with Stage() as stage:
        for bytes, count in ((100, bench.scale(100000, 10000)), (100000, bench.scale(2000, 200))):
            name = "{:,} jobs of {:,} bytes".format(count, bytes)
            results = bench.interleave({name: lambda: _case(stage, count, bytes)})[name]
            rows = [row for metric in results for row in bench.rows({metric: results}, metric, "KiB")]
            bench.table.section("Memory, load: " + name, rows,
                                "private: Private_Dirty, what the process has alone; "
                                "resident: Rss, libraries included")
