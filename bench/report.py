"""What the runs say: a table for people, a JSON file for comparisons."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.contenders import Contender
from bench.place import ROOT
from bench.responses import Responses
from bench.running import Run

_PACKAGES = ("aiokafka", "faust-streaming", "fastavro", "numpy", "polars", "uvloop", "chdb-core")
NOTES = """\

records/s, and CPU seconds per million records: from the first batch (for the worker: from the moment at which its
partitions are assigned; before it reads nothing, neither to count nor to store) to the last line, so without process
start and group join. The worker looks fifty times a second whether it is done. Peak memory is VmHWM of the process.
Medians; in brackets lowest and highest. "of bare": rate over the bare drain's of the same round. Broker and store run
on the same cores and are counted beside. "counted": what the worker published (and stored) compared with what was
sent."""


def machine() -> dict[str, Any]:
    """Where and on what this ran."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "apache_kafka": _kafka(),
        **{name: version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _kafka() -> str:
    from pipeline.embedded.apache import BUILD

    jars = (ROOT / BUILD / "jars").glob("kafka-clients-*.jar")
    return next((jar.stem.removeprefix("kafka-clients-") for jar in jars), "unknown")


def _commit() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def write(path: Path, on: dict[str, Any], sent: Responses, rounds: Sequence[dict[str, Run]]) -> None:
    """Every single run, as JSON."""
    runs = [
        {"round": k, **asdict(run), "rate": run.rate} for k, by in enumerate(rounds) for run in by.values()
    ]
    about = {
        "records": len(sent),
        "bytes_each": sent.bytes_each,
        "cells": sent.cells,
        "expected": sent.expected,
    }
    path.write_text(json.dumps({"machine": on, "input": about, "runs": runs}, indent=1) + "\n")


def show(
    console: Console,
    on: dict[str, Any],
    sent: Responses,
    contenders: Sequence[Contender],
    rounds: Sequence[dict[str, Run]],
) -> None:
    """The table and what it means."""
    console.print(
        f"\n{len(sent):,} responses of {sent.bytes_each:.0f} bytes, {sent.expected['duplicate']:,} of them repeated, "
        f"in {sent.cells:,} cells; Apache Kafka {on['apache_kafka']}, 4 partitions, Python {on['python']}, "
        f"{on['cores']} cores ({on['processor']}), {on['at']}, {on['commit']}, load before: {on['load_before']:.1f}\n"
    )
    table = Table("contender", *_NUMBERS, "counted", box=None, pad_edge=False)
    for column in table.columns:
        column.justify, column.no_wrap = "right" if column.header != "contender" else "left", True
    for one in contenders:
        table.add_row(one.name, *_row(one, rounds))
    console.print(table)
    for one in contenders:
        console.print(f"{one.name}: {one.what}")
    console.print(NOTES)
    if on["load_before"] > on["cores"] / 2:
        console.print(
            f"Others were at work on this machine (load {on['load_before']:.1f}): the figures are low."
        )


_NUMBERS = (
    "records",
    "runs",
    "records/s",
    "of bare",
    "x faust",
    "CPU s/M",
    "broker",
    "store",
    "peak MB",
    "start s",
)


def _row(one: Contender, rounds: Sequence[dict[str, Run]]) -> list[str]:
    runs = [by[one.name] for by in rounds if one.name in by]
    bare = [by[one.name].rate / by["bare"].rate for by in rounds if {one.name, "bare"} <= by.keys()]
    faust = [by["faust"].rate for by in rounds if "faust" in by]
    middle: Callable[[Callable[[Run], float]], float] = lambda of: statistics.median(map(of, runs))  # noqa: E731 - one formula, five columns
    rates = [run.rate for run in runs]
    return [
        f"{runs[0].records:,}",
        str(len(runs)),
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})",
        f"{statistics.median(bare):.3f}" if bare else "-",
        f"{statistics.median(rates) / faust[0]:,.0f}" if faust else "-",
        f"{middle(lambda run: run.cpu):.2f}",
        f"{middle(lambda run: run.beside['broker']):.2f}",
        f"{middle(lambda run: run.beside['store']):.2f}" if "store" in runs[0].beside else "-",
        f"{middle(lambda run: run.peak):.0f}",
        f"{middle(lambda run: run.startup):.1f}",
        ("right" if all(run.right for run in runs) else "WRONG") if one.checks else "-",
    ]
