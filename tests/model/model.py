"""The core of the protocol as an explicit-state model.

Each Redis command or script is one atomic step; everything else interleaves in any order.  The
adversary may kill a worker (which comes back as a new incarnation), lose a command before it is
executed or its reply after it was, have a living worker wrongly taken for dead, and let Redis go
back to an earlier state (a lost tail of the append-only file, or a failover).

Invariants: no job is lost; no job is in two places; without going back in time no job that was
settled as done comes back; nobody consumes another's claim.  And nothing gets stuck.

    model.py [--full]    base runs, then the mutants, each of which must be caught
"""

import sys
import time
from typing import NamedTuple, Optional

from explorer import bump, explore, put, swap, take

# Phases of a claim in its worker's hands.
HELD_ONLY = "popped"     # a mutant's: taken from the list, not in `run` yet
RUNNING = "running"      # the handler runs
SUCCEEDED = "succeeded"  # it returned; the ack is still to be answered
FAILED = "failed"        # it returned; the retry or burial is still to be answered


class Bounds(NamedTuple):
    jobs: int = 2
    workers: int = 2
    claims: int = 1       # at once, of one worker
    sequences: int = 4    # tokens of one incarnation
    attempts: int = 2     # then a job is dead
    crashes: int = 1
    losses: int = 1       # of commands or replies
    suspicions: int = 1   # living workers taken for dead
    rollbacks: int = 0


class Claim(NamedTuple):
    token: tuple  # (incarnation, sequence)
    job: int
    phase: str


class Worker(NamedTuple):
    incarnation: int
    sequence: int = 0       # of its next token
    connected: bool = True  # False: a reply was lost, and it must reconcile first
    claims: tuple = ()


class Redis(NamedTuple):
    waiting: tuple
    run: tuple = ()    # pairs of token and job
    retry: tuple = ()
    dead: tuple = ()


class Faults(NamedTuple):
    """How many of each the adversary has left."""
    crashes: int
    losses: int
    suspicions: int
    rollbacks: int


class State(NamedTuple):
    redis: Redis
    workers: tuple
    done: tuple               # for the invariants: how often each job was settled as done
    attempts: tuple           # failed attempts of each job, as its record tells
    faults: Faults
    next_incarnation: int
    snapshot: Optional[Redis] = None  # what Redis will go back to
    in_hand: tuple = ()       # a mutant's: jobs between two commands, with their incarnation


MUTANTS = {
    "settle by job id": "no fencing token: whatever claim of that job there is, is consumed",
    "pop, then register": "taken from the list by one command, put into `run` by a second",
    "retry in two commands": "taken out of `run` by one command, put into `retry` by a second",
    "no reconcile": "after a lost reply the worker just goes on",
}

FOREIGN = "a stale worker consumed another's claim"


class Core:
    def __init__(self, bounds=Bounds(), mutant=None):
        self.bounds, self.mutant = bounds, mutant
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError("no mutant " + mutant)

    def initial(self):
        b = self.bounds
        return State(
            redis=Redis(waiting=tuple(range(b.jobs))),
            workers=tuple(Worker(i) for i in range(b.workers)),
            done=(0,) * b.jobs, attempts=(0,) * b.jobs,
            faults=Faults(b.crashes, b.losses, b.suspicions, b.rollbacks),
            next_incarnation=b.workers)

    # -- steps --

    def steps(self, s):
        for i, worker in enumerate(s.workers):
            yield from self.claim(s, i, worker)
            for claim in worker.claims:
                yield from self.handler_returns(s, i, worker, claim)
                yield from self.settle(s, i, worker, claim)
            if not worker.connected:
                yield self.reconcile(s, i, worker)
            if s.faults.crashes:
                yield self.crash(s, i, worker)
        yield from self.recover(s)
        for job in set(s.redis.retry):
            yield "due", s._replace(redis=s.redis._replace(
                retry=take(s.redis.retry, job), waiting=put(s.redis.waiting, job)))
        for incarnation, job in s.in_hand:
            yield "retry, second command", s._replace(
                redis=s.redis._replace(retry=put(s.redis.retry, job)),
                in_hand=take(s.in_hand, (incarnation, job)))
        yield from self.roll_back(s)

    def claim(self, s, i, worker):
        b, redis = self.bounds, s.redis
        if not worker.connected or len(worker.claims) >= b.claims or worker.sequence >= b.sequences:
            return
        used = worker._replace(sequence=worker.sequence + 1)
        for job in set(redis.waiting):
            token = (worker.incarnation, worker.sequence)
            left = take(redis.waiting, job)
            if self.mutant == "pop, then register":
                popped = used.claims + (Claim(token, job, HELD_ONLY),)
                yield "pop", s._replace(
                    redis=redis._replace(waiting=left),
                    workers=swap(s.workers, i, used._replace(claims=popped)))
                continue
            after = redis._replace(waiting=left, run=put(redis.run, (token, job)))
            held = used.claims + (Claim(token, job, RUNNING),)
            yield "claim", s._replace(
                redis=after, workers=swap(s.workers, i, used._replace(claims=held)))
            if s.faults.losses:
                yield "claim, reply lost!", s._replace(
                    redis=after, workers=swap(s.workers, i, used._replace(connected=False)),
                    faults=s.faults._replace(losses=s.faults.losses - 1))

    def handler_returns(self, s, i, worker, claim):
        def becomes(phase):
            claims = swap(worker.claims, worker.claims.index(claim), claim._replace(phase=phase))
            return swap(s.workers, i, worker._replace(claims=claims))

        if claim.phase == HELD_ONLY:
            yield "register", s._replace(
                redis=s.redis._replace(run=put(s.redis.run, (claim.token, claim.job))),
                workers=becomes(RUNNING))
        elif claim.phase == RUNNING:
            yield "handler succeeds", s._replace(workers=becomes(SUCCEEDED))
            if s.attempts[claim.job] < self.bounds.attempts:
                yield "handler fails", s._replace(workers=becomes(FAILED))

    def settle(self, s, i, worker, claim):
        if claim.phase not in (SUCCEEDED, FAILED) or not worker.connected:
            return
        after, complaint = self.settlement(s, worker, claim)
        verb = "ack" if claim.phase == SUCCEEDED else "retry"
        free = worker._replace(claims=take(worker.claims, claim))
        yield verb, after._replace(workers=swap(s.workers, i, free)), complaint
        if s.faults.losses:
            # It keeps the claim, reconciles, and settles again if its token is still there.
            fewer = s.faults._replace(losses=s.faults.losses - 1)
            broken = swap(s.workers, i, worker._replace(connected=False))
            yield verb + ", reply lost!", after._replace(workers=broken, faults=fewer), complaint
            yield verb + ", not sent!", s._replace(workers=broken, faults=fewer)

    def settlement(self, s, worker, claim):
        """What Redis does on a settlement: nothing, unless `run` still holds the token."""
        redis, job, complaint = s.redis, claim.job, None
        if self.mutant == "settle by job id":
            tokens = [token for token, held in redis.run if held == job]
            if not tokens:
                return s, None
            consumed = tokens[0]
            complaint = FOREIGN if consumed != claim.token else None
        else:
            if (claim.token, job) not in redis.run:
                return s, None
            consumed = claim.token
        redis = redis._replace(run=take(redis.run, (consumed, job)))
        if claim.phase == SUCCEEDED:
            return s._replace(redis=redis, done=bump(s.done, job)), complaint
        s = s._replace(attempts=bump(s.attempts, job, self.bounds.attempts))
        if s.attempts[job] >= self.bounds.attempts:
            return s._replace(redis=redis._replace(dead=put(redis.dead, job))), complaint
        if self.mutant == "retry in two commands":
            return s._replace(redis=redis, in_hand=put(
                s.in_hand, (worker.incarnation, job))), complaint
        return s._replace(redis=redis._replace(retry=put(redis.retry, job))), complaint

    def reconcile(self, s, i, worker):
        """Compares what it holds with its tokens in `run`: drops the claims it lost, gives back
        those it never heard of."""
        back = worker._replace(connected=True)
        if self.mutant == "no reconcile":
            return "reconnect", s._replace(workers=swap(s.workers, i, back))
        redis = s.redis
        held = {claim.token for claim in worker.claims}
        mine = {token for token, _ in redis.run if token[0] == worker.incarnation}
        unknown = [entry for entry in redis.run if entry[0] in mine - held]
        for entry in unknown:
            redis = redis._replace(run=take(redis.run, entry), waiting=put(redis.waiting, entry[1]))
        kept = tuple(claim for claim in worker.claims if claim.token in mine)
        return "reconcile", s._replace(
            redis=redis, workers=swap(s.workers, i, back._replace(claims=kept)))

    def crash(self, s, i, worker):
        return "crash!", s._replace(
            workers=swap(s.workers, i, Worker(s.next_incarnation)),
            next_incarnation=s.next_incarnation + 1,
            faults=s.faults._replace(crashes=s.faults.crashes - 1),
            in_hand=tuple(h for h in s.in_hand if h[0] != worker.incarnation))

    def recover(self, s):
        """Anybody gives back what a worker held that is dead, or is taken for dead."""
        living = {worker.incarnation for worker in s.workers}
        for entry in s.redis.run:
            after = s._replace(redis=s.redis._replace(
                run=take(s.redis.run, entry), waiting=put(s.redis.waiting, entry[1])))
            if entry[0][0] not in living:
                yield "recover", after
            elif s.faults.suspicions and len(s.workers) > 1:
                yield "recover from a living worker!", after._replace(
                    faults=s.faults._replace(suspicions=s.faults.suspicions - 1))

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
        on_the_way = {job for _, job in s.in_hand}
        on_the_way.update(c.job for w in s.workers for c in w.claims if c.phase == HELD_ONLY)
        for job in range(self.bounds.jobs):
            count = places.count(job)
            if count == 0 and not s.done[job] and job not in on_the_way:
                yield "lost"
            if count > 1:
                yield "in two places"
            if count and s.done[job] and not self.bounds.rollbacks:
                yield "came back after it was done"

    def settled(self, s):
        return not (s.redis.waiting or s.redis.run or s.redis.retry or s.in_hand or
                    any(worker.claims for worker in s.workers))

    def cut_off(self, s):
        return any(worker.sequence >= self.bounds.sequences for worker in s.workers)


# ---- runs ----------------------------------------------------------------------------------------

# Name, bounds.  Without a fault "came back" is checked too.
QUICK = [
    ("no rollback", Bounds(sequences=3)),
    ("one job, one rollback", Bounds(jobs=1, rollbacks=1)),
]
FULL = [
    ("no rollback", Bounds(crashes=2, losses=2)),
    ("one job, one rollback", Bounds(jobs=1, rollbacks=1)),
    ("two jobs, one rollback", Bounds(losses=0, suspicions=0, rollbacks=1, sequences=3)),
    ("one job, two rollbacks", Bounds(jobs=1, suspicions=0, rollbacks=2)),
]
# What each mutant must be caught at.
MUTANT_RUNS = [
    ("settle by job id", Bounds(), FOREIGN),
    ("pop, then register", Bounds(losses=0), "lost"),
    ("retry in two commands", Bounds(), "lost"),
    ("no reconcile", Bounds(), "stuck"),
    ("no reconcile", Bounds(jobs=1, crashes=0, losses=0, suspicions=0, rollbacks=1, sequences=3),
     "stuck"),
]


def base_runs(full):
    return [(name, Core(bounds)) for name, bounds in (FULL if full else QUICK)]


def mutant_runs():
    return [(name, Core(bounds, name), wanted) for name, bounds, wanted in MUTANT_RUNS]


def report(bases, mutants):
    """Runs all, prints what was found, and returns the exit status: for each model's main."""
    status = 0
    for name, model in bases:
        began = time.monotonic()
        result = explore(model)
        print("%s: %s (%.0f s)" % (name, result, time.monotonic() - began), flush=True)
        status |= not result.ok
    for name, model, wanted in mutants:
        result = explore(model, stop_at_first=wanted != "stuck")
        caught = bool(result.stuck) if wanted == "stuck" else wanted in result.violations
        print("mutant \"%s\" %s: %s" % (name, "is caught" if caught else "ESCAPES", result),
              flush=True)
        status |= not caught
    return status


if __name__ == "__main__":
    sys.exit(report(base_runs("--full" in sys.argv[1:]), mutant_runs()))
