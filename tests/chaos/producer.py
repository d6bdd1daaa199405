"""Producers: threads that push jobs by several clients and keep books of what Redis answered.

Each push is one of "ok" (answered), "refused" (an error reply: nothing was stored) or "unknown"
(the answer was lost: stored, or not).  Half of the producers push identical documents without an
id; for those only how many there are can be known.
"""

import json
import random
import re
import subprocess
import threading
import time

import redis as redis_py

from bl import program, clean_env
from faults import now
from world import LISTS

FAR = "2099-01-01T00:00:00Z"
BACKOFF = {"type": "fixed", "base": 0.1, "jitter": 0}
REFUSED = ("OOM", "READONLY", "LOADING", "NOAUTH", "WRONGPASS", "NOPERM", "MISCONF", "BUSY")

# (weight, what the handler does, further members)
KINDS = (
    (40, "done", {}),
    (10, "fail:1", {}),
    (5, "fail:3", {}),
    (6, "dead", {}),
    (4, "fail:9", {"retry": 1}),      # its retries are spent
    (5, "snooze", {}),
    (6, "done", {"delay": 0.5}),
    (3, "done", {"at": FAR}),
    (8, "done", {"on_success": "same"}),
    (8, "done", {"on_success": "other"}),
    (6, "dead", {"on_failure": "other"}),
)
SLEEPS = (0, 0, 0, 0, 1, 5, 20, 20, 50, 100, 300)


class Job:
    """One document, pushed once, or (a group) many times."""

    def __init__(self, key, document, what, members, list_name, is_group=False):
        self.key, self.document, self.what, self.list = key, document, what, list_name
        self.members, self.is_group = members, is_group
        self.replies = members.get("reply_to")
        self.far = members.get("at") == FAR
        self.child = None   # the Job that follows its end
        self.parent = None
        self.type = members["type"]
        self.exact = True   # the document's bytes are known, not only its args
        self.ok = self.unknown = self.refused = 0
        self.ok_at = []     # when each was answered
        self.pushed_at = None

    @property
    def args(self):
        """The bytes of its args, as they stand in the document."""
        return json_args(self.document)


def json_args(document):
    """`args` is the last member, in a follow-up inside of another document too."""
    return document[document.rindex('"args":') + 7:-1].encode()


class Catalog:
    """Makes documents, and remembers them by their key."""

    def __init__(self, ledger, rng):
        self.ledger, self.rng = ledger, rng
        self.jobs = {}
        self._count = 0
        self._lock = threading.Lock()

    def _key(self, prefix):
        with self._lock:
            self._count += 1
            return "%s%d" % (prefix, self._count)

    def _document(self, key, what, ms, members):
        args = '{"ledger":%s,"key":"%s","ms":%d,"do":"%s","n":[12345678901234567890,0.10,[]]}' % (
            json.dumps(self.ledger), key, ms, what)
        head = {k: v for k, v in members.items()}
        body = json.dumps(head, separators=(",", ":"))
        return body[:-1] + ',"args":' + args + "}"

    def make(self, group=False, kind=None, ms=None, type=None, list_name=None):
        """A new Job of a kind chosen at random."""
        rng = self.rng
        if kind is None:
            _, what, more = rng.choices(KINDS, [k[0] for k in KINDS])[0]
        else:
            what, more = kind
        if group and (what == "snooze" or more):
            what, more = "done", {}
        ms = rng.choice(SLEEPS) if ms is None else ms
        key = self._key("g" if group else "j")
        list_name = list_name or rng.choice(LISTS)
        members = {"type": type or rng.choice(("chaos", "chaos", "chaos", "program")),
                   "backoff": BACKOFF}
        members.update(more)
        if not group:
            members["id"] = "id-" + key
        child = None
        for name in ("on_success", "on_failure"):
            if name in more:
                child = self._child(key, list_name, more[name])
                members[name] = json.loads(child.document)  # its numbers are made simple for that
        if members.pop("reply_to", rng.random() < 0.3):
            members["reply_to"] = "reply:" + key
        job = Job(key, self._document(key, what, ms, members), what, members, list_name, group)
        if child is not None:
            child.parent, job.child = job, child
        if rng.random() < 0.02 and not group and child is None and type is None:
            job = self._nobodys(job)
        self.jobs[key] = job
        return job

    def _nobodys(self, job):
        """The same for a type that nobody handles: it will be parked."""
        job.document = job.document.replace('"type":"%s"' % job.type, '"type":"nobody"')
        job.members["type"] = job.type = "nobody"
        return job

    def _child(self, parent, list_name, where):
        """A follow-up: its document is written by json.dumps inside its parent's."""
        target = list_name if where == "same" else [l for l in LISTS if l != list_name][0]
        key = "c-" + parent
        args = {"ledger": self.ledger, "key": key, "ms": 0, "do": "done"}
        members = {"type": "chaos", "id": "id-" + key, "backoff": BACKOFF,
                   "queue": target.partition(":")[2]}
        document = json.dumps(dict(members, args=args), separators=(",", ":"))
        job = Job(key, document, "done", members, target)
        self.jobs[key] = job
        return job


class Producer(threading.Thread):
    """Pushes until it is told to stop."""

    def __init__(self, world, catalog, seed, group, pace, book):
        super().__init__(daemon=True)
        self.world, self.catalog, self.group = world, catalog, group
        self.rng = random.Random(seed)
        self.pace = pace  # s between pushes
        self.book = book  # file: one line per push
        self.stopped = threading.Event()
        self.error = None
        self.by_client = {}
        self.backlog = 0
        self._client = None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.push_some()
                time.sleep(self.rng.random() * 2 * self.pace * (1 if self.backlog < 60 else 10))
        except Exception as e:  # noqa: shown, and the run fails
            self.error = e

    def stop(self):
        self.stopped.set()
        self.join()

    def push_some(self):
        way = self.rng.choices(("python", "redis-cli", "enqueue", "bulk"), (60, 4, 6, 4))[0]
        n = self.rng.randint(2, 40) if way == "bulk" else self.rng.randint(1, 4) \
            if way == "python" else 1
        if way == "enqueue" and self.group:
            way = "bulk"  # it would give each an id
        if self.group:
            jobs = [self.catalog.make(group=True)] * n
        elif way == "enqueue":
            kind = self.rng.choice((("done", {}), ("fail:1", {}), ("dead", {})))
            jobs = [self.catalog.make(kind=kind, type="chaos")]
        else:
            jobs = [self.catalog.make() for _ in range(n)]
        if len({job.list for job in jobs}) > 1:
            jobs = [job for job in jobs if job.list == jobs[0].list]
        self.note("try", way, jobs)
        for job in jobs:
            job.pushed_at = job.pushed_at or now()
        answers = getattr(self, "_by_" + way.replace("-", "_"))(jobs)
        self.by_client[way] = self.by_client.get(way, 0) + len(jobs)
        for job, answer in zip(jobs, answers):
            setattr(job, answer, getattr(job, answer) + 1)
            if answer == "ok":
                job.ok_at.append(now())
            self.note(answer, way, [job])

    def note(self, word, way, jobs):
        self.book.write("%s %s %s\n" % (word, way, " ".join(job.key for job in jobs)))

    # -- the clients --

    def _by_python(self, jobs):
        try:
            if self._client is None:
                self._client = self.world.redis.new_client(socket_timeout=8)
            self.backlog = self._client.lpush(jobs[0].list, *[job.document for job in jobs])
            return ["ok"] * len(jobs)
        except redis_py.exceptions.ConnectionError as e:
            return [self._lost(e)] * len(jobs)
        except redis_py.exceptions.TimeoutError as e:
            return [self._lost(e)] * len(jobs)
        except AttributeError as e:  # its own mistake, when a unix socket's connection breaks
            return [self._lost(e)] * len(jobs)
        except redis_py.exceptions.ResponseError as e:
            return [self._refusal(str(e), type(e).__name__)] * len(jobs)

    def _lost(self, error):
        if self._client is not None:
            self._client.connection_pool.disconnect()
            self._client = None
        if "LOADING" in str(error) or "loading" in str(error):
            return "refused"
        return "unknown"

    def _refusal(self, text, kind=""):
        if text.startswith(REFUSED) or kind in ("ReadOnlyError", "BusyLoadingError",
                                                "OutOfMemoryError") or "can't write" in text \
                or "command not allowed" in text:
            return "refused"
        raise AssertionError("Redis answered a push with: " + text)

    def _run(self, argv, input=b""):
        done = subprocess.run(argv, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=clean_env({"BUCKETLINE_REDIS_URL": self.world.redis.url}))
        return done.returncode, done.stdout.decode("utf-8", "replace"), \
            done.stderr.decode("utf-8", "replace")

    def _by_redis_cli(self, jobs):
        status, out, err = self._run(["redis-cli", "-s", self.world.redis.socket, "lpush",
                                      jobs[0].list, jobs[0].document])
        if out.strip().isdigit():
            return ["ok"]
        if out.startswith(REFUSED):
            return ["refused"]
        return ["unknown"]

    def _by_enqueue(self, jobs):
        """enqueue builds the document itself, so only the args can be compared."""
        job = jobs[0]
        argv = [program("enqueue"), "--key", job.list, "--id", job.members["id"],
                "--backoff", "fixed:0.1s"]
        if job.replies:
            argv += ["--reply-to", job.replies]
        job.exact = False
        status, out, err = self._run(argv + [job.type, job.args.decode()])
        if status == 0:
            return ["ok"]
        return ["refused" if "Redis is full" in err or "cannot take jobs now" in err else "unknown"]

    def _by_bulk(self, jobs):
        text = "".join(job.document + "\n" for job in jobs).encode()
        status, out, err = self._run([program("enqueue"), "--key", jobs[0].list, "--bulk", "-"],
                                     text)
        if status == 0:
            return ["ok"] * len(jobs)
        return bulk_account(len(jobs), err)


def bulk_account(count, err):
    """What --bulk says became of each line, when something failed: a list of answers."""
    answers = ["unknown"] * count
    for pattern, answer in ((r"stored: \d+ jobs \(lines? ([0-9, -]+)\)", "ok"),
                            (r"refused, not stored: lines? ([0-9, -]+)", "refused"),
                            (r"unknown, perhaps stored: lines? ([0-9, -]+)", "unknown"),
                            (r"not sent: from line (\d+) on", "rest")):
        found = re.search(r"^enqueue: " + pattern, err, re.MULTILINE)
        for part in found.group(1).replace(" ", "").split(",") if found else ():
            first, _, last = part.partition("-")
            last = count if answer == "rest" else int(last or first)
            for n in range(int(first), last + 1):
                answers[n - 1] = "refused" if answer == "rest" else answer
    return answers
