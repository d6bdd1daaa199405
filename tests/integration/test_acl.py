"""The ACL lines of docs/security.md, applied as they stand there to a real Redis: with them producer,
worker and jobctl do all they do, without being denied anything once; each right in them is used; and
what is not in them is refused."""

import collections
import json
import os
import re
import shlex
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import redis as redis_py

from bl import BUILD, ROOT, Case, run_command, wait_until
from ledger import Ledger

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"
PARKED, RETRY = "{queue:default}:parked", "{queue:default}:retry"
SCHEDULED, PAUSED = "{queue:default}:scheduled", "{queue:default}:paused"
HAND, HANDS = "{queue:default}:hand:" + 32 * "0", "{queue:default}:hands"


def documented():
    """{user: (password, rights)} and the lines, as they stand in the document."""
    with open(os.path.join(ROOT, "docs/security.md")) as file:
        [block] = re.findall(r"```acl\n(.*?)```", file.read(), re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines() if line]
    users = {line[2]: (next(w[1:] for w in line if w[0] == ">"),
                       [w[1:] for w in line[3:] if w[0] == "+"]) for line in lines}
    return users, lines


class Counting(redis_py.Redis):
    """The test's own connection; counts what it sends, since the server counts that too."""

    def __init__(self, **options):
        self.sent = collections.Counter()
        super().__init__(**options)

    def execute_command(self, *args, **options):
        words = str(args[0]).lower().split() + [str(a).lower() for a in args[1:2]]
        self.sent[words[0]] += 1
        self.sent["|".join(words[:2])] += 1
        return super().execute_command(*args, **options)


class Acl(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.users, lines = documented()
        self.admin = Counting(unix_socket_path=self.server.socket)
        self.addCleanup(self.admin.close)
        for line in lines:
            self.admin.execute_command(*line)
        self.admin.execute_command("ACL", "LOG", "RESET")
        self.ledger = Ledger(self.directory)

    def url(self, user):
        return "unix://%s?user=%s&password=%s" % (self.server.socket, user, self.users[user][0])

    def client(self, user):
        client = redis_py.Redis(unix_socket_path=self.server.socket, username=user,
                                password=self.users[user][0])
        self.addCleanup(client.close)
        return client

    def command(self, user, name, *args, **more):
        return run_command(name, *args, env={"BUCKETLINE_REDIS_URL": self.url(user)}, **more)

    def jobctl(self, *args, **more):
        return self.command("jobctl", "jobctl", *args, **more)

    def start(self, name, **more):
        config = {"redis": {"url": self.url("worker")}, "runners": 2, "beat": "200ms",
                  "dead_after": "1s", "grace": "200ms", "park_for": "2s",
                  "queues": [{"name": "default", "dead_max": 3}, "mail",
                             {"name": "often", "delivery": "at-most-once"}],
                  "state_dir": os.path.join(self.directory, "state"),
                  "plugins": [os.path.join(BUILD, "jobs/*.so"), self.ledger.plugin]}
        config.update(more)
        return self.worker(None, config, name=name)

    def push(self, document, queue=QUEUE):
        self.admin.lpush(queue, document)

    def begin(self):
        """From here on the server's counters speak of the phase that follows."""
        self.admin.execute_command("CONFIG", "RESETSTAT")
        self.admin.sent.clear()

    def used(self):
        """Names of the commands that others than this test sent since."""
        stats = self.admin.info("commandstats")
        calls = {name[len("cmdstat_"):].lower(): value["calls"] for name, value in stats.items()}
        return {name for name, count in calls.items() if count > self.admin.sent[name]}

    def check_each_is_used(self, user, but=()):
        used = self.used()
        unused = [right for right in self.users[user][1]
                  if right not in used and right.split("|")[0] not in used and right not in but]
        self.assertEqual(unused, [], "rights of %s that nobody needed; used: %s" % (user, used))

    def check_nothing_was_denied(self):
        denied = self.admin.execute_command("ACL", "LOG")
        self.assertEqual(denied, [])

    def idle(self):
        """As Redis.idle(), but counted as ours."""
        return self.admin.llen("queue:often") == 0 and not any(
            self.admin.llen(q) or self.admin.keys("{%s}:hand:*" % q) or
            self.admin.hlen("{%s}:run" % q) for q in (QUEUE, "queue:mail"))

    # ---- what they need ----

    def test_a_producer(self):
        plain = self.client("producer")
        self.begin()
        plain.lpush(QUEUE, '{"type":"noop"}')
        self.command("producer", "enqueue", "noop", "-q", "default", "--wait-replicas", "1",
                     "--wait-timeout", "10ms", status=None)
        self.command("producer", "enqueue", "--bulk", "-", "-q", "mail",
                     input='{"type":"noop"}\n{"type":"noop"}\n')
        run_command("enqueue", "noop", env={"BUCKETLINE_REDIS_URL": self.url("producer") + "&db=1"})
        self.check_each_is_used("producer")
        self.check_nothing_was_denied()
        self.assertEqual((self.admin.llen(QUEUE), self.admin.llen("queue:mail")), (2, 2))

    def jobs_of_every_kind(self):
        fast = '"backoff":{"type":"fixed","base":0.05,"jitter":0}'
        self.push('{"type":"noop"}')
        self.push('{"type":"noop","delay":0.2}')
        self.push('{"type":"noop","expires_at":1}')
        self.push('{"type":"fail","retry":1,%s}' % fast)
        for _ in range(5):
            self.push('{"type":"fail","retry":0}')  # more dead letters than dead_max
        self.push('{"type":"nobody","id":"stays"}')  # dead after park_for
        self.push('{"type":"late","id":"late"}')  # until there is a handler
        self.push('{"type":"echo","id":"k","args":1,"keep":60,"reply_to":"reply:k",'
                  '"on_success":{"type":"echo","queue":"mail","args":2,"reply_to":"reply:m"}}')
        self.push("not json")
        for _ in range(3):
            self.push('{"type":"noop"}', "queue:often")
        for key, result in (("reply:k", 1), ("reply:m", 2)):
            answer = self.admin.blpop(key, timeout=60)
            self.assertEqual(json.loads(answer[1])["result"], result)
        self.assertEqual(json.loads(self.admin.get("{queue:default}:result:k"))["result"], 1)

    def job_that_a_wait_brings_while_paused(self):
        """It is let go, and done once the queue is resumed."""
        waiting = lambda: [c for c in self.admin.client_list()
                           if c["cmd"] == "blmove" and "b" in c["flags"]]
        wait_until(lambda: len(waiting()) == 2, what="both queues to be waited on")
        self.admin.set(PAUSED, "for a moment")
        self.push('{"type":"noop"}')
        wait_until(lambda: self.admin.llen(QUEUE) == 1, what="the job to be let go")
        self.admin.delete(PAUSED)
        wait_until(self.idle, what="the job to be done")

    def test_a_worker(self):
        self.admin.set("bucketline:workers", "of another type")
        self.begin()
        one = self.start("one")
        self.jobs_of_every_kind()
        wait_until(lambda: self.admin.llen(PARKED) > 0, what="a parked job")
        one.write_config(handlers={"late": {"exec": ["/bin/true"]}})
        one.hup()
        wait_until(lambda: self.admin.llen(PARKED) == 0, what="one parked job run, one dead")
        self.job_that_a_wait_brings_while_paused()
        # its connections die, with a job running
        self.ledger.push(self.server, 1, ms=1500)
        wait_until(self.ledger.began, what="the job to begin")
        self.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        one.wait_log("connected to Redis again")
        wait_until(self.ledger.all_ended, what="the job to end")
        # it dies, and another takes over
        self.ledger.push(self.server, 2, ms=500)
        wait_until(lambda: len(self.ledger.began()) == 3, what="two jobs to begin")
        two = self.start("two", handlers={"late": {"exec": ["/bin/true"]}})
        one.kill9_all()
        two.wait_log("owner|took over|take")
        wait_until(lambda: self.ledger.all_ended() and self.idle(), what="the jobs to end")
        # it stops with a job that has not begun, and one that must be given back
        self.ledger.push(self.server, 6, ms=300)
        wait_until(lambda: len(self.ledger.began()) > 3, what="a job to begin")
        self.assertEqual(two.drain(), 0)
        for worker in (one, two):
            self.assertNotRegex(worker.log(), r"NOPERM|level=error (?!.*renamed aside)")
        self.check_nothing_was_denied()
        self.check_each_is_used("worker", but=["select", "lset"])  # lset: of 20,000 parked jobs
        self.assertEqual(self.admin.hlen("bucketline:workers"), 0)

    def test_jobctl(self):
        worker = self.start("w", park_for="1h", queues=["default"])
        for n in range(3):
            self.push('{"type":"fail","retry":0,"id":"d%d"}' % n)
        self.push('{"type":"fail","retry":3,"id":"r"}')
        self.push('{"type":"noop","delay":3600,"id":"s"}')
        self.push('{"type":"nobody","id":"p"}')
        wait_until(lambda: (self.admin.llen(DEAD), self.admin.zcard(RETRY),
                            self.admin.zcard(SCHEDULED), self.admin.llen(PARKED)) == (3, 1, 1, 1),
                   what="one in each place")
        worker.kill9_all()  # what follows is jobctl's alone
        self.begin()
        self.assertIn("default", self.jobctl("queues").out)
        self.assertIn("running", self.jobctl("workers").out)
        self.jobctl("--json", "dead", "show", "d0")
        self.assertEqual(self.jobctl("dead", "retry", "d1").out, "1 retried\n")
        self.jobctl("dead", "rm", "d2", "--yes")
        self.admin.rpush(DEAD, *(json.dumps({"type": "noop", "id": "l%d" % n}) for n in range(20100)))
        self.assertEqual(self.jobctl("dead", "retry", "l10050").out, "1 retried\n")
        self.jobctl("retries", "run", "r")
        self.jobctl("scheduled", "rm", "s", "--yes")
        self.jobctl("parked", "ls")
        self.jobctl("pause", "default")
        self.jobctl("resume", "default")
        run_command("jobctl", "queues", env={"BUCKETLINE_REDIS_URL": self.url("jobctl") + "&db=1"})
        self.check_nothing_was_denied()
        self.check_each_is_used("jobctl")
        self.assertEqual((self.admin.llen(DEAD), self.admin.zcard(RETRY),
                          self.admin.zcard(SCHEDULED), self.admin.llen(QUEUE)), (20100, 0, 0, 3))

    # ---- what they may not ----

    def assertRefused(self, user, *command):
        with self.assertRaises(redis_py.exceptions.NoPermissionError, msg="%s: %s" % (user, command)):
            self.client(user).execute_command(*command)

    def test_what_is_not_in_them_is_refused(self):
        for user in self.users:
            for command in (["FLUSHALL"], ["FLUSHDB"], ["KEYS", "*"], ["CONFIG", "SET", "save", ""],
                            ["ACL", "LIST"], ["SHUTDOWN"], ["MONITOR"],
                            ["SCRIPT", "FLUSH"], ["REPLICAOF", "NO", "ONE"], ["GET", "other"],
                            ["LPUSH", "other", "x"], ["PUBLISH", "c", "x"], ["SWAPDB", "0", "1"]):
                self.assertRefused(user, *command)
        for command in (["LRANGE", QUEUE, "0", "-1"], ["RPOP", QUEUE], ["DEL", QUEUE],
                        ["LPUSH", DEAD, "x"], ["HGETALL", RUN], ["EVAL", "return 1", "0"],
                        ["BLMOVE", QUEUE, HAND, "RIGHT", "LEFT", "1"], ["HGETALL", HANDS],
                        ["SCAN", "0"], ["LPUSH", "reply:x", "x"], ["CLIENT", "KILL", "ID", "1"]):
            self.assertRefused("producer", *command)
        for command in (["DEL", QUEUE], ["DEL", HAND], ["DEL", HANDS], ["SCAN", "0"],
                        ["BLMOVE", QUEUE, "other", "RIGHT", "LEFT", "1"],
                        ["CONFIG", "SET", "maxmemory", "1"]):
            self.assertRefused("worker", *command)
        for command in (["RPOP", QUEUE], ["HSET", RUN, "a", "b"],
                        ["BLMOVE", QUEUE, HAND, "RIGHT", "LEFT", "1"],
                        ["LMOVE", HAND, QUEUE, "LEFT", "RIGHT"], ["HSET", HANDS, "x", "y"],
                        ["CLIENT", "KILL", "ID", "1"], ["ZADD", RETRY, "1", "x"]):
            self.assertRefused("jobctl", *command)

    def test_without_a_right_it_says_which(self):
        """The message of whoever lacks something names it."""
        self.admin.execute_command("ACL", "SETUSER", "producer", "-lpush")
        result = self.command("producer", "enqueue", "noop", status=None)
        self.assertNotEqual(result.status, 0)
        self.assertRegex(result.err.lower(), "lpush")
        self.admin.execute_command("ACL", "SETUSER", "jobctl", "-zcard")
        self.assertRegex(self.jobctl("queues", "-q", "default", status=None).out.lower() +
                         self.jobctl("queues", status=None).err.lower(), "zcard")


if __name__ == "__main__":
    import unittest
    unittest.main()
