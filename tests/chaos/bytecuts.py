#!/usr/bin/python3
"""Cuts the connection after every single byte, both ways, and wants every job settled exactly once.

    bytecuts.py [--stride N] [--jobs N] [--only SESSION,...]

A session is a few jobs pushed to an idle worker; it is repeated with the wire cut after 1, 2, 3,
... bytes of requests, then of replies, until a session ends before its cut comes.  No process dies
here, so not one handler may run once more than it must.  --stride N takes every Nth byte, beginning
with one chosen by the session.  The session "handshake" begins with a reset, so that its bytes are
those of a new connection; it is long (the scripts are loaded), so it takes 16 times the stride.
--jobs worlds share the work: most of the time is spent by workers that wait before they connect
again.
"""

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from world import LISTS, World, companion

from bl import wait_until
from producer import Catalog
from runs import read_runs

QUICK = {"type": "fixed", "base": 0.001, "jitter": 0}
SESSIONS = {
    "done": (("done", {}),),
    "three": (("done", {}), ("done", {}), ("done", {})),
    "retry": (("fail:1", {"backoff": QUICK}),),
    "dead": (("dead", {}),),
    "later": (("done", {"delay": 0.01}),),
    "follow": (("done", {"on_success": "same"}), ("dead", {"on_failure": "other"}),
               ("done", {"on_success": "other", "reply_to": True})),
    "handshake": (("done", {}), ("fail:1", {"backoff": QUICK})),
}


class Failure(Exception):
    pass


class Cutter:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="blcuts", dir="/tmp")
        self.world = World(self.directory, workers=1, runners=2, dead_after="10s", beat="1s",
                           aof="no")
        self.world.start_worker(0, ready=True)
        self.proxy = self.world.proxies[0]
        self.client = self.world.redis.client
        self.number = 0  # of the session

    def close(self):
        self.world.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def make(self, kinds):
        catalog = Catalog(self.world.ledger, random.Random(self.number))
        jobs = []
        for what, more in kinds:
            more = dict({"reply_to": False}, **more)
            jobs.append(catalog.make(kind=(what, more), ms=0, type="chaos", list_name=LISTS[0]))
        return jobs, catalog.jobs

    def session(self, name, way, count):
        """One session with a cut; True if the cut came before the session was over."""
        self.number += 1
        where = "%s, cut after %d bytes of the %s" % (name, count, way)
        jobs, everything = self.make(SESSIONS[name])
        self.wait_steady(where)
        if name == "handshake":
            self.proxy.cut_after(way, count)
            self.proxy.reset()
        else:
            self.proxy.cut_after(way, count)
        for job in jobs:
            self.client.lpush(job.list, job.document)
        self.wait_settled(everything, where)
        came = not self.proxy.cut_is_pending
        self.proxy.cut_after(way, None)
        self.judge(everything, where)
        self.clean()
        return came

    def wait_steady(self, where):
        """The worker waits for both queues."""
        try:
            wait_until(lambda: self.client.info("clients")["blocked_clients"] == len(LISTS), 20,
                       pause=0.002)
        except AssertionError:
            raise Failure("%s: the worker does not wait any more:\n%s" % (where, self.tail()))

    def wait_settled(self, everything, where):
        def settled():
            if self.world.unfinished():
                return False
            runs = read_runs(self.world.ledger)
            return all(any(run.ended for run in runs.get(job.key, [])) for job in
                       everything.values())
        try:
            wait_until(settled, 20, pause=0.003)
        except AssertionError:
            raise Failure("%s: not all is settled, left: %s\n%s" % (
                where, self.world.unfinished(), self.tail()))

    def judge(self, everything, where):
        """Exactly once, everything."""
        runs = read_runs(self.world.ledger)
        dead = [record for l in LISTS for record in
                self.client.lrange(companion(l, "dead"), 0, -1)]
        wrong = []
        for job in everything.values():
            of_job = [run.what for run in runs[job.key]]
            wanted = {"done": ["done"], "fail:1": ["fail", "done"], "dead": ["dead"]}[job.what]
            if of_job != wanted:
                wrong.append("%s ran %s, not %s" % (job.key, of_job, wanted))
            letters = sum(job.document.encode() in record for record in dead)
            if letters != (job.what == "dead") and job.parent is None:
                wrong.append("%s has %d dead letters" % (job.key, letters))
            if job.replies and self.client.llen(job.replies) != 1:
                wrong.append("%s has %d replies" % (job.key, self.client.llen(job.replies)))
        if wrong:
            raise Failure("%s: %s\n%s" % (where, "; ".join(wrong), self.tail()))

    def clean(self):
        keys = [companion(l, "dead") for l in LISTS] + list(self.client.scan_iter("reply:*"))
        self.client.delete(*keys)
        os.truncate(self.world.ledger, 0)

    def tail(self):
        return self.world.workers[0].log()[-4000:]

    def sweep(self, name, way, first, step):
        """The cuts of a session in one way after `first`, first + step, ... bytes; how many."""
        count, cuts, beyond = first, 0, 0
        while beyond < 3:  # a beat may have been among the bytes: one alone proves no end
            beyond = 0 if self.session(name, way, count) else beyond + 1
            cuts += 1
            count += step
        return cuts - 3, count - 4 * step


class Sweeps:
    """All the sweeps, shared among threads with a world each."""

    def __init__(self, stride, names, jobs):
        self.jobs = jobs
        self.tasks = []
        for name in names:
            step = stride * (16 if name == "handshake" else 1)
            for way in ("request", "reply"):
                first = 1 + zlib.crc32(("%s %s" % (name, way)).encode()) % step
                self.tasks += [(name, way, first + i * step, jobs * step) for i in range(jobs)]
        self.lock = threading.Lock()
        self.cuts, self.bytes, self.failures = collections.Counter(), collections.Counter(), []

    def run(self):
        threads = [threading.Thread(target=self._work) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def _work(self):
        """The world is made here: its processes end with the thread that started them."""
        cutter = Cutter()
        try:
            while self.tasks and not self.failures:
                with self.lock:
                    name, way, first, step = self.tasks.pop(0)
                cuts, last = cutter.sweep(name, way, first, step)
                with self.lock:
                    self.cuts[name, way] += cuts
                    self.bytes[name, way] = max(last, self.bytes[name, way])
        except Exception as e:  # noqa: shown by whoever started this, and the run has failed
            self.failures.append(e)
        finally:
            cutter.close()

    def table(self):
        return "\n".join("%-10s %-8s %5d cuts in %5d bytes" % (name, way, n, self.bytes[name, way])
                         for (name, way), n in self.cuts.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--only", default=",".join(SESSIONS))
    options = parser.parse_args()
    began = time.monotonic()
    sweeps = Sweeps(options.stride, options.only.split(","), options.jobs).run()
    print(sweeps.table())
    for failure in sweeps.failures:
        print("FAILED  %s: %s" % (type(failure).__name__, failure))
    print("%d cuts in %d s%s" % (sum(sweeps.cuts.values()), time.monotonic() - began,
                                 "" if sweeps.failures else ", every job settled exactly once"))
    return 1 if sweeps.failures else 0


if __name__ == "__main__":
    sys.exit(main())
