"""Kills a process of ours at the n-th passing of a named point (common/crash_point.h), lets what
remains or a fresh worker finish, and checks every job.

    Run(case, "claim.answered", 3).go()

Each point belongs to a scenario, by its name: what has to be going on for it to be passed.
"""

import glob
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import ROOT, SLOW, wait_until
from life import Life, points_build, wait_gone

# Which process dies, by the first word of a point's name.
RUNNER, GUARD = "runner", "guard"
# At these the handler has begun and its end is not on record: that one job runs again.
BEGUN_POINTS = {"runner.begun", "runner.handler-returned", "runner.before-out", "runner.out-written",
                "runner.before-return"}

SCENARIOS = {
    "takeover": "takeover", "recover": "takeover", "recover.silent": "silence",
    "reconcile": "link", "reconcile.lost": "fenced", "reconcile.ack-again": "back_in_time",
    "stop": "stop", "reload": "reload", "guard.orphaned": "orphan", "slot.revoked": "revoke",
    "settle.back": "revoke",
}


def points():
    """Every point in the sources."""
    found = []
    for path in sorted(glob.glob(os.path.join(ROOT, "common/*.c")) +
                       glob.glob(os.path.join(ROOT, "worker/*.c")) +
                       glob.glob(os.path.join(ROOT, "worker/runner/*.c"))):
        with open(path) as file:
            found += re.findall(r'CRASH_POINT\("([^"]+)"\)', file.read())
    if len(found) != len(set(found)):
        raise AssertionError("a name is used twice: %s" % sorted(
            name for name in found if found.count(name) > 1))
    return sorted(found)


def scenario_of(point):
    return SCENARIOS.get(point) or SCENARIOS.get(point.split(".")[0]) or "whole"


class Run:
    """One crash, in `case` (a bl.Case), and what came of it: `crashed` and the points `reached`."""

    def __init__(self, case, point, n, scenario=None, plugin=None):
        self.case, self.point, self.n = case, point, n
        self.scenario = scenario or scenario_of(point)
        self.mark_dir = os.path.join(case.directory, "points")
        os.mkdir(self.mark_dir)
        self.redis = case.redis()
        self.life = Life(case, self.redis, plugin)

    @property
    def crashed(self):
        return os.path.exists(os.path.join(self.mark_dir, "crashed"))

    @property
    def reached(self):
        try:
            with open(os.path.join(self.mark_dir, "reached")) as file:
                return set(file.read().split())
        except FileNotFoundError:
            return set()

    def worker(self, armed, start=True, name="worker", **config):
        """A worker of the points' build; `armed`: it, or a process of it, shall die."""
        env = {"BUCKETLINE_CRASH_DIR": self.mark_dir}
        if armed:
            env["BUCKETLINE_CRASH"] = "%s:%d" % (self.point, self.n)
        worker = self.case.worker(self.redis, self.life.config(**config), env=env, start=False,
                                  name=name)
        worker.argv[0] = os.path.join(points_build(), "worker")
        if start:
            worker.start(ready=False)
        return worker

    def go(self):
        getattr(self, self.scenario)()

    # ---- steps ----

    def worker_dies(self):
        return self.point.split(".")[0] not in (RUNNER, GUARD)

    def await_crash(self, worker, done, meanwhile=lambda: None):
        """Until `worker` is dead, or `done()`: then the point was not passed n times, or what died
        was not the worker."""
        def look():
            worker.remember()
            meanwhile()
            return not worker.running or (done() and not (self.crashed and self.worker_dies()))
        wait_until(look, what=lambda: "a crash at %s:%d or the end; left: %r\n%s" % (
            self.point, self.n, self.life.left(), worker.log()[-8000:]))

    def restart(self, worker, **config):
        """If `worker` is dead: all that belonged to it is gone, and another starts in its place."""
        if worker.running:
            return worker
        wait_gone(worker.known)
        self.life.look(worker)
        again = self.worker(False, state_dir=worker.config["state_dir"], name="again", **config)
        return again

    def finish(self, worker):
        """To the drained end, and everything is checked."""
        if self.crashed and self.point in BEGUN_POINTS:
            self.life.extra_any += 1
        self.life.wait_drained(worker)
        own = worker.wait_log(r"worker ready.* incarnation=(\w+)").group(1).encode()
        wait_until(lambda: self.redis.client.hkeys("bucketline:workers") == [own],
                   what="one worker, every dead one taken over")
        worker.remember()
        status = worker.drain()
        if status == -signal.SIGKILL and self.crashed and worker.env.get("BUCKETLINE_CRASH"):
            self.finish(self.restart(worker))  # it died while it stopped
            return
        if status != 0:
            raise AssertionError("exit %d:\n%s" % (status, worker.log()[-8000:]))
        wait_gone(worker.known)
        self.life.check()
        if self.redis.client.hlen("bucketline:workers") != 0:
            raise AssertionError("workers left: %r" % self.redis.client.hgetall("bucketline:workers"))
        left = [n for n in os.listdir(worker.config["state_dir"]) if not n.endswith(".lock")]
        if left:
            raise AssertionError("left in state_dir: %s" % left)

    # ---- scenarios ----

    def whole(self):
        """The load from its beginning to its end."""
        self.life.push()
        worker = self.worker(True)
        self.await_crash(worker, self.life.drained)
        self.finish(self.restart(worker))

    def orphan(self):
        """The worker alone is killed, then its guard before it has killed anything."""
        self.life.push()
        worker = self.worker(True)
        wait_until(lambda: len(self.life.counts("begin")) >= 5, what="some jobs")
        worker.kill9()
        self.finish(self.restart(worker))

    def takeover(self):
        """Everything is killed in the middle; the next one dies while it takes over."""
        self.life.push(2)
        first = self.worker(False, name="first")
        wait_until(lambda: len(self.life.counts("begin")) >= 10, what="some jobs")
        first.kill9_all()
        self.life.look(first)
        second = self.worker(True, name="second", state_dir=first.config["state_dir"])
        self.await_crash(second, self.life.drained)
        self.finish(self.restart(second))

    def silence(self):
        """A machine dies with its state; the worker of another dies while it takes over."""
        self.life.push(2)
        first = self.worker(False, name="first")
        wait_until(lambda: len(self.life.counts("begin")) >= 10, what="some jobs")
        first.kill9_all()
        self.life.look_without_journal()
        second = self.worker(True, name="second")
        self.await_crash(second, self.life.drained)
        self.finish(self.restart(second))

    def link(self):
        """Its connections are cut again and again, and Redis holds claims it knows nothing of."""
        client = self.redis.client
        self.life.push()
        worker = self.worker(True)
        state = {"cuts": 0, "at": time.monotonic()}

        def meanwhile():
            if state["cuts"] >= 6 or time.monotonic() < state["at"]:
                return
            owners = client.hkeys("bucketline:workers")
            state["at"] = time.monotonic() + 0.2 * SLOW
            if not owners:
                return
            state["cuts"] += 1
            # As if the reply of a claim had been lost with the connection.
            id = "adopted%d" % state["cuts"]
            self.life.begins[id] = {1: 1}
            client.hset("{queue:default}:run", "%s:%d" % (owners[0].decode(), state["cuts"] * 10**6),
                        self.life.document(id))
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        self.await_crash(worker, lambda: state["cuts"] >= 6 and self.life.drained(), meanwhile)
        self.finish(self.restart(worker))

    def fenced(self):
        """Others took its claims: it must drop them, and they run once more."""
        client, run = self.redis.client, "{queue:default}:run"
        for n in range(2):
            id = "hang%d" % n
            self.life.push_one(id, args={"hang": self.life.mark(id)})
            self.life.begins[id] = {1: 2}
        worker = self.worker(True)
        wait_until(lambda: len(self.life.counts("begin")) == 2, what="two running jobs")
        for token, record in client.hgetall(run).items():
            client.rpush("queue:default", record)
            client.hdel(run, token)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.life.push()
        self.await_crash(worker, self.life.drained)
        self.finish(self.restart(worker))

    def back_in_time(self):
        """Redis shows again what was acknowledged."""
        client, run, seen = self.redis.client, "{queue:default}:run", {}
        for n in range(4):
            self.life.push_one("slow%d" % n, args={"ms": 100})
        worker = self.worker(True)

        def all_done():
            seen.update(client.hgetall(run))
            return len(seen) >= 4 and self.life.drained()

        wait_until(all_done, what="four jobs")
        for token, record in seen.items():
            client.hset(run, token, record)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.await_crash(worker, self.life.drained)
        if self.crashed:  # the next one can not know that they had ended
            for record in client.hvals(run):
                self.life.extra.update(["slow%d" % n for n in range(4)
                                        if ('"slow%d"' % n).encode() in record])
        self.life.push()
        self.finish(self.restart(worker))

    def stop(self):
        """TERM in the middle; two jobs do not end in time."""
        for n in range(2):
            id = "hang%d" % n
            self.life.push_one(id, args={"hang": self.life.mark(id)})
            self.life.begins[id] = {1: 2}
        worker = self.worker(True, shutdown_timeout="300ms", runners=3)
        wait_until(lambda: len(self.life.counts("begin")) == 2, what="two running jobs")
        self.life.push()
        wait_until(lambda: len(self.life.counts("begin")) >= 5, what="some jobs")
        worker.term()
        wait_until(lambda: worker.remember() or not worker.running, what="the worker's end")
        # Killed at its crash before it was killed for the shutdown: that run was the one by design.
        self.finish(self.restart(worker))

    def reload(self):
        self.life.push(2)
        worker = self.worker(True)
        wait_until(lambda: len(self.life.counts("begin")) >= 5, what="some jobs")
        for n in range(self.n):
            if worker.running:
                worker.wait_log("ready")
                worker.hup()
                wait_until(lambda: not worker.running or
                           worker.log().count("configuration reloaded") > n, what="a reload")
        self.await_crash(worker, self.life.drained)
        self.finish(self.restart(worker))

    def revoke(self):
        """What waits behind a slow job is taken back."""
        for n in range(60):
            self.life.push_one("short%d" % n, args={"ms": 1 if n < 50 else 0})
        self.life.push_one("slow", args={"ms": 1500})
        for n in range(400):
            self.life.push_one("many%d" % n)
        worker = self.worker(True, runners=1)
        self.await_crash(worker, self.life.drained)
        self.life.push()
        self.finish(self.restart(worker))

