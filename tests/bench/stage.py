"""A private Redis, the board, and what every measurement does: fill a queue, drain it, watch.

    with Stage() as stage:
        worker = stage.worker(runners=2)
        figures = stage.drain(worker, 300000)

How a drain is timed: the worker is started on an empty queue and warmed up, so processes, plugins and
its estimate of a job's length are there.  The jobs are stored under another name; the clock starts
as one RENAME makes them the queue, which the waiting worker sees at once, and ends when the board
says that every handler ran and (at least once) Redis that every job is settled.  Meanwhile
Redis is asked nothing; the board costs neither Redis nor the worker anything.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "lib"))

import bl  # noqa: E402
from board import Board  # noqa: E402
from usage import Usage, cpu_seconds  # noqa: E402

LIST, STOCK = "queue:default", "bench:stock"
WARM_UP_JOBS = 2000
PLUGIN = os.path.join(bl.BUILD, "tests", "bench", "bench.so")


class Stage:
    def __init__(self, **redis_options):
        self.redis_options = redis_options

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="bb", dir="/tmp")
        self.board = Board(self.directory)
        self.processes = []
        self.redis = bl.Redis(self.directory, **self.redis_options)
        try:
            self.redis.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()
        self.redis.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def client(self):
        return self.redis.client

    # ---- tools ----

    def start_tool(self, name, *args, **options):
        """Starts `ceiling` or `pusher`; end it with tool_result()."""
        argv = [os.path.join(bl.BUILD, "tests", "bench", name)] + [str(a) for a in args]
        for key, value in dict({"socket": self.redis.socket}, **options).items():
            argv += ["--" + key, str(value)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, preexec_fn=bl._die_with_parent)

    @staticmethod
    def tool_result(tool):
        """What the tool says, which is JSON."""
        out, _ = tool.communicate()
        if tool.returncode != 0:
            raise AssertionError("%s: exit %d" % (" ".join(tool.args), tool.returncode))
        return json.loads(out)

    def tool(self, name, *args, **options):
        return self.tool_result(self.start_tool(name, *args, **options))

    def ceiling(self, mode, **options):
        return self.tool("ceiling", mode, **options)

    def fill(self, count, bytes=100, key=LIST, type="noop"):
        """Stores jobs, the fast way."""
        self.ceiling("push", count=count, bytes=bytes, key=key, type=type, batch=500)

    def clear(self):
        self.client.flushall()

    # ---- workers ----

    def worker(self, runners=2, warm=True, delivery=None, queues=None, **config):
        """A running worker whose runners have loaded the plugin; warmed up unless told otherwise."""
        queues = queues or ["default"]
        if delivery:
            queues = [{"name": name, "delivery": delivery} for name in queues]
        config = dict({"queues": queues, "runners": runners, "plugins": [PLUGIN]}, **config)
        worker = bl.Worker(self.directory, self.redis, config,
                           env={"BENCH_BOARD": self.board.path},
                           name="worker%d" % len(self.processes))
        self.processes.append(worker)
        started = self.board.runners_started()
        worker.start()
        bl.wait_until(lambda: self.board.runners_started() >= started + runners,
                      what="%d runners that have loaded the plugin" % runners)
        if warm:
            target = self.board.done() + WARM_UP_JOBS
            key = "queue:" + config["queues"][0] if delivery is None else LIST
            self.fill(WARM_UP_JOBS, key=key)
            self.await_done(target, delivery is not None, [key])
        return worker

    def stop(self, worker):
        """Ends a worker in good order and forgets it."""
        status = worker.drain()
        if status != 0:
            raise AssertionError("the worker exited %d:\n%s" % (status, worker.log()))
        worker.end()
        self.processes.remove(worker)

    def calls(self):
        """{command: calls} so far, those of scripts too, without the one that asks."""
        stats = self.client.info("commandstats")
        return {name[len("cmdstat_"):]: value["calls"] for name, value in stats.items()
                if name != "cmdstat_info"}

    # ---- draining ----

    def await_done(self, target, once=False, keys=(LIST,), guard=300):
        """Waits until `target` handlers ran in all, and, unless `once`, nothing is left in Redis.
        Sleeps through most of it, so as not to take the processor from what is measured."""
        begin, first = time.monotonic(), self.board.done()
        while True:
            done, now = self.board.done(), time.monotonic()
            if done >= target:
                break
            if now - begin > guard:
                raise AssertionError("%d jobs of %d were done in %d s" % (
                    done - first, target - first, guard))
            speed = (done - first) / (now - begin) if done > first else 0
            time.sleep(min(0.2, max(0.001, 0.7 * (target - done) / speed)) if speed else 0.002)
        if not once:
            self.await_empty(keys, guard)

    def await_empty(self, keys=(LIST,), guard=300, pause=0.0005):
        """Waits until every job of the queues is settled."""
        end = time.monotonic() + guard
        while not self.redis.idle(*keys):
            if time.monotonic() > end:
                raise AssertionError("jobs are left in Redis: " + ", ".join(keys))
            time.sleep(pause)

    def drain(self, worker, count, bytes=100, once=False, keys=(LIST,), type="noop"):
        """Figures of a warm worker draining `count` jobs (see above)."""
        stocks = [STOCK + str(i) for i in range(len(keys))]
        for stock in stocks:
            self.fill(count // len(keys), bytes, stock, type)
        count = count // len(keys) * len(keys)
        target = self.board.done() + count
        calls, usage = self.calls(), Usage(self, worker).start()
        pipe = self.client.pipeline(transaction=False)
        for stock, key in zip(stocks, keys):
            pipe.rename(stock, key)
        start = time.monotonic()
        pipe.execute()
        self.await_done(target, once, keys)
        seconds = time.monotonic() - start
        used = usage.stop()
        figures = {"jobs/s": count / seconds}
        for who, cpu in used.items():
            figures["cpu " + who] = cpu * 100000 / count
            figures["busy " + who] = cpu / seconds * 100
        calls = {name: n - calls.get(name, 0) for name, n in self.calls().items()}
        if not once:
            claims = calls.get("evalsha", 0)
            acks = calls.get("hdel", 0) - claims  # every script removes '' first
            figures["per claim"] = count / max(claims, 1)
            figures["per ack"] = count / max(acks, 1)
        return figures

    def ceiling_drain(self, mode, count, bytes=100, **options):
        """The same of the bare client."""
        self.fill(count, bytes)
        before = cpu_seconds(self.redis.pid)
        got = self.ceiling(mode, count=count, **options)
        if got["jobs"] != count:
            raise AssertionError("%d jobs of %d were taken" % (got["jobs"], count))
        figures = {"jobs/s": count / got["seconds"]}
        for who, cpu in (("client", got["cpu_seconds"]),
                         ("redis", cpu_seconds(self.redis.pid) - before)):
            figures["cpu " + who] = cpu * 100000 / count
            figures["busy " + who] = cpu / got["seconds"] * 100
        return figures
