#!/usr/bin/python3
"""How long each script of ours holds Redis, with long lists in it: `make redis-time`.

    tests/limits/redis_time.py [--waiting 1000000]

A real worker (and jobctl) does each operation while Redis' own SLOWLOG times every call: N jobs
waiting, N due in the same second, N/10 dead letters (of 1 KB), N/10 claimed by workers that are gone,
1,000 queues, 100 workers listed, parked jobs among many.  Printed per script: calls, the median, the
99th percentile and the longest, in microseconds.

What is asserted is the median of each script, and for the few calls that must go through a long list
the fastest of several: a busy machine makes single calls slow, and says nothing about the script.
Redis' work is compared with a loop of known length in the same Redis, so that a slow machine (a
sanitizer, an emulator) is no failure either.
"""

import argparse
import collections
import glob
import hashlib
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, LUA, Case, run_command, wait_until
from records import wrap

MEDIAN_US, ONE_LARGE_US = 5000, 20000
CALIBRATION_US = 4000  # what the loop below takes on a machine of 2020
QUEUES, WORKERS = 1000, 100
GUARD = 300
CHUNK = 1000
CALLS_PER_JOB = 20  # waiting: more than all that is done then


def script_names():
    """{SHA1: name}"""
    found = {}
    for path in glob.glob(os.path.join(LUA, "*.lua")):
        with open(path, "rb") as file:
            found[hashlib.sha1(file.read()).hexdigest()] = os.path.basename(path)[:-4]
    return found


class Times:
    """The durations of all calls, by script or command, as SLOWLOG has them, which keeps `most`."""

    def __init__(self, redis, most):
        self.most = most
        self.redis, self.names = redis.new_client(), script_names()
        self.us = collections.defaultdict(list)
        self.redis.config_set("slowlog-max-len", most)
        self.redis.config_set("slowlog-log-slower-than", 0)
        self.redis.slowlog_reset()

    def gather(self):
        both = self.redis.pipeline(transaction=True)  # nothing is logged in between
        both.slowlog_get(self.most)
        both.slowlog_reset()
        entries = both.execute()[0]
        if len(entries) >= self.most:
            raise AssertionError("SLOWLOG was full: calls are missing")
        for entry in entries:
            words = entry["command"].split(b" ", 3)
            name = words[0].decode().upper()
            if name == "EVALSHA":
                name = self.names.get(words[1].decode(), "?")
            self.us[name].append(entry["duration"])

    def table(self):
        lines = ["%-12s %8s %8s %8s %8s" % ("call", "calls", "median", "p99", "longest")]
        for name, us in sorted(self.us.items()):
            us = sorted(us)
            lines.append("%-12s %8d %8d %8d %8d" % (
                name, len(us), us[len(us) // 2], us[len(us) * 99 // 100], us[-1]))
        return "\n".join(lines)


def give_a_cpu(pid):
    """A CPU of its own for that process, the others for this one and what it will start, so that no
    call counts the time in which its server did not run.  False: there is only one."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        return False
    own = max(cpus)
    for thread in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(thread), {own})
    os.sched_setaffinity(0, cpus - {own})
    return True


def calibration(client):
    """Microseconds for a known loop in Lua, the fastest of several."""
    client.slowlog_reset()
    for _ in range(20):
        client.eval("local x = 0 for i = 1, 400000 do x = (x * 31 + i) % 65521 end return x", 0)
    return min(e["duration"] for e in client.slowlog_get(100) if e["command"].startswith(b"EVAL"))


def fill(client, count, make, push):
    for start in range(0, count, CHUNK):
        push([make(n) for n in range(start, min(count, start + CHUNK))])


class RedisTime(Case):
    guard_seconds = 900
    waiting = int(os.environ.get("BUCKETLINE_WAITING") or 100000)

    def document(self, n, size=120, **members):
        text = json.dumps(dict({"type": "noop", "id": "j%d" % n}, **members), separators=(",", ":"))
        pad = max(0, size - len(text) - 9)
        return (text[:-1] + ',"args":"%s"}' % ("x" * pad)).encode()

    def dead_letter(self, n, at_ms):
        return wrap(self.document(n, 800), id="d%d" % n, uid="%032x:%d" % (7, n), attempt=3,
                    reason="retries-spent", dead_at=at_ms)

    def prepare(self, client):
        now = int(time.time() * 1000)
        n = self.waiting
        fill(client, n, self.document, lambda d: client.lpush("queue:default", *d))
        for place in ("scheduled", "retry"):
            fill(client, n // 2,
                 lambda i: wrap(self.document(i), id="%s%d" % (place, i), uid="%032x:%d" % (5, i)),
                 lambda d: client.zadd("{queue:default}:" + place, {r: now - 1000 for r in d}))
        for queue, age in (("default", 0), ("capped", 0), ("aged", 10**9)):
            fill(client, n // 10, lambda i: self.dead_letter(i, now - age),
                 lambda d: client.lpush("{queue:%s}:dead" % queue, *d))
        fill(client, n // 10, lambda i: (b"%032x:%d" % (9, i), self.document(i)),
             lambda d: client.hset("{queue:default}:run", mapping=dict(d)))
        fill(client, 200, lambda i: wrap(
            self.document(i, type="later" if i % 10 else "noop"), id="p%d" % i,
            uid="%032x:%d" % (3, i), reason="unknown-type", parked_at=now),
            lambda d: client.lpush("{queue:default}:parked", *d))
        client.hset("bucketline:workers", mapping={"%032x" % (1000 + i): 5 for i in range(WORKERS)})
        client.hset("bucketline:info", mapping={"%032x" % (1000 + i): "{}" for i in range(WORKERS)})

    def test_no_script_holds_redis_for_long(self):
        redis = self.redis(options={"maxmemory": "0"})
        client = redis.client
        self.prepare(client)
        alone = give_a_cpu(redis.pid)
        times = Times(redis, CALLS_PER_JOB * self.waiting)
        loop_us = calibration(client)
        slow = max(1.0, loop_us / CALIBRATION_US)
        client.slowlog_reset()
        queues = ["default", {"name": "capped", "dead_max": self.waiting // 20},
                  {"name": "aged", "dead_age": "1h"}]  # trim, take
        queues += ["q%d" % i for i in range(QUEUES - len(queues))]
        worker = self.worker(redis, {
            "queues": queues, "runners": 2, "plugins": [os.path.join(BUILD, "jobs/*.so")],
            "beat": "500ms", "dead_after": "3s", "log": {"level": "warn"}}, start=False)
        worker.start(ready=False)

        def drained():
            times.gather()
            return (client.llen("queue:default") == 0 and client.hlen("{queue:default}:run") == 0 and
                    client.zcard("{queue:default}:scheduled") == 0 and
                    client.zcard("{queue:default}:retry") == 0 and
                    client.llen("{queue:capped}:dead") == self.waiting // 20 and
                    client.llen("{queue:aged}:dead") == 0 and
                    client.hlen("bucketline:workers") == 1 and
                    client.llen("{queue:default}:parked") == 180)
        wait_until(drained, guard=GUARD, pause=0.2, what=lambda: "a drained end; %r" % [
            client.llen("queue:default"), client.hlen("{queue:default}:run"),
            client.zcard("{queue:default}:scheduled"), client.zcard("{queue:default}:retry"),
            client.llen("{queue:capped}:dead"), client.llen("{queue:aged}:dead"),
            client.hlen("bucketline:workers"), client.llen("{queue:default}:parked")])
        middle = self.waiting // 20
        for n in range(5):  # what must be looked for in the middle of the dead letters
            run_command("jobctl", "dead", "retry", "d%d" % (middle + n), "--queue", "default", redis=redis)
        times.gather()
        in_the_middle = sorted(times.us["take"])[-5:]
        large = b'{"type":"noop","id":"large","args":"' + b"x" * (1000 * 1000) + b'"}'
        before = len(times.us["claim"])
        for _ in range(5):
            client.lpush("queue:default", large)
            wait_until(lambda: client.llen("queue:default") == 0 and
                       client.hlen("{queue:default}:run") == 0, what="a job of 1 MB")
        times.gather()
        with_large = sorted(times.us["claim"][before:])[-5:]
        print("%d waiting; a loop of known length took %d us, %.1f times what it should; Redis %s\n"
              "%s\ntake from the middle of %d dead letters: %s\nclaim of 1 MB: %s" % (
                  self.waiting, loop_us, slow, "has a CPU" if alone else "shares the CPU",
                  times.table(), self.waiting // 10, in_the_middle, with_large), file=sys.stderr)
        for name in ("claim", "due", "scan", "beat", "trim", "take", "drop_owner", "back"):
            self.assertIn(name, times.us)
        for name, us in times.us.items():
            if name != "?" and (name.islower() or name in ("HGETALL", "HMGET", "LRANGE", "HDEL")):
                us = sorted(us)
                self.assertLess(us[len(us) // 2], MEDIAN_US * slow, name)
        self.assertLess(in_the_middle[0], MEDIAN_US * slow, "take from the middle")
        self.assertLess(with_large[0], ONE_LARGE_US * slow, "a claim of 1 MB")
        self.assertEqual(worker.drain(), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Times the scripts in Redis.")
    parser.add_argument("--waiting", type=int, default=1000000, help="jobs (1,000,000)")
    RedisTime.waiting = parser.parse_args().waiting
    unittest.main(argv=[sys.argv[0]])
