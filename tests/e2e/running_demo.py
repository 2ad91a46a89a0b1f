"""`feedback demo` as a person starts it: a process of its own, watched from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORKS = "Ctrl-C ends everything"
PATIENCE = 120.0  # seconds; nothing here measures time, it only must not wait forever


class RunningDemo:
    """One demo and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, data: Path) -> None:
        self.process, self.output, self.data = process, output, data

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, said: str) -> re.Match[str]:
        """Wait until it says something that matches."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(said, self.text)):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            assert time.monotonic() < end, f"it never said {said!r}:\n{self.text}"
            time.sleep(0.1)
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def left(self) -> list[str]:
        """Processes that still work on its data."""
        return [command for command in _commands().values() if str(self.data) in command]

    def pid_of(self, part: str) -> int:
        """Process id of one of its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if part in _commands()[int(pid)])


@contextmanager
def demo(data: Path, variables: Mapping[str, str], *arguments: str) -> Iterator[RunningDemo]:
    """Started with its output in a file; killed at the end if it still runs. `variables` name its folder `data`."""
    output = data.with_suffix(f".{time.monotonic_ns()}.txt")
    command = [sys.executable, "-m", "pipeline", "demo", *arguments]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**variables, "COLUMNS": "200"}
        )
    try:
        yield RunningDemo(process, output, data)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(variables: Mapping[str, str], sql: str) -> list[list[Any]]:
    """Rows out of the demo's store."""
    request = urllib.request.Request(
        f"http://{variables['FEEDBACK_STORE__HTTP']}/?database=feedback&default_format=JSONCompact",
        sql.encode(),
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["data"]


def until_stored(variables: Mapping[str, str], sql: str, first: int) -> list[Any]:
    """The row that `sql` gives, once its first value is so high."""
    end = time.monotonic() + PATIENCE
    while int((found := ask(variables, sql)[0])[0] or 0) < first:
        assert time.monotonic() < end, found
        time.sleep(0.5)
    return found


def _commands() -> dict[int, str]:
    """Command lines and environments of all processes, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            both = (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
        except OSError:
            continue
        found[int(folder.name)] = both.replace(b"\0", b" ").decode(errors="replace")
    return found
