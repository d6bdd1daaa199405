"""Faults of the wire between one worker and Redis."""

import time

from fault import Fault, now


class WireFault(Fault):
    @property
    def resources(self):
        return ["wire%d" % self.index]

    @property
    def proxy(self):
        return self.world.proxies[self.index]


class Reset(WireFault):
    weight = 3

    def run(self):
        begin = now()
        for _ in range(self.rng.randint(1, 3)):
            self.proxy.reset()
            self.sleep(0, 0.1)
        self.note(begin)


class Stall(WireFault):
    """Half-open: nobody says that the other is gone."""

    weight = 3

    def run(self):
        begin = now()
        ways = self.rng.choice((["request"], ["reply"], ["request", "reply"]))
        self.proxy.stall = set(ways)
        self.sleep(*self.rng.choice(((0.05, 0.5), (0.05, 0.5), (1, 3))))
        if self.rng.random() < 0.5:
            self.proxy.reset()  # what was under way is lost; otherwise it comes late
        self.proxy.stall = set()
        self.note(begin, text="+".join(ways))


class Delay(WireFault):
    weight = 2

    def run(self):
        begin = now()
        self.proxy.delay = self.between(0.002, 0.08)
        self.sleep(0.2, 1.5)
        self.proxy.delay = 0.0
        self.note(begin)


class Cut(WireFault):
    """In the middle of a request or of a reply."""

    weight = 8

    def run(self):
        begin = now()
        for _ in range(self.rng.randint(1, 4)):
            way = self.rng.choice(("request", "reply"))
            self.proxy.cut_after(way, self.rng.choice((self.rng.randint(1, 200),
                                                       self.rng.randint(1, 6000))))
            end = time.monotonic() + 0.4
            while self.proxy.cut_is_pending and time.monotonic() < end:
                time.sleep(0.005)
        self.proxy.cut_after("request", None)
        self.proxy.cut_after("reply", None)
        self.note(begin)


class Refuse(WireFault):
    def run(self):
        begin = now()
        self.proxy.refuse = True
        self.proxy.reset()
        self.sleep(0.1, 1)
        self.proxy.refuse = False
        self.note(begin)


ALL = [Reset, Stall, Delay, Cut, Refuse]
