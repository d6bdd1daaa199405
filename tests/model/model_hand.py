"""One worker that waits by having Redis move a job into its hand, message by message.

A wait is `BLMOVE Q H RIGHT LEFT 4` on a connection of its own; H is the worker's hand, a list that
no other worker waits into.  What this models of it:

* The answer read and wanted, the handler begins at once, and hold(token, record) goes out on the main
  connection: run[token] already there: ok; record in the hand: moved into `run`, ok; else gone.  No
  wait begins before that is answered, and no settlement of the claim is written.  Gone: the outcome
  is dropped.  Its answer lost: the same hold again.
* A hand is dirty at the start, after a wait's answer that is not wanted, after a broken connection,
  after each reconciling, and when the worker learns that it was taken for dead.  Then let_go puts
  what is in it back and names the worker in `hands`: not while a wait or a hold is under way, and no
  wait begins before it is answered.
* A connection is replaced after CLIENT KILL of the old one.  Until then, or if the worker is dead,
  until Redis sees its end, what was written on it may still be executed: a late wait fills a hand.
* By its lock a dead worker is known at once: its tokens and its hand are given back, its listing in
  `workers` is dropped, and `hands` says that it died, since a late wait may follow.
* By silence it is known when no wait of it can fire any more: the same, but `hands` is let be.  The
  silent one may be alive (cut off, frozen); its next good beat tells it, and may come in the midst of
  all this, as may its death and a recovery by its lock.
* The audit finds who is named and not listed, and waits as long: the same, and its name goes, if
  `hands` still says of it what it said then.
* Who stops ends its wait, settles, lets go of its hand with its name, and leaves.

The other worker is always well: it runs what waits in one step.  A beat is one step, too.

Invariants: each job is in one place; a settlement ends the job that was run; nothing is in `run` that
its living owner does not know of; no job is started twice unless there was a fault.  And never stuck:
without further faults every job can be done, so that none stays in a hand.

    model_hand.py [--full]    base runs, then the mutants, each of which must be caught
"""

import sys
from typing import NamedTuple, Optional

from explorer import bump, put, swap, take
from model import report

RUNNING, CRASHED, LEFT = "running", "crashed", "left"       # the worker
NO_WAIT, UNDER_WAY, FIRED = "no wait", "under way", "fired"  # fired: its answer is still to be read
HOLD, ACK, LET_GO, LEAVE, SCAN = "hold", "ack", "let go", "leave", "scan"
TO_SEND, SENT, ANSWERED = "to send", "sent", "answered"      # a hold, an ack
LOCK, SILENCE = "lock", "silence"                            # how a worker is known to be dead
WAITS, DIED = "waits", "died"                                # what `hands` says of one


class Bounds(NamedTuple):
    jobs: int = 2
    runners: int = 1
    tokens: int = 2
    breaks: int = 1
    thefts: int = 0     # times that it is taken for dead while alive
    crashes: int = 1
    scans: int = 1      # periodic ones; after a break or a theft one is always due
    stops: int = 1
    locks: bool = True  # False: nobody else comes to its machine; silence decides
    undelivered: bool = False  # True: a wait can reach Redis after its writer was silent for 10 s


class Message(NamedTuple):
    kind: str
    token: int = -1         # of a hold or ack
    job: int = -1
    executed: bool = False
    answer: object = None   # hold: whether it is ours; scan: our tokens in `run`


class Claim(NamedTuple):
    token: int
    job: int
    hold: str = TO_SEND
    ack: str = TO_SEND
    returned: bool = False  # the handler


class State(NamedTuple):
    queue: tuple
    hand: tuple = ()
    run: tuple = ()              # pairs of token and job
    done: tuple = ()
    named: str = ""              # what `hands` says of it
    listed: bool = True          # in `workers`
    worker: str = RUNNING
    stopping: bool = False
    wait: str = NO_WAIT
    wait_job: int = -1
    wait_up: bool = True
    late_wait: bool = False      # one of a broken connection or a dead worker that may still fire
    main_up: bool = True
    pipe: tuple = ()             # messages on the main connection without an answer, oldest first
    late: tuple = ()             # messages of its predecessor that may still be executed
    claims: tuple = ()
    dirty: bool = True
    must_scan: bool = False
    robbed: bool = False         # taken for dead, and does not know it yet
    by_lock: int = 0             # the next step of a recovery by lock; 0 = there is none
    by_silence: int = 0
    stands: bool = False         # the beat counter, since the recovery by silence began
    by_name: str = ""            # it began because it was named so and not listed
    lock_free: bool = False      # it is dead and nobody has recovered it by its lock yet
    next_token: int = 0
    breaks: int = 0
    thefts: int = 0
    crashes: int = 0
    scans: int = 0
    stops: int = 0
    executions: tuple = ()       # of each job; not counted after a fault
    complaint: Optional[str] = None


MUTANTS = {
    "settles before held": "an ack does not await the hold's answer; if it finds nothing, so be it",
    "lets go while it waits": "let_go is written though a wait is under way",
    "waits before let go is answered": "a wait is written though a let_go is under way",
    "lock drops the name": "recovery by lock removes the name from `hands`",
    "lock leaves the name": "recovery by lock does not put the name into `hands` if it is not there",
    "silence drops the name": "recovery by silence of one that is listed removes it from `hands`",
    "one name for all": "whoever found it named removes whatever `hands` says by then",
    "silence is too short": "recovery by silence while a late wait may still fire",
    "no kill": "a broken connection is replaced but not killed",
    "forgets a broken wait": "a break of the wait's connection leaves the hand undirtied",
    "no audit": "nobody looks through `hands` for owners that nobody lists",
}

PLACES = "lost or in two places"
WRONG = "settled another job than was run"
UNKNOWN = "in run, unknown to its living owner"
TWICE = "started twice without a fault"


class Hand:
    def __init__(self, bounds=Bounds(), mutant=None):
        self.bounds, self.mutant = bounds, mutant
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError("no mutant " + mutant)

    def initial(self):
        b = self.bounds
        return State(queue=tuple(range(b.jobs)), executions=(0,) * b.jobs, breaks=b.breaks,
                     thefts=b.thefts, crashes=b.crashes, scans=b.scans, stops=b.stops)

    def faulty(self, s):
        b = self.bounds
        return (s.breaks, s.thefts, s.crashes) != (b.breaks, b.thefts, b.crashes)

    # -- steps --

    def steps(self, s):
        yield from self.redis(s)
        yield from self.others(s)
        if s.worker != RUNNING:
            return
        yield from self.waiting(s)
        yield from self.writing(s)
        if s.main_up and s.pipe and s.pipe[0].executed:
            yield s.pipe[0].kind + " answered", self.answered(s._replace(pipe=s.pipe[1:]), s.pipe[0])
        yield from self.breaking(s)
        for c in s.claims:
            if not c.returned:
                yield "handler returns", self.with_claim(s, c, returned=True)
        if s.robbed and s.main_up:
            yield "learns by a beat that it was taken for dead", s._replace(
                robbed=False, listed=True, must_scan=True, dirty=True, stands=False)
        if s.stops and not s.stopping:
            yield "stop", s._replace(stopping=True, stops=s.stops - 1)
        if s.crashes:
            yield "crash!", self.fault(s, worker=CRASHED, crashes=s.crashes - 1, pipe=(), claims=(),
                                       late=s.late + tuple(m for m in s.pipe if not m.executed),
                                       late_wait=s.late_wait or s.wait == UNDER_WAY, wait=NO_WAIT,
                                       wait_job=-1, lock_free=self.bounds.locks, dirty=False,
                                       must_scan=False, robbed=False, main_up=True, wait_up=True)

    def fault(self, s, **changes):
        return s._replace(executions=(0,) * self.bounds.jobs, **changes)

    @staticmethod
    def with_claim(s, claim, **changes):
        return s._replace(claims=put(take(s.claims, claim), claim._replace(**changes)))

    # What Redis executes, at once or late.

    def redis(self, s):
        if s.queue and (s.wait == UNDER_WAY or s.late_wait):
            job = s.queue[0]
            moved = s._replace(queue=s.queue[1:], hand=put(s.hand, job))
            if s.wait == UNDER_WAY:
                yield "wait fires", moved._replace(wait=FIRED, wait_job=job)
            if s.late_wait:
                yield "late wait fires", moved._replace(late_wait=False)
        if s.late:
            yield "late " + s.late[0].kind, self.executed(s._replace(late=s.late[1:]), s.late[0])[0]
        if s.late or s.late_wait:
            yield "end of a connection seen", s._replace(late=(), late_wait=False)
        at = next((n for n, m in enumerate(s.pipe) if not m.executed), None)
        if at is not None and s.main_up:
            after, answer = self.executed(s, s.pipe[at])
            yield "execute " + s.pipe[at].kind, after._replace(
                pipe=swap(s.pipe, at, s.pipe[at]._replace(executed=True, answer=answer)))

    def executed(self, s, m):
        """The state after a message on the main connection, and the answer."""
        claimed = next((pair for pair in s.run if pair[0] == m.token), None)
        if m.kind == HOLD:
            if claimed is None and m.job in s.hand:
                return s._replace(hand=take(s.hand, m.job), run=put(s.run, (m.token, m.job))), True
            return s, claimed is not None
        if m.kind == ACK:
            if claimed is None:
                return s, None
            return s._replace(run=take(s.run, claimed), done=put(s.done, claimed[1]),
                              complaint=s.complaint if claimed[1] == m.job else WRONG), None
        if m.kind == SCAN:
            return s, tuple(token for token, _ in s.run)
        return self.let_go(s, WAITS if m.kind == LET_GO else ""), None

    @staticmethod
    def let_go(s, named):
        return s._replace(queue=tuple(sorted(s.queue + s.hand)), hand=(), named=named)

    # What the worker does.

    def waiting(self, s):
        if s.wait == FIRED:
            read = s._replace(wait=NO_WAIT, wait_job=-1)
            yield "job not wanted", read._replace(dirty=True)
            if not s.stopping and self.runner_idle(s) and s.next_token < self.bounds.tokens:
                claim = Claim(s.next_token, s.wait_job)
                yield "handler begins", self.send(self.begun(read, s.wait_job)._replace(
                    claims=put(s.claims, claim), next_token=s.next_token + 1), claim, HOLD)
        if s.wait == UNDER_WAY:
            yield "wait ends with nothing", s._replace(wait=NO_WAIT)
        if s.wait == NO_WAIT and s.wait_up and s.main_up and not (s.stopping or s.must_scan) and \
                self.runner_idle(s) and s.next_token < self.bounds.tokens and self.all_held(s) and \
                (not s.robbed or self.bounds.undelivered) and \
                (self.mutant == "waits before let go is answered" or not s.dirty and
                 not any(m.kind == LET_GO for m in s.pipe)):
            yield "write wait", s._replace(wait=UNDER_WAY)

    def runner_idle(self, s):
        return sum(not c.returned for c in s.claims) < self.bounds.runners

    @staticmethod
    def all_held(s):
        return all(c.hold == ANSWERED for c in s.claims)

    def begun(self, s, job):
        if self.faulty(s):
            return s
        executions = bump(s.executions, job)
        return s._replace(executions=executions,
                          complaint=TWICE if executions[job] > 1 else s.complaint)

    def send(self, s, claim, kind):
        """A claim's hold or ack is written, if the connection is up."""
        if not s.main_up:
            return s
        s = self.with_claim(s, claim, **{"hold" if kind == HOLD else "ack": SENT})
        return s._replace(pipe=s.pipe + (Message(kind, claim.token, claim.job),))

    def writing(self, s):
        if not s.main_up:
            return
        for c in s.claims:
            if c.hold == TO_SEND:
                yield "write hold again", self.send(s, c, HOLD)
            if c.returned and c.ack == TO_SEND and (
                    c.hold == ANSWERED or self.mutant == "settles before held"):
                yield "write ack", self.send(s, c, ACK)
        scanning = any(m.kind == SCAN for m in s.pipe)
        if not scanning and (s.must_scan or s.scans):
            yield "write scan", s._replace(pipe=s.pipe + (Message(SCAN),), must_scan=False,
                                           scans=s.scans if s.must_scan else s.scans - 1)
        no_wait = s.wait_up and s.wait == NO_WAIT or self.mutant == "lets go while it waits"
        letting_go = any(m.kind in (LET_GO, LEAVE) for m in s.pipe)
        if no_wait and self.all_held(s) and not (letting_go or scanning or s.must_scan):
            if s.dirty and not s.stopping:
                yield "write let go", s._replace(pipe=s.pipe + (Message(LET_GO),), dirty=False)
            if s.stopping and s.wait == NO_WAIT and not s.claims:
                yield "write leave", s._replace(pipe=s.pipe + (Message(LEAVE),), dirty=False)

    def answered(self, s, m):
        claim = next((c for c in s.claims if c.token == m.token), None)
        if m.kind == HOLD:
            if m.answer and claim.ack != ANSWERED:
                return self.with_claim(s, claim, hold=ANSWERED)
            return s._replace(claims=take(s.claims, claim))  # gone (or, as a mutant, settled before)
        if m.kind == ACK:
            if claim is not None and claim.hold != ANSWERED:  # only as a mutant
                return self.with_claim(s, claim, ack=ANSWERED)
            return s._replace(claims=tuple(c for c in s.claims if c != claim))
        if m.kind == SCAN:
            lost = [c for c in s.claims if (c.hold, c.ack) == (ANSWERED, TO_SEND)
                    and c.token not in m.answer]
            return s._replace(claims=tuple(c for c in s.claims if c not in lost), dirty=True)
        if m.kind == LEAVE:
            return s._replace(worker=LEFT, listed=False, dirty=False, must_scan=False, robbed=False)
        return s

    def breaking(self, s):
        if s.breaks and s.main_up:
            claims = tuple(c._replace(hold=TO_SEND if c.hold == SENT else c.hold,
                                      ack=TO_SEND if c.ack == SENT else c.ack) for c in s.claims)
            yield "break main!", self.fault(
                s, main_up=False, breaks=s.breaks - 1, claims=claims, pipe=(),
                late=s.late + tuple(m for m in s.pipe if not m.executed))
        if not s.main_up:
            yield "reconnect main", s._replace(main_up=True, must_scan=True, dirty=True,
                                               late=s.late if self.mutant == "no kill" else ())
        if s.breaks and s.wait_up:
            dirty = s.dirty or s.wait != NO_WAIT and self.mutant != "forgets a broken wait"
            yield "break wait!", self.fault(s, wait_up=False, breaks=s.breaks - 1, dirty=dirty,
                                            wait=NO_WAIT, wait_job=-1,
                                            late_wait=s.late_wait or s.wait == UNDER_WAY)
        if not s.wait_up:
            yield "reconnect wait", s._replace(
                wait_up=True, late_wait=s.late_wait and self.mutant == "no kill")

    # What the other worker does.

    def others(self, s):
        if s.queue:
            job = s.queue[0]
            yield "other runs a job", self.begun(s, job)._replace(
                queue=s.queue[1:], done=put(s.done, job))
        if s.by_lock:
            yield self.recover(s, LOCK, s.by_lock)
        elif s.lock_free:
            yield "found dead by lock", s._replace(by_lock=1, lock_free=False)
        may_fire = s.late_wait or s.wait == UNDER_WAY
        by_name = s.named if not s.listed and self.mutant != "no audit" else ""
        silent = s._replace(by_silence=1, stands=True, by_name=by_name)
        if s.by_silence:
            yield self.recover(s, SILENCE, s.by_silence)
        elif s.worker == CRASHED:
            known = s.listed or s.run or by_name
            if known and (self.mutant == "silence is too short" or not (may_fire or s.late)):
                yield "found dead by silence", silent
        elif s.worker == RUNNING and (self.bounds.undelivered or not may_fire):
            if s.robbed and by_name:
                yield "found by its name", silent
            if s.thefts:
                yield "taken for dead!", self.fault(silent, robbed=True, thefts=s.thefts - 1)

    def recover(self, s, by, step):
        def went_on(s, **changes):
            at = "by_lock" if by == LOCK else "by_silence"
            return s._replace(**{at: (step + 1) % 4}, **changes)

        if step == 1:
            return "tokens given back by " + by, went_on(s, run=(), queue=tuple(sorted(
                s.queue + tuple(job for _, job in s.run))))
        if step == 2:
            if by == LOCK:
                named = {"lock drops the name": "", "lock leaves the name": s.named}.get(
                    self.mutant, DIED)
            elif s.by_name:
                named = "" if self.mutant == "one name for all" or s.named == s.by_name else s.named
            else:
                named = "" if self.mutant == "silence drops the name" else s.named
            return "hand given back by " + by, went_on(self.let_go(s, named))
        dropped = not s.run and (by == LOCK or s.stands)
        s = went_on(s, listed=s.listed and not dropped)
        return "delisted by " + by, s if by == LOCK else s._replace(stands=False, by_name="")

    # -- judging --

    def complaints(self, s):
        if s.complaint is not None:
            yield s.complaint
        places = list(s.queue + s.hand + s.done) + [job for _, job in s.run]
        if sorted(places) != list(range(self.bounds.jobs)):
            yield PLACES
        if s.worker != CRASHED and {t for t, _ in s.run} - {c.token for c in s.claims}:
            yield UNKNOWN

    def settled(self, s):
        return len(s.done) == self.bounds.jobs

    def cut_off(self, s):
        return False  # without tokens it only waits no more: the other worker can do the rest


# ---- runs ----------------------------------------------------------------------------------------

NO_FAULT = Bounds(breaks=0, crashes=0, scans=0, stops=0)
ROBBED = NO_FAULT._replace(thefts=1, crashes=1)

QUICK = [
    ("no fault", NO_FAULT._replace(scans=2, stops=1, runners=2)),
    ("a break and a crash", Bounds()),
    ("taken for dead, and a crash", ROBBED),
    ("taken for dead, and a crash without locks", ROBBED._replace(locks=False)),
    ("a wait undelivered for long", ROBBED._replace(undelivered=True)),
]
FULL = [
    ("two breaks and a crash", Bounds(breaks=2)),
    ("a break, and taken for dead", Bounds(thefts=1, crashes=0)),
    ("three jobs, two runners", Bounds(jobs=3, runners=2, tokens=3, crashes=0)),
    ("a break, taken for dead, and a crash", ROBBED._replace(breaks=1)),
    ("twice taken for dead, and a crash", ROBBED._replace(thefts=2, tokens=1)),
]
MUTANT_RUNS = [
    ("settles before held", NO_FAULT._replace(breaks=1), UNKNOWN),
    ("lets go while it waits", NO_FAULT._replace(scans=1), TWICE),
    ("waits before let go is answered", NO_FAULT, TWICE),
    ("lock drops the name", NO_FAULT._replace(crashes=1), "stuck"),
    ("lock leaves the name", ROBBED._replace(undelivered=True), "stuck"),
    ("silence drops the name", ROBBED, "stuck"),
    ("one name for all", ROBBED, "stuck"),
    ("silence is too short", NO_FAULT._replace(crashes=1), "stuck"),
    ("no kill", NO_FAULT._replace(breaks=1), "stuck"),
    ("forgets a broken wait", NO_FAULT._replace(breaks=1), "stuck"),
    ("no audit", NO_FAULT._replace(crashes=1), "stuck"),
]


def base_runs(full):
    return [(name, Hand(bounds)) for name, bounds in (FULL if full else QUICK)]


def mutant_runs():
    return [(name, Hand(bounds, name), wanted) for name, bounds, wanted in MUTANT_RUNS]


if __name__ == "__main__":
    sys.exit(report(base_runs("--full" in sys.argv[1:]), mutant_runs()))
