"""Why a job ran again: the faults that may be the reason, and no others.

A run that did not end needs a reason: its process or its worker died, was stopped or cut off, or
Redis went back in time.  A run that came to its end and was repeated needs a far better one: what
killed it came in the instant between the handler's last line and the slot that keeps its outcome,
or the claim was lost by silence, or Redis went back, or the journal was not there when it was
needed.
"""

import collections

LAST_LINE = 0.1    # s from a handler's last line to its outcome in the slot, on a busy machine
BACK_AGE = 60.0    # s that the tail of Redis' file may reach back
SLACK = 1.0        # s a worker needs to be heard again after its link was mended
SHARE = 0.6        # of dead_after: so long must a worker have been unheard for a loss by silence

CUT_OFF = ("WorkerStop", "Stall", "Delay", "Cut", "Reset", "Refuse", "BlackHole")


class Explainer:
    def __init__(self, world, end):
        self.world, self.log, self.end = world, world.log, end
        self.kills = collections.defaultdict(list)
        for fault in self.log.faults:
            for pid in fault.pids:
                self.kills[pid].append(fault)
        self.unheard = {index: self._unheard(index) for index in range(len(world.workers))}
        self.back = [(at, self._up_again(at)) for at, _ in world.back]

    def worker_index(self, pid, at):
        for life in self.world.lives:
            if life.pid == pid and life.began <= at <= (life.ended or at) + 1:
                return life.index
        return None

    def why_not_ended(self, run, until):
        """The reason why `run` did not end, in a word; None = there is none."""
        return self._killed(run, run.begin, until) or self._lost_claim(run, until)

    def why_repeated(self, run, until):
        """The reason why `run`, which came to its end, was not the last of its attempt."""
        # A program may get its last line out after its runner was killed, before its own end.
        early = LAST_LINE if run.pid != run.runner else 0
        return self._killed(run, run.end - early, run.end + LAST_LINE) or \
            self._lost_claim(run, until)

    def _killed(self, run, begin, end):
        for pid in (run.pid, run.runner, run.worker):
            for fault in self.kills.get(pid, ()):
                if fault.begin <= end and fault.end >= begin:
                    return fault.kind
        return None

    def _lost_claim(self, run, until):
        if self._went_back(run, until):
            return "Redis went back"
        index = self.worker_index(run.worker, run.begin)
        if index is not None and self.unheard_in(index, run.begin, until):
            return "lost by silence"
        return None

    def _up_again(self, at):
        """When the fault was over that had Redis go back."""
        return max([f.end for f in self.log.faults if f.worker is None and f.begin <= at <= f.end],
                   default=at)

    def _went_back(self, run, until):
        """Did Redis forget this run's claim?  It may have begun with Redis gone already."""
        return any(up >= run.begin - 0.001 and at <= until and
                   at - (run.end or run.begin) < BACK_AGE for at, up in self.back)

    def unheard_in(self, index, begin, end):
        return any(b <= end and e >= begin for b, e in self.unheard[index])

    def _unheard(self, index):
        """Spans of time in which this worker was not heard for long enough to lose its claims."""
        spans = [(f.begin, f.end) for f in self.log.faults
                 if f.worker == index and f.kind in CUT_OFF]
        lives = [life for life in self.world.lives if life.index == index]
        for before, after in zip(lives, lives[1:]):
            if before.how != "drained" and before.ended is not None:
                spans.append((before.ended, after.began))
        joined = []
        for begin, end in sorted(spans):
            if joined and begin <= joined[-1][1] + SLACK:
                joined[-1][1] = max(end, joined[-1][1])
            else:
                joined.append([begin, end])
        least = self.world.dead_after * SHARE
        return [(b, e + SLACK) for b, e in joined if e + SLACK - b >= least]
