"""What the demo tells at the terminal: each step with its time, what is still awaited, the addresses."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status
from rich.text import Text


@dataclass
class Step:
    """A part that is starting: how far it is, and what is told once it works."""

    name: str
    so_far: str = ""
    detail: str = ""


class Say:
    """One start of the demo, told as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._awaited: list[Step] = []
        self._status: Status | None = None
        self._mine = True

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[Step]:
        """Named as awaited while the block runs; then told with the seconds since the start."""
        step = Step(name)
        self._awaited.append(step)
        self._show()
        try:
            yield step
        except BaseException:
            self.quiet()
            raise
        finally:
            self._awaited.remove(step)
        seconds = f"{time.monotonic() - self._began:5.1f} s"
        self.line(Text.assemble(("  \u2713 ", "green"), f"{name:<9}{step.detail:<46}", (seconds, "dim")))
        self._show()

    def goes_on(self, step: Step, so_far: str) -> None:
        """This step is so far."""
        step.so_far = so_far
        self._show()

    def line(self, text: str | Text = "") -> None:
        """One line."""
        self._console.print(text)

    def address(self, what: str, where: str, remark: str) -> None:
        """One of the addresses, on a line that can be copied."""
        self.line(Text.assemble((f"  {what:<11}", "bold"), (f"{where:<32}", "cyan"), ("  " + remark, "dim")))

    def quiet(self) -> None:
        """Show nothing at the bottom of the terminal any more."""
        if self._status:
            self._status.stop()
            self._status = None

    @contextmanager
    def handed_over(self) -> Iterator[None]:
        """Another program has the bottom of the terminal while the block runs."""
        self._mine = False
        self.quiet()
        try:
            yield
        finally:
            self._mine = True

    def _show(self) -> None:
        if not self._awaited or not self._mine or not self._console.is_terminal:
            self.quiet()
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        names = (f"{step.name} {step.so_far}".rstrip() for step in self._awaited)
        self._status.update(Text(f"starting {', '.join(names)} ...", style="dim"))
