"""Starting, signals, stopping, bursts, checking."""

import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import signal

from bl import Case, run_command, wait_until
from ledger import Ledger

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"


class Lifecycle(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)

    def start(self, start=True, env=None, **more):
        config = {"queues": ["default"], "runners": 2, "plugins": [self.ledger.plugin]}
        config.update(more)
        return self.worker(self.server, config, start=start, env=env)

    def assert_left_clean(self, worker):
        self.assertEqual(self.client.hlen("bucketline:workers"), 0)
        self.assertEqual(os.listdir(worker.config["state_dir"]), [])

    def test_term_finishes_what_has_begun_and_gives_back_the_rest_in_order(self):
        worker = self.start()
        self.ledger.push(self.server, 2, ms=700)
        wait_until(lambda: len(self.ledger.began()) == 2, what="two running")
        waiting = [self.ledger.document("w%d" % n) for n in range(50)]
        self.client.lpush(QUEUE, *waiting)
        self.assertEqual(worker.drain(), 0)
        self.assertTrue(self.ledger.all_ended())
        self.assertEqual(set(self.ledger.began()), set(self.ledger.pushed))
        self.assertEqual([d.decode() for d in reversed(self.client.lrange(QUEUE, 0, -1))], waiting)
        self.assertEqual(self.client.hlen(RUN), 0)
        self.assert_left_clean(worker)

    def test_many_terms_end_it_as_well_as_one(self):
        redis = self.redis()
        for n in range(5):
            worker = self.worker(redis, {"runners": 1}, name="worker%d" % n)
            while worker.running:
                worker.term()
            self.assertEqual(0, worker.wait())

    def test_a_second_term_kills_now_and_blames_nobody(self):
        worker = self.start()
        self.ledger.push(self.server, 1, ms=60000)
        wait_until(self.ledger.began, what="the job running")
        worker.term()
        worker.wait_log("finishing what has begun")
        worker.term()
        self.assertEqual(worker.wait(), 0)
        record = self.client.lindex(QUEUE, 0)
        self.assertIn(b'"interrupted":1', record)
        self.assertNotIn(b'"attempt"', record.split(b'"job":')[0])
        self.assert_left_clean(worker)

    def test_quiet_and_again(self):
        worker = self.start()
        worker.signal(signal.SIGTSTP)
        worker.wait_log("quiet")
        self.ledger.push(self.server, 3)
        worker.signal(signal.SIGUSR1)
        worker.wait_log("msg=status .*phase=quiet")
        self.assertEqual(self.client.llen(QUEUE), 3)
        worker.signal(signal.SIGCONT)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_one_runner_more_and_one_less(self):
        worker = self.start()
        worker.signal(signal.SIGTTIN)
        wait_until(lambda: len(worker.children()) == 4, what="guard and three runners")
        worker.signal(signal.SIGTTOU)
        worker.wait_log("wanted=2")
        worker.signal(signal.SIGTTOU)
        wait_until(lambda: len(worker.children()) == 2, what="guard and one runner")
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_a_bad_file_is_refused_on_hup_and_the_old_one_stays(self):
        worker = self.start()
        with open(worker.config_path, "a") as file:
            file.write("runers: 3\n")
        worker.hup()
        worker.wait_log(r"worker\.yaml:\d+:\d+: .*runers")
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_a_running_job_is_not_disturbed_by_a_reload(self):
        worker = self.start()
        self.ledger.push(self.server, 1, ms=1000)
        wait_until(self.ledger.began, what="the job running")
        worker.hup()
        worker.wait_log("configuration reloaded")
        self.ledger.push(self.server, 5)
        wait_until(self.ledger.all_ended, what="all jobs")
        self.assertEqual(set(self.ledger.began().values()), {1})

    def test_check_and_what_is_wrong(self):
        worker = self.start(start=False)
        self.assertIn("ledger", run_command("worker", "-c", worker.config_path, "--check").out)
        broken = os.path.join(self.directory, "broken.so")
        with open(broken, "w") as file:
            file.write("no plugin")
        worker.write_config(plugins=[broken])
        self.assertIn(broken, run_command("worker", "-c", worker.config_path, "--check",
                                          status=78).out)
        worker.write_config(plugins=[self.ledger.plugin], nonsense=1)
        self.assertRegex(run_command("worker", "-c", worker.config_path, status=78).err,
                         r"worker\.yaml:\d+:\d+: .*nonsense")
        worker.write_config(nonsense=None)
        self.server.stop()
        run_command("worker", "-c", worker.config_path, "--check", status=69)
        run_command("worker", "--nonsense", status=64)
        self.assertIn("--burst", run_command("worker", "--help").out)

    def test_no_password_and_no_payload_in_what_is_shown(self):
        self.client.config_set("requirepass", "open-sesame")
        url = "unix://:open-sesame@" + self.server.socket
        worker = self.start(start=False, redis={"url": "unix://%s?password=open-sesame"
                                                % self.server.socket})
        shown = run_command("worker", "-c", worker.config_path, "--print-config").out
        self.assertNotIn("open-sesame", shown, url)
        worker.start()
        own = self.server.new_client(password="open-sesame")
        own.lpush(QUEUE, self.ledger.document("x", args={"card": "4111-1111"}))
        own.lpush(QUEUE, '{"type":"ledger","args":{"card":"4111-1111"}}')
        wait_until(lambda: own.llen(DEAD) == 1 and "x" in self.ledger.ended(), what="both ends")
        own.close()
        self.assertNotIn("4111", worker.log())
        self.assertNotIn("open-sesame", worker.log())
        with open("/proc/%d/cmdline" % worker.pid, "rb") as file:
            self.assertNotIn(b"open-sesame", file.read())

    def test_the_service_manager_is_told(self):
        path = os.path.join(self.directory, "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.settimeout(30)
        worker = self.start(env={"NOTIFY_SOCKET": path})
        self.assertIn(b"READY=1", manager.recv(4096))
        worker.term()
        told = b""
        while b"STOPPING=1" not in told:
            told = manager.recv(4096)
        self.assertEqual(worker.wait(), 0)

    def test_a_pidfile(self):
        path = os.path.join(self.directory, "pid")
        worker = self.start(pidfile=path)
        with open(path) as file:
            self.assertEqual(int(file.read()), worker.pid)
        self.assertEqual(worker.drain(), 0)
        self.assertFalse(os.path.exists(path))

    def test_jobctl_knows_the_worker(self):
        worker = self.start()
        text = wait_until(lambda: run_command("jobctl", "workers", "--json", redis=self.server).out,
                          what="workers")
        self.assertIn(str(worker.pid), text)
        json.loads(text)


if __name__ == "__main__":
    import unittest
    unittest.main()
