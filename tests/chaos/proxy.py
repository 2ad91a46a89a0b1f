"""`Proxy`: a connection that can be slow, deaf or cut, between one worker and the broker."""

from __future__ import annotations

import asyncio
from contextlib import suppress

_CHUNK = 64 << 10


class Proxy:
    """Forwards TCP from a port of its own to another one on loopback.

    Attributes:
        delay: seconds that every piece of data is held up, in each direction.
        rate: bytes a second at most, of one connection.
        refusing: new connections are closed at once.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay = 0.0
        self.rate = float("inf")
        self.refusing = False
        self._target = target
        self._hears = asyncio.Event()
        self._hears.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        self.heal()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def deafen(self) -> None:
        """What the broker says no longer arrives; what is said to it does, so that acknowledgements are lost."""
        self._hears.clear()

    def cut(self) -> None:
        """Every connection breaks now, and what was under way is gone."""
        for writer in self._open:
            writer.transport.abort()

    def heal(self) -> None:
        """As if nothing had been."""
        self.delay, self.rate, self.refusing = 0.0, float("inf"), False
        self._hears.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: when either side ends it, both end."""
        self._open.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self.refusing:
                return
            with suppress(OSError):
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
                self._open.add(far)
                there = asyncio.create_task(self._pump(reader, far))
                back = asyncio.create_task(self._pump(far_reader, writer, self._hears))
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                for pump in (there, back):
                    pump.cancel()
                await asyncio.wait([there, back])
        finally:
            for end in (writer, far):
                if end is not None:
                    self._open.discard(end)
                    end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event | None = None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay or self.rate != float("inf"):
                    await asyncio.sleep(self.delay + len(data) / self.rate)
                if heard is not None:
                    await heard.wait()
                writer.write(data)
                await writer.drain()
