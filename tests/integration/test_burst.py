"""`worker --burst`: it runs what waits, what comes of that and what comes back, and ends."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, ROOT, Case, run_command, wait_until
from ledger import Ledger
from proxy import Proxy

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"

# Waits until somebody opens the fifo, in a constructor or in a handler.
WAIT = """#include <fcntl.h>
#include <unistd.h>
#include "bucketline.h"
static void wait(void)
{
    close(open("%s", O_RDONLY));
}
"""
PUSHER = """static enum bl_result run(struct bl_job *job)
{
    char why[256];
    wait();
    return bl_enqueue(job, "default", job->args, job->args_len, why, sizeof why) == 0 ? BL_DONE
                                                                                      : BL_DEAD;
}
static const struct bl_handler handlers[] = {{.name = "pusher", .run = run}};
const struct bl_plugin bl_plugin = BL_PLUGIN("pusher", handlers);
"""
SLOW_TO_LOAD = """__attribute__((constructor)) static void begin(void)
{
    wait();
}
#include "%s/tests/plugins/ledger.c"
"""


class Burst(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis(tcp=True)
        self.client = self.server.client
        self.ledger = Ledger(self.directory)
        self.fifo = os.path.join(self.directory, "fifo")

    def config(self, **more):
        return dict({"queues": ["default"], "runners": 2,
                     "plugins": [self.ledger.plugin, os.path.join(BUILD, "jobs/fail.so")]}, **more)

    def burst(self, *args, status=0, env=None, **more):
        """Runs one; the worker without a process, for its directories, and the command's Result."""
        worker = self.worker(self.server, self.config(**more), start=False)
        return worker, run_command("worker", "-c", worker.config_path, "--burst", *args,
                                   status=status, env=env)

    def plugin(self, name, text):
        """One that waits for the fifo."""
        path = os.path.join(self.directory, name)
        os.mkfifo(self.fifo)
        with open(path + ".c", "w") as file:
            file.write(WAIT % self.fifo + text)
        subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-I", ROOT + "/jobs",
                        "-o", path + ".so", path + ".c"], check=True)
        return path + ".so"

    def open_fifo(self):
        """Waits until somebody waits there, and lets it go on."""
        os.close(os.open(self.fifo, os.O_WRONLY))

    def burst_behind(self, watch, *args, **more):
        """A burst under way whose requests go by `watch(proxy, data)` before Redis has them."""
        proxy = Proxy(self.server.port)
        proxy.watch = lambda data: watch(proxy, data)
        self.addCleanup(proxy.close)
        url = "redis://127.0.0.1:%d" % proxy.port
        worker = self.worker(self.server, self.config(redis={"url": url}, **more),
                             args=("--burst",) + args, start=False)
        worker.spawn()
        return worker

    def test_it_drains_the_queue_and_waits_for_retries_as_long_as_it_is_told(self):
        self.ledger.push(self.server, 100)
        worker, _ = self.burst()
        self.assertTrue(self.ledger.all_ended())
        self.assertEqual(self.client.hlen("bucketline:workers"), 0)
        self.assertEqual(os.listdir(worker.config["state_dir"]), [])
        self.client.lpush(QUEUE, '{"type":"fail","retry":2,"args":{"times":1},'
                          '"backoff":{"type":"fixed","base":0.5}}')
        self.burst()
        self.assertEqual(self.client.zcard("{queue:default}:retry"), 1)  # it does not wait
        self.burst("--burst-wait", "10s")
        self.assertEqual(self.client.zcard("{queue:default}:retry"), 0)

    def test_its_exit_code_tells_of_dead_letters_and_of_a_redis_that_is_away(self):
        self.client.lpush(QUEUE, '{"type":"fail","retry":0}')
        self.burst(status=1)
        self.assertEqual(self.client.llen(DEAD), 1)
        self.server.stop()
        self.burst(status=69)

    def test_runners_that_cannot_start_end_it(self):
        _, result = self.burst(status=70, env={"BUCKETLINE_RUNNER_EXE": "/bin/false"})
        self.assertRegex(result.err, "runner|plugins")
        self.assertEqual(self.client.hlen("bucketline:workers"), 0)

    def test_it_runs_what_its_jobs_lead_to(self):
        for queue in ("", '"queue":"extra",'):
            after = self.ledger.document("after" + queue[9:14])
            self.client.lpush(QUEUE, '{"type":"noop","on_success":{%s%s}' % (queue, after[1:]))
        self.client.lpush(QUEUE, '{"type":"nobody"}')
        self.burst(queues=["default", "extra"], plugins=[
            self.ledger.plugin, os.path.join(BUILD, "jobs/noop.so")])
        self.assertEqual(self.ledger.ended(), {"after": 1, "afterextra": 1})
        self.assertEqual(self.client.llen("{queue:default}:parked"), 1)

    def crash(self, ms, count):
        """Leaves so many begun jobs of a worker that died; its state_dir."""
        worker = self.worker(self.server, self.config())
        self.ledger.push(self.server, count, ms=ms)
        wait_until(lambda: len(self.ledger.began()) == min(count, 2), what="running jobs")
        worker.kill9_all()
        return worker.config["state_dir"]

    def test_it_finds_what_was_running_before_a_crash(self):
        self.burst(state_dir=self.crash(ms=500, count=3))
        self.assertTrue(self.ledger.all_ended())
        self.assertTrue(self.server.idle())

    # What Redis answers to a claim is old news if something was pushed behind that claim: here the
    # answer comes after the push, in one piece with what is said of it.

    def test_a_claim_under_way_hides_nothing_that_comes_back(self):
        state_dir = self.crash(ms=1000, count=1)
        seen = []

        def watch(proxy, data):
            if b"HMGET\r\n$%d\r\n%s" % (len(RUN), RUN.encode()) in data and not seen:
                seen.append("it reads what the dead one held")
                proxy.stall = {"reply"}
                self.open_fifo()  # now it has a runner to claim for
            if b":paused" in data and len(seen) == 1:
                seen.append("it claims")
                proxy.stall = set()
        burst = self.burst_behind(watch, state_dir=state_dir, runners=1, plugins=[
            self.plugin("slow", SLOW_TO_LOAD % ROOT)])
        self.open_fifo()  # for the process that asks plugins what they have
        self.assertEqual(burst.wait(), 0)
        self.assertEqual(len(seen), 2)
        self.assertTrue(self.ledger.all_ended())
        self.assertTrue(self.server.idle())

    def test_a_claim_under_way_hides_nothing_that_a_job_pushes(self):
        child = self.ledger.document("child")
        self.client.lpush(QUEUE, '{"type":"pusher","args":%s}' % child)
        at = int(time.time() * 1000) + 300
        self.client.lpush(QUEUE, self.ledger.document("later", at=at))
        seen = []

        def watch(proxy, data):
            if b":paused" in data and not seen and self.client.llen(QUEUE) == 1 and \
                    time.time() * 1000 > at:
                seen.append("it claims what is due")
                proxy.stall = {"reply"}
                self.open_fifo()
            if b"LPUSH" in data and len(seen) == 1:
                seen.append("a job pushes")
                proxy.stall = set()
        burst = self.burst_behind(watch, "--burst-wait", "10s", plugins=[
            self.ledger.plugin, self.plugin("pusher", PUSHER)])
        self.assertEqual(burst.wait(), 0)
        self.assertEqual(len(seen), 2)
        self.assertEqual(self.ledger.ended(), {"later": 1, "child": 1})
        self.assertTrue(self.server.idle())


if __name__ == "__main__":
    import unittest
    unittest.main()
