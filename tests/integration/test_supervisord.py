"""The real supervisord with the shipped configuration: start, reload, stop with a job running, and a
killed worker that comes back."""

import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import (ROOT, Case, Process, Worker, children_of, clean_env, is_alive, program, wait_until)
from ledger import Ledger

SUPERVISORD, SUPERVISORCTL = "/usr/bin/supervisord", "/usr/bin/supervisorctl"
RUN = "{queue:default}:run"


class Supervisord(Case):
    def setUp(self):
        super().setUp()
        if not os.path.exists(SUPERVISORD):
            self.skipTest("no supervisord (Debian: apt install supervisor)")
        self.ledger = Ledger(self.directory)
        self.server = self.redis()
        self.client = self.server.client
        # Writes worker.yaml; supervisord, not this object, starts the worker.
        self.files = Worker(self.directory, self.server, {
            "queues": ["default"], "runners": 2, "plugins": [self.ledger.plugin],
            "shutdown_timeout": "1s"})
        self.log = os.path.join(self.directory, "worker.log")
        self.conf = os.path.join(self.directory, "supervisord.conf")
        with open(os.path.join(ROOT, "packaging/supervisord/bucketline.conf")) as file:
            section = file.read()
        section = re.sub(r"(?m)^command=.*$", "command=%s -c %s" % (
            program("worker"), self.files.config_path), section)
        section = re.sub(r"(?m)^stdout_logfile=.*$", "stdout_logfile=" + self.log + ".out", section)
        section = re.sub(r"(?m)^stderr_logfile=.*$", "stderr_logfile=" + self.log, section)
        with open(self.conf, "w") as file:
            file.write("""[unix_http_server]
file=%(d)s/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(d)s/supervisor.sock
[supervisord]
nodaemon=true
logfile=%(d)s/supervisord.log
pidfile=%(d)s/supervisord.pid
childlogdir=%(d)s
""" % {"d": self.directory} + section)
        self.supervisord = self.adopt(Process(
            ["/usr/bin/python3", SUPERVISORD, "-c", self.conf],
            os.path.join(self.directory, "out"), env=clean_env()))
        self.supervisord.spawn()
        self.wait_log("worker ready")

    def read_log(self):
        try:
            with open(self.log) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, text, count=1):
        wait_until(lambda: self.read_log().count(text) >= count,
                   what=lambda: "%r in\n%s" % (text, self.read_log()))

    def ctl(self, *args):
        return subprocess.run(["/usr/bin/python3", SUPERVISORCTL, "-c", self.conf] + list(args),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                              env=clean_env()).stdout.decode()

    def worker_pid(self):
        found = wait_until(lambda: re.search(r"RUNNING +pid (\d+)", self.ctl("status", "bucketline")),
                           what="RUNNING in supervisord's status")
        return int(found.group(1))

    def processes(self):
        pid = self.worker_pid()
        return [pid] + children_of(pid, deep=True)

    def assert_all_end(self, pids):
        for pid in pids:
            wait_until(lambda: not is_alive(pid), what="the end of process %d" % pid)

    def test_start_work_and_reload_on_hup(self):
        self.ledger.push(self.server, 5)
        wait_until(self.ledger.all_ended, what="the jobs")
        pid = self.worker_pid()
        self.files.write_config(runners=3)
        self.ctl("signal", "HUP", "bucketline")
        self.wait_log("configuration reloaded")
        self.assertEqual(self.worker_pid(), pid)
        self.ledger.push(self.server, 5)
        wait_until(self.ledger.all_ended, what="the jobs after it")

    def test_stop_with_a_job_running_gives_it_back_and_leaves_nothing(self):
        self.ledger.push(self.server, 1, ms=60000)
        wait_until(lambda: self.ledger.began(), what="the job running")
        pids = self.processes()
        self.assertGreaterEqual(len(pids), 4)  # worker, guard, two runners
        self.assertIn("stopped", self.ctl("stop", "bucketline"))
        self.assert_all_end(pids)
        self.assertEqual(self.client.hlen(RUN), 0)
        self.assertEqual(self.client.llen("queue:default"), 1)
        self.assertIn(b'"interrupted":1', self.client.lindex("queue:default", 0))
        self.assertIn("stopped exit=0", self.read_log().replace('"', "").replace("msg=", ""))

    def test_a_killed_worker_is_started_again_and_takes_its_jobs_over(self):
        self.ledger.push(self.server, 2, ms=1500)
        self.ledger.push(self.server, 20)
        wait_until(lambda: len(self.ledger.began()) >= 2, what="two running")
        old = self.processes()
        os.kill(old[0], signal.SIGKILL)
        self.assert_all_end(old)
        self.wait_log("worker ready", 2)
        wait_until(self.ledger.all_ended, what="every job")
        wait_until(self.server.idle, what="their settlement")
        self.assertEqual(self.client.llen("{queue:default}:dead"), 0)
        self.assertEqual(self.client.hlen("bucketline:workers"), 1)


if __name__ == "__main__":
    import unittest
    unittest.main()
