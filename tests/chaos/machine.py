"""Another machine, as far as the network goes: a namespace with one link to this one.

Needs root and iproute2.  `address` is ours on the link, what runs there reaches us by it.
"""

import os
import shutil
import subprocess


class Machine:
    address = "169.254.77.1"

    def __init__(self):
        self.name = "bl%d" % os.getpid()
        self.link = self.name + "h"
        self._ip("netns", "add", self.name)
        try:
            self._ip("link", "add", self.link, "type", "veth", "peer", "name", self.name + "m",
                     "netns", self.name)
            self._ip("addr", "add", self.address + "/30", "dev", self.link)
            self._ip("link", "set", self.link, "up")
            self._ip("-n", self.name, "addr", "add", "169.254.77.2/30", "dev", self.name + "m")
            self._ip("-n", self.name, "link", "set", self.name + "m", "up")
        except BaseException:
            self.end()
            raise

    @staticmethod
    def possible():
        return os.geteuid() == 0 and shutil.which("ip") is not None

    @staticmethod
    def _ip(*args):
        subprocess.run(("ip",) + args, check=True)

    def enter(self, argv):
        """The same command, there; with the pid it has here."""
        return ["ip", "netns", "exec", self.name] + argv

    def cut_off(self):
        """No packet in or out, and nobody is told."""
        self._ip("link", "set", self.link, "down")

    def end(self):
        subprocess.run(["ip", "link", "del", self.link], stderr=subprocess.DEVNULL)  # perhaps not made
        self._ip("netns", "del", self.name)
