"""One run of one contender: topics filled, process measured, numbers checked."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import topics
from bench.contenders import FEEDBACK, Contender
from bench.meter import Meter, said
from bench.place import ROOT, Broker, Place, place
from bench.responses import Responses
from pipeline.embedded.process import Child
from pipeline.embedded.store import EmbeddedStore
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect

_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took. Times are seconds, CPU in seconds per million records, memory in MB.

    Attributes:
        contender: its name.
        records: how many it drained.
        seconds: from its start line to its last step.
        steps: step -> seconds from the start line.
        startup: from the start of the process to its start line.
        cpu: of the process, within `seconds`.
        cpu_all: of the process, its start and its end included.
        peak: highest resident memory.
        beside: "broker" and "store" -> their CPU within `seconds`.
        journal_records: how many the worker wrote for them: one a batch, and snapshots.
        expected: what its numbers must be; empty where it publishes none.
        found: what they are.
    """

    contender: str
    records: int
    seconds: float
    steps: dict[str, float]
    startup: float
    cpu: float
    cpu_all: float
    peak: float
    beside: dict[str, float]
    journal_records: int
    expected: dict[str, int]
    found: dict[str, int]

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def right(self) -> bool:
        """Whether its numbers are what they must be."""
        return self.expected == self.found


def run(contender: Contender, kafka: Broker, sent: Responses, under: Sequence[str] = ()) -> Run:
    """Fill topics for it, run it, check it, clean up behind it.

    Args:
        contender: who.
        kafka: where.
        sent: what it has to drain.
        under: a program, with its arguments, that starts the contender and watches it.
    """
    at = place(kafka, contender.name)
    asyncio.run(topics.fill(at.settings, sent))
    try:
        with _store(contender, at) as store:
            return _measured(contender, at, kafka, sent, store, under)
    finally:
        asyncio.run(topics.drop(at.settings))


@contextmanager
def _store(contender: Contender, at: Place) -> Iterator[Child | None]:
    """The embedded store with its tables, if the contender wants one."""
    if not contender.store:
        yield None
        return
    with stored(at) as child:
        yield child


@contextmanager
def stored(at: Place) -> Iterator[Child]:
    """The embedded store with its tables, for as long as the block runs."""
    folder, listen = at.settings.store.folder, at.settings.store.http
    assert folder is not None, "the bench runs on the embedded store"
    store = EmbeddedStore(folder, listen.host, listen.port)
    child = store.start()
    try:
        child.wait_ready()
        finish(start([FEEDBACK, "setup"], at, {}, at.folder / "setup.log"), at.folder / "setup.log")
        yield child
    finally:
        store.stop()


def _measured(
    contender: Contender, at: Place, kafka: Broker, sent: Responses, store: Child | None, under: Sequence[str]
) -> Run:
    log, n = at.folder / "log", len(sent)
    process = start([*under, *contender.command(at, n)], at, contender.variables(at, n), log)
    beside = {"broker": kafka.pid} | ({"store": store.pid} if store else {})
    with Meter({"it": process.pid, **beside}) as meter:
        finish(process, log)
    lines = said(log)
    begin = min(lines[line] + after for line, after in contender.start.items() if line in lines)
    end, million = lines[contender.steps[-1]], n / 1e6
    return Run(
        contender=contender.name,
        records=n,
        seconds=end - begin,
        steps={step: lines[step] - begin for step in contender.steps},
        startup=begin - meter.begin,
        cpu=meter.cpu("it", begin, end) / million,
        cpu_all=meter.cpu("it", meter.begin, meter.end) / million,
        peak=meter.peak("it"),
        beside={name: meter.cpu(name, begin, end) / million for name in beside},
        journal_records=asyncio.run(topics.journal_records(at.settings)) if contender.checks else 0,
        expected=_expected(contender, sent),
        found=_found(contender, at),
    )


def start(
    command: Sequence[str], at: Place, variables: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """A process whose words go to `log`."""
    environment = at.environment | {"PYTHONPATH": str(ROOT)} | dict(variables)
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment, cwd=at.folder, stdout=out, stderr=out)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for its end; raises FeedbackError, with the end of its log, unless that was a good one."""
    try:
        code = process.wait(_SECONDS)
    finally:
        process.kill()
    if code:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        msg = f"a contender ended with {code}; its log, {log}, ends with:\n{end}"
        raise FeedbackError(msg)


def _expected(contender: Contender, sent: Responses) -> dict[str, int]:
    """What must be published, and stored: outcome -> records, and rows of the store."""
    if not contender.checks:
        return {}
    outcomes = {name: n for name, n in sent.expected.items() if n}
    if not contender.store:
        return outcomes
    counted = sent.expected["counted"]
    rows = {
        "responses": len(sent) - sent.expected["dead_letter"],
        "current_responses": counted,
        "cells": counted,
    }
    return outcomes | {f"{name} stored": n for name, n in rows.items()}


def _found(contender: Contender, at: Place) -> dict[str, int]:
    """The same as it is."""
    if not contender.checks:
        return {}
    outcomes = asyncio.run(topics.outcomes(at.settings))
    if not contender.store:
        return outcomes
    client = connect(at.settings, write=False)
    asked = {
        "responses": "SELECT count() FROM responses FINAL",
        "current_responses": "SELECT count() FROM current_responses",
        "cells": "SELECT sum(n) FROM cells FINAL",
    }
    return outcomes | {f"{name} stored": int(str(client.command(sql))) for name, sql in asked.items()}
