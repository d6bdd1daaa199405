"""A bad wire between one worker and Redis: a TCP proxy that resets, stalls, delays and cuts.

    proxy = Proxy(target_port)      # listens on 127.0.0.1, proxy.port
    proxy.reset()                   # RST to every connection there is
    proxy.stall = {"request"}       # bytes of that way are neither read nor sent on
    proxy.delay = 0.02              # every chunk waits so long
    proxy.cut_after("reply", 17)    # 17 bytes more of that way pass, then RST
    proxy.refuse = True             # new connections are reset
    proxy.counts["request"]         # bytes that passed
    proxy.watch = lambda data: ...  # sees every chunk of requests before it is sent on

"request" is what the worker sends, "reply" what Redis answers.  All of it runs in one thread with
an event loop of its own; the setters may be called from any thread.
"""

import asyncio
import socket
import struct
import threading

LINGER_0 = struct.pack("ii", 1, 0)


class Proxy:
    def __init__(self, target_port):
        self.target_port = target_port
        self.stall, self.delay, self.refuse = set(), 0.0, False
        self.watch = None
        self.counts = {"request": 0, "reply": 0}
        self._cut = {"request": None, "reply": None}
        self._pairs = set()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def reset(self):
        self._call(self._reset_all)

    def cut_after(self, way, count):
        """`count` more bytes of that way pass, over all connections; None = no cut."""
        def set_it():
            self._cut[way] = count
        self._call(set_it)

    @property
    def cut_is_pending(self):
        return any(left is not None for left in self._cut.values())

    def repair(self):
        self.stall, self.delay, self.refuse = set(), 0.0, False
        self._cut["request"] = self._cut["reply"] = None

    def close(self):
        self._call(self._reset_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._socket.close()

    # -- inside the thread --

    def _call(self, function):
        done = threading.Event()

        def call():
            function()
            done.set()
        self._loop.call_soon_threadsafe(call)
        done.wait()

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._socket))
        started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _accept(self, reader, writer):
        if self.refuse:
            self._abort(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            self._abort(writer)
            return
        pair = (writer, up_writer)
        self._pairs.add(pair)
        await asyncio.gather(self._pump("request", reader, up_writer, pair),
                             self._pump("reply", up_reader, writer, pair))
        self._drop(pair)

    async def _pump(self, way, reader, writer, pair):
        try:
            while True:
                data = await reader.read(65536)
                if way == "request" and self.watch is not None:
                    self.watch(data)
                while way in self.stall:
                    await asyncio.sleep(0.01)
                if self.delay:
                    await asyncio.sleep(self.delay)
                left = self._cut[way]
                if left is not None and len(data) >= left:
                    self._cut[way] = None
                    await self._last_words(way, writer, data[:left])
                    self._drop(pair)
                    return
                if left is not None:
                    self._cut[way] = left - len(data)
                if not data:
                    self._drop(pair)
                    return
                self.counts[way] += len(data)
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):
            self._drop(pair)

    async def _last_words(self, way, writer, data):
        """Sends what may still pass and lets it arrive: a reset throws away what was not read."""
        if data:
            self.counts[way] += len(data)
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.005)

    def _abort(self, writer):
        transport = writer.transport
        sock = transport.get_extra_info("socket")
        if sock is not None and not transport.is_closing():
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            except OSError:
                pass  # it is closed already, which is what we want
        transport.abort()

    def _drop(self, pair):
        self._pairs.discard(pair)
        for writer in pair:
            self._abort(writer)

    def _reset_all(self):
        for pair in list(self._pairs):
            self._drop(pair)
