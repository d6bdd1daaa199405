"""The peers: how each is started, fed and watched, set up as its own documentation has it for speed.

What is left of a peer's jobs is read where the peer keeps them, so nothing is asked of its handlers.
"""

import glob
import os
import re
import socket
import subprocess
import sys

from install import Missing, debian, npm, npm_version

HERE = os.path.dirname(os.path.abspath(__file__))


class Peer:
    """`count` jobs are measured.  `workers` processes are started with argv(); push_argv() stores."""

    count, workers = 20000, 2

    def prepare(self, stage):
        """Installs; sets `version` and whatever the others need.  Missing = cannot be had."""

    def env(self, stage):
        return dict(os.environ, PEER_SOCKET=stage.redis.socket)

    def cwd(self):
        return HERE


class BullMQ(Peer):
    name, packages, script = "BullMQ", ("bullmq", "ioredis"), "bullmq.js"
    settings = "2 node processes, concurrency 100, addBulk of 1,000, removeOnComplete"

    def prepare(self, stage):
        self.modules = npm(*self.packages)
        self.version = npm_version(self.packages[0])

    def env(self, stage):
        return dict(super().env(stage), NODE_PATH=self.modules, NODE_ENV="production")

    def push_argv(self, count):
        return ["node", self.script, "push", str(count)]

    def argv(self):
        return ["node", self.script, "work"]

    def left(self, stage):
        with stage.client.pipeline(transaction=False) as pipe:
            return sum(pipe.llen("bull:bench:wait").llen("bull:bench:active")
                       .zcard("bull:bench:prioritized").execute())


class BeeQueue(BullMQ):
    name, packages, script = "bee-queue", ("bee-queue",), "beequeue.js"
    settings = ("2 node processes, concurrency 20, saveAll of 1,000, removeOnSuccess, no events, "
                "storeJobs off")

    def left(self, stage):
        with stage.client.pipeline(transaction=False) as pipe:
            return sum(pipe.llen("bq:bench:waiting").llen("bq:bench:active").execute())


class Sidekiq(Peer):
    name = "Sidekiq"
    settings = "2 processes, concurrency 10, hiredis, push_bulk of 1,000; at most once"

    def prepare(self, stage):
        self.root = debian("ruby-sidekiq", "ruby-hiredis")
        rubies = glob.glob(os.path.join(self.root, "usr/bin/ruby[0-9]*"))
        if not rubies:
            raise Missing("no ruby came with it")
        self.ruby = rubies[0]
        found = subprocess.run([self.ruby, "-e", "require 'sidekiq'; print Sidekiq::VERSION"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=self.env(stage))
        if found.returncode != 0:
            raise Missing(found.stderr.decode("utf-8", "replace").strip().splitlines()[0])
        self.version = found.stdout.decode()

    def env(self, stage):
        api = glob.glob(os.path.join(self.root, "usr/lib/ruby/[0-9]*"))[0]
        arch = glob.glob(os.path.join(self.root, "usr/lib/*-linux-*"))[0]
        number = os.path.basename(api)
        shared = os.path.join(self.root, "usr/share/rubygems-integration/all")
        paths = glob.glob(os.path.join(shared, "gems/*/lib"))
        paths += [os.path.join(self.root, "usr/lib/ruby/vendor_ruby"), api,
                  os.path.join(arch, "ruby", number),
                  os.path.join(arch, "ruby/vendor_ruby", number)]
        return dict(super().env(stage), LD_LIBRARY_PATH=arch, RUBYLIB=":".join(paths),
                    GEM_PATH=shared, RAILS_ENV="production", MALLOC_ARENA_MAX="2")

    def push_argv(self, count):
        return [self.ruby, "sidekiq_noop.rb", str(count)]

    def argv(self):
        command = glob.glob(os.path.join(
            self.root, "usr/share/rubygems-integration/all/gems/sidekiq-*/bin/sidekiq"))[0]
        return [self.ruby, command, "-r", "./sidekiq_noop.rb", "-c", "10", "-e", "production"]

    def left(self, stage):
        return stage.client.llen("queue:default")


class PythonPeer(Peer):
    package = ""

    def prepare(self, stage):
        self.root = debian(self.package)
        self.python = os.path.join(self.root, "usr/lib/python3/dist-packages")
        module = self.package.partition("-")[2]
        found = subprocess.run(
            ["/usr/bin/python3", "-c", "import importlib.metadata as m; print(m.version('%s'))"
             % module], stdout=subprocess.PIPE, env=self.env(stage))
        if found.returncode != 0:
            raise Missing("cannot be imported")
        self.version = found.stdout.decode().strip()

    def env(self, stage):
        return dict(super().env(stage), PYTHONPATH=self.python + ":" + HERE,
                    PYTHONDONTWRITEBYTECODE="1")


class Celery(PythonPeer):
    name, package, count, workers = "Celery", "python3-celery", 5000, 1
    settings = ("prefork with 2 processes, prefetch 128, results ignored, no gossip, mingle or "
                "heartbeat; acknowledged before it runs")

    def push_argv(self, count):
        return ["/usr/bin/python3", "celery_noop.py", str(count)]

    def argv(self):
        return ["/usr/bin/python3", "-m", "celery", "-A", "celery_noop", "worker", "-c", "2",
                "-P", "prefork", "-l", "ERROR", "--without-gossip", "--without-mingle",
                "--without-heartbeat"]

    def left(self, stage):
        with stage.client.pipeline(transaction=False) as pipe:
            return sum(pipe.llen("celery").hlen("unacked").execute())


class RQ(PythonPeer):
    name, package, count = "RQ", "python3-rq", 500
    settings, worker_class = "2 workers as they come, which fork for each job; result_ttl 0", None

    def push_argv(self, count):
        return ["/usr/bin/python3", "rq_noop.py", str(count)]

    def argv(self):
        argv = ["/usr/bin/python3", os.path.join(self.root, "usr/bin/rq"), "worker", "-q",
                "--url", "unix://" + self.socket, "default"]
        return argv + (["-w", self.worker_class] if self.worker_class else [])

    def prepare(self, stage):
        super().prepare(stage)
        self.socket = stage.redis.socket

    def left(self, stage):
        with stage.client.pipeline(transaction=False) as pipe:
            return sum(pipe.llen("rq:queue:default").zcard("rq:wip:default").execute())


class SimpleRQ(RQ):
    name, count = "RQ, SimpleWorker", 3000
    settings, worker_class = "2 workers that do not fork; result_ttl 0", "rq.worker.SimpleWorker"


class Beanstalkd(Peer):
    name, count = "beanstalkd", 50000
    settings = "no log on disk; 2 bare clients in Python that delete and reserve in one write"

    def prepare(self, stage):
        self.root = debian("beanstalkd")
        self.address = os.path.join(stage.directory, "beanstalk")
        server = os.path.join(self.root, "usr/bin/beanstalkd")
        found = subprocess.run([server, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.version = found.stdout.decode().strip().replace("beanstalkd ", "")
        stage.start([server, "-l", "unix:" + self.address], "beanstalkd", os.environ)

    def env(self, stage):
        return dict(super().env(stage), PEER_BEANSTALK=self.address)

    def push_argv(self, count):
        return [sys.executable, "beanstalk.py", "push", str(count)]

    def argv(self):
        return [sys.executable, "beanstalk.py", "work"]

    def left(self, stage):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.address)
            s.sendall(b"stats\r\n")
            text = b""
            while b"\r\n" not in text or len(text) < int(text.split()[1]):
                text += s.recv(65536)
        return sum(int(n) for n in re.findall(rb"current-jobs-(?:ready|reserved): (\d+)", text))


PEERS = (BullMQ, BeeQueue, Sidekiq, Celery, RQ, SimpleRQ, Beanstalkd)
