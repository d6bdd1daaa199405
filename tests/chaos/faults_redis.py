"""Faults of Redis: it dies, hangs, is full, refuses, forgets its scripts, loses its tail."""

import signal
import time

from fault import Fault, now
from places import Aof
from world import COMPANIONS, LISTS, PASSWORD, USER, companion


class RedisFault(Fault):
    per_worker = False

    def client(self):
        return self.world.redis.new_client(socket_timeout=10)

    def command(self, *args):
        client = self.client()
        try:
            return client.execute_command(*args)
        finally:
            client.connection_pool.disconnect()


class ClientKill(RedisFault):
    weight = 3

    def run(self):
        begin = now()
        for _ in range(self.rng.randint(1, 3)):
            client = self.client()
            ids = [c for c in client.client_list() if c["name"].startswith("bucketline")]
            if self.rng.random() < 0.5:
                ids = ids[:1]
            for c in ids:
                client.client_kill_filter(_id=c["id"])
            client.connection_pool.disconnect()
            self.sleep(0, 0.1)
        self.note(begin)


class ClientPause(RedisFault):
    def run(self):
        begin, seconds = now(), self.between(0.1, 1.5)
        self.command("CLIENT PAUSE", int(seconds * 1000), self.rng.choice(("ALL", "WRITE")))
        time.sleep(seconds)
        self.note(begin)


class DebugSleep(RedisFault):
    def run(self):
        begin = now()
        self.command("DEBUG", "SLEEP", "%.2f" % self.between(0.1, 1.5))
        self.note(begin)


class ScriptFlush(RedisFault):
    weight = 2

    def run(self):
        begin = now()
        for _ in range(self.rng.randint(1, 10)):
            self.command("SCRIPT", "FLUSH")
            self.sleep(0, 0.03)
        self.note(begin)


class RedisStop(RedisFault):
    weight = 2

    def run(self):
        begin = now()
        with self.world.redis_lock:
            self.world.redis.signal(signal.SIGSTOP)
            self.sleep(*self.rng.choice(((0.1, 0.8), (0.1, 0.8), (1, 3))))
            self.world.redis.signal(signal.SIGCONT)
        self.note(begin)


class RedisKill(RedisFault):
    """kill -9; what its file holds comes back."""

    weight = 3

    def run(self):
        begin, redis = now(), self.world.redis
        with self.world.redis_lock:
            redis.kill9()
            self.damage()
            self.sleep(*self.rng.choice(((0, 0), (0, 0.5), (0.5, 2))))
            redis.start()
        self.note(begin, [redis.pid], self.said)

    said = ""

    def damage(self):
        """What the power cut did to the file; `always` loses nothing that was answered."""
        if self.world.aof != "always":
            self.world.remaining(Aof(self.world.redis.directory), now())


class RedisTerm(RedisFault):
    def run(self):
        begin, redis = now(), self.world.redis
        with self.world.redis_lock:
            redis.stop()
            self.sleep(0, 0.5)
            redis.start()
        self.note(begin)


class Loading(RedisFault):
    """It listens, but reads its file for a while."""

    def run(self):
        begin, redis = now(), self.world.redis
        with self.world.redis_lock:
            redis.kill9()
            self.damage()
            commands = max(1, Aof(redis.directory).count)
            redis.argv += ["--key-load-delay", str(max(1, min(200, int(5e5 / commands))))]
            try:
                redis.start()
            finally:
                redis.argv = redis.argv[:-2]
            self.command("CONFIG", "SET", "key-load-delay", 0)
        self.note(begin)

    damage = RedisKill.damage


class Full(RedisFault):
    """maxmemory is reached: producers are refused, everything else must go on."""

    weight = 2

    def run(self):
        begin = now()
        self.command("CONFIG", "SET", "maxmemory", 1)
        self.sleep(0.2, 1.5)
        self.command("CONFIG", "SET", "maxmemory", 0)
        self.note(begin)


class ReadOnly(RedisFault):
    """A failover turned it into a replica (of nobody who is there), and back."""

    def run(self):
        begin = now()
        self.command("REPLICAOF", "127.0.0.1", "1")
        self.sleep(0.1, 1)
        self.command("REPLICAOF", "NO", "ONE")
        self.note(begin)


class Password(RedisFault):
    def run(self):
        begin = now()
        self.command("ACL", "SETUSER", USER, "resetpass", ">other")
        self.command("CLIENT KILL", "USER", USER)
        self.sleep(0.2, 1)
        self.command("ACL", "SETUSER", USER, "resetpass", ">" + PASSWORD)
        self.note(begin)


class Rights(RedisFault):
    def run(self):
        begin = now()
        right = self.rng.choice(("-evalsha", "-hdel", "-@write", "-hincrby", "-blmove", "-client",
                                 "-hmget", "-lpush", "-hgetall", "-exists"))
        self.command("ACL", "SETUSER", USER, right)
        self.sleep(0.2, 1)
        self.command("ACL", "SETUSER", USER, "+@all")
        self.note(begin, text=right)


class WrongType(RedisFault):
    """Somebody put a string where one of ours belongs, and takes it away again."""

    weight = 2

    def run(self):
        begin = now()
        keys = [companion(self.rng.choice(LISTS), self.rng.choice(COMPANIONS)) for _ in range(2)]
        if self.rng.random() < 0.2:
            keys = ["bucketline:workers"]
            self.command("DEL", keys[0])
        put = [key for key in keys if self.command("SET", key, "not yours", "NX")]
        self.sleep(0.2, 1.5)
        client = self.client()
        for key in put:
            if client.type(key) == b"string":
                client.delete(key)
        client.connection_pool.disconnect()
        self.note(begin, text=" ".join(put))


class AofCut(RedisKill):
    """kill -9, and the last bytes of the file are gone: Redis goes back in time."""

    weight = 3

    def damage(self):
        aof = Aof(self.world.redis.directory)
        self.said = "cut %d bytes" % aof.cut(self.rng.choice((
            self.rng.randint(1, 100), self.rng.randint(1, 5000), self.rng.randint(1, 40000))))
        self.world.remaining(Aof(self.world.redis.directory), now())


ALL = [ClientKill, ClientPause, DebugSleep, ScriptFlush, RedisStop, RedisKill, RedisTerm, Loading,
       Full, ReadOnly, Password, Rights, WrongType]
CUT = [AofCut]
