"""Library of the integration tests: a private Redis, a worker, the commands, and waiting.

    from bl import Case, Redis, Worker, run_command, wait_until

    class Retry(Case):
        def test_comes_back(self):
            redis = self.redis()                 # a server of its own, on a unix socket
            worker = self.worker(redis, {"runners": 2})
            redis.client.lpush("queue:default", '{"type":"echo"}')
            wait_until(lambda: redis.client.llen("queue:default") == 0, what="the job is taken")

Every test has a directory of its own under /tmp (socket paths are limited to 107 bytes) and a hang
guard.  Whatever a test started is ended by its pid when the test is over, passed or not, and by the
kernel should the test itself be killed.  Nothing here sleeps where something can be awaited; limits
of time are guards against hanging, never claims about speed.
"""

import ctypes
import faulthandler
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import redis as redis_py

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUCKETLINE_BUILD") or os.path.join(ROOT, "build"))
LUA = os.path.join(ROOT, "common", "lua")

GUARD_SECONDS = 60  # longest wait for one condition
TEST_SECONDS = 180  # longest test; a slow machine or a sanitizer may need BUCKETLINE_TEST_SLOW=3
SLOW = float(os.environ.get("BUCKETLINE_TEST_SLOW") or 1)


# ---- waiting -------------------------------------------------------------------------------------


def wait_until(condition, guard=GUARD_SECONDS, what="the condition", pause=0.01):
    """Calls `condition` until it returns something true, and returns that.  An AssertionError that
    names `what` if the guard runs out; `what` may be a function that describes the state."""
    end = time.monotonic() + guard * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited in vain for " + (what() if callable(what) else what))
        time.sleep(pause)


class Hang(Exception):
    """A test ran longer than its guard."""


# ---- processes -----------------------------------------------------------------------------------

_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def process_table():
    """{pid: (parent's pid, state letter, start time)} of all processes that can be seen."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue  # ended meanwhile
        table[int(name)] = (int(fields[1]), fields[0].decode(), int(fields[19]))
    return table


def children_of(pid, deep=False):
    """Pids of the living children of a process, or of all its descendants."""
    table = process_table()
    found, level = [], [pid]
    while level:
        level = [p for p, (parent, state, _) in table.items() if parent in level and state != "Z"]
        found += level
        if not deep:
            break
    return sorted(found)


def is_alive(pid):
    """True unless the process is gone or only a zombie is left of it."""
    entry = process_table().get(pid)
    return entry is not None and entry[1] != "Z"


def command_line(pid):
    """The arguments of a process with spaces between them; "" if it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode()
    except OSError:
        return ""


class Process:
    """A program started by a test.  Its output goes to a file."""

    def __init__(self, argv, log_path, env=None, executable=None, cwd=None, pass_fds=()):
        self.argv, self.log_path, self.env = argv, log_path, env
        self.executable, self.cwd, self.pass_fds = executable, cwd, pass_fds
        self.popen = None
        self.known = {}  # descendants that were seen: pid -> start time

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                self.argv, executable=self.executable, env=self.env, cwd=self.cwd,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=self.pass_fds,
                preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number):
        self.remember()
        self.popen.send_signal(number)

    def heeds(self, number):
        """Does it catch, or keep for later, this signal?"""
        try:
            with open("/proc/%d/status" % self.pid) as file:
                masks = dict(line.split(":", 1) for line in file if line.startswith("Sig"))
        except (FileNotFoundError, ProcessLookupError):
            return False
        return any(int(masks[m], 16) >> number - 1 & 1 for m in ("SigBlk", "SigCgt"))

    def wait(self, guard=GUARD_SECONDS):
        """The exit status (negative = the signal that ended it)."""
        try:
            return self.popen.wait(guard * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s does not end; its log:\n%s" % (self.argv[0], self.log()))

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, count=1, guard=GUARD_SECONDS):
        """Waits until the log holds `count` matches of the regular expression; returns the last."""

        def look():
            found = list(re.finditer(pattern, self.log(), re.MULTILINE))
            if len(found) >= count:
                return found[count - 1]
            if not self.running:
                raise AssertionError("%s ended (%s) without logging %r:\n%s" % (
                    self.argv[0], self.popen and self.popen.returncode, pattern, self.log()))
            return None

        return wait_until(look, guard, lambda: "%r in the log:\n%s" % (pattern, self.log()))

    def remember(self):
        """Notes the descendants, so that cleaning up finds them though their parent is gone."""
        if self.running:
            table = process_table()
            for pid in children_of(self.pid, deep=True):
                if pid in table:
                    self.known[pid] = table[pid][2]

    def children(self):
        """Pids of the direct children, through /proc."""
        self.remember()
        return children_of(self.pid) if self.running else []

    def descendants(self):
        self.remember()
        return children_of(self.pid, deep=True) if self.running else []

    def kill9(self):
        """SIGKILL to this process alone, and waits for its end."""
        if self.running:
            self.signal(signal.SIGKILL)
        self.wait()

    def kill9_all(self):
        """SIGKILL to it and to all its descendants at once, as when a machine dies."""
        self.remember()
        self.popen.send_signal(signal.SIGSTOP)  # it shall not see them die
        for pid in children_of(self.pid, deep=True):
            _kill(pid)
        self.kill9()

    def end(self):
        """Cleans up: nothing that belonged to it is left."""
        if self.popen is None:
            return
        self.remember()
        if self.running:
            self.popen.kill()
        self.popen.wait()
        table = process_table()
        for pid, start in self.known.items():
            if pid in table and table[pid][2] == start:
                _kill(pid)


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # was faster


# ---- Redis ---------------------------------------------------------------------------------------


def redis_server():
    """(executable, argv[0]) of a Redis server.  Debian's redis-tools brings the server only under
    the name of its checking tool: called redis-server, that is what it is."""
    named = os.environ.get("BUCKETLINE_REDIS_SERVER") or shutil.which("redis-server")
    if named:
        return named, named
    for tool in ("redis-check-rdb", "valkey-check-rdb"):
        found = shutil.which(tool)
        if found:
            return found, "redis-server"
    raise unittest.SkipTest("no redis-server (Debian: apt install redis-tools)")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Redis(Process):
    """A private server: own directory, unix socket, no persistence unless `aof` is given.

    `aof` is None, "always", "everysec" or "no"; `options` is a dict of further directives, for which
    a list stands for several arguments; `tcp` opens a port on 127.0.0.1 too; `debug` allows the
    DEBUG command, which servers before 7.0 always do."""

    def __init__(self, directory, aof=None, maxmemory=None, tcp=False, debug=False, options=None,
                 name="redis"):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.socket = os.path.join(self.directory, "s")
        self.port = free_port() if tcp else 0
        settings = {"port": self.port, "bind": "127.0.0.1", "unixsocket": self.socket,
                    "unixsocketperm": "700", "dir": self.directory, "save": "", "daemonize": "no"}
        if aof:
            settings.update({"appendonly": "yes", "appendfsync": aof})
        if maxmemory:
            settings["maxmemory"] = maxmemory
        if debug:
            settings["enable-debug-command"] = "yes"
        settings.update(options or {})
        executable, argv0 = redis_server()
        argv = [argv0]
        for key, value in settings.items():
            argv += ["--" + key] + ([str(v) for v in value] if isinstance(value, list)
                                    else [str(value)])
        super().__init__(argv, os.path.join(self.directory, "log"), executable=executable)
        self._client = None

    @property
    def url(self):
        return "unix://" + self.socket

    @property
    def tcp_url(self):
        return "redis://127.0.0.1:%d" % self.port

    @property
    def client(self):
        """The tests' own connection; replies are bytes."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, **options):
        return redis_py.Redis(unix_socket_path=self.socket, **options)

    def start(self):
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ping():
            if not self.running:
                raise AssertionError("redis-server ended:\n" + self.log())
            client = self.new_client(socket_timeout=5)
            try:
                return client.ping()
            except redis_py.exceptions.RedisError:
                return False  # not listening yet, or loading
            finally:
                client.close()
                client.connection_pool.disconnect()

        wait_until(ping, what=lambda: "an answer of redis-server:\n" + self.log())

    def stop(self):
        """As an operator stops it: data is written first, where persistence is on."""
        if self.running:
            self.signal(signal.SIGTERM)
        self.wait()
        self._drop_client()

    def kill9(self):
        super().kill9()
        self._drop_client()

    def restart(self, hard=False):
        """Same directory and socket; data survive only with `aof`."""
        if hard:
            self.kill9()
        else:
            self.stop()
        return self.start()

    def pause(self):
        """Freezes it: it keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def held(self, *queues):
        """How many jobs wait in the lists, lie in workers' hands (one in each; it may have begun) or run.
        Asked in the order in which they move; no MULTI, which a server refuses when its memory is
        full."""
        ask = self.client.pipeline(transaction=False)
        for queue in queues or ("queue:default",):
            ask.llen(queue).keys("{%s}:hand:*" % queue).hlen("{%s}:run" % queue)
        return sum(len(n) if isinstance(n, list) else n for n in ask.execute())

    def idle(self, *queues):
        """Is every job settled?"""
        return self.held(*queues) == 0

    def _drop_client(self):
        if self._client is not None:
            self._client.close()
            self._client.connection_pool.disconnect()
            self._client = None

    def end(self):
        self._drop_client()
        super().end()


# ---- Bucketline's programs ------------------------------------------------------------------------


def program(name):
    return os.path.join(BUILD, name)


def clean_env(extra=None):
    """The environment without what would lead a program to another Redis or configuration."""
    env = {k: v for k, v in os.environ.items()
           if k != "REDIS_URL" and not k.startswith("BUCKETLINE_")}
    env.update(extra or {})
    return {k: str(v) for k, v in env.items() if v is not None}


class Result:
    """What a command did: `status`, `out` and `err` (text), `raw_out` (bytes)."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.raw_out = argv, status, out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    def __str__(self):
        return "%s: exit %d\n-- out:\n%s-- err:\n%s" % (
            " ".join(map(str, self.argv)), self.status, self.out, self.err)

    def json(self):
        return json.loads(self.out)


def run_command(name, *args, redis=None, input=None, env=None, cwd="/", status=0,
                guard=GUARD_SECONDS):
    """Runs `enqueue`, `jobctl` or another program of the build and returns a Result.  `redis` is
    handed over in the environment.  An AssertionError unless it exits with `status` (None = any)."""
    variables = {"BUCKETLINE_REDIS_URL": redis.url} if redis is not None else {}
    variables.update(env or {})
    argv = [program(name)] + [str(a) for a in args]
    if isinstance(input, str):
        input = input.encode()
    try:
        done = subprocess.run(argv, input=input if input is not None else b"",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
                              env=clean_env(variables), timeout=guard * SLOW,
                              preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired as e:
        raise AssertionError("%s hangs; so far:\n%s\n%s" % (" ".join(argv), e.stdout, e.stderr))
    result = Result(argv, done.returncode, done.stdout, done.stderr)
    if status is not None and result.status != status:
        raise AssertionError("expected exit %d: %s" % (status, result))
    return result


def yaml_text(value, indent=0):
    """Block YAML of dicts, lists and scalars.  Strings are double-quoted, so nothing is guessed."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append("%s%s:\n%s" % (pad, _yaml_key(key), yaml_text(item, indent + 1)))
            else:
                lines.append("%s%s: %s\n" % (pad, _yaml_key(key), _yaml_scalar(item)))
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            if isinstance(item, (dict, list)) and item:
                body = yaml_text(item, indent + 1)
                lines.append(pad + "- " + body[len(pad) + 2:])
            else:
                lines.append("%s- %s\n" % (pad, _yaml_scalar(item)))
        return "".join(lines)
    return pad + _yaml_scalar(value) + "\n"


def _yaml_key(key):
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else json.dumps(key)


def _yaml_scalar(value):
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


class Worker(Process):
    """A `worker -c` with a worker.yaml made from `config`, in a directory of its own.

    Where to find Redis, the queue `default` and a state_dir are filled in unless `config` names
    them.  start() returns when the worker logged that it is ready, or without that, when no signal
    can end it any more without being acted on."""

    READY = r"\bready\b"

    def __init__(self, directory, redis, config=None, env=None, args=(), name="worker"):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.config = dict(config or {})
        if redis is not None:
            self.config.setdefault("redis", {})
            self.config["redis"] = dict({"url": redis.url}, **self.config["redis"])
        self.config.setdefault("queues", ["default"])
        self.config.setdefault("state_dir", os.path.join(self.directory, "state"))
        self.config_path = os.path.join(self.directory, "worker.yaml")
        self.write_config()
        super().__init__([program("worker"), "-c", self.config_path] + list(args),
                         os.path.join(self.directory, "log"), env=clean_env(env),
                         cwd=self.directory)

    def write_config(self, **changes):
        """Writes worker.yaml again, with `changes` (None removes): a HUP reads it."""
        for key, value in changes.items():
            if value is None:
                self.config.pop(key, None)
            else:
                self.config[key] = value
        with open(self.config_path + ".new", "w") as file:
            file.write(yaml_text(self.config))
        os.chmod(self.config_path + ".new", 0o600)
        os.rename(self.config_path + ".new", self.config_path)

    def start(self, ready=True):
        seen = len(re.findall(self.READY, self.log()))
        self.spawn()
        if ready:
            self.wait_log(self.READY, seen + 1)
        else:
            wait_until(lambda: self.heeds(signal.SIGTERM) or not self.running,
                       what="a worker that heeds signals")
        self.remember()
        return self

    def term(self):
        self.signal(signal.SIGTERM)

    def hup(self):
        self.signal(signal.SIGHUP)

    def stop(self):
        """Freezes the worker itself, not its runners."""
        self.signal(signal.SIGSTOP)

    def cont(self):
        self.signal(signal.SIGCONT)

    def runners(self):
        """Pids of its runners; not of the one that describes the plugins."""
        return [pid for pid in self.children() if " --index " in command_line(pid)]

    def drain(self, guard=GUARD_SECONDS):
        """SIGTERM, and waits for its end; the exit status."""
        self.term()
        return self.wait(guard)


# ---- the test case -------------------------------------------------------------------------------


class Case(unittest.TestCase):
    """A test with a directory of its own, a hang guard, and cleaning up."""

    guard_seconds = TEST_SECONDS

    def run(self, result=None):
        seconds = int(self.guard_seconds * SLOW)
        # First an exception, so that cleaning up is done; if even that hangs, the end of the process.
        old = signal.signal(signal.SIGALRM, self._on_alarm)
        signal.alarm(seconds)
        faulthandler.dump_traceback_later(seconds + 30, exit=True)
        try:
            return super().run(result)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGALRM, old)

    def _on_alarm(self, number, frame):
        raise Hang("%s ran longer than %d s" % (self.id(), self.guard_seconds * SLOW))

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="bl", dir="/tmp")
        self._processes = []
        self.addCleanup(self._clean_up)

    def _clean_up(self):
        failed = self._failed()
        for process in reversed(self._processes):
            if failed and isinstance(process, Worker):
                sys.stderr.write("---- log of %s\n%s" % (process.directory, process.log()[-20000:]))
            process.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _failed(self):
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        if result is None:
            return False
        return any(test is self for test, _ in result.failures + result.errors) or \
            not getattr(outcome, "success", True)

    def adopt(self, process):
        """Has the process ended when the test is over."""
        self._processes.append(process)
        return process

    def redis(self, **options):
        """A running Redis server; see class Redis."""
        name = "redis%d" % len(self._processes)
        return self.adopt(Redis(self.directory, name=name, **options)).start()

    def worker(self, redis, config=None, start=True, **options):
        """A running worker; see class Worker."""
        options.setdefault("name", "worker%d" % len(self._processes))
        process = self.adopt(Worker(self.directory, redis, config, **options))
        return process.start() if start else process


def lua(name):
    """The text of a script."""
    with open(os.path.join(LUA, name + ".lua")) as file:
        return file.read()


if __name__ == "__main__":
    sys.exit("a library: run tests/run.py")
