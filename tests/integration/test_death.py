"""What is on the record, and on jobctl's screen, when a job died: how, of what, what it used, what it
said last, and what came before."""

import json
import os
import resource
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, children_of, process_table, run_command, wait_until
from ledger import Ledger, build_plugin
from records import unwrap

QUEUE, DEAD = "queue:default", "{queue:default}:dead"
RETRY = "{queue:default}:retry"
AT_ONCE = {"type": "fixed", "base": 0.05, "jitter": 0}


class Death(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)
        self.hostile = build_plugin(self.directory, "hostile")

    def start(self, programs=None, **more):
        handlers = {type: dict({"exec": argv} if isinstance(argv, list) else argv)
                    for type, argv in (programs or {}).items()}
        return self.worker(self.server, dict({
            "runners": 1, "grace": "200ms", "handlers": handlers,
            "plugins": [self.ledger.plugin, self.hostile]}, **more))

    def push(self, type="hostile", **members):
        self.client.lpush(QUEUE, json.dumps(dict(
            {"type": type, "id": "j", "backoff": AT_ONCE, "retry": 0}, **members),
            separators=(",", ":")))

    def letter(self, count=1):
        wait_until(lambda: self.client.llen(DEAD) == count, what="%d dead letters" % count)
        return unwrap(self.client.lindex(DEAD, 0))[0]

    def show(self, id="j"):
        return run_command("jobctl", "dead", "show", id, "-q", "default", redis=self.server).out

    def assertShown(self, *patterns):
        shown = self.show()
        for pattern in patterns:
            self.assertRegex(shown, pattern)

    # ---- plugins ----

    def test_a_crash_tells_its_signal_its_last_words_and_what_it_used(self):
        self.start()
        self.push(args={"do": "segv"})
        head = self.letter()
        error = head["error"]
        self.assertEqual((head["reason"], head["crashes"]), ("poison", 3))
        self.assertEqual((error["kind"], error["signal"]), ("crash", signal.SIGSEGV))
        self.assertIn("about to touch 0x8 for j", error["stderr"])
        self.assertGreater(error["max_rss_bytes"], 100000)
        self.assertGreaterEqual(error["cpu_ms"], 0)
        self.assertEqual([f["kind"] for f in head["history"]], ["crash"] * 3)
        self.assertShown(r"reason +poison \(it took its runner", r"crashes +3\n",
                         r"message +its runner died: signal 11 \(SIGSEGV\).*memory that is not its own",
                         r"peak memory +[\d.]+ [KM]iB", r"CPU time +\d", r"ran for +\d",
                         r"last output +about to touch 0x8 for j", r"(?s)earlier.*earlier")

    def test_an_abort_leaves_the_assertion_on_the_record(self):
        worker = self.start()
        self.push(args={"do": "abort"})
        error = self.letter()["error"]
        self.assertEqual(error["signal"], signal.SIGABRT)
        self.assertIn('assertion "false" failed', error["stderr"])
        worker.wait_log(r'plugin says.*assertion \\"false\\" failed.*job=j')

    def test_an_exit_in_a_plugin_names_its_status(self):
        self.start()
        self.push(args={"do": "_exit"})
        error = self.letter()["error"]
        self.assertEqual((error["kind"], error["exit_code"]), ("crash", 0))
        self.assertShown(r"its runner died: exit 0", r"exit code +0\n")

    def test_a_timeout_says_so(self):
        self.start()
        self.push(args={"do": "spin"}, timeout=0.3)
        error = self.letter()["error"]
        self.assertEqual((error["kind"], error["signal"]), ("timeout", signal.SIGKILL))
        self.assertGreaterEqual(error["run_ms"], 300)
        self.assertGreater(error["cpu_ms"], 0)
        self.assertShown(r"kind +timeout \(it took too long\)", r"killed after its timeout")

    def test_a_kill_by_somebody_else_is_told_from_our_own(self):
        worker = self.start()
        self.ledger.pushed.append("k")
        self.client.lpush(QUEUE, self.ledger.document("k", 600000, backoff=AT_ONCE))
        for n in range(3):
            wait_until(lambda: self.ledger.began()["k"] == n + 1, what="its attempt %d" % (n + 1))
            [pid] = worker.runners()
            os.kill(pid, signal.SIGKILL)
        error = self.letter()["error"]
        self.assertEqual((error["kind"], error["signal"]), ("crash", signal.SIGKILL))
        self.assertIn("not sent by the worker", error["message"])

    def test_what_a_failing_plugin_wrote_and_used_is_on_the_record(self):
        self.start()
        self.push(args={"do": "flood_stdout"}, timeout=0.2)
        error = self.letter()["error"]
        self.assertRegex(error["stderr"], r"x{20}\n")
        self.assertLessEqual(len(error["stderr"]), 4096)

    # ---- poison ----

    def test_jobs_behind_a_poisonous_one_carry_no_blame(self):
        for n in range(30):
            self.ledger.push(self.server, 1, retry=0, args={"fail": 1})
            if n == 15:
                self.push(args={"do": "abort"})
        self.start(runners=2)
        wait_until(lambda: self.client.llen(DEAD) == 31, what="all dead letters")
        self.assertEqual(set(self.ledger.began().values()), {1})
        for record in self.client.lrange(DEAD, 0, -1):
            head = unwrap(record)[0]
            if head["id"] == "j":
                self.assertEqual((head["reason"], head["crashes"]), ("poison", 3))
            else:
                self.assertNotIn("crashes", head)
                self.assertEqual((head["reason"], head["attempt"], len(head["history"])),
                                 ("failed", 1, 1))
                self.assertEqual(head["error"]["kind"], "failed")

    # ---- programs ----

    def test_a_program_by_exit_code_signal_and_last_lines(self):
        self.start({"exits": ["/bin/sh", "-c", "echo first >&2; echo last words >&2; exit 3"],
                    "dies": ["/bin/sh", "-c", "kill -SEGV $$"]})
        self.push("exits")
        error = self.letter()["error"]
        self.assertEqual((error["kind"], error["exit_code"]), ("failed", 3))
        self.assertEqual(error["stderr"], "first\nlast words\n")
        self.assertShown(r"exit code +3\n", r"last output +first\n +last words", r"peak memory +\d",
                         r"message +exit 3: first\n +last words")
        self.push("dies")
        error = self.letter(2)["error"]
        self.assertEqual(error["signal"], signal.SIGSEGV)
        self.assertIn("killed by signal 11 (SIGSEGV)", error["message"])

    def test_a_program_over_its_limit_of_processor_time(self):
        self.start({"spins": {"exec": ["/bin/sh", "-c", "while :; do :; done"],
                              "limits": {"cpu": "1s"}}})
        self.push("spins")
        error = self.letter()["error"]
        self.assertEqual(error["signal"], signal.SIGXCPU)
        self.assertIn("over its limit of processor time", error["message"])
        self.assertGreaterEqual(error["cpu_ms"], 900)

    def test_a_program_under_a_memory_limit(self):
        self.start({"eats": {"exec": ["/usr/bin/python3", "-c", "x = bytearray(1 << 30)"],
                             "limits": {"memory": "256MiB"}}})
        self.push("eats")
        error = self.letter()["error"]
        self.assertEqual((error["kind"], error["exit_code"]), ("failed", 1))
        self.assertIn("MemoryError", error["message"])

    def test_the_last_ten_attempts_are_kept(self):
        self.start({"exits": ["/bin/sh", "-c", "exit $JOB_ATTEMPT"]})
        self.push("exits", retry=12, backoff={"type": "fixed", "base": 0.001, "jitter": 0})
        history = self.letter()["history"]
        self.assertEqual([f["exit_code"] for f in history], list(range(4, 14)))
        self.assertEqual([f["attempt"] for f in history], list(range(4, 14)))
        self.assertEqual(self.show().count("earlier\n"), 9)

    # ---- memory ----

    def test_no_memory_for_the_runner_is_the_jobs_failure_and_no_crash(self):
        if "address" in os.environ.get("BUCKETLINE_BUILD", ""):
            self.skipTest("AddressSanitizer cannot live with a limit of address space")
        worker = self.start()
        [pid] = worker.runners()
        with open("/proc/%d/statm" % pid) as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (64 << 20),) * 2)
        self.push(args={"do": "eat_then_ask"})
        head = self.letter()
        self.assertEqual((head["reason"], head["error"]["kind"]), ("failed", "oom"))
        self.assertNotIn("crashes", head)
        self.assertIn("out of memory", head["error"]["message"])
        self.assertShown(r"kind +oom \(out of memory\)")
        self.ledger.push(self.server, 3)  # the next runner is fine
        wait_until(self.ledger.all_ended, what="the jobs after it")

    def memory_group(self, limit_bytes):
        """A memory-limited cgroup below our own; a SkipTest where that is not ours to make."""
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in open("/proc/self/cgroup"))
        if "memory" in groups:
            parent, names = "/sys/fs/cgroup/memory" + groups["memory"], ("memory.limit_in_bytes",
                                                                         "memory.memsw.limit_in_bytes")
        else:
            parent, names = "/sys/fs/cgroup" + groups[""], ("memory.max", "memory.swap.max")
        path = os.path.join(parent, "bucketline-test-%d" % os.getpid())
        try:
            os.mkdir(path)
        except OSError as e:
            raise unittest.SkipTest("no cgroup can be made here: %s" % e)
        self.addCleanup(os.rmdir, path)
        try:
            with open(os.path.join(path, names[0]), "w") as file:
                file.write(str(limit_bytes))
        except OSError as e:
            raise unittest.SkipTest("no memory limit can be set here: %s" % e)
        if os.path.exists(os.path.join(path, names[1])):
            with open(os.path.join(path, names[1]), "w") as file:
                file.write(str(limit_bytes if "memsw" in names[1] else 0))
        return path

    def empty(self, worker):
        pids = worker.descendants()
        worker.end()
        wait_until(lambda: not any(pid in process_table() for pid in pids), what="their end")

    def test_killed_by_the_kernel_for_lack_of_memory(self):
        group = self.memory_group(96 << 20)
        worker = self.start(programs={"eats": ["/usr/bin/python3", "-c", "x = bytearray(1 << 30)"]})
        table = process_table()
        for pid in [worker.pid] + children_of(worker.pid, deep=True):
            if pid in table:
                with open(os.path.join(group, "cgroup.procs"), "w") as file:
                    file.write(str(pid))
        self.addCleanup(self.empty, worker)  # before the group is removed
        self.push(args={"do": "eat"})
        head = self.letter()
        self.assertEqual((head["reason"], head["error"]["kind"], head["crashes"]),
                         ("poison", "oom", 3))
        self.assertIn("killed: out of memory", head["error"]["message"])
        self.assertGreater(head["error"]["max_rss_bytes"], 32 << 20)
        self.push("eats")
        error = self.letter(2)["error"]
        self.assertEqual((error["kind"], error["signal"]), ("oom", signal.SIGKILL))
        self.assertIn("killed: out of memory", error["message"])
        self.assertTrue(worker.running)
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs after it")


if __name__ == "__main__":
    unittest.main()
