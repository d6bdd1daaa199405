"""Beats: what a worker may conclude from the value that answers its beat.

A beat adds one to the worker's counter in Redis.  One is under way at a time; its connection may
break before or after it was executed.  `sent` are the beats sent since the last answered value
`last`.  Under the run_id of the last answer, last+1 ... last+sent is fine; more: there is a clone of
us (a machine copied while it ran), and we take a new incarnation; less: others took us for dead and
dropped us.  Under another run_id nothing is concluded but that Redis may have gone back in time,
which calls for reconciling: it may even have gone back to before we were dropped, to a higher value.

An observer notes the counter and drops the worker if it stands there still, compared by the script
that drops.

Invariants: nobody concludes without cause that it has a clone, or was dropped; a worker is not
dropped after a beat that its observer has not seen; of two clones that beat in turn in peace one
notices it.

    model_beats.py [--full]    base runs, then the mutants, each of which must be caught
"""

import sys
from typing import NamedTuple, Optional

from explorer import swap
from model import report

WRITTEN = 0  # a beat that is not executed yet; once it is, the value it will be answered with


class Bounds(NamedTuple):
    counter: int = 10  # highest value
    breaks: int = 2
    drops: int = 1     # that the observer takes a living worker for dead
    rollbacks: int = 1
    clones: int = 1


class Worker(NamedTuple):
    last: int = 0
    sent: int = 0
    beat: Optional[int] = None  # under way: WRITTEN, or the value; None = none
    late: int = 0       # beats of broken connections that may still be executed
    known_run: int = 0  # the run_id of its last answer
    retired: bool = False  # noticed that it has a clone


class State(NamedTuple):
    workers: tuple = (Worker(),)
    counter: int = 0  # 0 = the worker is not listed
    run_id: int = 0
    noted: Optional[int] = None  # by the observer
    snapshot: Optional[int] = None
    cloned: bool = False
    dropped: bool = False
    turns: int = 0              # how often the answers changed between two clones in peace
    turn: Optional[int] = None  # whose the last answer was
    breaks: int = 0
    drops: int = 0
    rollbacks: int = 0
    clones: int = 0
    complaint: Optional[str] = None


MUTANTS = {
    "expects exactly one more": "an answer is compared with last+1, whatever was sent",
    "more is fine": "a counter that jumped is not heeded",
    "no kill": "a beat of the broken connection may be executed after the next one",
    "drops without looking": "the observer removes the worker without comparing the counter",
    "dropped under any run_id": "a counter that fell always means that we were dropped",
    "clone under any run_id": "a counter that jumped always means that there is a clone",
}

NO_CLONE = "taken for a clone without one"
NOT_DROPPED = "taken for dropped without cause"
STALE_DROP = "dropped after a beat that the observer had not seen"
UNNOTICED = "a clone went unnoticed"
TURNS = 6  # in which that must be noticed


class Beats:
    def __init__(self, bounds=Bounds(), mutant=None):
        self.bounds, self.mutant = bounds, mutant
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError("no mutant " + mutant)

    def initial(self):
        b = self.bounds
        return State(breaks=b.breaks, drops=b.drops, rollbacks=b.rollbacks, clones=b.clones)

    # -- steps --

    def steps(self, s):
        for i, w in enumerate(s.workers):
            if not w.retired:
                yield from self.beat(s, i, w)
        yield from self.observe(s)
        if s.rollbacks and s.snapshot is None:
            yield "snapshot!", s._replace(snapshot=s.counter)
        elif s.rollbacks:
            yield "Redis goes back!", self.unquiet(s._replace(
                counter=s.snapshot, snapshot=None, run_id=s.run_id + 1, rollbacks=s.rollbacks - 1,
                workers=tuple(self.cut(w)._replace(late=0) for w in s.workers)))
        if s.clones:
            copy = self.cut(s.workers[0])._replace(late=0)
            yield "the machine is copied!", self.unquiet(s._replace(
                workers=s.workers + (copy,), cloned=True, clones=s.clones - 1))

    def beat(self, s, i, w):
        def become(worker, **changes):
            return s._replace(workers=swap(s.workers, i, worker), **changes)

        full = s.counter >= self.bounds.counter
        if w.beat is None:
            yield "send %d" % i, become(w._replace(beat=WRITTEN, sent=w.sent + 1))
            return
        if s.breaks:
            yield "break %d!" % i, self.unquiet(become(self.cut(w), breaks=s.breaks - 1))
        if w.late and not full:
            yield "execute a late beat", become(w._replace(late=w.late - 1), counter=s.counter + 1)
        if w.beat == WRITTEN and not full:
            yield "execute %d" % i, become(w._replace(beat=s.counter + 1), counter=s.counter + 1)
        elif w.beat != WRITTEN:
            yield "answer %d" % i, self.conclude(s, i, w)

    def cut(self, w):
        """Its connection is gone.  What was not executed never will be, if it is killed first."""
        late = w.late + (w.beat == WRITTEN if self.mutant == "no kill" else 0)
        return w._replace(beat=None, late=late)

    @staticmethod
    def unquiet(s):
        return s._replace(turns=0, turn=None)

    def conclude(self, s, i, w):
        value, complaint, same_run = w.beat, s.complaint, w.known_run == s.run_id
        most = w.last + (1 if self.mutant == "expects exactly one more" else w.sent)
        after = w._replace(last=value, sent=0, beat=None, known_run=s.run_id)
        if value > most and (same_run or self.mutant == "clone under any run_id") \
                and self.mutant != "more is fine":
            after = after._replace(retired=True)
            complaint = complaint if s.cloned else NO_CLONE
        elif value <= w.last and (same_run or self.mutant == "dropped under any run_id"):
            complaint = complaint if s.dropped else NOT_DROPPED
        changed = s.cloned and s.turn not in (None, i)
        return s._replace(
            workers=swap(s.workers, i, after), complaint=complaint,
            turn=i if s.cloned else None, turns=min(TURNS, s.turns + changed))

    def observe(self, s):
        if not s.drops:
            return
        if s.noted is None:
            if s.counter:
                yield "the observer notes it!", s._replace(noted=s.counter)
            return
        stands = s.counter == s.noted
        if stands or self.mutant == "drops without looking":
            yield "the observer drops it!", self.unquiet(s._replace(
                counter=0, dropped=True, noted=None, drops=s.drops - 1,
                complaint=s.complaint if stands else STALE_DROP))
        else:
            yield "the observer sees a beat", s._replace(noted=None)

    # -- judging --

    def complaints(self, s):
        if s.complaint is not None:
            yield s.complaint
        if s.turns == TURNS and not any(w.retired for w in s.workers):
            yield UNNOTICED

    def settled(self, s):
        """Nothing is left to find out."""
        return not s.cloned or any(w.retired for w in s.workers)

    def cut_off(self, s):
        return s.counter >= self.bounds.counter


# ---- runs ----------------------------------------------------------------------------------------

QUICK = [
    ("one worker, all faults", Bounds(clones=0)),
    ("two clones, breaks", Bounds(drops=0, rollbacks=0)),
]
FULL = [
    ("one worker, all faults", Bounds(clones=0, breaks=3, drops=2)),
    ("two clones, breaks and drops", Bounds(breaks=1, rollbacks=0)),
    ("two clones, breaks and rollback", Bounds(breaks=1, drops=0)),
]
MUTANT_RUNS = [
    ("expects exactly one more", Bounds(clones=0, drops=0, rollbacks=0), NO_CLONE),
    ("more is fine", Bounds(drops=0, rollbacks=0), UNNOTICED),
    ("no kill", Bounds(clones=0, drops=0, rollbacks=0), NO_CLONE),
    ("drops without looking", Bounds(clones=0, rollbacks=0), STALE_DROP),
    ("dropped under any run_id", Bounds(clones=0, drops=0), NOT_DROPPED),
    ("clone under any run_id", Bounds(clones=0), NO_CLONE),
]


def base_runs(full):
    return [(name, Beats(bounds)) for name, bounds in (FULL if full else QUICK)]


def mutant_runs():
    return [(name, Beats(bounds, name), wanted) for name, bounds, wanted in MUTANT_RUNS]


if __name__ == "__main__":
    sys.exit(report(base_runs("--full" in sys.argv[1:]), mutant_runs()))
