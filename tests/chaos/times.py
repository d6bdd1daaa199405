#!/usr/bin/python3
"""Measures how fast what broke is repaired, and compares it with what is promised.

    times.py [--only NAME,...] [--scale F]

Every time is taken from the handlers' ledger and from the moment of the fault, by CLOCK_BOOTTIME,
on an otherwise idle system.  --scale 0.2 does a fifth of the rounds.  Exits 1 if a promise is not
kept.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import report
from world import World

from bl import wait_until
from faults import now
from machine import Machine
from producer import Catalog
from runs import read_runs


class Bench:
    """A world for one measurement; `seconds` is what was measured."""

    def __init__(self, start=True, **settings):
        self.at_once = start
        self.directory = tempfile.mkdtemp(prefix="bltimes", dir="/tmp")
        self.world = World(self.directory, **settings)
        self.catalog = Catalog(self.world.ledger, random.Random(1))
        self.seconds = []

    def __enter__(self):
        if self.at_once:
            self.start()
        return self

    def start(self):
        for index in range(len(self.world.workers)):
            self.world.start_worker(index, ready=True)

    def __exit__(self, *exc):
        self.world.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def push(self, ms):
        job = self.catalog.make(kind=("done", {}), ms=ms, type="chaos", list_name="queue:one")
        self.world.redis.client.lpush(job.list, job.document)
        return job.key

    def runs(self, key):
        return read_runs(self.world.ledger).get(key, [])

    def wait_run(self, key, number, ended=False):
        """The `number`th run of a job (1 = first), once it began, or ended."""
        def look():
            runs = self.runs(key)
            return len(runs) >= number and (not ended or runs[number - 1].end) and runs[number - 1]
        return wait_until(look, what="run %d of %s" % (number, key), pause=0.002)

    def wait_idle(self):
        wait_until(lambda: not self.world.unfinished(), what="the end of all jobs")
        os.truncate(self.world.ledger, 0)


def runner_death(scale):
    """A runner is killed in the middle of a job: until the job begins again, another being idle."""
    with Bench(workers=1, runners=4, aof="everysec", through_proxy=False) as b:
        for _ in range(int(300 * scale)):
            key = b.push(120)
            run = b.wait_run(key, 1)
            time.sleep(random.random() * 0.03)
            killed = now()
            os.kill(run.runner, signal.SIGKILL)
            b.seconds.append(b.wait_run(key, 2).begin - killed)
            b.wait_idle()
        return b.seconds


def worker_restart(scale):
    """The worker is killed with four running jobs and started again: until each runs again."""
    with Bench(workers=1, runners=4, aof="everysec", through_proxy=False) as b:
        for _ in range(int(30 * scale)):
            keys = [b.push(300) for _ in range(4)]
            for key in keys:
                b.wait_run(key, 1)
            b.world.workers[0].kill9()
            started = now()
            b.world.start_worker(0)
            b.seconds += [b.wait_run(key, 2).begin - started for key in keys]
            b.wait_idle()
        return b.seconds


def machine_gone(scale):
    """A machine and its network are gone, and its state with it: until its jobs run elsewhere."""
    seconds = []
    for _ in range(max(1, int(5 * scale))):
        with Bench(workers=2, runners=2, beat="2s", dead_after="10s", aof="everysec") as b:
            keys = [b.push(1000) for _ in range(4)]
            runs = [b.wait_run(key, 1) for key in keys]
            gone = now()
            b.world.proxies[0].stall = {"request", "reply"}
            b.world.workers[0].kill9_all()
            first = b.world.workers[0].pid
            seconds += [b.wait_run(run.key, 2).begin - gone for run in runs if run.worker == first]
    return seconds


def _cut_off(machine):
    options = {"bind": ["127.0.0.1", machine.address], "protected-mode": "no"}
    with Bench(workers=2, runners=8, beat="2s", dead_after="10s", aof="everysec",
               through_proxy=False, redis_options=options, start=False) as b:
        there = b.world.workers[0]
        there.argv = machine.enter(there.argv)
        there.write_config(redis={"url": there.config["redis"]["url"].replace(
            "127.0.0.1", machine.address)})
        b.start()
        keys = [b.push(60000) for _ in range(4)]  # the other machine has runners left
        runs = [b.wait_run(key, 1) for key in keys]
        gone = now()
        machine.cut_off()
        return [b.wait_run(run.key, 2).begin - gone for run in runs if run.worker == there.pid]


def machine_cut_off(scale):
    """A machine lives on, but its network does not: until its jobs run elsewhere."""
    seconds = []
    for _ in range(max(1, int(5 * scale)) if Machine.possible() else 0):
        machine = Machine()
        try:
            seconds += _cut_off(machine)
        finally:
            machine.end()
    return seconds


def redis_back(scale):
    """Redis is killed and comes back after a while: from its first answer until a job is done."""
    with Bench(workers=1, runners=2, aof="always", through_proxy=False) as b:
        for _ in range(int(40 * scale)):
            b.world.redis.kill9()
            time.sleep(random.random() * 2)
            b.world.redis.start()
            back = now()
            run = b.wait_run(b.push(0), 1, ended=True)
            b.seconds.append(run.end - back)
            b.wait_idle()
        return b.seconds


def redis_resumed(scale):
    """Redis is frozen for 1 to 6 s, then goes on: from then until a job is done."""
    with Bench(workers=1, runners=2, aof="always", through_proxy=False) as b:
        for _ in range(int(10 * scale)):
            b.world.redis.pause()
            time.sleep(1 + random.random() * 5)
            back = now()
            b.world.redis.resume()
            run = b.wait_run(b.push(0), 1, ended=True)
            b.seconds.append(run.end - back)
            b.wait_idle()
        return b.seconds


def drain(scale):
    """SIGTERM with a job that does not end: until the worker is gone; shutdown_timeout is 2 s."""
    seconds = []
    for _ in range(max(1, int(6 * scale))):
        with Bench(workers=1, runners=2, shutdown_timeout="2s", through_proxy=False) as b:
            b.wait_run(b.push(60000), 1)
            told = now()
            b.world.workers[0].drain()
            seconds.append(now() - told)
    return seconds


# name -> (function, what it is, share of the times that must keep the promise, promise in s)
MEASURES = {
    "runner": (runner_death, "runner killed -> its job begins again", 0.99, 0.1),
    "restart": (worker_restart, "worker killed and restarted -> its jobs run again", 1, 1),
    "machine": (machine_gone, "machine gone -> its jobs run elsewhere", 1, 15),
    "cut": (machine_cut_off, "machine cut off -> its jobs run elsewhere", 1, 15),
    "back": (redis_back, "Redis killed, back -> next job done", 1, 1),
    "resumed": (redis_resumed, "Redis frozen, goes on -> next job done", 1, 1),
    "drain": (drain, "TERM with a hanging job -> the worker is gone", 1, 3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(MEASURES))
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    broken = 0
    for name in options.only.split(","):
        function, text, share, promise = MEASURES[name]
        seconds = function(options.scale)
        kept = sum(s <= promise for s in seconds) >= share * len(seconds)
        broken += not kept
        print(report.times(text, seconds, "%s <= %g s%s" % (
            "all" if share == 1 else "%g %%" % (share * 100), promise,
            "" if kept else ", NOT KEPT")), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
