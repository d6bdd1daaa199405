"""Signals under load: what stopping gives back and in which order, what a reload changes and what it
does not, and what the worker says meanwhile.  The plain cases are in test_lifecycle.py."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, Worker, children_of, is_alive, run_command, wait_until
from ledger import Ledger

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"


class SignalsCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)

    def start(self, start=True, env=None, args=(), **more):
        config = dict({"runners": 2, "grace": "1s", "plugins": [
            self.ledger.plugin, os.path.join(BUILD, "jobs/*.so")]}, **more)
        return self.worker(self.server, config, start=start, env=env, args=args)

    @contextlib.contextmanager
    def push_first(self, document):
        """What the worker sends within comes to Redis after a push, though it was sent before the worker
        could know of it."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(self.server.socket)
            raw.sendall(b"PING\r\n")
            self.assertEqual(raw.recv(100), b"+PONG\r\n")  # accepted
            self.server.pause()
            raw.sendall(b"*3\r\n$5\r\nLPUSH\r\n$13\r\nqueue:default\r\n$%d\r\n%s\r\n" %
                        (len(document), document.encode()))
            yield
            self.server.resume()
            self.assertEqual(raw.recv(100)[:1], b":")

    def waiting(self, queue=QUEUE):
        """What lies in the list, the next to be taken first."""
        return [d.decode() for d in reversed(self.client.lrange(queue, 0, -1))]

    def warm_up(self):
        """Short jobs, so that the worker sends several ahead."""
        self.ledger.push(self.server, 200, prefix="warm")
        wait_until(self.ledger.all_ended, what="the short jobs")
        wait_until(self.server.idle, what="their settlement")
        self.ledger.pushed = []

    def assert_left_clean(self, worker):
        self.assertEqual(self.client.exists("bucketline:workers", RUN), 0)
        self.assertEqual(os.listdir(worker.config["state_dir"]), [])


class Stop(SignalsCase):
    def test_what_several_runners_had_not_begun_is_given_back_in_order(self):
        worker = self.start()
        self.warm_up()
        slow = [self.ledger.document("slow%d" % n, ms=1000) for n in range(2)]
        rest = [self.ledger.document("w%d" % n) for n in range(90)]
        # All are claimed at once and dealt out, a slow one at the front of each runner's share.
        worker.signal(signal.SIGTSTP)
        worker.wait_log("quiet")
        self.client.lpush(QUEUE, slow[0], *rest[:32], slow[1], *rest[32:])
        worker.signal(signal.SIGCONT)
        wait_until(lambda: {"slow0", "slow1"} <= set(self.ledger.began()), what="both slow jobs")
        self.assertEqual(worker.drain(), 0)
        began = self.ledger.began()
        self.assertEqual(self.waiting(), [d for n, d in enumerate(rest)
                                          if not began["w%d" % n]])
        self.assertEqual(set(self.ledger.ended()), set(began))
        self.assertEqual(set(began.values()), {1})
        self.assert_left_clean(worker)

    def test_stopping_under_load_loses_and_repeats_nothing(self):
        worker = self.start()
        for _ in range(5):
            count = len(self.ledger.ended())
            self.ledger.push(self.server, 200, ms=5)
            wait_until(lambda: len(self.ledger.ended()) > count, what="progress")
            self.assertEqual(worker.drain(), 0)
            began = self.ledger.began()
            self.assertEqual(began, self.ledger.ended())
            self.assertEqual(len(began) + self.client.llen(QUEUE), len(self.ledger.pushed))
            self.assert_left_clean(worker)
            worker.start()
        wait_until(self.ledger.all_ended, what="all jobs")
        self.assertEqual(set(self.ledger.began().values()), {1})

    def test_int_drains_too_and_a_job_over_shutdown_timeout_is_given_back(self):
        worker = self.start(shutdown_timeout="300ms")
        self.client.lpush(QUEUE, self.ledger.document("long", ms=60000),
                          self.ledger.document("short", ms=100))
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        worker.signal(signal.SIGINT)
        worker.wait_log("why=INT")
        self.assertEqual(worker.wait(), 0)
        self.assertIn("short", self.ledger.ended())
        self.assertEqual(len(self.waiting()), 1)
        head = self.waiting()[0].split(',"job":')[0]
        self.assertIn('"interrupted":1', head)
        self.assertNotIn('"attempt"', head)
        self.assertNotIn('"crashes"', head)
        self.assert_left_clean(worker)

    def test_interrupted_programs_are_gone_with_their_children_and_not_blamed(self):
        pids = os.path.join(self.directory, "pids")
        worker = self.start(shutdown_timeout="200ms", runners=8, handlers={"tree": {"exec": [
            "/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo $$ $! >>'%s'; wait; wait" % pids]}})
        document = '{"type":"tree"}'
        self.client.lpush(QUEUE, *[document] * 8)
        wait_until(lambda: os.path.exists(pids) and len(open(pids).read().split()) == 16,
                   what="their pids")
        self.assertEqual(worker.drain(), 0)
        with open(pids) as file:
            for pid in file.read().split():
                self.assertFalse(is_alive(int(pid)), "process %s is left" % pid)
        self.assertEqual(len(self.waiting()), 8, worker.log())
        for record in self.waiting():
            self.assertIn('"interrupted":1', record)
            self.assertNotIn('"attempt"', record)
        self.assert_left_clean(worker)

    def test_stopping_while_quiet(self):
        worker = self.start()
        self.client.lpush(QUEUE, self.ledger.document("run", ms=700))
        wait_until(self.ledger.began, what="a running job")
        worker.signal(signal.SIGTSTP)
        worker.wait_log("quiet")
        self.ledger.push(self.server, 5)
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(self.client.llen(QUEUE), 5)
        self.assertIn("run", self.ledger.ended())
        self.assert_left_clean(worker)

    def test_what_a_wait_brings_when_stopping_goes_back_at_once(self):
        """Though a job is running."""
        worker = self.start()
        self.ledger.push(self.server, 1, ms=4000)
        wait_until(self.ledger.began, what="the running job")
        wait_until(lambda: [c for c in self.client.client_list() if
                            c["name"] == "bucketline:wait" and "b" in c["flags"]], what="the wait")
        with self.push_first(self.ledger.document("late")):
            worker.term()
            worker.wait_log("stopping")
        wait_until(lambda: self.client.llen(QUEUE) == 1, what="its return")
        self.assertFalse(self.ledger.ended())
        self.assertEqual(worker.wait(), 0)
        self.assertTrue(self.ledger.all_ended())

    def test_what_a_wait_brings_when_quiet_goes_back(self):
        worker = self.start()
        wait_until(lambda: [c for c in self.client.client_list() if
                            c["name"] == "bucketline:wait" and "b" in c["flags"]], what="the wait")
        with self.push_first(self.ledger.document("j0")):
            worker.signal(signal.SIGTSTP)
            worker.wait_log("quiet")
        wait_until(lambda: self.client.llen(QUEUE) == 1, what="its return")
        self.assertFalse(self.ledger.began())
        worker.signal(signal.SIGCONT)
        self.ledger.pushed = ["j0"]
        wait_until(self.ledger.all_ended, what="the job")

    def test_signals_to_a_worker_that_still_loads_its_plugins(self):
        gate, slow = os.path.join(self.directory, "gate"), os.path.join(self.directory, "slow")
        os.mkfifo(gate)
        with open(slow + ".c", "w") as file:
            file.write('#include <fcntl.h>\n'
                       '__attribute__((constructor)) static void f(void) { open("%s", O_RDONLY); }\n'
                       % gate)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", slow + ".so", slow + ".c"], check=True)
        worker = self.start(start=False, plugins=[self.ledger.plugin, slow + ".so"])
        worker.start(ready=False)
        wait_until(worker.children, what="the process that loads plugins")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTSTP):
            worker.signal(number)
        self.ledger.push(self.server, 1)
        worker.term()
        # It opens when it is read: by that process, and by any runner that was started nevertheless.
        while worker.running:
            with contextlib.suppress(OSError):
                os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        self.assertEqual(worker.wait(), 0, worker.log())
        self.assertEqual(self.client.llen(QUEUE), 1)
        self.assert_left_clean(worker)

    def test_stopping_before_redis_was_ever_there(self):
        self.server.stop()
        worker = self.start(start=False)
        worker.start(ready=False)
        worker.wait_log("Redis is away")
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(os.listdir(worker.config["state_dir"]), [])

    def test_a_signal_at_any_moment_of_the_start_ends_it_well(self):
        for n in range(12):
            worker = self.start(start=False)
            worker.start(ready=False)
            wait_until(lambda: worker.log().count("\n") >= n % 4 or not worker.running,
                       what="its first lines")
            if n % 3 == 0:
                wait_until(lambda: len(children_of(worker.pid)) >= 1 or not worker.running,
                           what="a child")
            worker.term()
            # Until its handlers are there the signal's own action ends it.
            self.assertIn(worker.wait(), (0, -signal.SIGTERM))
            for name in os.listdir(worker.config["state_dir"]) if os.path.exists(
                    worker.config["state_dir"]) else []:
                self.assertRegex(name, r"\.(lock|journal)$")
        self.ledger.push(self.server, 3)
        self.start()
        wait_until(self.ledger.all_ended, what="the jobs of the one that stayed")


class Reload(SignalsCase):
    def reload(self, worker, **changes):
        count = worker.log().count("configuration reloaded")
        worker.write_config(**changes)
        worker.hup()
        worker.wait_log("configuration reloaded", count + 1)

    def test_queues_come_and_go(self):
        worker = self.start()
        self.reload(worker, queues=["default", "extra"])
        self.ledger.push(self.server, 2, queue="queue:extra")
        self.ledger.push(self.server, 2)
        wait_until(self.ledger.all_ended, what="jobs of both queues")
        self.reload(worker, queues=["extra"])
        self.client.lpush(QUEUE, self.ledger.document("left"))
        self.ledger.push(self.server, 5, queue="queue:extra")
        wait_until(self.ledger.all_ended, what="jobs of the queue that stayed")
        # What a wait begun before the reload may still bring is given back.
        worker.drain()
        self.assertEqual(self.waiting(), [self.ledger.document("left")])
        self.assertEqual(self.ledger.began()["left"], 0)

    def test_a_removed_queues_running_job_is_settled(self):
        worker = self.start()
        self.ledger.push(self.server, 1, ms=800)
        wait_until(self.ledger.began, what="the job")
        self.reload(worker, queues=["extra"])
        wait_until(self.ledger.all_ended, what="its end")
        wait_until(self.server.idle, what="its settlement")

    def test_delivery_can_be_changed(self):
        once = [{"name": "default", "delivery": "at-most-once"}]
        worker = self.start(queues=["default"])
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the first jobs")
        self.reload(worker, queues=once)
        self.client.lpush(QUEUE, '{"type":"fail","id":"f"}')
        wait_until(lambda: self.client.llen(DEAD) == 1, what="a dead letter, no retry")
        self.reload(worker, queues=["default"])
        self.client.lpush(QUEUE, '{"type":"fail","id":"g"}')
        wait_until(lambda: self.client.zcard("{queue:default}:retry") == 1, what="a retry again")
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the last jobs")
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(set(self.ledger.began().values()), {1})
        self.assert_left_clean(worker)

    def test_what_a_pop_under_way_brings_after_a_change_of_delivery_goes_back(self):
        worker = self.start(queues=[{"name": "default", "delivery": "at-most-once"}])
        wait_until(lambda: [c for c in self.client.client_list() if
                            c["name"] == "bucketline:once" and "b" in c["flags"]],
                   what="the blocking pop")
        with self.push_first('{"type":"fail","id":"f"}'):
            self.reload(worker, queues=["default"])  # the pop is told to end
        wait_until(lambda: self.client.zcard("{queue:default}:retry") == 1, what="a retry")
        self.assertEqual(self.client.llen(DEAD), 0)
        self.assertEqual(worker.drain(), 0)

    def test_a_list_can_get_another_name(self):
        for delivery in ("at-most-once", "at-least-once"):
            def named(name):
                return [{"name": name, "key": "list:" + delivery, "delivery": delivery}]
            worker = self.start(queues=named("before"))
            self.ledger.push(self.server, 2, queue="list:" + delivery)
            self.reload(worker, queues=named("after"))
            self.ledger.push(self.server, 5, queue="list:" + delivery)
            wait_until(self.ledger.all_ended, what="all jobs")
            self.assertEqual(worker.drain(), 0)
        self.assertEqual(set(self.ledger.began().values()), {1})
        self.assertEqual(self.client.keys(), [])

    def test_a_wait_cut_off_by_a_reload_leaves_nothing_behind(self):
        worker = self.start(queues=["before"])
        wait_until(lambda: self.client.hvals("{queue:before}:hands") == [b"waits"],
                   what="the hand's name")
        self.reload(worker, queues=["after"])
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(self.client.keys(), [])

    def test_runners_and_log_level_change(self):
        worker = self.start()
        self.assertNotIn("level=debug", worker.log())
        self.reload(worker, runners=3, log={"level": "debug"})
        wait_until(lambda: len(worker.children()) == 4, what="guard and three runners")
        self.ledger.push(self.server, 1)
        worker.wait_log("level=debug .*job done")
        self.reload(worker, runners=1)
        wait_until(lambda: len(worker.children()) == 2, what="guard and one runner")

    def test_what_needs_a_restart_is_said_and_left(self):
        worker = self.start()
        self.reload(worker, redis={"url": self.server.url, "prefix": "other:"},
                    state_dir=os.path.join(self.directory, "elsewhere"))
        for option in ("redis.prefix", "state_dir"):
            worker.wait_log("only after a restart.* option=" + re.escape(option))
        self.ledger.push(self.server, 2)
        wait_until(self.ledger.all_ended, what="jobs in the old place")
        self.assertFalse(os.path.exists(os.path.join(self.directory, "elsewhere")))

    def test_a_broken_plugin_takes_only_its_types_away(self):
        worker = self.start()
        broken = os.path.join(self.directory, "broken.so")
        with open(broken, "w") as file:
            file.write("no plugin")
        self.reload(worker, plugins=[self.ledger.plugin, broken])
        worker.wait_log("plugin cannot be used.*" + re.escape(broken))
        self.client.lpush(QUEUE, '{"type":"echo","id":"e"}')
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs of the good plugin")
        wait_until(lambda: self.client.llen("{queue:default}:parked") == 1,
                   what="the job whose plugin is gone")
        self.reload(worker, plugins=[self.ledger.plugin, os.path.join(BUILD, "jobs/*.so")])
        wait_until(lambda: self.client.llen("{queue:default}:parked") == 0, what="its run")

    def test_a_file_that_is_gone_or_wrong_changes_nothing(self):
        worker = self.start()
        os.rename(worker.config_path, worker.config_path + ".away")
        worker.hup()
        worker.wait_log("the old one stays.*worker.yaml")
        with open(worker.config_path, "w") as file:
            file.write("queues: [default]\nrunners: many\n")
        worker.hup()
        worker.wait_log(r"the old one stays.*worker\.yaml:2:10: .*runners")
        self.assertNotIn("configuration reloaded", worker.log())
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_reloads_under_load_lose_and_repeat_nothing(self):
        worker = self.start()
        self.ledger.push(self.server, 300, ms=5)
        for n in range(8):
            self.reload(worker, queues=["extra", "default"] if n % 2 else ["default", "extra"])
        self.ledger.push(self.server, 50)
        wait_until(self.ledger.all_ended, what="all jobs")
        wait_until(self.server.idle, what="their settlement")
        self.assertEqual(set(self.ledger.began().values()), {1})
        self.assertFalse(self.client.exists(DEAD, "{queue:default}:retry"))
        wait_until(lambda: len(worker.children()) == 3, what="guard and two runners, no more")

    def test_hup_while_quiet_stays_quiet(self):
        worker = self.start()
        worker.signal(signal.SIGTSTP)
        worker.wait_log("quiet")
        self.reload(worker, runners=1)
        self.ledger.push(self.server, 1)
        worker.signal(signal.SIGUSR1)
        worker.wait_log("msg=status .*phase=quiet")
        self.assertFalse(self.ledger.began())
        worker.signal(signal.SIGCONT)
        wait_until(self.ledger.all_ended, what="the job")


class Said(SignalsCase):
    def test_usr1_tells_of_queues_and_runners(self):
        worker = self.start(queues=["critical", "default"])
        self.ledger.push(self.server, 2, ms=700)
        wait_until(lambda: len(self.ledger.began()) == 2, what="two running")
        worker.signal(signal.SIGUSR1)
        worker.wait_log("msg=status .*held=2 .*running=2")
        worker.wait_log('msg="status of queue" queue=critical')
        worker.wait_log('msg="status of runner" .*type=ledger', 2)

    def test_every_line_is_json_if_that_is_asked_for(self):
        # With sanitizers, a process that is killed while its leaks are looked for has a line of theirs.
        env = {"ASAN_OPTIONS": "detect_leaks=0"}
        worker = self.start(env=env, log={"format": "json", "level": "debug"}, handlers={
            "loud": {"exec": ["/bin/sh", "-c", "printf 'a\"b\\\\c\\001\\377\\n' >&2; exit 65"]}})
        self.client.lpush(QUEUE, '{"type":"loud","id":"\\u0022\\n\\u0001"}', "not JSON \x01")
        wait_until(lambda: self.client.llen(DEAD) == 2, what="both dead letters")
        self.assertEqual(worker.drain(), 0)
        lines = worker.log().splitlines()
        self.assertGreater(len(lines), 5)
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                self.fail("no JSON: %r of\n%s" % (line, worker.log()))
            self.assertLessEqual({"ts", "level", "msg"}, set(event), line)

    def test_no_payload_at_info_whatever_becomes_of_the_job(self):
        secret = "XSECRETX"
        worker = self.start(handlers={"bad": {"exec": ["/bin/sh", "-c", "exit 3"]}})
        documents = [
            '{"type":"echo","args":"%s"}', '{"type":"bad","args":"%s","retry":0}',
            '{"type":"bad","args":"%s","retry":1}', '{"type":"crash","args":"abort %s"}',
            '{"type":"nobody","args":"%s"}', '{"type":"echo","args":"%s","delay":3600}',
            '{"type":"echo","args":"%s"', '%s', '"%s"', '{"type":"echo","retry":"%s"}',
            '{"type":7,"x":"%s"}', '{"type":"echo","type":"echo","args":"%s"}',
            '{"type":"echo","backoff":{"type":"%s"}}', '{"type":"echo","meta":{"a":["%s"]}}',
            '{"type":"echo","tags":{"a":"%s"}}', '{"type":"echo","%s":"\\x"}',
            '{"type":"echo","expires_at":1,"args":"%s"}', '{"type":"echo","on_success":"%s"}',
            '{"type":"echo","on_success":{"type":"echo","retry":"%s"}}']
        for document in documents:
            self.client.lpush(QUEUE, document % secret)
        self.ledger.push(self.server, 1)
        wait_until(self.ledger.all_ended, what="the last job")
        wait_until(lambda: self.server.idle() and
                   self.client.llen("{queue:default}:parked") == 1, what="an idle queue")
        worker.signal(signal.SIGUSR1)
        worker.wait_log("status of runner")
        self.assertEqual(worker.drain(), 0)
        self.assertNotIn(secret, worker.log())

    def test_a_service_manager_hears_of_reloads_and_life(self):
        path = os.path.join(self.directory, "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.settimeout(60)
        seen = os.path.join(self.directory, "env")
        worker = self.start(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}, beat="200ms",
                            handlers={"env": {"exec": ["/bin/sh", "-c", "env >'%s'" % seen]}})

        def hear(word):
            while True:
                text = manager.recv(4096).decode()
                if word in text.split("\n"):
                    return text

        hear("READY=1")
        hear("WATCHDOG=1")
        hear("WATCHDOG=1")
        worker.hup()
        self.assertIn("MONOTONIC_USEC=", hear("RELOADING=1"))
        hear("READY=1")
        self.client.lpush(QUEUE, '{"type":"env"}')
        wait_until(lambda: os.path.exists(seen) and self.server.idle(), what="the program")
        with open(seen) as file:
            self.assertNotRegex(file.read(), "NOTIFY|WATCHDOG|BUCKETLINE|REDIS")
        worker.term()
        hear("STOPPING=1")
        self.assertEqual(worker.wait(), 0)

    def test_jobctl_sees_it_come_work_and_go(self):
        worker = self.start(queues=["critical", "default"])
        self.ledger.push(self.server, 1, ms=1500)
        wait_until(self.ledger.began, what="the job")

        def seen():
            return run_command("jobctl", "workers", "--json", redis=self.server).json()

        entry = wait_until(lambda: [w["info"] for w in seen() if w["info"]["pid"] == worker.pid],
                           what="its entry")[0]
        self.assertEqual(entry["queues"], ["critical", "default"])
        self.assertEqual(entry["runners"], 2)
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(seen(), [])


class Exit(SignalsCase):
    def code(self, *args, status, config=None, env=None, **changes):
        files = Worker(self.directory, self.server, dict({"plugins": [self.ledger.plugin]},
                                                         **changes), name="exit")
        return run_command("worker", "-c", config or files.config_path, *args, env=env,
                           status=status)

    def test_usage(self):
        for args in (["--burst-wait", "soon"], ["--log-level", "loud"], ["operand"],
                     ["--burst="], ["-x"], ["--log-format", "xml"]):
            with self.subTest(args=args):
                self.assertRegex(self.code(*args, status=64).err, "^worker: .*\nTry: worker --help")

    def test_configuration(self):
        self.assertIn("absent.yaml", self.code(config="/nowhere/absent.yaml", status=78).err)
        self.assertIn("nobody-there", self.code(user="nobody-there", status=78).err)
        self.assertIn("/nowhere", self.code(pidfile="/nowhere/pid", status=78).err)
        self.assertIn("/proc/state", self.code(state_dir="/proc/state", status=78).err)
        self.assertRegex(self.code(queues=[], status=78).err, r"worker\.yaml:\d+:\d+: .*queues")
        bad = os.path.join(self.directory, "bad.yaml")
        with open(bad, "w") as file:
            file.write("queues:\n  - default\n\trunners: 1\n")
        self.assertRegex(self.code(config=bad, status=78).err, r"^\S*bad\.yaml:3:1: .*tab")
        self.assertIn("BUCKETLINE_REDIS_URL", self.code(
            env={"BUCKETLINE_REDIS_URL": "http://x"}, status=78).err)

    def test_check_says_what_is_there(self):
        good = self.code("--check", status=0)
        self.assertIn("ledger", good.out)
        self.assertIn("redis: ", good.out)
        self.assertEqual(self.client.keys(), [])
        away = self.code("--check", status=69, redis={"url": "unix:///nowhere/redis"})
        self.assertIn("/nowhere/redis", away.out)

    def test_print_config_is_a_configuration_that_works(self):
        shown = self.code("--print-config", status=0, timeout="90s").out
        path = os.path.join(self.directory, "printed.yaml")
        with open(path, "w") as file:
            file.write(shown)
        self.assertEqual(run_command("worker", "-c", path, "--print-config").out, shown)
        self.ledger.push(self.server, 3)
        run_command("worker", "-c", path, "--burst")
        self.assertTrue(self.ledger.all_ended())


if __name__ == "__main__":
    import unittest
    unittest.main()
