#!/usr/bin/python3
"""Runs the tests and counts them.

    tests/run.py [--unit | --integration] [-j N] [-k PATTERN] [-v]

--unit         the C programs in BUILD/tests/unit
--integration  the C programs in BUILD/tests/integration, and test_*.py in tests/integration,
               tests/model and tests/chaos
-j N           so many files at a time; most of them wait more than they compute (default: 2)
-k PATTERN     only test files whose name, or tests whose name, holds PATTERN (C programs are
               chosen by file name alone)
-v             names every test

BUILD is $BUCKETLINE_BUILD, or build.  Each file runs as a process of its own in a process group of
its own, which is killed if it hangs ($BUCKETLINE_TEST_GUARD seconds, default 900).  What fails is
shown with its output.  The last line reads `N passed, N failed`, with `, N skipped` if any were.
Exits 1 if anything failed, or if nothing ran.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
GUARD_SECONDS = float(os.environ.get("BUCKETLINE_TEST_GUARD") or 900)

# Runs one file's tests with a result class that writes a line per test to descriptor `argv[3]`, so
# that what tests print can not be taken for results.
PYTHON_CHILD = r"""
import importlib.util, os, sys, unittest
path, pattern, fd = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv[1:] = []
sys.path.insert(0, os.path.dirname(path))
out = os.fdopen(fd, "w", buffering=1)

class Result(unittest.TextTestResult):
    failed = ""
    def line(self, word, test):
        out.write("%s %s\n" % (word, str(test.id()).replace("\n", " ")))
    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("ok", test)
    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skip", test)
    def fail(self, test):
        if self.failed != test.id():  # once, though several subtests and the cleaning up fail
            self.line("not", test)
        self.failed = test.id()
    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test)
    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test)
    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fail(test)
    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.line("ok", test)
    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.line("not", test)

name = os.path.splitext(os.path.basename(path))[0]
loader = unittest.TestLoader()
if pattern and pattern not in name:
    loader.testNamePatterns = ["*" + pattern + "*"]
spec = importlib.util.spec_from_file_location(name, path)
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
suite = loader.loadTestsFromModule(module)
runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Result)
ok = runner.run(suite).wasSuccessful()
sys.stderr.flush()
os._exit(0 if ok else 1)
"""


class Outcome:
    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    @property
    def count(self):
        return len(self.passed) + len(self.failed) + len(self.skipped)


class Groups:
    """The process groups under way, so that an interrupted run leaves none of them behind."""

    def __init__(self):
        self.lock, self.pids, self.ended = threading.Lock(), set(), False

    def start(self, argv, **options):
        with self.lock:
            if self.ended:
                raise RuntimeError("interrupted")
            process = subprocess.Popen(argv, start_new_session=True, **options)
            self.pids.add(process.pid)
            return process

    def finish(self, process):
        with self.lock:
            kill_group(process.pid)
            self.pids.discard(process.pid)
        process.wait()

    def end(self):
        with self.lock:
            self.ended = True
            for pid in self.pids:
                kill_group(pid)


GROUPS = Groups()


def run_process(argv, env, pass_fds=()):
    """(exit status, output, hung) of a process, whose whole group is gone when this returns."""
    with tempfile.TemporaryFile() as log:
        process = GROUPS.start(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log, pass_fds=pass_fds)
        for fd in pass_fds:
            os.close(fd)
        hung = False
        try:
            process.wait(GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            GROUPS.finish(process)
        log.seek(0)
        return process.returncode, log.read().decode("utf-8", "replace"), hung


def kill_group(pid):
    """Kills what the file left behind.  Its leader is not reaped yet, or just was: the group's id is
    that of a process of ours."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def judge(name, status, hung, outcome):
    """A file that ends badly, or says nothing, has failed even if no test of it said so."""
    if hung:
        outcome.failed.append(name + ": hangs")
    elif status != 0 and not outcome.failed:
        outcome.failed.append("%s: %s" % (
            name, "signal %d" % -status if status < 0 else "exit %d" % status))


def run_c(path, env):
    """A cmocka program, which prints TAP."""
    name = os.path.basename(path)
    status, output, hung = run_process([path], dict(env, CMOCKA_MESSAGE_OUTPUT="TAP"))
    outcome = Outcome()
    planned = 0
    for line in output.splitlines():
        plan = re.match(r"1\.\.(\d+)", line)
        if plan:
            planned += int(plan.group(1))
        test = re.match(r"(not )?ok\b(?:\s+\d+)?(?:\s*-)?\s*(.*)", line)
        if not test:
            continue
        label = "%s: %s" % (name, test.group(2).strip())
        if re.search(r"#\s*skip", line, re.IGNORECASE):
            outcome.skipped.append(label)
        elif test.group(1):
            outcome.failed.append(label)
        else:
            outcome.passed.append(label)
    if outcome.count < planned and not outcome.failed and status == 0:
        outcome.failed.append("%s: %d tests said nothing" % (name, planned - outcome.count))
    judge(name, status, hung, outcome)
    if outcome.count == 0:
        outcome.failed.append(name + ": holds no test")
    return outcome, output


def run_python(path, pattern, env):
    name = os.path.splitext(os.path.basename(path))[0]
    with tempfile.TemporaryFile("w+") as lines:
        fd = os.dup(lines.fileno())
        os.set_inheritable(fd, True)
        status, output, hung = run_process(
            [PYTHON, "-c", PYTHON_CHILD, path, pattern, str(fd)], env, pass_fds=[fd])
        lines.seek(0)
        outcome = Outcome()
        kinds = {"ok": outcome.passed, "not": outcome.failed, "skip": outcome.skipped}
        for line in lines:
            word, _, test = line.rstrip("\n").partition(" ")
            kinds[word].append(test if test.startswith(name) else name + ": " + test)
    judge(name, status, hung, outcome)
    if outcome.count == 0 and not pattern:
        outcome.failed.append(name + ": holds no test")
    return outcome, output


def programs(build, area):
    found = glob.glob(os.path.join(build, "tests", area, "*"))
    return sorted(p for p in found if os.access(p, os.X_OK) and os.path.isfile(p))


def run_file(path, run):
    began = time.monotonic()
    outcome, output = run()
    return path, outcome, output, time.monotonic() - began


def report(path, outcome, output, seconds, verbose):
    """Says how a file went; its outcome."""
    if outcome.count == 0:
        return outcome  # -k chose nothing in it
    print("%-44s %4d passed, %d failed%s  (%.1f s)" % (
        os.path.relpath(path, ROOT), len(outcome.passed), len(outcome.failed),
        ", %d skipped" % len(outcome.skipped) if outcome.skipped else "", seconds), flush=True)
    if verbose:
        for word, tests in (("ok", outcome.passed), ("skipped", outcome.skipped)):
            for test in tests:
                print("    %s %s" % (word, test))
    if outcome.failed:
        print("".join("    FAILED %s\n" % test for test in outcome.failed) +
              "---- output of %s\n%s\n----" % (os.path.basename(path), output.rstrip()),
              flush=True)
    return outcome


def main():
    parser = argparse.ArgumentParser(description="Runs the tests and counts them.")
    parser.add_argument("--unit", action="store_true", help="the unit tests only")
    parser.add_argument("--integration", action="store_true",
                        help="the integration and model tests only")
    parser.add_argument("-j", metavar="N", type=int, default=2, help="files at a time (2)")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only what holds PATTERN")
    parser.add_argument("-v", action="store_true", help="name every test")
    options = parser.parse_args()
    both = options.unit == options.integration
    build = os.path.abspath(os.environ.get("BUCKETLINE_BUILD") or os.path.join(ROOT, "build"))
    env = dict(os.environ, BUCKETLINE_BUILD=build, PYTHONDONTWRITEBYTECODE="1")

    if "address" in os.path.basename(build):  # crashes and core limits are to be what they are without
        env.setdefault("ASAN_OPTIONS", "handle_segv=0:handle_sigbus=0:disable_coredump=0")

    c_files, py_files = [], []
    if options.unit or both:
        c_files += programs(build, "unit")
    if options.integration or both:
        c_files += programs(build, "integration")
        for area in ("integration", "model", "chaos"):
            py_files += sorted(glob.glob(os.path.join(ROOT, "tests", area, "test_*.py")))
    jobs = [(p, lambda p=p: run_c(p, env)) for p in c_files if options.k in os.path.basename(p)]
    jobs += [(p, lambda p=p: run_python(p, options.k, env)) for p in py_files]

    total = Outcome()
    with concurrent.futures.ThreadPoolExecutor(max(1, options.j)) as pool:
        try:
            for done in concurrent.futures.as_completed(
                    [pool.submit(run_file, path, run) for path, run in jobs]):
                total.add(report(*done.result(), options.v))
        except BaseException:
            GROUPS.end()
            raise
    for test in total.failed:
        print("FAILED " + test)
    print("%d passed, %d failed%s" % (
        len(total.passed), len(total.failed),
        ", %d skipped" % len(total.skipped) if total.skipped else ""))
    return 1 if total.failed or total.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
