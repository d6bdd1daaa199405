"""How long from push to the handler's begin, at a steady pace."""

import machine
from stage import Stage
from table import Row

# A client that takes one value per round trip falls behind at 5,000 a second: no measure there.
RELAY_RATE_MAX = 1000
PERCENTILES = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))


def spread(ns):
    """{"p50", "p99", "p999"} in us."""
    ordered = sorted(ns)
    return {name: ordered[min(int(len(ordered) * p), len(ordered) - 1)] / 1000
            for name, p in PERCENTILES}


def _awake(stage, milliseconds):
    return stage.ceiling("awake", count=milliseconds)


def _round_trip(stage, count):
    return stage.ceiling("ping", count=count)


def _bare(stage, rate, count, mode="wake"):
    waiting, stolen = stage.start_tool("ceiling", mode, count=count), machine.stolen_us()
    stage.tool("pusher", "bare", rate=rate, count=count)
    return dict(stage.tool_result(waiting), stolen=(machine.stolen_us() - stolen) / count)


def _worker(stage, worker, rate, count, once):
    stage.board.clear_stamps()
    target, stolen = stage.board.done() + count, machine.stolen_us()
    held = stage.tool("pusher", "job", rate=rate, count=count)
    stage.await_done(target, once)
    return dict(spread(stage.board.stamps()), **held,
                stolen=(machine.stolen_us() - stolen) / count)


def _with_worker(stage, rate, count, delivery=None):
    worker = stage.worker(2, delivery=delivery)
    figures = _worker(stage, worker, rate, count, delivery is not None)
    stage.stop(worker)
    stage.clear()
    return figures


def run(bench):
    with Stage() as stage:
        for rate in (200, 5000):
            count = int(rate * bench.scale(5, 1))
            note = ("{:,} pushes a round, 2 runners; awake: until a core that never sleeps goes on, from any\n"
                    "moment; round trip: PING; BRPOP: until a bare client has it")
            cases = {"awake": lambda: _awake(stage, int(bench.scale(2000, 500))),
                     "round trip": lambda: _round_trip(stage, count),
                     "BRPOP, bare": lambda: _bare(stage, rate, count)}
            if rate <= RELAY_RATE_MAX:
                cases["BRPOP, relayed"] = lambda: _bare(stage, rate, count, "relay")
                note += "; relayed: until a child of it has it"
            note += "\nstolen: what the host took from processes here that were ready to run"
            cases["at least once"] = lambda: _with_worker(stage, rate, count)
            cases["at most once"] = lambda: _with_worker(stage, rate, count, "at-most-once")
            results = bench.interleave(cases)
            rows, bare = [], {}
            for name, metrics in results.items():
                for percentile, _ in PERCENTILES:
                    row = Row("%s, %s" % (name, percentile), "us", metrics[percentile],
                              bare.get(percentile))
                    if name == "BRPOP, bare":
                        bare[percentile] = row
                    rows.append(row)
            rows += [Row("%s, stolen" % name, "us/push", metrics["stolen"])
                     for name, metrics in results.items() if "stolen" in metrics]
            rows.append(Row("pace held", "pushes/s", results["at least once"]["pushed/s"]))
            bench.table.section("Latency from push to begin, {:,} jobs/s".format(rate), rows,
                                note.format(count))
