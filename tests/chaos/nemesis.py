"""Chooses what goes wrong, and when, by a seed: one fault at a time or up to three together, of
things that do not get into each other's way (each fault names the resource it holds)."""

import concurrent.futures
import random
import time

import faults_process
import faults_redis
import faults_wire

GROUPS = {
    "process": faults_process.ALL,
    "redis": faults_redis.ALL,
    "wire": faults_wire.ALL,
    "cut": faults_redis.CUT,
}


def faults_of(groups):
    return [fault for group in groups for fault in GROUPS[group]]


class Nemesis:
    def __init__(self, world, seed, faults, pool, calm=0.4):
        self.world, self.faults, self.pool, self.calm = world, faults, pool, calm
        self.rng = random.Random(seed)
        self.done = 0

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.strike()
            time.sleep(self.rng.random() * 2 * self.calm)

    def strike(self):
        """One round: its faults begin together, and all are over when it returns."""
        together = self.rng.choices((1, 2, 3), (6, 3, 1))[0]
        chosen, taken = [], set()
        for _ in range(together):
            fault = self._choose()
            if not taken & set(fault.resources):
                taken |= set(fault.resources)
                chosen.append(fault)
        futures = [self.pool.submit(fault.run) for fault in chosen]
        for future in concurrent.futures.as_completed(futures):
            future.result()
        self.done += len(chosen)

    def _choose(self):
        kind = self.rng.choices(self.faults, [f.weight for f in self.faults])[0]
        worker = self.rng.randrange(len(self.world.workers))
        return kind(self.world, random.Random(self.rng.random()), worker)
