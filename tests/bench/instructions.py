#!/usr/bin/python3
"""Counts the instructions that the worker and a runner execute per job.

    tests/bench/instructions.py [--top N] [--rounds N]

Drains noop jobs in a burst under callgrind, twice: what the longer run executes more, divided by the
jobs it has more, is the cost of one job without start and end.  Unlike seconds it hardly depends on
the machine or on what else it does.  It does depend a little on how jobs fall into batches.  Worker
and runner are counted apart, the other one running at full speed.  --top names the functions with
the most instructions of their own.
"""

import argparse
import glob
import os
import re
import statistics
import subprocess
import sys

from stage import PLUGIN, Stage, bl

FEW, MANY = 2000, 22000


def _count(path):
    """Instructions in a callgrind file."""
    with open(path) as file:
        return int(re.search(r"^(?:totals|summary): (\d+)", file.read(), re.MULTILINE).group(1))


def _inclusive(path, function):
    """Instructions of a function and all it calls."""
    out = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", path],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
    found = re.search(r"^\s*([\d,]+) .*:%s(?: \[|$)" % function, out, re.MULTILINE)
    if found is None:
        raise AssertionError("%s is not among the functions counted in %s" % (function, path))
    return int(found.group(1).replace(",", ""))


def _per_job(path, who):
    """What grows with the jobs.  A runner looks at what handlers left behind every 10 ms,
    however many jobs that is; under callgrind a machine's speed would decide."""
    looks = _inclusive(path, "job_left_clean") if who == "runner" else 0
    return _count(path) - looks


def _burst(stage, who, jobs, name):
    """Path of the counts of `who` ("worker" or "runner") draining that many jobs."""
    counts = os.path.join(stage.directory, "counts-" + name)
    stage.fill(jobs)
    env = {"BENCH_BOARD": stage.board.path, "BENCH_WORKER": bl.program("worker"),
           "BENCH_COUNTS": counts, "BUCKETLINE_RUNNER_EXE": bl.program("worker")}
    if who == "runner":
        env["BUCKETLINE_RUNNER_EXE"] = bl.program("tests/bench/under_callgrind")
    worker = bl.Worker(stage.directory, stage.redis, {
        "runners": 1, "plugins": [PLUGIN], "recycle_after": 0}, env=env, args=["--burst"], name=name)
    if who == "worker":
        worker.argv = ["valgrind", "--quiet", "--tool=callgrind",
                       "--callgrind-out-file=%s.%%p" % counts] + worker.argv
    stage.processes.append(worker)
    worker.spawn()
    if worker.wait(300) != 0:
        raise AssertionError("the burst failed:\n" + worker.log())
    left = stage.redis.held()
    found = glob.glob(counts + ".*")
    if left or len(found) != 1:
        raise AssertionError("%d jobs left, counts in %s; log:\n%s" % (left, found, worker.log()))
    return found[0]


def _top(path, count):
    out = subprocess.run(["callgrind_annotate", "--inclusive=no", path], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, check=True).stdout.decode()
    lines = [line for line in out.splitlines() if re.match(r"\s*[\d,]+ \(\s*[\d.]+%\)", line)]
    return lines[:count + 1]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    figures, tops = {}, []
    with Stage() as stage:
        for who in ("worker", "runner"):
            per_job = []
            for i in range(options.rounds):
                few = _burst(stage, who, FEW, "%s-few-%d" % (who, i))
                many = _burst(stage, who, MANY, "%s-many-%d" % (who, i))
                per_job.append((_per_job(many, who) - _per_job(few, who)) / (MANY - FEW))
            figures[who] = statistics.median(per_job)
            if options.top:
                tops.append((who, _top(many, options.top)))
    for who, lines in tops:
        print("\n%s, %d jobs, by instructions of its own:" % (who, MANY))
        print("\n".join(lines))
    print("worker: {:,.0f} instructions per job; runner: {:,.0f}".format(
        figures["worker"], figures["runner"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
