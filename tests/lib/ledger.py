"""A ledger of what handlers did, kept outside Redis: which jobs began and ended, how often."""

import collections
import json
import os
import subprocess

from bl import ROOT


def build_plugin(directory, name="ledger"):
    """Builds a plugin of tests/plugins as anyone would build one; the path of the .so."""
    path = os.path.join(directory, name + ".so")
    subprocess.run([os.environ.get("CC") or "cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", path,
                    "-I", os.path.join(ROOT, "jobs"),
                    os.path.join(ROOT, "tests/plugins/%s.c" % name)], check=True)
    os.chmod(path, 0o755)
    return path


class Ledger:
    def __init__(self, directory):
        self.path = os.path.join(directory, "ledger")
        self.plugin = build_plugin(directory)
        self.pushed = []

    def document(self, id, ms=0, **members):
        args = {"ledger": self.path, "ms": ms}
        args.update(members.pop("args", {}))
        return json.dumps(dict({"type": "ledger", "id": id, "args": args}, **members),
                          separators=(",", ":"))

    def push(self, redis, count, ms=0, queue="queue:default", prefix="j", **members):
        """Pushes `count` jobs with ids of their own; those whose push was answered count."""
        for _ in range(count):
            id = "%s%d" % (prefix, len(self.pushed))
            redis.client.lpush(queue, self.document(id, ms, **members))
            self.pushed.append(id)

    def lines(self):
        try:
            with open(self.path) as file:
                return [line.split() for line in file.read().split("\n") if line]
        except FileNotFoundError:
            return []

    def counts(self, what):
        return collections.Counter(line[1] for line in self.lines() if line[0] == what)

    def began(self):
        return self.counts("begin")

    def ended(self):
        return self.counts("end")

    def all_ended(self):
        ended = self.ended()
        return all(id in ended for id in self.pushed)
