"""One worker with two claiming connections, message by message: what reconciling must heed.

A command is written, executed by Redis, and answered, each at its own time; a connection can break
before or after any of them.  A broken connection's written commands may still be executed, unless
the worker has Redis kill that connection first (CLIENT KILL ID).  Reconciling is a scan of `run` on
one connection while claims are under way on the other:

* a token is held from the moment the claim naming it is written;
* held, its claim answered before the scan was written, still held, and not seen: lost;
* seen, not held, and of no claim under way on an open connection: adopted;
* a later answer naming an adopted token is ignored (such an answer can not come here: a claim whose
  connection broke is forgotten).

Settling is answered at once here: that part is in model.py.  Somebody else may take the claim of a
job away, once.

Invariants: no handler is started twice under one token; a claim is not dropped while Redis holds it
for the worker.  And when all is quiet nothing is left in `run` that nobody holds.

    model_links.py [--full]    base runs, then the mutants, each of which must be caught
"""

import sys
from typing import NamedTuple, Optional

from explorer import put, swap, take
from model import report

WRITTEN, EXECUTED = "written", "executed"
CLAIM, SCAN = "claim", "scan"


class Bounds(NamedTuple):
    jobs: int = 2
    connections: int = 2
    tokens: int = 3
    breaks: int = 1
    thefts: int = 1   # claims given back by somebody who takes us for dead
    scans: int = 2    # periodic ones; after a break one is always due


class Message(NamedTuple):
    kind: str
    state: str
    token: int = -1          # of a claim
    job: int = -1            # what the claim got; -1 = nothing
    seen: tuple = ()         # what the scan saw
    held_before: tuple = ()  # tokens whose claims were answered when the scan was written


class Connection(NamedTuple):
    up: bool = True
    pipe: tuple = ()      # messages without an answer, oldest first
    orphans: tuple = ()   # tokens of claims written to its predecessor that may still be executed


class State(NamedTuple):
    waiting: tuple
    run: tuple = ()          # pairs of token and job
    connections: tuple = ()
    held: tuple = ()         # tokens whose claim was answered or adopted, with their job
    started: tuple = ()      # tokens under which a handler was started
    next_token: int = 0
    must_scan: bool = False  # a connection broke
    breaks: int = 0
    thefts: int = 0
    scans: int = 0
    done: tuple = ()
    complaint: Optional[str] = None


MUTANTS = {
    "adopts what is under way": "a token seen is adopted though its claim's answer is still to come",
    "drops what is under way": "a token not seen is dropped though it was claimed after the scan",
    "no kill": "the broken connection is not killed, so its claim runs after the scan",
    "never scans": "a broken connection is only replaced",
}

TWICE = "a handler started twice under one token"
DROPPED = "a claim dropped that was ours"


class Links:
    def __init__(self, bounds=Bounds(), mutant=None):
        self.bounds, self.mutant = bounds, mutant
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError("no mutant " + mutant)

    def initial(self):
        b = self.bounds
        return State(waiting=tuple(range(b.jobs)), connections=(Connection(),) * b.connections,
                     breaks=b.breaks, thefts=b.thefts, scans=b.scans)

    # -- steps --

    def steps(self, s):
        scanning = any(m.kind == SCAN for c in s.connections for m in c.pipe)
        for i, c in enumerate(s.connections):
            if c.up:
                yield from self.write(s, i, c, scanning)
                yield from self.answer(s, i, c)
                if s.breaks:
                    yield self.break_(s, i, c)
            else:
                yield from self.reconnect(s, i, c)
            yield from self.execute(s, i, c)
        for token, job in s.held:
            if (token, job) in s.run:
                yield "ack", s._replace(run=take(s.run, (token, job)), done=put(s.done, job),
                                        held=take(s.held, (token, job)))
            else:
                yield "ack, was lost", s._replace(held=take(s.held, (token, job)))
        if s.thefts:
            for token, job in s.run:
                yield "given back by another!", s._replace(
                    run=take(s.run, (token, job)), waiting=put(s.waiting, job),
                    thefts=s.thefts - 1)

    def write(self, s, i, c, scanning):
        def with_message(message, **changes):
            return s._replace(connections=swap(s.connections, i, c._replace(
                pipe=c.pipe + (message,))), **changes)

        # No claim before the reconciling that a break calls for is under way.
        if s.waiting and s.next_token < self.bounds.tokens and not s.must_scan:
            yield "write claim %d" % i, with_message(Message(CLAIM, WRITTEN, token=s.next_token),
                                                     next_token=s.next_token + 1)
        if not scanning and (s.must_scan or s.scans):
            answered = tuple(token for token, _ in s.held)
            yield "write scan %d" % i, with_message(
                Message(SCAN, WRITTEN, held_before=answered), must_scan=False,
                scans=s.scans if s.must_scan else s.scans - 1)

    def execute(self, s, i, c):
        """Redis executes the oldest command that it has not yet, of this or the broken connection."""
        for token in c.orphans:
            after, _ = self.claimed(s, token)
            yield "execute a late claim", after._replace(connections=swap(
                after.connections, i, c._replace(orphans=take(c.orphans, token))))
        at = next((n for n, m in enumerate(c.pipe) if m.state == WRITTEN), None)
        if at is None or not c.up:
            return
        message = c.pipe[at]
        if message.kind == CLAIM:
            after, job = self.claimed(s, message.token)
            message = message._replace(state=EXECUTED, job=job)
        else:
            after, message = s, message._replace(state=EXECUTED, seen=s.run)
        yield "execute %s %d" % (message.kind, i), after._replace(connections=swap(
            after.connections, i, c._replace(pipe=swap(c.pipe, at, message))))

    @staticmethod
    def claimed(s, token):
        """Redis moves the first job that waits into `run`."""
        if not s.waiting:
            return s, -1
        job = s.waiting[0]
        return s._replace(waiting=s.waiting[1:], run=put(s.run, (token, job))), job

    def answer(self, s, i, c):
        if not c.pipe or c.pipe[0].state != EXECUTED:
            return
        message = c.pipe[0]
        s = s._replace(connections=swap(s.connections, i, c._replace(pipe=c.pipe[1:])))
        if message.kind == SCAN:
            yield "scan answered", self.reconciled(s, message)
        elif message.job >= 0:
            yield "claim answered", self.start(s, message.token, message.job)
        else:
            yield "nothing to claim", s

    @staticmethod
    def start(s, token, job):
        if token in s.started:
            return s._replace(complaint=TWICE)
        return s._replace(held=put(s.held, (token, job)), started=put(s.started, token))

    def reconciled(self, s, scan):
        mutant = self.mutant
        seen = {token for token, _ in scan.seen}
        under_way = {m.token for c in s.connections for m in c.pipe if m.kind == CLAIM}
        held = {token for token, _ in s.held}
        for token, job in s.held:
            answered_before = token in scan.held_before or mutant == "drops what is under way"
            if answered_before and token not in seen:
                if (token, job) in s.run:
                    s = s._replace(complaint=DROPPED)
                s = s._replace(held=take(s.held, (token, job)))
        for token, job in scan.seen:
            if token in held or (token in under_way and mutant != "adopts what is under way"):
                continue
            if token not in s.started:  # settled since the scan: remembered as acked
                s = self.start(s, token, job)
        return s

    def break_(self, s, i, c):
        """The connection is lost.  Its unanswered claims are forgotten; those that were not yet
        executed may still be."""
        late = tuple(sorted(m.token for m in c.pipe if m.kind == CLAIM and m.state == WRITTEN))
        return "break %d!" % i, s._replace(
            connections=swap(s.connections, i, Connection(up=False, orphans=late)),
            breaks=s.breaks - 1)

    def reconnect(self, s, i, c):
        orphans = c.orphans if self.mutant == "no kill" else ()
        yield "reconnect %d" % i, s._replace(
            connections=swap(s.connections, i, Connection(orphans=orphans)),
            must_scan=self.mutant != "never scans")

    # -- judging --

    def complaints(self, s):
        if s.complaint is not None:
            yield s.complaint
        places = list(s.waiting + s.done) + [job for _, job in s.run]
        for job in range(self.bounds.jobs):
            if places.count(job) != 1:
                yield "lost or in two places"
        quiet = all(c.up and not c.pipe and not c.orphans for c in s.connections)
        if quiet and not s.scans and not s.must_scan:
            if {token for token, _ in s.run} - {token for token, _ in s.held}:
                yield "left in run, held by nobody"

    def settled(self, s):
        return not (s.waiting or s.run or s.held)

    def cut_off(self, s):
        return s.next_token >= self.bounds.tokens


# ---- runs ----------------------------------------------------------------------------------------

QUICK = [("two connections, one break, one theft", Bounds(scans=1))]
FULL = [
    ("two scans", Bounds()),
    ("two breaks", Bounds(breaks=2, scans=1)),
    ("three jobs", Bounds(jobs=3, tokens=4, scans=1, thefts=0)),
]
MUTANT_RUNS = [
    ("adopts what is under way", Bounds(breaks=0, thefts=0), TWICE),
    ("drops what is under way", Bounds(breaks=0, thefts=0), DROPPED),
    ("no kill", Bounds(thefts=0, scans=0), "left in run, held by nobody"),
    ("never scans", Bounds(thefts=0, scans=0), "left in run, held by nobody"),
]


def base_runs(full):
    return [(name, Links(bounds)) for name, bounds in (FULL if full else QUICK)]


def mutant_runs():
    return [(name, Links(bounds, name), wanted) for name, bounds, wanted in MUTANT_RUNS]


if __name__ == "__main__":
    sys.exit(report(base_runs("--full" in sys.argv[1:]), mutant_runs()))
