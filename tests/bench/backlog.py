"""What a long queue costs: speed, Redis' time and the worker's memory with many jobs waiting behind."""

import time

import bl
from stage import LIST, STOCK, Stage
from usage import Usage, memory


def _case(stage, waiting, count):
    """The first `count` of `waiting` + `count` jobs."""
    worker = stage.worker(2)
    stage.fill(waiting + count, key=STOCK)
    target = stage.board.done() + count
    use = Usage(stage, worker).start()
    stage.client.rename(STOCK, LIST)
    start = time.monotonic()
    bl.wait_until(lambda: stage.board.done() >= target, 300, "%d jobs" % count, 0.002)
    done, seconds = stage.board.done(), time.monotonic() - start
    used, kib = use.stop(), memory(worker.pid)["private_dirty"]
    count += done - target
    stage.stop(worker)
    stage.client.flushall(asynchronous=True)
    return {"jobs/s": count / seconds, "redis": used["redis"] * 100000 / count, "memory": kib}


def run(bench):
    count = bench.scale(100000, 10000)
    cases = {}
    with Stage() as stage:
        for waiting in bench.scale((1000, 100000, 10000000), (1000, 100000)):
            cases["{:,} waiting".format(waiting)] = \
                lambda waiting=waiting: _case(stage, waiting, count)
        results = bench.interleave(cases, min(3, bench.rounds))
    first = next(iter(cases))
    bench.table.section("Length of the queue", bench.rows(results, "jobs/s", "jobs/s", first) +
                        bench.rows(results, "redis", "Redis s/100k", first) +
                        bench.rows(results, "memory", "worker KiB, private", first),
                        "the first {:,} jobs, that many behind them; 2 runners".format(count))
