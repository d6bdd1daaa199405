"""Faults of our own processes: they are killed, frozen, told to reload, to stop, to grow."""

import signal
import time

from fault import Fault, kill, now, send
from world import QUEUES


class RunnerKill(Fault):
    weight = 8

    def run(self):
        runners = self.world.runners(self.index)
        begin = now()
        chosen = self.rng.sample(runners, min(len(runners), self.rng.choice((1, 1, 1, 2, 8))))
        self.note(begin, [pid for pid in chosen if kill(pid)])


class ProgramKill(Fault):
    weight = 2

    def run(self):
        programs = self.world.programs(self.index)
        begin = now()
        if programs:
            pid = self.rng.choice(programs)
            if kill(pid):
                self.note(begin, [pid])


class RunnerStop(Fault):
    weight = 2

    def run(self):
        runners = self.world.runners(self.index)
        begin = now()
        stopped = [pid for pid in self.rng.sample(runners, min(2, len(runners)))
                   if send(pid, signal.SIGSTOP)]
        self.sleep(0.05, 0.8)
        for pid in stopped:
            send(pid, signal.SIGCONT)
        self.note(begin)


class GuardKill(Fault):
    def run(self):
        begin = now()
        self.note(begin, [pid for pid in self.world.guards(self.index) if kill(pid)])


class WorkerKill(Fault):
    """The worker alone; its runners are its guard's and the kernel's to end."""

    weight = 4

    def run(self):
        worker, begin = self.world.workers[self.index], now()
        if not self.world.check_alive(self.index):
            return
        pids = [worker.pid] + worker.descendants()
        self.kill(worker)
        self.world.note_end(self.index, "killed")
        self.note(begin, pids)
        self.sleep(*self.rng.choice(((0, 0), (0, 0.3), (0, 0.3), (2.5, 4.5))))
        self.world.start_worker(self.index)

    def kill(self, worker):
        worker.kill9()


class MachineKill(WorkerKill):
    """The worker and all that it runs, at once."""

    weight = 3

    def kill(self, worker):
        worker.kill9_all()


class EveryoneKill(Fault):
    weight = 2
    per_worker = False

    @property
    def resources(self):
        return ["worker%d" % i for i in range(len(self.world.workers))]

    def run(self):
        begin, pids = now(), []
        for index, worker in enumerate(self.world.workers):
            if self.world.check_alive(index):
                pids += [worker.pid] + worker.descendants()
                worker.kill9_all()
                self.world.note_end(index, "killed")
        self.note(begin, pids)
        self.sleep(0, 0.3)
        for index in range(len(self.world.workers)):
            self.world.start_worker(index)


class WorkerStop(Fault):
    """Frozen for a while, shorter or longer than what makes others take its jobs."""

    weight = 3

    def run(self):
        worker, begin = self.world.workers[self.index], now()
        if not self.world.check_alive(self.index):
            return
        worker.stop()
        self.sleep(*self.rng.choice(((0.1, 0.8), (0.1, 0.8), (1.2, 2.2)))
                   if self.world.dead_after <= 2 else (0.1, 2))
        worker.cont()
        self.note(begin)


class Hup(Fault):
    """A new generation of runners, perhaps another number of them, and lists by another name."""

    weight = 2

    def run(self):
        worker, begin = self.world.workers[self.index], now()
        if not self.world.check_alive(self.index):
            return
        worker.write_config(runners=self.rng.randint(1, 6), queues=[
            self.rng.choice((name, {"name": name + "-again", "key": "queue:" + name}))
            for name in QUEUES])
        worker.hup()
        time.sleep(0.2)
        self.note(begin)


class MoreOrFewer(Fault):
    def run(self):
        worker, begin = self.world.workers[self.index], now()
        if not self.world.check_alive(self.index):
            return
        for _ in range(self.rng.randint(1, 4)):
            worker.signal(self.rng.choice((signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU)))
            time.sleep(0.05)
        self.note(begin)


class Term(Fault):
    """Stopped as an operator does it, sometimes impatiently, and started again."""

    weight = 2

    def run(self):
        worker, begin = self.world.workers[self.index], now()
        if not self.world.check_alive(self.index):
            return
        impatient = self.rng.random() < 0.4
        worker.term()
        if impatient:
            time.sleep(0.02)
            worker.term()
        status = worker.wait()
        self.world.note_end(self.index, "drained")
        if status != 0:
            self.world.problems.append("worker%d ended with status %d after TERM" % (
                self.index, status))
        self.note(begin, [worker.pid], "impatient" if impatient else "")
        self.sleep(0, 0.3)
        self.world.start_worker(self.index)


ALL = [RunnerKill, ProgramKill, RunnerStop, GuardKill, WorkerKill, MachineKill, EveryoneKill,
       WorkerStop, Hup, MoreOrFewer, Term]


