"""What chaos happens to: a Redis with an append-only file, one or two workers, each behind a wire
of its own, and what starts, ends and repairs them.

Processes end with the thread that started them (bl.py has the kernel see to that), so whoever calls
in here must be a thread that lives as long as the world.
"""

import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import ROOT, Redis, Worker, children_of, command_line, wait_until
from faults import FaultLog, now
from proxy import Proxy

QUEUES = ("one", "two")
LISTS = tuple("queue:" + name for name in QUEUES)
COMPANIONS = ("run", "scheduled", "retry", "parked", "dead", "outbox", "hands")
USER, PASSWORD = "work", "secret"


# Works with full memory too, which MULTI does not.  ARGV: patterns of lists, which are added up.
COUNT = """local sizes = {}
for i, pattern in ipairs(ARGV) do
  sizes[#KEYS + i] = 0
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    sizes[#KEYS + i] = sizes[#KEYS + i] + redis.call('LLEN', key)
  end
end
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'list' then sizes[i] = redis.call('LLEN', key)
  elseif kind == 'hash' then sizes[i] = redis.call('HLEN', key)
  elseif kind == 'zset' then sizes[i] = redis.call('ZCOUNT', key, '-inf', 4000000000000)
  else sizes[i] = 0 end
end
return sizes"""


def companion(list_name, what):
    return "{%s}:%s" % (list_name, what)


def build_handlers(directory):
    """The chaos handler as a plugin and as a program; (path, path)."""
    plugin, program = os.path.join(directory, "chaos.so"), os.path.join(directory, "chaos-program")
    source = [os.path.join(ROOT, "tests/plugins/chaos.c"), "-I", os.path.join(ROOT, "jobs")]
    cc = [os.environ.get("CC") or "cc", "-O1"]
    subprocess.run(cc + ["-shared", "-fPIC", "-o", plugin] + source, check=True)
    subprocess.run(cc + ["-DPROGRAM", "-o", program] + source, check=True)
    for path in (plugin, program):
        os.chmod(path, 0o755)
    return plugin, program


class Life(object):
    """One life of a worker process: from start to end."""

    def __init__(self, index, pid, began):
        self.index, self.pid, self.began = index, pid, began
        self.ended = None
        self.how = None  # "killed", "drained"


class World:
    def __init__(self, directory, workers=2, shared_state=False, runners=4, beat="200ms",
                 dead_after="2s", aof="always", reply_timeout="4s", on_lost="finish",
                 shutdown_timeout="8s", through_proxy=True, redis_options=None):
        self.directory = directory
        self.log = FaultLog()
        self.ledger = os.path.join(directory, "ledger")
        self.plugin, self.program = build_handlers(directory)
        self.dead_after = float(dead_after.rstrip("s"))
        self.aof = aof
        options = {"user": [USER, "on", ">" + PASSWORD, "~*", "&*", "+@all"],
                   "auto-aof-rewrite-percentage": "0"}
        options.update(redis_options or {})
        self.redis = Redis(directory, aof=aof, tcp=True, debug=True, options=options)
        self.redis_lock = threading.RLock()
        self.redis.start()
        self.proxies, self.workers, self.lives = [], [], []
        self.back = []      # (time, {key: pushes that its file still holds}) when Redis went back
        self.problems = []  # what went wrong while it ran, in words
        for index in range(workers):
            self._add_worker(index, shared_state, through_proxy, dict(
                runners=runners, beat=beat, dead_after=dead_after, on_lost=on_lost,
                shutdown_timeout=shutdown_timeout), reply_timeout)

    def _add_worker(self, index, shared_state, through_proxy, settings, reply_timeout):
        port = self.redis.port
        if through_proxy:
            self.proxies.append(Proxy(port))
            port = self.proxies[-1].port
        state = os.path.join(self.directory, "state" if shared_state else "state%d" % index)
        url = "redis://%s:%s@127.0.0.1:%d" % (USER, PASSWORD, port)
        config = dict(settings, queues=list(QUEUES), plugins=[self.plugin], state_dir=state,
                      grace="300ms", redis={"url": url, "reply_timeout": reply_timeout},
                      handlers={"program": {"exec": [self.program]}}, log={"level": "debug"})
        self.workers.append(Worker(self.directory, None, config, name="worker%d" % index))

    # -- starting and ending --

    def start(self):
        for index in range(len(self.workers)):
            self.start_worker(index)
        return self

    def start_worker(self, index, ready=False):
        began = now()  # before it can have logged anything
        worker = self.workers[index]
        worker.start(ready=ready)
        self.lives.append(Life(index, worker.pid, began))

    def life(self, index):
        return [life for life in self.lives if life.index == index][-1]

    def note_end(self, index, how):
        life = self.life(index)
        life.ended, life.how = now(), how

    def check_alive(self, index):
        """A worker that ended by itself is a failure, whatever the reason."""
        worker = self.workers[index]
        if worker.popen is not None and not worker.running and self.life(index).ended is None:
            self.note_end(index, "by itself")
            self.problems.append("worker%d (pid %d) ended by itself with status %s" % (
                index, worker.pid, worker.popen.returncode))
            return False
        return worker.running

    def runners(self, index):
        return self.workers[index].runners()

    def programs(self, index):
        return [pid for runner in self.runners(index) for pid in children_of(runner)]

    def guards(self, index):
        worker = self.workers[index]
        return [pid for pid in (worker.children() if worker.running else [])
                if "--guard" in command_line(pid)]

    def remaining(self, aof, at):
        """Redis may have gone back in time: from now on what its file holds is what was pushed."""
        self.back.append((at, aof.pushes()))

    # -- repairing, draining --

    def repair(self):
        """Nothing is broken any more: wire, Redis and its settings are whole, the workers run."""
        for proxy in self.proxies:
            proxy.repair()
        with self.redis_lock:
            if not self.redis.running:
                self.redis._drop_client()
                self.redis.start()
            self.redis.resume()
            self.redis.wait_ready()
            self.repair_settings(self.redis.client)
        for index, worker in enumerate(self.workers):
            if worker.running:
                worker.cont()
            else:
                self.check_alive(index)
                self.start_worker(index)

    def repair_settings(self, client):
        client.execute_command("CLIENT", "UNPAUSE")
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.config_set("maxmemory", 0)
        client.execute_command("ACL", "SETUSER", USER, "on", "resetpass", ">" + PASSWORD, "~*",
                               "&*", "+@all")
        for key in self.keys():
            if client.type(key) == b"string":
                client.delete(key)

    def keys(self):
        return [companion(l, what) for l in LISTS for what in COMPANIONS] + ["bucketline:workers"]

    def unfinished(self):
        """What is still to be done, seen in one instant: {key: how much}; far-off scheduled jobs do
        not count."""
        keys = [key for l in LISTS for key in
                [l] + [companion(l, what) for what in ("run", "outbox", "retry", "scheduled")]]
        hands = [companion(l, "hand:*") for l in LISTS]
        counts = self.redis.client.eval(COUNT, len(keys), *keys, *hands)
        return {key: n for key, n in zip(keys + hands, counts) if n}

    def drain(self, guard=90):
        """Waits until nothing is left to do.  False, with the reason in `problems`, if it hangs."""
        try:
            wait_until(lambda: not self.unfinished(), guard, "the end of all jobs", pause=0.1)
            wait_until(self._only_the_living, guard, "bucketline:workers to list the living",
                       pause=0.1)
        except AssertionError as e:
            self.problems.append("%s; left: %s, workers: %s, living: %s" % (
                e, self.unfinished(), self.redis.client.hgetall("bucketline:workers"),
                [worker.pid for worker in self.workers if worker.running]))
            return False
        return True

    def _only_the_living(self):
        for index in range(len(self.workers)):
            self.check_alive(index)
        return self.redis.client.hlen("bucketline:workers") == \
            sum(worker.running for worker in self.workers)

    def stop_workers(self):
        """All end well, and nothing of them is left, here or in Redis."""
        for index, worker in enumerate(self.workers):
            if not self.check_alive(index):
                continue
            worker.remember()
            status = worker.drain()
            self.note_end(index, "drained")
            if status != 0:
                self.problems.append("worker%d ended with status %d" % (index, status))
        if self.redis.client.exists("bucketline:workers"):
            self.problems.append("bucketline:workers is left: %s" %
                                 self.redis.client.hgetall("bucketline:workers"))

    def end(self):
        for worker in self.workers:
            worker.end()
        for proxy in self.proxies:
            proxy.close()
        self.redis.end()
