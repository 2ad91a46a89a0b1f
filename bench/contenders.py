"""Who drains the topic, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place
from pipeline.streams.along import PATIENCE
from pipeline.streams.topics import Topics

Command = Callable[[Place, int], Sequence[str]]
Variables = Callable[[Place, int], Mapping[str, str]]

FEEDBACK = str(Path(sys.executable).with_name("feedback"))


def _no_variables(_: Place, __: int) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Contender:
    """One program that drains the topic of responses.

    Attributes:
        name: in the table.
        what: what it does, for people.
        command: how it is started.
        start: lines of its log -> seconds after which it may begin to read; time counts from the first that may be.
        steps: the lines that tell how far it is; the last one ends the measurement.
        variables: more environment.
        store: whether the embedded store runs beside it.
        checks: whether the outcomes that it publishes are compared with what they must be.
        share: of the records, for one that would take minutes.
        garbage: whether one record in a hundred cannot be read.
        repeats: how often at most.
    """

    name: str
    what: str
    command: Command
    start: Mapping[str, float]
    steps: tuple[str, ...]
    variables: Variables = _no_variables
    store: bool = False
    checks: bool = False
    share: float = 1.0
    garbage: bool = False
    repeats: int = 99


def _bare(at: Place, n: int) -> Sequence[str]:
    kafka = at.settings.kafka
    given = ("--bootstrap", kafka.bootstrap, "--topic", Topics(kafka.prefix).responses)
    return (
        sys.executable,
        "-m",
        "bench.bare",
        *given,
        "--partitions",
        str(kafka.partitions),
        "--records",
        str(n),
    )


def _manual_faust(_: Place, __: int) -> Sequence[str]:
    return (sys.executable, "-m", "bench.manual_faust", "worker", "-l", "warn", "--without-web")


def _manual_faust_variables(at: Place, n: int) -> Mapping[str, str]:
    kafka = at.settings.kafka
    return {
        "BENCH_APP": f"{kafka.prefix}-faust",
        "BENCH_BOOTSTRAP": kafka.bootstrap,
        "BENCH_FOLDER": str(at.folder / "faust"),
        "BENCH_PARTITIONS": str(kafka.partitions),
        "BENCH_RECORDS": str(n),
        "BENCH_TOPIC": Topics(kafka.prefix).responses,
    }


def _worker(name: str, what: str, *more: str, stores: bool = False, garbage: bool = False) -> Contender:
    """Our own, ended by `--drain` once everything is done.

    Its archive is in its group earlier than its tallies are in theirs, but has nothing to store before they have read;
    only where they keep it waiting for too long would it begin without them.
    """
    steps = ("drained: processed", "drained: published", *(("drained: stored",) if stores else ()))
    return Contender(
        name,
        what,
        lambda _place, _n: (FEEDBACK, "--log-json", "worker", "--drain", *more),
        start={"assigned": 0.0, "the archive reads": PATIENCE},
        steps=steps,
        store=stores,
        checks=True,
        garbage=garbage,
    )


_NO_STORE = ("--only", "tally,roll")
CONTENDERS = (
    Contender("bare", "aiokafka getmany, undecoded", _bare, {"first batch": 0.0}, ("drained",)),
    Contender(
        "faust",
        "Faust as in its manual",
        _manual_faust,
        {"first batch": 0.0},
        ("drained",),
        variables=_manual_faust_variables,
        share=0.04,
        repeats=1,
    ),
    _worker("worker", "all of it, store included", stores=True),
    _worker("worker-no-store", "--only tally,roll", *_NO_STORE),
    _worker("worker-garbage", "the same, 1 % garbage", *_NO_STORE, garbage=True),
)
