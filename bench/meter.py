"""What a process took: its CPU time and memory from /proc, its own words from its log of JSON lines."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

_EVERY = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds (user and system) that each process had taken at a time."""

    time: float
    cpu: Mapping[str, float]


class Meter:
    """Samples processes while it is open.

    Args:
        pids: name -> process id.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._samples: list[Sample] = []
        self._peak: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def begin(self) -> float:
        """When it was opened."""
        return self._samples[0].time

    @property
    def end(self) -> float:
        """When it last looked."""
        return self._samples[-1].time

    def cpu(self, name: str, start: float, end: float) -> float:
        """CPU seconds of a process between two times."""
        return self._at(name, end) - self._at(name, start)

    def peak(self, name: str) -> float:
        """Highest resident memory of a process so far, in MB."""
        return self._peak.get(name, 0.0)

    def _at(self, name: str, when: float) -> float:
        before = [sample for sample in self._samples if sample.time <= when] or self._samples[:1]
        return before[-1].cpu.get(name, 0.0)

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            self._sample()

    def _sample(self) -> None:
        last = self._samples[-1].cpu if self._samples else {}
        now = {name: _cpu(pid) or last.get(name, 0.0) for name, pid in self._pids.items()}
        self._samples.append(Sample(time.time(), now))
        for name, pid in self._pids.items():
            self._peak[name] = _peak(pid) or self._peak.get(name, 0.0)


def _cpu(pid: int) -> float | None:
    """None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), None)
    return int(kilobytes) / 1024 if kilobytes else None


def said(log: Path) -> dict[str, float]:
    """Message -> when it was said first, seconds since 1970, of a log of JSON lines."""
    found: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            found.setdefault(entry["message"], datetime.fromisoformat(entry["time"]).timestamp())
    return found
