"""What docs/security.md promises: descriptors, environment, users, files, passwords, payloads, and which
plugins are loaded."""

import json
import os
import pwd
import re
import resource
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, clean_env, program, run_command, wait_until
from ledger import build_plugin

QUEUE, DEAD = "queue:default", "{queue:default}:dead"
PARKED = "{queue:default}:parked"
SECRET = "pAssw0rd-of-redis"
PAYLOAD = "payload-that-is-nobodys-business"
ROOT = os.geteuid() == 0


class Security(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client

    def plugin(self, name="hostile", where=None):
        where = where or self.directory
        os.makedirs(where, exist_ok=True)
        path = build_plugin(where, name)
        if ROOT:
            os.chmod(self.directory, 0o755)  # `nobody` has to get there
        return path

    def start(self, **more):
        env = more.pop("env", None)
        args = more.pop("args", ())
        return self.worker(self.server, dict({"runners": 1, "grace": "200ms"}, **more), env=env,
                           args=args)

    def push(self, type, **members):
        self.client.lpush(QUEUE, json.dumps(dict({"type": type}, **members),
                                            separators=(",", ":")))

    def answer(self, type, **members):
        self.push(type, reply_to="reply:x", **members)
        found = self.client.blpop("reply:x", timeout=60)
        self.assertIsNotNone(found)
        return json.loads(found[1]).get("result")

    def nobody(self):
        if not ROOT:
            self.skipTest("only root can become another user")
        try:
            return pwd.getpwnam("nobody")
        except KeyError:
            self.skipTest("there is no user nobody")

    # ---- descriptors and environment ----

    def test_a_program_has_four_descriptors(self):
        self.start(handlers={"lists": {"exec": ["/usr/bin/python3", "-S", "-E", "-c",
                                                "import os\n"
                                                "for n in range(256):\n"
                                                " try: print(n, os.readlink('/proc/self/fd/%d' % n))\n"
                                                " except OSError: pass"]}})
        lines = [line.split() for line in self.answer("lists").strip().split("\n")]
        self.assertEqual([line[0] for line in lines], ["0", "1", "2", "3"])
        self.assertEqual({line[1].split(":")[0] for line in lines}, {"pipe"})

    def test_a_plugins_handler_has_five(self):
        self.start(plugins=[self.plugin()])
        fds = dict(fd.split(":", 1) for fd in self.answer("state")["fds"])
        self.assertEqual(set(fds), {"0", "1", "2", "3", "6"})
        self.assertEqual(fds["0"], "/dev/null")
        self.assertEqual(fds["1"], fds["2"])
        self.assertRegex(fds["1"], "^pipe:")
        self.assertRegex(fds["3"], "^socket:")  # to the worker
        self.assertRegex(fds["6"], "worker.*/log$")  # the log; both are closed on exec

    def test_the_guard_and_runners_keep_no_lock_and_no_redis(self):
        worker = self.start()
        for pid in worker.children():
            links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            self.assertEqual([link for link in links if ".lock" in link], [])
            self.assertLessEqual(len([link for link in links if link.startswith("socket:")]), 1)

    def test_no_password_in_what_handlers_can_see(self):
        self.client.config_set("requirepass", SECRET)
        self.client.execute_command("AUTH", SECRET)
        url = "unix://%s?password=%s" % (self.server.socket, SECRET)
        worker = self.worker(None, {
            "runners": 1, "plugins": [self.plugin()], "redis": {"url": "redis://127.0.0.1:1"},
            "handlers": {"env": {"exec": ["/usr/bin/env"]}}},
            env={"BUCKETLINE_REDIS_URL": url, "REDIS_URL": url, "SECRET_OF_SHELL": PAYLOAD,
                 "NOTIFY_SOCKET": ""})
        env = self.answer("env")
        self.assertNotIn(SECRET, env)
        self.assertNotIn(PAYLOAD, env)
        allowed = {"PATH", "HOME", "LANG", "TZ", "USER", "TRACEPARENT"}
        names = {line.split("=")[0] for line in env.strip().split("\n")}
        self.assertEqual({n for n in names if n not in allowed and not n.startswith("JOB_")}, set())
        for pid in worker.children():
            for name in ("environ", "cmdline"):
                with open("/proc/%d/%s" % (pid, name), "rb") as file:
                    self.assertNotIn(SECRET.encode(), file.read(), name)
        self.assertNotIn(SECRET, worker.log())

    def test_a_password_on_the_command_line_is_wiped(self):
        self.client.config_set("requirepass", SECRET)
        self.client.execute_command("AUTH", SECRET)
        url = "unix://%s?password=%s" % (self.server.socket, SECRET)
        worker = self.start(args=["-u", url])
        for pid in [worker.pid] + worker.children():
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                self.assertNotIn(SECRET.encode(), file.read())
        self.assertNotIn(SECRET, worker.log())
        popen = subprocess.Popen([program("enqueue"), "-u", url, "--bulk", "-"],
                                 stdin=subprocess.PIPE, env=clean_env(), cwd="/",
                                 stdout=subprocess.DEVNULL)
        self.addCleanup(popen.wait)
        self.addCleanup(popen.kill)

        def wiped():
            with open("/proc/%d/cmdline" % popen.pid, "rb") as file:
                line = file.read()
            return line.startswith(program("enqueue").encode()) and SECRET.encode() not in line
        wait_until(wiped, what="the password to be wiped from enqueue's command line")
        popen.stdin.close()
        wrong = run_command("jobctl", "-u", url.replace(SECRET, "wrong-" + SECRET), "queues",
                            status=None)
        self.assertNotEqual(wrong.status, 0)
        self.assertNotIn(SECRET, wrong.out + wrong.err)

    # ---- users ----

    def assertUser(self, told, entry):
        for key, number in (("uids", entry.pw_uid), ("gids", entry.pw_gid)):
            self.assertEqual(told[key].split(), [str(number)] * 4)
        self.assertEqual(set(told["groups"].split()) - {str(entry.pw_gid)}, set())
        self.assertEqual(told["root"], 0)
        self.assertEqual(int(told["caps"], 16), 0)

    def test_the_worker_becomes_its_user_for_good(self):
        entry = self.nobody()
        state = os.path.join(self.directory, "state")
        worker = self.worker(self.server, {"runners": 1, "user": "nobody", "plugins": [self.plugin()],
                                           "state_dir": state}, start=False)
        os.chmod(self.directory, 0o755)
        os.chmod(os.path.dirname(self.server.socket), 0o755)
        os.chmod(self.server.socket, 0o777)
        worker.start()
        self.assertUser(self.answer("state"), entry)
        # Not dumpable: its files in /proc are root's, and so closed to others of its user.
        self.assertEqual(os.stat("/proc/%d/mem" % worker.pid).st_uid, 0)
        self.assertEqual(os.stat("/proc/%d/mem" % worker.children()[-1]).st_uid, entry.pw_uid)
        for pid in [worker.pid] + worker.children():
            with open("/proc/%d/status" % pid) as file:
                text = file.read()
            self.assertIn("Uid:\t%d\t%d\t%d\t%d\n" % ((entry.pw_uid,) * 4), text)
            self.assertRegex(text, r"CapEff:\t0+\n")
        self.assertNotIn("handlers run as root", worker.log())
        self.assertEqual(os.stat(state).st_uid, entry.pw_uid)

    def test_a_program_becomes_its_user_for_good(self):
        entry = self.nobody()
        self.start(handlers={"who": {"user": "nobody", "directory": "/", "exec": [
            "/usr/bin/python3", "-S", "-c",
            "import os,json\n"
            "try: os.setuid(0); root = 1\n"
            "except OSError: root = 0\n"
            "s = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"
            "print(json.dumps({'uids': s['Uid'], 'gids': s['Gid'], 'groups': s['Groups'],"
            " 'caps': s['CapEff'], 'root': root}))"]}})
        told = self.answer("who")
        self.assertUser(json.loads(told) if isinstance(told, str) else told, entry)

    def test_root_without_a_user_is_warned_of(self):
        if not ROOT:
            self.skipTest("not root")
        self.start().wait_log("level=warn .*handlers run as root")

    # ---- files ----

    def test_what_lies_in_state_dir_is_ours_alone(self):
        state = os.path.join(self.directory, "new", "state")
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.start(state_dir=state, plugins=[os.path.join(BUILD, "jobs/*.so")])
        self.answer("echo", args={"x": PAYLOAD}, keep=60)
        self.assertEqual(stat.S_IMODE(os.stat(state).st_mode), 0o700)
        names = os.listdir(state)
        self.assertTrue(names)
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(state, name)).st_mode)
            self.assertEqual((name, mode), (name, 0o600))

    def test_a_state_dir_that_others_may_write_to_is_refused(self):
        state = os.path.join(self.directory, "shared")
        os.mkdir(state)
        os.chmod(state, 0o777)
        worker = self.worker(self.server, {"state_dir": state}, start=False).start(ready=False)
        self.assertEqual(worker.wait(), 78)

    def test_no_core_files(self):
        cores = os.path.join(self.directory, "cores")
        os.mkdir(cores)
        worker = self.worker(self.server, {
            "runners": 1, "plugins": [self.plugin(), os.path.join(BUILD, "jobs/*.so")],
            "handlers": {"limit": {"exec": ["/usr/bin/python3", "-S", "-c",
                                            "import resource; print(resource.getrlimit(4))"]}}},
            start=False)
        if ROOT:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        worker.start()
        self.assertEqual(self.answer("limit").strip(), "(1, 1)")
        self.assertEqual(self.answer("state")["core"], 1)
        with open("/proc/%d/limits" % worker.pid) as file:
            self.assertRegex(file.read(), r"Max core file size +1 +1 ")
        self.push("hostile", args={"do": "abort"}, backoff={"type": "fixed", "base": 0.05})
        wait_until(lambda: self.client.llen(DEAD) == 1, what="the crashes")
        self.assertNotIn("core dumped", worker.log())

    def test_core_files_where_they_are_asked_for(self):
        self.start(core_dumps=True, plugins=[self.plugin()])
        self.assertEqual(self.answer("state")["core"] & (2 ** 63 - 1),
                         resource.getrlimit(resource.RLIMIT_CORE)[0] & (2 ** 63 - 1))

    def test_the_log_says_nothing_of_what_is_in_jobs(self):
        worker = self.start(
            plugins=[self.plugin(), os.path.join(BUILD, "jobs/*.so")], park_for="1s",
            handlers={"fails": {"exec": ["/bin/false"]}, "long": {"exec": ["/bin/sleep", "100"]},
                      "rubbish": {"exec": ["/bin/sh", "-c", "cat >&3; exit 3"]}})
        args = {"x": PAYLOAD}
        fast = {"type": "fixed", "base": 0.05, "jitter": 0}
        self.assertEqual(self.answer("echo", args=args, keep=60, meta={"m": PAYLOAD}), args)
        for type in ("fails", "rubbish"):
            self.push(type, args=args, retry=1, backoff=fast)
        self.push("long", args=args, retry=0, timeout=0.2)
        self.push("hostile", args={"do": "segv", "x": PAYLOAD}, backoff=fast)
        self.push("unknown", args=args)
        self.push("echo", args=args, expires_at=1)
        self.push("echo", args=args, delay=0.1)
        for text in ('{"type":"echo","args":"%s"', '%s', '{"type":5,"args":"%s"}',
                     '{"type":"echo","retry":"%s"}', '["%s"]',
                     '{"type":"echo","args":"%s","args":1}'):
            self.client.lpush(QUEUE, text % PAYLOAD)
        wait_until(lambda: self.client.llen(DEAD) == 11, what=lambda: "the dead letters: %d" %
                   self.client.llen(DEAD))
        self.assertEqual(worker.drain(), 0)
        self.assertNotIn(PAYLOAD, worker.log())

    # ---- plugins ----

    def refused(self, path, reason):
        worker = self.worker(self.server, {"runners": 1, "plugins": [path]}, start=False)
        result = run_command("worker", "-c", worker.config_path, "--check", status=78)
        self.assertRegex(result.out, "(?s)%s.*%s" % (re.escape(path), reason))
        return worker

    def accepted(self, path):
        worker = self.worker(self.server, {"runners": 1, "plugins": [path]}, start=False)
        self.assertIn("state", run_command("worker", "-c", worker.config_path, "--check").out)

    def test_a_plugin_that_others_may_change_is_not_loaded(self):
        path = self.plugin(where=os.path.join(self.directory, "plugins"))
        for mode in (0o757, 0o775, 0o777):
            os.chmod(path, mode)
            self.refused(path, "others may write to it")
        os.chmod(path, 0o755)
        self.accepted(path)
        link = os.path.join(self.directory, "link.so")
        os.symlink(path, link)
        self.accepted(link)
        os.chmod(path, 0o757)
        self.refused(link, "others may write to it")

    def test_a_plugin_in_a_directory_of_others_is_not_loaded(self):
        above = os.path.join(self.directory, "above")
        path = self.plugin(where=os.path.join(above, "plugins"))
        safe = os.path.join(self.directory, "safe.so")
        os.symlink(path, safe)
        for directory in (above, os.path.dirname(path)):
            os.chmod(directory, 0o777)
            self.refused(path, "others may write to its directory .*mode 0777")
            self.refused(safe, "others may write to its directory")
            os.chmod(directory, 0o1777)  # sticky: only the owner may replace what is in it
            self.accepted(path)
            os.chmod(directory, 0o755)
        loose = os.path.join(self.directory, "loose")
        os.mkdir(loose)
        os.chmod(loose, 0o777)
        os.symlink(path, os.path.join(loose, "link.so"))
        self.refused(os.path.join(loose, "link.so"), "others may write to its directory")
        self.accepted(path)

    def test_a_plugin_of_another_user_is_not_loaded(self):
        entry = self.nobody()
        path = self.plugin(where=os.path.join(self.directory, "plugins"))
        os.chown(path, entry.pw_uid, 0)
        self.refused(path, "it belongs to uid %d" % entry.pw_uid)
        os.chown(path, 0, 0)
        os.chown(os.path.dirname(path), entry.pw_uid, 0)
        self.refused(path, "its directory .* belongs to uid %d" % entry.pw_uid)
        os.chown(os.path.dirname(path), 0, entry.pw_gid)
        os.chmod(os.path.dirname(path), 0o775)
        self.refused(path, "others may write to its directory")

    def test_the_types_of_a_refused_plugin_are_parked(self):
        path = self.plugin(where=os.path.join(self.directory, "plugins"))
        os.chmod(path, 0o777)
        worker = self.start(plugins=[path])
        self.push("state")
        wait_until(lambda: self.client.llen(PARKED) == 1, what="the job, parked")
        os.chmod(path, 0o755)
        worker.hup()
        wait_until(lambda: self.client.llen(PARKED) == 0, what="it, run")

    def test_arguments_never_reach_a_shell(self):
        victim = os.path.join(self.directory, "victim")
        self.start(handlers={"cats": {"exec": ["/bin/cat"]}})
        text = "$(touch %s); `touch %s` | touch %s" % (victim, victim, victim)
        self.assertEqual(self.answer("cats", args=text, id=text[:60], meta={"traceparent": text}),
                         text)
        self.assertFalse(os.path.exists(victim))


if __name__ == "__main__":
    unittest.main()
