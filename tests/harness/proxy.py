"""A TCP proxy before a server, which can cut one context off from it, keep it waiting, or slow it down.

All contexts have the same addresses of broker and database. Who a connection belongs to, both protocols say in its
first message: Kafka's clients by their id, PostgreSQL's by the database that they ask for.
"""

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

PART: Final = 65_536
LONGEST_INTRODUCTION: Final = 4096

Weather = Literal["clear", "cut", "silent", "slow"]
"""What becomes of a connection: nothing; it is broken, and so is each new one; nothing passes; what passes is late."""


def kafka_client(introduction: bytes) -> str:
    """Return the client's id in the first request of a connection to Kafka: ``payment-0-outbox``."""
    # api key (2 bytes), its version (2), correlation id (4), the id's length (2).
    [length] = struct.unpack_from(">h", introduction, 8)
    return introduction[10 : 10 + max(0, length)].decode()


def postgres_database(introduction: bytes) -> str:
    """Return the database that the first message of a connection to PostgreSQL asks for: ``orderflow_payment``."""
    # protocol (4 bytes), then names and values, each ended by a zero.
    words = introduction[4:].split(b"\0")
    return dict(zip(words[::2], words[1::2], strict=False)).get(b"database", b"").decode()


class Proxy:
    """Stands before the server at ``upstream`` on 127.0.0.1, from ``with`` to the end of its block.

    Args:
        port: where it listens.
        who: reads the caller's name out of its first message (without the length before it).
        counts_itself: whether the length that stands before the first message counts its own four bytes.
    """

    def __init__(self, port: int, upstream: int, who: Callable[[bytes], str], *, counts_itself: bool) -> None:
        self.port = port
        self._upstream = upstream
        self._who = who
        self._own = 4 if counts_itself else 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}")
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], str] = {}
        self._weather: Weather = "clear"
        self._victim = ""
        self._delay = 0.0
        self._changed = asyncio.Event()
        self.passed: Counter[str] = Counter()
        """Bytes that went through, by caller."""
        self.broken: Counter[str] = Counter()
        """Connections that were broken, by caller."""
        self.refused: Counter[str] = Counter()
        """New connections that were refused, by caller."""
        self.held: Counter[str] = Counter()
        """Parts of the stream that were kept back or delayed, by caller."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, victim: str) -> None:
        """Break all connections of callers whose names begin with ``victim``, and refuse new ones."""
        self._do(self._turn("cut", victim))

    def silence(self, victim: str) -> None:
        """Let nothing of theirs pass; connections stay, and new ones are taken."""
        self._do(self._turn("silent", victim))

    def slow(self, victim: str, seconds: float) -> None:
        """Delay each part of what they send or are sent."""
        self._delay = seconds
        self._do(self._turn("slow", victim))

    def clear(self) -> None:
        """Be as if there were no proxy."""
        self._do(self._turn("clear", ""))

    def count(self, counter: "Counter[str]", victim: str) -> int:
        """Return what was counted of the callers whose names begin with ``victim``."""
        return sum(number for name, number in counter.items() if name.startswith(victim))

    # In the proxy's own thread

    def _do(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for line in list(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _turn(self, weather: Weather, victim: str) -> None:
        self._weather, self._victim = weather, victim
        self._changed.set()
        self._changed = asyncio.Event()
        if weather == "cut":
            for line, name in list(self._lines.items()):
                if name.startswith(victim):
                    self.broken[name] += 1
                    line.cancel()

    def _meets(self, name: str) -> Weather:
        return self._weather if name.startswith(self._victim) else "clear"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        try:
            introduction = await self._introduction(reader)
            name = self._who(introduction[4:])
            if self._meets(name) == "cut":
                self.refused[name] += 1
                return
            self._lines[line] = name
            await self._connect(name, introduction, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Either side has gone, or it was cut: so the other side goes too.
            pass
        finally:
            self._lines.pop(line, None)
            writer.transport.abort()

    async def _introduction(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(4)
        length = int.from_bytes(head) - self._own
        if not 0 < length <= LONGEST_INTRODUCTION:
            raise ConnectionError("this is not how the protocol begins")
        return head + await reader.readexactly(length)

    async def _connect(
        self, name: str, introduction: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answers, onward = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            onward.write(introduction)
            ways = (self._pass_on(name, reader, onward), self._pass_on(name, answers, writer))
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            onward.transport.abort()

    async def _pass_on(self, name: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await source.read(PART):
                await self._hold(name)
                target.write(part)
                await target.drain()
                self.passed[name] += len(part)

    async def _hold(self, name: str) -> None:
        weather = self._meets(name)
        if weather in {"silent", "slow"}:
            self.held[name] += 1
        if weather == "slow":
            await asyncio.sleep(self._delay)
        while self._meets(name) == "silent":
            await self._changed.wait()
