"""How fast jobs of a program go through that is started for each."""

import time

from stage import LIST, STOCK, Stage
from usage import Usage


def _bare(stage, count, at_once):
    got = stage.ceiling("spawn", count=count, depth=at_once)
    return {"jobs/s": count / got["seconds"]}


def _worker(stage, count, runners):
    worker = stage.worker(runners, handlers={"true": {"exec": ["/bin/true"]}})
    stage.fill(count, key=STOCK, type="true")
    usage = Usage(stage, worker).start()
    stage.client.rename(STOCK, LIST)
    start = time.monotonic()
    stage.await_empty(pause=0.005)
    seconds = time.monotonic() - start
    used = usage.stop()
    stage.stop(worker)
    stage.clear()
    return {"jobs/s": count / seconds, "cpu worker": used["worker"] / count * 1e6}


def run(bench):
    count = bench.scale(1000, 100)
    with Stage() as stage:
        cases = {"posix_spawn, 2 at once": lambda: _bare(stage, count, 2)}
        for runners in (1, 2, 4):
            cases["worker, %d runner%s" % (runners, "s" * (runners > 1))] = \
                lambda runners=runners: _worker(stage, count, runners)
        results = bench.interleave(cases)
    bench.table.section("Program /bin/true started per job",
                        bench.rows(results, "jobs/s", "jobs/s", "posix_spawn, 2 at once"),
                        "%d jobs; posix_spawn: a bare loop, no job, no group, no pipes" % count)
