"""What an idle worker costs, and what a push costs while many workers are idle."""

import time

from stage import Stage
from table import Row
from usage import Usage, cpu_seconds


def _idle(stage, queues, seconds):
    worker = stage.worker(2, queues=["q%d" % i for i in range(queues)])
    time.sleep(1)  # what began under load has ended: the measurement is of rest
    first, use, start = stage.calls(), Usage(stage, worker).start(), time.monotonic()
    time.sleep(seconds)
    elapsed, used, last = time.monotonic() - start, use.stop(), stage.calls()
    stage.stop(worker)
    stage.clear()
    calls = {name: (n - first.get(name, 0)) / elapsed for name, n in last.items()
             if n > first.get(name, 0)}
    figures = {"cpu " + who: used[who] / elapsed * 100 for who in used}
    figures["commands"] = sum(calls.values())
    figures["names"] = ", ".join("%s %.1f" % item for item in sorted(
        calls.items(), key=lambda item: -item[1]))
    return figures


def _push_cost(stage, workers, count, rate):
    """Redis' time per push of `count` pushes at a steady pace, less what it uses at rest."""
    idle = [stage.worker(1, warm=i == 0) for i in range(workers)]
    stage.await_empty()

    def use(push):
        before, commands = cpu_seconds(stage.redis.pid), sum(stage.calls().values())
        if push:
            stage.tool("pusher", "job", rate=rate, count=count)
        else:
            time.sleep(count / rate)
        return (cpu_seconds(stage.redis.pid) - before,
                sum(stage.calls().values()) - commands)

    rest, pushing = use(False), use(True)
    if workers:
        stage.await_empty()
    for worker in idle:
        stage.stop(worker)
    stage.clear()
    return {"us": (pushing[0] - rest[0]) / count * 1e6, "commands": (pushing[1] - rest[1]) / count}


def run(bench):
    with Stage() as stage:
        results = bench.interleave({
            "%d queues" % queues: lambda queues=queues: _idle(stage, queues, bench.scale(10, 2))
            for queues in (1, 8, 100)}, 1)
        rows, notes = [], []
        for name, metrics in results.items():
            for who in ("worker", "runners", "redis"):
                rows.append(Row("%s: %s" % (name, who), "% CPU", metrics["cpu " + who]))
            rows.append(Row("%s: commands" % name, "commands/s", metrics["commands"]))
            notes.append("%s: %s" % (name, metrics["names"][0]))
        bench.table.section("At rest, one worker with 2 runners", rows,
                            "commands a second, those of scripts counted too\n" + "\n".join(notes))
        rate, count = 100, bench.scale(300, 50)
        results = bench.interleave({
            "%d idle workers" % workers:
                lambda workers=workers: _push_cost(stage, workers, count, rate)
            for workers in bench.scale((0, 1, 10, 100), (0, 1, 10))}, min(3, bench.rounds))
        bench.table.section(
            "One push, with idle workers", bench.rows(results, "us", "Redis us", "1 idle workers") +
            bench.rows(results, "commands", "commands"),
            "%d pushes at %d a second; Redis' time and commands until the job is done and waited "
            "for again,\nless what it uses at rest; 0 workers: the push alone" % (count, rate))
