"""What the demo tells at the terminal: each step with its time, what is still awaited, the addresses."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status
from rich.text import Text


@dataclass
class Step:
    """A part that is starting; `detail` is told once it works."""

    name: str
    detail: str = ""


class Say:
    """One start of the demo, told as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._awaited: list[Step] = []
        self._status: Status | None = None

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

    def line(self, text: str | Text = "") -> None:
        """One line."""
        self._console.print(text)

    def address(self, what: str, where: str, remark: str) -> None:
        """One of the addresses, on a line that can be copied."""
        self.line(Text.assemble((f"  {what:<11}", "bold"), (f"{where:<32}", "cyan"), ("  " + remark, "dim")))

    def doing(self, text: str) -> None:
        """What is going on, at the bottom of a terminal."""
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        self._status.update(Text(text, style="dim"))

    def quiet(self) -> None:
        """Nothing is going on; others may write to the terminal now."""
        if self._status:
            self._status.stop()
            self._status = None

    def _show(self) -> None:
        if self._awaited:
            self.doing(f"starting {', '.join(step.name for step in self._awaited)} ...")
        else:
            self.quiet()
