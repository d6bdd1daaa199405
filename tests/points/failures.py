#!/usr/bin/python3
"""Calls of the C library that fail, at the n-th time, in the worker or in its runners: `make
fail-calls`.

    tests/points/failures.py [-k PATTERN] [-v]

Memory: our own allocation aborts (a restart is right, as after a crash); whatever a library does
with it, nothing but an abort or an orderly exit may come of it.  Reads, writes, forks and
descriptors: the worker goes on by itself.  Every run goes to a drained and checked end, as those of
the crash points.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import ROOT, Case, wait_until
from life import Life, wait_gone

# (what, first, every): every 0 = once in all.
EARLY = [1, 30, 60, 90, 120, 150, 180, 210]
WORKER = ([("malloc", n, 0) for n in EARLY + list(range(250, 2250, 125))] +
          [("fork", 1, 2), ("fork", 2, 3), ("fork", 3, 0)] +
          [("intr", 1, 3), ("intr", 2, 7)] +
          [("short", 1, 2), ("short", 5, 7)] +
          [("reset", n, 0) for n in (1, 2, 3, 5, 8, 13, 21, 34)] + [("reset", 5, 25)] +
          [("pipe", n, 0) for n in (1, 2, 3, 5, 8, 13, 21, 34)] + [("pipe", 5, 25)] +
          [("nospace", 1, 2)] + [("nofiles", n, 0) for n in (3, 6, 9, 12)])
RUNNER = ([("malloc", n, 0) for n in EARLY + list(range(250, 900, 50))] +
          [("fork", 1, 2), ("intr", 1, 3), ("intr", 2, 7), ("short", 1, 2), ("short", 5, 7)] +
          [("reset", n, 0) for n in (1, 2, 5, 13)] + [("pipe", n, 0) for n in (1, 2, 5, 13)] +
          [("nospace", 1, 2), ("nospace", 2, 2), ("nofiles", 5, 6)])
ALL = [("worker",) + w for w in WORKER] + [("runner",) + r for r in RUNNER]

# How the worker may end by itself when memory fails it: aborted, or told it cannot start.
GOOD_ENDS = (-signal.SIGABRT, 70, 71, 75, 78)


def build_shim(directory):
    path = os.path.join(directory, "fail_shim.so")
    subprocess.run([os.environ.get("CC") or "cc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o",
                    path, os.path.join(ROOT, "tests/points/fail_shim.c")], check=True)
    return path


class Failing:
    """One load with failing calls, in `case` (a bl.Case)."""

    def __init__(self, case, where, what, first, every):
        self.case, self.where, self.what, self.first, self.every = case, where, what, first, every
        self.mark = os.path.join(case.directory, "failed")
        self.redis = case.redis()
        self.life = Life(case, self.redis)
        self.workers = []

    @property
    def failed(self):
        """Did a call fail at all?"""
        return os.path.exists(self.mark)

    def go(self):
        life = self.life
        life.push()
        worker = self.case.worker(self.redis, life.config(), start=False, env={
            "LD_PRELOAD": build_shim(self.case.directory), "FAIL_IN": self.where,
            "FAIL_CALL": "%s:%d:%d" % (self.what, self.first, self.every), "FAIL_MARK": self.mark})
        self.workers.append(worker)
        worker.start(ready=False)
        wait_until(lambda: worker.remember() or not worker.running or life.drained(),
                   what=lambda: "the end; left: %r\n%s" % (life.left(), worker.log()[-8000:]))
        if self.where == "runner":
            # What was begun in a runner that ended badly runs again; one at a time fails.
            life.extra_any = 1 if self.every == 0 and self.failed else 0
            if self.what in ("fork", "nofiles"):
                life.may_fail.append("program")  # it could not be started
        if not worker.running:
            self.died(worker)
            worker = self.case.worker(self.redis, life.config(
                state_dir=worker.config["state_dir"]), name="again")
            self.workers.append(worker)
        life.wait_drained(worker)
        worker.remember()
        status = worker.drain()
        if status != 0 and self.what != "malloc":
            raise AssertionError("exit %d:\n%s" % (status, worker.log()[-8000:]))
        if status != 0:  # memory failed it while it stopped
            self.died(worker)
            worker = self.case.worker(self.redis, life.config(
                state_dir=worker.config["state_dir"]), name="again")
            self.workers.append(worker)
            life.wait_drained(worker)
            worker.drain()
        wait_gone(worker.known)
        if self.where == "runner" and self.what == "malloc" and self.every == 0:
            life.may_fail += self.out_of_memory()
        if self.where == "worker" and self.what == "pipe":
            life.extra_any = self.cut_off()
        life.check()

    def cut_off(self):
        """How many runners could not be written to: each was killed with what it was at."""
        return sum(len(re.findall(r'"runner ended" .* cause="its socket cannot be written to"',
                                  worker.log())) for worker in self.workers)

    def out_of_memory(self):
        """The job that failed for it, if the call that failed was made for one."""
        failed = []
        for worker in self.workers:
            failed += re.findall(r'id=(\S+) type=.* error="out of memory: its runner', worker.log())
        if len(failed) > 1:
            raise AssertionError("one call failed, and so did %s" % failed)
        return failed

    def died(self, worker):
        status = worker.popen.returncode
        starting = "worker ready" not in worker.log()  # it may give up: it is started again
        if self.where == "runner" or status not in GOOD_ENDS or not (
                self.what == "malloc" or starting):
            raise AssertionError("the worker ended (%d):\n%s" % (status, worker.log()[-8000:]))
        wait_gone(worker.known)
        self.life.look(worker)


class OneRun(Case):
    def __init__(self, *args):
        super().__init__()
        self.args, self.failing = args, None
        self.failed_a_call = False

    def runTest(self):
        self.failing = Failing(self, *self.args)
        try:
            self.failing.go()
        finally:
            self.failed_a_call = self.failing.failed


def main():
    parser = argparse.ArgumentParser(description="Makes calls fail.")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only runs whose name matches PATTERN")
    parser.add_argument("-v", action="store_true", help="name every run")
    options = parser.parse_args()
    runs, bad, idle = 0, 0, 0
    for args in ALL:
        name = "%s %s %d/%d" % args
        if not re.search(options.k, name):
            continue
        case, result, began = OneRun(*args), unittest.TestResult(), time.monotonic()
        case.run(result)
        runs += 1
        idle += not case.failed_a_call
        for _, text in result.failures + result.errors:
            bad += 1
            print("FAILED %s\n%s" % (name, text), flush=True)
        if options.v:
            print("%-24s %s  %.1f s" % (name, "a call failed" if case.failed_a_call else "no such call",
                                        time.monotonic() - began), flush=True)
    print("%d runs, %d of them failed, in %d no call was made to fail" % (runs, bad, idle))
    return 1 if bad or runs == idle else 0


if __name__ == "__main__":
    sys.exit(main())
