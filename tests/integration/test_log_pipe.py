"""A log that nobody reads stops nothing, and what was dropped is counted."""

import fcntl
import os
import re
import select
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, Worker, _die_with_parent, wait_until
from ledger import Ledger

JOBS = 3000  # of some 130 bytes each at debug: far more than a pipe holds


class Reader:
    """The end of a pipe or socket pair that a log collector would read."""

    def __init__(self, kind):
        if kind == "pipe":
            self.fd, self.other = os.pipe()
        else:
            ends = socket.socketpair()
            self.fd, self.other = ends[0].detach(), ends[1].detach()
        os.set_blocking(self.fd, False)
        self.text = b""

    def read(self):
        """Everything that is there now."""
        while select.select([self.fd], [], [], 0)[0]:
            part = os.read(self.fd, 1 << 16)
            if not part:
                break
            self.text += part
        return self.text.decode()

    def close(self):
        os.close(self.fd)
        os.close(self.other)


class PipeWorker(Worker):
    """A worker whose stderr is the given descriptor."""

    def spawn_to(self, fd):
        self.popen = subprocess.Popen(self.argv, env=self.env, cwd=self.directory,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=fd,
                                      preexec_fn=_die_with_parent)

    def log(self):
        return ""


class LogPipe(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)
        self.server = self.redis()

    def run_unread(self, kind):
        reader = Reader(kind)
        self.addCleanup(reader.close)
        worker = self.adopt(PipeWorker(self.directory, self.server, {
            "runners": 2, "plugins": [self.ledger.plugin], "log": {"level": "debug"},
            "beat": "500ms"}))
        self.ledger.push(self.server, JOBS)
        worker.spawn_to(reader.other)
        wait_until(self.ledger.all_ended, what="every job, though nobody reads the log")
        wait_until(self.server.idle, what="their end")
        # Whoever else writes there still finds it as blocking as it was.
        flags = fcntl.fcntl(reader.other, fcntl.F_GETFL)
        self.assertEqual(flags & os.O_NONBLOCK, 0)
        reader.read()
        self.ledger.push(self.server, 20)
        wait_until(lambda: re.search(r'msg="log lines were dropped: nobody read them" lines=\d+',
                                     reader.read()), what="how many were dropped")
        dropped = sum(int(n) for n in re.findall(r"nobody read them\" lines=(\d+)", reader.read()))
        self.assertGreater(dropped, JOBS // 2)
        for line in reader.read().splitlines():
            self.assertTrue(line.startswith("ts=20"), "a line was cut: %r" % line)
        self.assertEqual(worker.drain(), 0)

    def test_a_pipe_that_nobody_reads_stops_nothing(self):
        self.run_unread("pipe")

    def test_a_socket_that_nobody_reads_stops_nothing(self):
        self.run_unread("socket")

    def test_a_reader_that_is_slow_gets_every_line(self):
        reader = Reader("pipe")
        self.addCleanup(reader.close)
        worker = self.adopt(PipeWorker(self.directory, self.server, {
            "runners": 2, "plugins": [self.ledger.plugin], "log": {"level": "debug"}}))
        self.ledger.push(self.server, JOBS)
        worker.spawn_to(reader.other)
        # Reads all the time, in small pieces.
        wait_until(lambda: len(re.findall("job done", reader.read())) == JOBS, what="every line",
                   pause=0.002)
        self.assertNotIn("dropped", reader.read())

    def test_a_reader_that_is_gone_stops_nothing(self):
        reader = Reader("pipe")
        worker = self.adopt(PipeWorker(self.directory, self.server, {
            "runners": 2, "plugins": [self.ledger.plugin], "log": {"level": "debug"}}))
        worker.spawn_to(reader.other)
        self.ledger.push(self.server, 10)
        wait_until(self.ledger.all_ended, what="the first jobs")
        reader.close()
        self.ledger.push(self.server, JOBS)
        wait_until(self.ledger.all_ended, what="every job")
        self.assertEqual(worker.drain(), 0)


if __name__ == "__main__":
    import unittest
    unittest.main()
