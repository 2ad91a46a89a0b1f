"""How far something is: a bar with speed and time left on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich import progress as rich
from rich.console import Console
from rich.text import Text

_LINE_SECONDS = 5.0


class Progress(Protocol):
    """What the work tells."""

    def advance(self, count: float = 1) -> None:
        """So many more are done."""
        ...

    def say(self, text: str) -> None:
        """What is being done now."""
        ...


@contextmanager
def show(console: Console, text: str, total: float | None) -> Iterator[Progress]:
    """Shown while the block runs."""
    if not console.is_terminal:
        lines = Lines(console, text, total)
        yield lines
        lines.end()
        return
    with rich.Progress(*_columns(total), console=console, transient=total is None) as bar:
        yield Bar(bar, bar.add_task(text, total=total))


class Bar:
    """On a terminal."""

    def __init__(self, bar: rich.Progress, task: rich.TaskID) -> None:
        self._bar = bar
        self._task = task

    def advance(self, count: float = 1) -> None:
        """So many more are done."""
        self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        """What is being done now."""
        self._bar.update(self._task, description=text)


class Lines:
    """In a log: a line at the start, every five seconds, and at the end."""

    def __init__(self, console: Console, text: str, total: float | None) -> None:
        self._console = console
        self._text = text
        self._total = total
        self._done = 0.0
        self._start = self._last = time.monotonic()
        console.print(Text(f"{text} ..."))

    def advance(self, count: float = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._print()

    def say(self, text: str) -> None:
        """What is being done now."""
        self._text = text
        self._print()

    def end(self) -> None:
        """All is done."""
        self._print(f"done in {time.monotonic() - self._start:.1f} s")

    def _print(self, more: str = "") -> None:
        self._last = time.monotonic()
        of = f" of {self._total:,.0f}" if self._total is not None else ""
        count = f"{self._done:,.0f}{of}" if self._done or of else ""
        self._console.print(
            Text(f"{self._text}: {', '.join(part for part in (count, more) if part) or '...'}")
        )


class _Speed(rich.ProgressColumn):
    """Things a second."""

    def render(self, task: rich.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


def _columns(total: float | None) -> list[rich.ProgressColumn]:
    spinner: list[rich.ProgressColumn] = [rich.SpinnerColumn(), rich.TextColumn("{task.description}")]
    if total is None:
        return [*spinner, rich.TimeElapsedColumn()]
    return [*spinner, rich.BarColumn(), rich.MofNCompleteColumn(), _Speed(), rich.TimeRemainingColumn()]
