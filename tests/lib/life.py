"""A load with every kind of job in it, and the check that each of them ended exactly as it should,
whatever was done to the processes meanwhile.

    life = Life(case, redis)           # `case` is a bl.Case, for its directory
    life.push()
    worker = case.worker(redis, life.config())
    ...                                # crashes; before each restart: life.look(worker)
    life.wait_drained()
    life.check()

What may have run twice is known exactly: look() reads the journals that dead workers left.  A job
whose slot says BEGUN may run once more; one whose slot says RETURNED, or that only waited, may not.
"""

import collections
import json
import os
import subprocess

from bl import BUILD, ROOT, is_alive, wait_until
from records import unwrap, wrap

QUEUES = ["default", {"name": "mail", "key": "task_queue"},
          {"name": "once", "key": "once", "delivery": "at-most-once"}]
LISTS = ["queue:default", "task_queue"]
BACKOFF = {"type": "fixed", "base": 0.05, "jitter": 0}
QUEUED, BEGUN, RETURNED = 1, 2, 3  # enum slot_state

# What one job may do more than once without harm, because a handler asked for it.
TWICE_BY_DESIGN = ("snooze", "crash", "hang")


def build_plugin(directory):
    """Builds life.c as anyone would build a plugin; the path of the .so."""
    path = os.path.join(directory, "life.so")
    subprocess.run([os.environ.get("CC") or "cc", "-shared", "-fPIC", "-o", path,
                    "-I", os.path.join(ROOT, "jobs"), os.path.join(ROOT, "tests/plugins/life.c")],
                   check=True)
    os.chmod(path, 0o755)
    return path


def points_build():
    """The build with crash points that belongs to BUILD (make POINTS=1)."""
    return os.path.join(BUILD, "points") if os.path.basename(BUILD) == "build" else BUILD + "-points"


def name_of(record):
    """(id, attempt that it is or would be) of what lies in a queue's keys; id None = not ours."""
    head, document = {}, record
    try:
        head, document = unwrap(record)
    except AssertionError:
        pass  # as it was pushed
    try:
        id = json.loads(document).get("id")
    except ValueError:
        id = None
    return id or head.get("id"), head.get("attempt", 0) + 1


class Life:
    def __init__(self, case, redis, plugin=None):
        self.case, self.redis = case, redis
        self.ledger = os.path.join(case.directory, "ledger")
        self.plugin = plugin or build_plugin(case.directory)
        self.begins = {}  # id -> {attempt: how often it begins if nothing goes wrong}
        self.dead, self.parked, self.once = set(), set(), set()
        self.replies, self.kept = {}, {}
        self.begun = {}  # token -> (id, attempt) that may run once more
        self.returned = {}  # token -> ((id, attempt), begins seen then)
        self.extra = collections.Counter()  # id -> further runs that a test caused itself
        self.extra_any = 0  # runs of any job that may be one more
        # Ids (how they begin) of jobs that may fail, and be retried, when something is denied them.
        self.may_fail = ["parent"]

    def config(self, **more):
        program = ('echo "begin $JOB_ID $JOB_ATTEMPT" >>"%s"; echo "end $JOB_ID $JOB_ATTEMPT" >>"%s"'
                   % (self.ledger, self.ledger))
        return dict({"queues": QUEUES, "runners": 2, "plugins": [self.plugin], "beat": "500ms",
                     "dead_after": "2s", "log": {"level": "debug"},
                     "handlers": {"program": {"exec": ["/bin/sh", "-c", program]}}}, **more)

    # ---- pushing ----

    def document(self, id, type="life", args=None, **members):
        args = dict({"ledger": self.ledger}, **(args or {}))
        return json.dumps(dict({"type": type, "id": id, "backoff": BACKOFF, "args": args}, **members),
                          separators=(",", ":"))

    def push_one(self, id, attempts=1, list="queue:default", **members):
        self.begins[id] = {n + 1: 1 for n in range(attempts)}
        self.redis.client.lpush(list, self.document(id, **members))

    def mark(self, id):
        return os.path.join(self.case.directory, "mark-" + id)

    def push(self, scale=1):
        """`scale` times about 40 jobs, one of each kind in turn."""
        for round in range(scale):
            self._push_round("-%d" % round)

    def _push_round(self, suffix):
        client = self.redis.client
        for n in range(8):
            self.push_one("done%d%s" % (n, suffix), args={"ms": n})
        for n in range(3):
            self.push_one("fails%d%s" % (n, suffix), attempts=3, args={"fail_until": 3})
        for n in range(2):
            self.push_one("dead%d%s" % (n, suffix), attempts=2, args={"fail_until": 99}, retry=1)
            self.dead.add("dead%d%s" % (n, suffix))
        self.push_one("killed" + suffix, args={"dead": 1})
        self.dead.add("killed" + suffix)
        for n in range(3):
            self.push_one("program%d%s" % (n, suffix), type="program")
        for n in range(3):
            self.push_one("late%d%s" % (n, suffix), delay=0.2 + n / 20)
        for way in TWICE_BY_DESIGN[:2]:
            id = way + suffix
            self.push_one(id, args={way: self.mark(id)})
            self.begins[id] = {1: 2}
        unknown = "unknown" + suffix
        self.parked.add(unknown)
        client.lpush("queue:default", self.document(unknown, type="nobody-knows"))
        for n in range(2):
            id = "follow%d%s" % (n, suffix)
            self.push_one(id, on_success=json.loads(self.document(id + "-next", queue="mail")))
            self.begins[id + "-next"] = {1: 1}
        for n in range(3):
            id = "reply%d%s" % (n, suffix)
            self.push_one(id, reply_to="reply:" + id, args={"result_bytes": 100 + 5000 * n})
            self.replies[id] = 100 + 5000 * n
            id = "keep%d%s" % (n, suffix)
            self.push_one(id, keep="1h", args={"result_bytes": 50 + 5000 * n})
            self.kept[id] = 50 + 5000 * n
        id = "parent" + suffix
        self.push_one(id, args={"enqueue": "doc", "to": "mail"})
        self.begins[id + "-child"] = {1: 1}
        self.push_one("big" + suffix, args={"filler": "y" * 200000})
        for n in range(3):
            self.push_one("once%d%s" % (n, suffix), list="once")
            self.once.add("once%d%s" % (n, suffix))
        id = "unparked" + suffix
        self.begins[id] = {1: 1}
        client.lpush("{queue:default}:parked", wrap(
            self.document(id).encode(), id=id, uid="00" * 16 + ":1", reason="unknown-type",
            parked_at=1))

    # ---- what happened ----

    def counts(self, what):
        """{(id, attempt): how often}"""
        try:
            with open(self.ledger) as file:
                lines = [line.split() for line in file.read().split("\n") if line]
        except FileNotFoundError:
            lines = []
        return collections.Counter((line[1], int(line[2])) for line in lines if line[0] == what)

    def running(self):
        """{token: record} of all that is claimed, by whomever."""
        found = {}
        for name in LISTS:
            found.update(self.redis.client.hgetall("{%s}:run" % name))
        return {token.decode(): record for token, record in found.items()}

    def look(self, worker):
        """When `worker` and all that belonged to it is dead, before another starts: what may run
        again?"""
        running, begins = self.running(), self.counts("begin")
        for token, state in self.slots(worker, running).items():
            key = name_of(running[token])
            if state == BEGUN:
                self.begun[token] = key
            elif state == RETURNED:
                self.returned.setdefault(token, (key, begins[key]))

    def slots(self, worker, running=None):
        """{token: state} of the claimed jobs that the journals in the worker's state_dir know."""
        running = self.running() if running is None else running
        state, found = worker.config["state_dir"], {}
        for name in os.listdir(state) if os.path.isdir(state) else []:
            if not name.endswith(".journal"):
                continue
            with open(os.path.join(state, name), "rb") as file:
                data = file.read()
            for at in range(0, len(data) - 7, 256):
                word = int.from_bytes(data[at:at + 8], "little")
                token = "%s:%d" % (name[:-len(".journal")], word >> 8)
                if token in running and word & 0xff in (QUEUED, BEGUN, RETURNED):
                    found[token] = word & 0xff
        return found

    def look_without_journal(self):
        """The machine is gone, with its state: whatever was claimed there may have begun."""
        for token, record in self.running().items():
            self.begun[token] = name_of(record)

    # ---- the end ----

    def left(self):
        """{place: how many} of what is not at its end, at one moment: jobs move meanwhile."""
        ask = self.redis.client.pipeline()
        names = []
        for name in LISTS:
            ask.llen(name).hlen("{%s}:run" % name).zcard("{%s}:scheduled" % name)
            ask.zcard("{%s}:retry" % name).llen("{%s}:outbox" % name)
            names += ["%s of %s" % (place, name)
                      for place in ("waiting", "run", "scheduled", "retry", "outbox")]
        ask.llen("once").llen("{queue:default}:parked").keys("{*}:hand:*")
        *sizes, parked, hands = ask.execute()
        found = {name: size for name, size in zip(names + ["at most once"], sizes) if size > 0}
        if parked != len(self.parked):
            found["parked"] = parked
        if hands:
            found["hands"] = len(hands)
        return found

    def drained(self):
        return not self.left()

    def wait_drained(self, worker):
        def look():
            if not worker.running:
                raise AssertionError("the worker ended (%s):\n%s" % (
                    worker.popen.returncode, worker.log()[-8000:]))
            return self.drained()
        wait_until(look, what=lambda: "a drained end; left: %r\n%s" % (
            self.left(), worker.log()[-8000:]))

    def problems(self):
        """Everything that is not as it should be, as lines of text."""
        client, bad = self.redis.client, []
        dead = [name_of(r)[0] for r in client.lrange("{queue:default}:dead", 0, -1) +
                client.lrange("{once}:dead", 0, -1)]
        bad += ["dead letter twice: %s" % id for id, n in collections.Counter(dead).items() if n > 1]
        unexpected = set(dead) ^ self.dead
        bad += ["%s is %s a dead letter" % (id, "not" if id in self.dead else "wrongly")
                for id in unexpected if not (id in self.once and id in dead)]
        parked = [name_of(r)[0] for r in client.lrange("{queue:default}:parked", 0, -1)]
        if sorted(parked) != sorted(self.parked):
            bad.append("parked: %s" % parked)
        bad += self._ran_wrongly()
        for id, size in self.replies.items():
            answers = [json.loads(r) for r in client.lrange("reply:" + id, 0, -1)]
            if [(a["id"], a["outcome"], len(a.get("result", "")) + 2) for a in answers] != [
                    (id, "done", size)]:
                bad.append("replies of %s: %.300r" % (id, answers))
        for id, size in self.kept.items():
            kept = client.get("{queue:default}:result:" + id)
            if kept is None or len(json.loads(kept).get("result", "")) + 2 != size:
                bad.append("kept of %s: %.300r" % (id, kept))
        return bad

    def _ran_wrongly(self):
        bad, begins, ends = [], self.counts("begin"), self.counts("end")
        again = collections.Counter(self.begun.values())
        further = 0
        may_fail = tuple(self.may_fail)
        for id, attempts in self.begins.items():
            if id.startswith(may_fail) and not id.endswith("-child"):
                if not any(name == id for name, _ in ends):
                    bad.append("%s never ended" % id)
                continue
            for attempt, times in attempts.items():
                key = (id, attempt)
                if id in self.once:
                    if begins[key] > 1:
                        bad.append("%s, at most once, began %d times" % (id, begins[key]))
                    continue
                if ends[key] < 1:
                    bad.append("%s attempt %d never ended" % key)
                # The child of a job that ran twice was pushed twice.
                parent = id[:-len("-child")] if id.endswith("-child") else None
                allowed = times + again[key] + self.extra[id] + (
                    sum(n for (name, _), n in begins.items() if name == parent) - 1 if parent else 0)
                further += max(0, begins[key] - allowed)
                if begins[key] - allowed > self.extra_any:
                    bad.append("%s attempt %d began %d times, not %d" % (
                        id, attempt, begins[key], allowed))
        if further > self.extra_any:
            bad.append("%d runs too many" % further)
        known = {(id, attempt) for id, attempts in self.begins.items() for attempt in attempts}
        bad += ["%s attempt %d should not be" % key for key in begins if key not in known and
                not key[0].startswith(may_fail)]
        for key, seen in self.returned.values():
            if begins[key] > seen and not key[0].startswith(TWICE_BY_DESIGN):
                bad.append("%s attempt %d had returned and ran again" % key)
        return bad

    def check(self):
        bad = self.problems()
        if bad:
            raise AssertionError("\n".join(bad))


def wait_gone(pids):
    """Every process in `pids` has ended."""
    for pid in pids:
        wait_until(lambda p=pid: not is_alive(p), what="the end of process %d" % pid)
