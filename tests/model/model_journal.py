"""What the journal, adoption and the memory of recent acks add to the core (model.py).

A worker's claims lie in slots, which survive its death: a runner stores `begun` before and the
outcome after the handler, before it reports.  A slot stays as it is until Redis has answered the
settlement; then the next claim uses it again.  Whoever takes over on the same machine settles what
had returned, with the outcome that is stored, and gives back the rest.  After a lost reply a worker
adopts the claims it never heard of, and acks again what it remembers to have acked.

Invariants beyond the core's: a job is done only if its handler succeeded; and, as long as no other
machine recovers and Redis does not go back, no handler runs to the end twice because processes were
killed, and each failed attempt is counted, once.

    model_journal.py [--full]    base runs, then the mutants, each of which must be caught
"""

import sys
from typing import NamedTuple, Optional

from explorer import bump, put, swap, take
from model import Faults, Redis, report

QUEUED, BEGUN, DONE, RETRY = "queued", "begun", "done", "retry"


class Bounds(NamedTuple):
    jobs: int = 2
    workers: int = 2
    slots: int = 1       # of each worker: claims at once
    sequences: int = 3
    attempts: int = 2
    crashes: int = 1
    losses: int = 1
    suspicions: int = 0
    rollbacks: int = 0
    other_machine: bool = False  # somebody without the journal recovers too

    @property
    def exact(self):
        """Nothing here excuses running a handler to its end twice."""
        return not (self.suspicions or self.rollbacks or self.other_machine)


class Claim(NamedTuple):
    slot: int
    token: tuple
    job: int
    phase: str          # as the worker knows it
    stored: str = ""    # a mutant's: the outcome that is reported but not stored yet


class Entry(NamedTuple):
    """What lies in one slot of the journal."""
    incarnation: int
    slot: int
    token: tuple
    phase: str


class Worker(NamedTuple):
    incarnation: int
    sequence: int = 0
    connected: bool = True
    claims: tuple = ()
    acked: tuple = ()  # tokens it remembers to have settled as done


class State(NamedTuple):
    redis: Redis
    workers: tuple
    journal: tuple
    done: tuple
    attempts: tuple   # failures that were counted
    succeeded: tuple  # handlers that returned so
    failed: tuple
    faults: Faults
    next_incarnation: int
    snapshot: Optional[Redis] = None


MUTANTS = {
    "no journal": "a taker-over gives everything back",
    "slot freed when sent": "the settlement is sent, its answer not waited for",
    "report before storing": "the runner reports the outcome, then stores it",
    "every outcome is done": "a taker-over acks whatever had returned",
    "acks what was retried": "the memory of acks holds all settlements",
}


class Journal:
    def __init__(self, bounds=Bounds(), mutant=None):
        self.bounds, self.mutant = bounds, mutant
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError("no mutant " + mutant)

    def initial(self):
        b = self.bounds
        zeros = (0,) * b.jobs
        return State(
            redis=Redis(waiting=tuple(range(b.jobs))),
            workers=tuple(Worker(i) for i in range(b.workers)), journal=(),
            done=zeros, attempts=zeros, succeeded=zeros, failed=zeros,
            faults=Faults(b.crashes, b.losses, b.suspicions, b.rollbacks),
            next_incarnation=b.workers)

    # -- the journal --

    @staticmethod
    def write(journal, worker, slot, token, phase):
        kept = tuple(e for e in journal if (e.incarnation, e.slot) != (worker.incarnation, slot))
        return kept if phase is None else put(kept, Entry(worker.incarnation, slot, token, phase))

    @staticmethod
    def stored(s, token):
        return next((e.phase for e in s.journal if e.token == token), None)

    def change(self, s, i, claim, after, journal_phase):
        """The state with a claim changed (None: gone), and its slot set to `journal_phase`
        ("": as it is, None: free)."""
        worker = s.workers[i]
        at = worker.claims.index(claim)
        claims = worker.claims[:at] + (() if after is None else (after,)) + worker.claims[at + 1:]
        journal = s.journal if journal_phase == "" else self.write(
            s.journal, worker, claim.slot, claim.token, journal_phase)
        return s._replace(workers=swap(s.workers, i, worker._replace(claims=claims)),
                          journal=journal)

    def free_slot(self, worker):
        used = {claim.slot for claim in worker.claims}
        return next((n for n in range(self.bounds.slots) if n not in used), None)

    # -- steps --

    def steps(self, s):
        for i, worker in enumerate(s.workers):
            yield from self.claim(s, i, worker)
            for claim in worker.claims:
                yield from self.run_handler(s, i, claim)
                yield from self.settle(s, i, worker, claim)
            if not worker.connected:
                yield "reconcile", self.reconcile(s, i, worker)
            if s.faults.crashes:
                yield "crash!", s._replace(
                    workers=swap(s.workers, i, Worker(s.next_incarnation)),
                    next_incarnation=s.next_incarnation + 1,
                    faults=s.faults._replace(crashes=s.faults.crashes - 1))
        yield from self.recover(s)
        for job in set(s.redis.retry):
            yield "due", s._replace(redis=s.redis._replace(
                retry=take(s.redis.retry, job), waiting=put(s.redis.waiting, job)))
        yield from self.roll_back(s)

    def claim(self, s, i, worker):
        slot = self.free_slot(worker)
        if not worker.connected or slot is None or worker.sequence >= self.bounds.sequences:
            return
        used = worker._replace(sequence=worker.sequence + 1)
        token = (worker.incarnation, worker.sequence)
        for job in set(s.redis.waiting):
            redis = s.redis._replace(waiting=take(s.redis.waiting, job),
                                     run=put(s.redis.run, (token, job)))
            held = used._replace(claims=used.claims + (Claim(slot, token, job, QUEUED),))
            yield "claim", s._replace(
                redis=redis, workers=swap(s.workers, i, held),
                journal=self.write(s.journal, worker, slot, token, QUEUED))
            if s.faults.losses:
                yield "claim, reply lost!", s._replace(
                    redis=redis, workers=swap(s.workers, i, used._replace(connected=False)),
                    faults=s.faults._replace(losses=s.faults.losses - 1))

    def run_handler(self, s, i, claim):
        if claim.phase == QUEUED:
            yield "begin", self.change(s, i, claim, claim._replace(phase=BEGUN), BEGUN)
        elif claim.phase == BEGUN:
            early = self.mutant == "report before storing"
            for outcome in (DONE, RETRY) if s.attempts[claim.job] < self.bounds.attempts \
                    else (DONE,):
                after = self.change(
                    s, i, claim, claim._replace(phase=outcome, stored=outcome if early else ""),
                    "" if early else outcome)
                if outcome == DONE:
                    after = after._replace(succeeded=bump(s.succeeded, claim.job))
                else:
                    after = after._replace(failed=bump(s.failed, claim.job, 9))
                yield "handler returns " + outcome, after
        elif claim.stored:
            yield "store", self.change(s, i, claim, claim._replace(stored=""), claim.phase)

    @staticmethod
    def settled_state(s, token, job, outcome, limit):
        """What Redis makes of a settlement: nothing, unless `run` holds the token."""
        if (token, job) not in s.redis.run:
            return s
        redis = s.redis._replace(run=take(s.redis.run, (token, job)))
        if outcome == DONE:
            return s._replace(redis=redis, done=bump(s.done, job))
        attempts = bump(s.attempts, job, limit)
        if attempts[job] >= limit:
            redis = redis._replace(dead=put(redis.dead, job))
        else:
            redis = redis._replace(retry=put(redis.retry, job))
        return s._replace(redis=redis, attempts=attempts)

    def settle(self, s, i, worker, claim):
        if claim.phase not in (DONE, RETRY) or not worker.connected:
            return
        executed = self.settled_state(s, claim.token, claim.job, claim.phase, self.bounds.attempts)
        answered = self.change(executed, i, claim, None, None)
        if (claim.phase == DONE or self.mutant == "acks what was retried") \
                and executed is not s and self.bounds.rollbacks:
            me = answered.workers[i]
            answered = answered._replace(workers=swap(
                answered.workers, i, me._replace(acked=put(me.acked, claim.token))))
        yield "settle " + claim.phase, answered
        if s.faults.losses:
            for label, after in (("reply lost!", executed), ("not sent!", s)):
                if self.mutant == "slot freed when sent":
                    after = self.change(after, i, claim, claim, None)
                yield "settle %s, %s" % (claim.phase, label), after._replace(
                    workers=swap(after.workers, i, after.workers[i]._replace(connected=False)),
                    faults=s.faults._replace(losses=s.faults.losses - 1))

    def reconcile(self, s, i, worker):
        mine = [entry for entry in s.redis.run if entry[0][0] == worker.incarnation]
        tokens = {token for token, _ in mine}
        for claim in worker.claims:
            if claim.token not in tokens:  # lost: the handler is stopped
                s = self.change(s, i, claim, None, None)
        held = {claim.token for claim in worker.claims}
        for token, job in mine:
            me = s.workers[i]
            slot = self.free_slot(me)
            if token in held:
                continue
            if token in worker.acked:
                s = self.settled_state(s, token, job, DONE, self.bounds.attempts)
            elif slot is not None:
                adopted = me._replace(claims=me.claims + (Claim(slot, token, job, QUEUED),))
                s = s._replace(workers=swap(s.workers, i, adopted),
                               journal=self.write(s.journal, me, slot, token, QUEUED))
            else:
                s = self.given_back(s, (token, job))
        return s._replace(workers=swap(s.workers, i, s.workers[i]._replace(connected=True)))

    @staticmethod
    def given_back(s, entry):
        return s._replace(redis=s.redis._replace(
            run=take(s.redis.run, entry), waiting=put(s.redis.waiting, entry[1])))

    def recover(self, s):
        living = {worker.incarnation for worker in s.workers}
        for token, job in s.redis.run:
            if token[0] not in living:
                yield from self.take_over(s, token, job)
            elif s.faults.suspicions and len(s.workers) > 1:
                yield "recover from a living worker!", self.given_back(s, (token, job))._replace(
                    faults=s.faults._replace(suspicions=s.faults.suspicions - 1))

    def take_over(self, s, token, job):
        phase = self.stored(s, token) if self.mutant != "no journal" else None
        if phase in (DONE, RETRY):
            if self.mutant == "every outcome is done":
                phase = DONE
            after = self.settled_state(s, token, job, phase, self.bounds.attempts)
            yield "take over, settle " + phase, after
            if s.faults.losses:  # the taker-over does it again: nothing is left to do
                yield "take over, settle %s, reply lost!" % phase, after._replace(
                    faults=s.faults._replace(losses=s.faults.losses - 1))
        else:
            yield "take over, give back", self.given_back(s, (token, job))
        if self.bounds.other_machine:
            yield "recover without journal", self.given_back(s, (token, job))

    def roll_back(self, s):
        if not s.faults.rollbacks:
            return
        if s.snapshot is None:
            yield "snapshot!", s._replace(snapshot=s.redis)
        else:
            yield "Redis goes back!", s._replace(
                redis=s.snapshot, snapshot=None,
                faults=s.faults._replace(rollbacks=s.faults.rollbacks - 1),
                workers=tuple(w._replace(connected=False) for w in s.workers))

    # -- judging --

    def complaints(self, s):
        places = list(s.redis.waiting + s.redis.retry + s.redis.dead)
        places += [job for _, job in s.redis.run]
        for job in range(self.bounds.jobs):
            count = places.count(job)
            if count == 0 and not s.done[job]:
                yield "lost"
            if count > 1:
                yield "in two places"
            if count and s.done[job] and not self.bounds.rollbacks:
                yield "came back after it was done"
            if s.done[job] and not s.succeeded[job]:
                yield "done without a success"
            if self.bounds.exact:
                if s.succeeded[job] > 1:
                    yield "ran to the end twice"
                if s.attempts[job] > s.failed[job]:
                    yield "a failure counted that was none"
                if self.settled(s) and s.attempts[job] < s.failed[job]:
                    yield "a failure was not counted"

    def settled(self, s):
        return not (s.redis.waiting or s.redis.run or s.redis.retry or
                    any(worker.claims for worker in s.workers))

    def cut_off(self, s):
        return any(worker.sequence >= self.bounds.sequences for worker in s.workers)


# ---- runs ----------------------------------------------------------------------------------------

# With one worker its tokens must reach for all attempts of all jobs.
QUICK = [
    ("one machine, slots used again", Bounds(workers=1, sequences=4)),
    ("one machine, two slots", Bounds(workers=1, slots=2, sequences=4)),
    ("one job, two workers, two crashes", Bounds(jobs=1, crashes=2)),
    ("one job, suspicion and rollback", Bounds(jobs=1, crashes=0, suspicions=1, rollbacks=1)),
    ("one job, crash and rollback", Bounds(jobs=1, losses=0, rollbacks=1, other_machine=True)),
]
FULL = QUICK + [
    ("one machine, two crashes", Bounds(workers=1, crashes=2, sequences=4)),
    ("two jobs, two workers", Bounds(losses=2)),
    ("two jobs, two workers, suspicion", Bounds(suspicions=1, other_machine=True)),
    ("two jobs, one worker, one rollback", Bounds(workers=1, losses=0, rollbacks=1, sequences=4)),
    ("one job, every fault", Bounds(jobs=1, suspicions=1, rollbacks=1, other_machine=True)),
]
MUTANT_RUNS = [
    ("no journal", Bounds(jobs=1), "ran to the end twice"),
    ("slot freed when sent", Bounds(jobs=1), "ran to the end twice"),
    ("report before storing", Bounds(jobs=1), "ran to the end twice"),
    ("every outcome is done", Bounds(jobs=1), "done without a success"),
    ("acks what was retried", Bounds(jobs=1, rollbacks=1), "done without a success"),
]


def base_runs(full):
    return [(name, Journal(bounds)) for name, bounds in (FULL if full else QUICK)]


def mutant_runs():
    return [(name, Journal(bounds, name), wanted) for name, bounds, wanted in MUTANT_RUNS]


if __name__ == "__main__":
    sys.exit(report(base_runs("--full" in sys.argv[1:]), mutant_runs()))
