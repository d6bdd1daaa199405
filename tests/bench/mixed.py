"""How long short jobs wait beside slow ones in the same queue."""

import os
import threading

import bl
from latency import PERCENTILES, spread
from stage import LIST, PLUGIN, Stage
from table import Row

RATE, SLOW_EVERY, SLOW_SECONDS, RUNNERS = 200, 0.5, 2, 8


def _push_slow(stage, over):
    """One slow job after the other, until `over` is set."""
    while not over.wait(SLOW_EVERY):
        stage.redis.client.lpush(LIST, '{"type":"sleep","args":{"ms":%d}}' % (SLOW_SECONDS * 1000))


def _mixed(stage, count, slow):
    worker = stage.worker(RUNNERS, plugins=[PLUGIN, os.path.join(bl.BUILD, "jobs/sleep.so")],
                          shutdown_timeout="5s")
    over = threading.Event()
    thread = threading.Thread(target=_push_slow, args=(stage, over))
    stage.board.clear_stamps()
    target = stage.board.done() + count
    if slow:
        thread.start()
    try:
        stage.tool("pusher", "job", rate=RATE, count=count)
    finally:
        over.set()
        if slow:
            thread.join()
    stage.await_done(target)
    figures = spread(stage.board.stamps())
    stage.stop(worker)
    stage.clear()
    return figures


def run(bench):
    with Stage() as stage:
        count = int(RATE * bench.scale(6, 2))
        results = bench.interleave({
            "short jobs alone": lambda: _mixed(stage, count, False),
            "beside slow ones": lambda: _mixed(stage, count, True),
        })
        rows, alone = [], {}
        for name, metrics in results.items():
            for percentile, _ in PERCENTILES:
                row = Row("%s, %s" % (name, percentile), "us", metrics[percentile],
                          alone.get(percentile))
                alone.setdefault(percentile, row)
                rows.append(row)
        bench.table.section(
            "Start of short jobs, from push to begin, beside jobs of 2 s", rows,
            "%d short a second, a slow one every %.1f s, %d runners, one queue" % (
                RATE, SLOW_EVERY, RUNNERS))
