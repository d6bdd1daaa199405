"""Proves from the ledgers and from Redis that the promise was kept.

Each check has a name, which a finding carries; `caught by` in the table of planted bugs is that
name.
"""

import collections
import datetime
import re
import time
import zlib

from explain import Explainer
from faults import now
from places import read_places
from runs import read_runs

CHECKS = {
    "drained": "the system comes to rest once nothing is broken any more",
    "alive": "no process of ours ends by itself, none is left behind",
    "lost": "every job that Redis took is done, dead, scheduled or parked",
    "places": "no job lies in two places, or anywhere after its end",
    "twice": "no job is settled twice: one reply, one follow-up, one dead letter for each",
    "again": "every run that was repeated, or did not end, has a fault for its reason",
    "early": "no job runs before its time, or without a handler",
    "bytes": "args and documents are byte for byte what was pushed",
    "silence": "nobody is declared dead without having been unheard",
    "outcome": "dead letters have the reason that the handlers gave",
}


class Finding:
    def __init__(self, check, key, text):
        if check not in CHECKS:
            raise KeyError(check)
        self.check, self.key, self.text = check, key, text

    def __str__(self):
        return "[%s] %s%s" % (self.check, self.key + ": " if self.key else "", self.text)


class Checker:
    """Reads everything once the system is at rest, and judges."""

    def __init__(self, world, jobs):
        self.world, self.jobs = world, jobs
        self.end = now()
        self.runs = read_runs(world.ledger)
        self.places = read_places(world.redis.client)
        self.replies = {key.decode()[len("reply:"):]: world.redis.client.llen(key)
                        for key in world.redis.client.scan_iter("reply:*", count=1000)}
        self.explainer = Explainer(world, self.end)
        self.explained = collections.Counter()  # repeated or unended runs by their reason
        self.settled = collections.Counter()    # jobs by what became of them
        self.findings = []

    def check(self):
        for text in self.world.problems:
            self.find("drained" if "waited in vain" in text else "alive", None, text)
        for key, lying in self.places.items():
            if key not in self.jobs:
                self.find("bytes", key, "nobody pushed this: %r" % lying[0].record[:200])
        for job in self.jobs.values():
            if job.parent is not None:
                continue
            least, most = self.pushed(job)
            if job.is_group:
                self.check_group(job, least, most)
            else:
                self.check_one(job, least, most)
        for key in self.runs:
            if key not in self.jobs:
                self.find("bytes", key, "nobody pushed what ran here")
        self.check_silence()
        return self.findings

    def find(self, check, key, text):
        self.findings.append(Finding(check, key, text))

    # -- how many there must be --

    def pushed(self, job):
        """(least, most) pushes of this document that Redis holds to have got."""
        most = job.ok + job.unknown
        if not self.world.back:
            return job.ok, most
        at, remaining = self.world.back[-1]
        least = sum(t > at for t in job.ok_at)
        return min(job.ok, least + remaining.get(job.key, 0)), most

    # -- one job --

    def check_one(self, job, least, most):
        runs, lying = self.runs.get(job.key, []), self.places.get(job.key, [])
        self.check_bytes(job, runs, lying)
        if len(lying) > most or (len(lying) > 1 and not self.world.back):
            self.find("places", job.key, "lies in %d places: %s" % (
                len(lying), ", ".join(l.place for l in lying)))
        if most == 0 and (runs or lying):
            self.find("places", job.key, "was never pushed, and is there")
        if least == 0 and not runs and not lying:
            return
        if job.far or job.type == "nobody":
            self.check_waiting(job, runs, lying)
            return
        done = any(run.what == "done" for run in runs)
        dead = [l for l in lying if l.place == "dead"]
        for l in lying:
            if l.place != "dead":
                self.find("places", job.key, "still lies in %s at the end" % l.place)
        if dead:
            self.check_dead(job, runs, dead[0])
        elif not done and least == 0:
            return  # it ran before Redis forgot that it was pushed
        elif not done:
            self.find("lost", job.key, "was pushed, is nowhere, and was never done")
        self.settled["dead" if dead else "done"] += 1
        self.check_repeats(job, runs)
        if job.replies:
            self.check_count("reply", job, self.replies.get(job.key, 0), least)
        if job.child is not None:
            self.check_child(job, bool(dead), done, least)

    def check_waiting(self, job, runs, lying):
        place = "scheduled" if job.far else "parked"
        if runs:
            self.find("early", job.key, "ran, though it should lie in %s" % place)
        elif not lying:
            self.find("lost", job.key, "should lie in %s" % place)
        elif lying[0].place != place:
            self.find("places", job.key, "lies in %s, not in %s" % (lying[0].place, place))
        self.settled[place] += 1

    def check_dead(self, job, runs, letter):
        reason = letter.wrapper.get("reason")
        unended = sum(not run.ended for run in runs)
        good = {"failed": any(run.what == "dead" for run in runs),
                "retries-spent": job.what == "fail:9",
                "poison": unended >= 3 or sum(letter.wrapper.get(c, 0) >= n for c, n in
                                              (("crashes", 3), ("lost", 10))) > 0 and unended >= 3}
        if not good.get(reason):
            self.find("outcome", job.key, "is dead for the reason %s: %r" % (
                reason, letter.record[:600]))

    def check_count(self, what, job, count, least=1):
        """One for each settlement; a Redis that went back may have seen some twice, and what it forgot
        with the push (`least` is 0 then) not at all."""
        if count == 0 and least > 0:
            self.find("lost", job.key, "no %s of its end" % what)
        elif count > 1 and not self.world.back:
            self.find("twice", job.key, "%d times a %s of its end" % (count, what))

    def check_child(self, job, dead, done, least):
        """What follows the end of a job is a job like any other, pushed once by that end."""
        wanted = done and not dead if "on_success" in job.members else dead
        runs = self.runs.get(job.child.key, [])
        if not wanted and runs and not self.world.back:
            self.find("twice", job.child.key, "followed an end that was not its parent's")
        if wanted:
            self.check_one(job.child, min(1, least), 1)
        else:
            self.check_repeats(job.child, runs)

    def check_repeats(self, job, runs):
        """Of each run but the last one that ended well: why was it not the last of its attempt?"""
        for run, after in zip(runs, runs[1:] + [None]):
            until = after.begin if after is not None else self.end
            if not run.ended:
                self.reason(job, run, self.explainer.why_not_ended(run, until), "did not end")
            elif after is not None and not self.follows(run, after):
                self.reason(job, run, self.explainer.why_repeated(run, until),
                            "ended (%s), and ran again" % run.what)

    def follows(self, run, after):
        """Is `after` what should come after the outcome of `run`?"""
        return (run.what == "fail" and after.attempt == run.attempt + 1) or run.what == "snooze"

    def reason(self, job, run, reason, what):
        if reason is None:
            self.find("again", job.key, "the run that began at %.3f %s without a reason" % (
                run.begin, what))
        else:
            self.explained[("repeated: " if run.ended else "did not end: ") + reason] += 1

    # -- identical documents without an id --

    def check_group(self, job, least, most):
        runs, lying = self.runs.get(job.key, []), self.places.get(job.key, [])
        self.check_bytes(job, runs, lying)
        dead = [l for l in lying if l.place == "dead"]
        if len(lying) > len(dead):
            self.find("places", job.key, "some still lie in %s" % ", ".join(
                l.place for l in lying if l.place != "dead"))
        extra = 0  # runs that ended and may have been repeated, for a reason
        for run in runs:
            if not run.ended:
                self.reason(job, run, self.explainer.why_not_ended(run, run.begin + 10),
                            "did not end")
            elif self.explainer.why_repeated(run, run.begin + 10):
                extra += 1
        poison = sum(l.wrapper.get("reason") == "poison" for l in dead)
        settled = len(dead) if job.what == "dead" else \
            sum(run.what == "done" for run in runs) + poison
        if job.what == "dead":
            extra = len(lying) if self.world.back else 0
        self.settled["dead" if job.what == "dead" else "done"] += min(settled, most)
        if settled < least:
            self.find("lost", job.key, "%d were pushed, %d were settled" % (least, settled))
        if settled > most + extra:
            self.find("again" if job.what != "dead" else "twice", job.key,
                      "%d were pushed at most, %d were settled, of which %d may be repeats" % (
                          most, settled, extra))
        self.explained["repeated: identical documents"] += max(0, settled - most)
        if job.replies and not self.world.back:
            count = self.replies.get(job.key, 0)
            if count < least:
                self.find("lost", job.key, "%d were pushed, %d replied" % (least, count))
            if count > most:
                self.find("twice", job.key, "%d were pushed at most, %d replied" % (most, count))

    # -- bytes --

    def check_bytes(self, job, runs, lying):
        args = job.args
        crc = zlib.crc32(args)
        for run in runs:
            if (run.length, run.crc) != (len(args), crc):
                self.find("bytes", job.key, "its handler saw other args: %d bytes, crc %08x" % (
                    run.length, run.crc))
        for l in lying:
            if job.exact and l.document != job.document.encode():
                self.find("bytes", job.key, "the document in %s is another: %r" % (
                    l.place, l.document))
            elif not job.exact and args not in l.document:
                self.find("bytes", job.key, "the args in %s are others: %r" % (
                    l.place, l.document))

    # -- who was declared dead --

    def check_silence(self):
        """Whoever was declared dead had ended, or was unheard for long enough."""
        shift = time.time() - now()

        def seen(pattern):
            for index, worker in enumerate(self.world.workers):
                for found in re.finditer(r"ts=(\S+)Z.*" + pattern, worker.log()):
                    at = datetime.datetime.fromisoformat(found.group(1) + "+00:00").timestamp()
                    yield index, at - shift, found.group(2)

        owners = {inc: (index, at) for index, at, inc in seen(r'"worker ready" incarnation=(\w+)')}
        for who, at, inc in seen(r"a worker is silent.*incarnation=(\w+)"):
            index, ready = owners.get(inc, (None, at))
            window = at - self.world.dead_after - 1, at
            ended = [life for life in self.world.lives if life.index == index and
                     life.began <= ready and life.ended is not None and ready < life.ended <= at]
            if index is None or ended or self.explainer.unheard_in(index, *window) or \
                    any(at - 120 < back < at for back in self.explainer.back):
                continue  # one that was never ready had not begun to work when it was ended
            self.find("silence", None, "worker%d declared worker%d dead at %.3f, which was heard"
                      % (who, index, at))

    # -- for a failure --

    def life_of(self, key):
        """The life of a job, as far as it is known: what it is, its runs, the faults, its place."""
        job, lines = self.jobs.get(key), []
        runs = self.runs.get(key, [])
        if job is not None:
            lines.append("%s to %s, %s: ok %d, unknown %d, refused %d, first at %s" % (
                job.what, job.list, job.document, job.ok, job.unknown, job.refused,
                job.pushed_at and "%.3f" % job.pushed_at))
        begin = (job.pushed_at if job is not None and job.pushed_at else
                 runs[0].begin if runs else self.end) - 1
        end = max([run.end or run.begin for run in runs], default=begin + 2) + 3
        events = [(run.begin, str(run)) for run in runs[:40]]
        events += [(fault.begin, "    fault  " + str(fault))
                   for fault in self.world.log.between(begin, end)[:60]]
        lines += [text for _, text in sorted(events)]
        for l in self.places.get(key, []):
            lines.append("lies in %s: %r" % (l.place, l.record[:1000]))
        names = {run.id for run in runs} | ({job.members.get("id")} if job is not None else set())
        for worker in self.world.workers:
            for line in worker.log().splitlines():
                if any(name and name in line for name in names):
                    lines.append("  log " + line[:300])
        return "\n".join("    " + line for line in lines[:200])
