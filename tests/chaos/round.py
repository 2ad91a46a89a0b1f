"""One round: traffic and faults, then quiet, a drain, and the recount. It judges; the schedule only disturbs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run

from rich.console import Console
from rich.table import Table

from pipeline.embedded.store import open_store
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from tests.chaos.faults import OFTEN, Fault, Say, Schedule
from tests.chaos.stage import WORKER, Member, Stage, Worker
from tests.chaos.truth import (
    Compared,
    Truth,
    compare_metrics,
    compare_tables,
    compare_topics,
    compared,
    recount,
)
from tests.support.recount import Recount
from tests.support.traffic import Source, Touchpoints, Traffic, produce

MINUTE = 60.0


@dataclass(frozen=True)
class Plan:
    """How a round is run.

    Attributes:
        seed: of the traffic and the faults.
        seconds: faults are dealt for so long, and to the end of the deck.
        workers: how many.
        responses: a second.
        touchpoints: a second.
        often: how often each fault is in a deck.
        program: what python runs as a worker.
        patience: seconds until Prometheus must show what was counted, after the faults; a drain has twice as long.
    """

    seed: int
    seconds: float
    workers: int = 3
    responses: float = 900.0
    touchpoints: float = 300.0
    often: dict[Fault, int] = field(default_factory=lambda: OFTEN)
    program: Sequence[str] = WORKER
    patience: float = MINUTE

    @property
    def forgetful(self) -> bool:
        """Every other round has a horizon of two minutes, so that ids are forgotten, and half an hour's lateness."""
        return self.seed % 2 == 1

    @property
    def horizon(self) -> float:
        """Seconds."""
        return 2 * MINUTE if self.forgetful else 7 * 24 * 60 * MINUTE

    @property
    def kept(self) -> bool:
        """In every third round the workers look after the store, as they do by default."""
        return self.seed % 3 == 2

    @property
    def spread(self) -> int:
        """Milliseconds back from now in which events happened, late ones aside."""
        return 150_000 if self.forgetful else 3_600_000


@dataclass
class Report:
    """What a round, or several, came to."""

    counts: Counter[str] = field(default_factory=Counter)
    compared: list[Compared] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    @property
    def kills(self) -> int:
        """SIGKILLs of whatever."""
        return sum(n for what, n in self.counts.items() if what.startswith("kills"))

    @property
    def differences(self) -> int:
        """Lost and doubled, of everything that was compared."""
        return sum(one.lost + one.doubled for one in self.compared)

    def add(self, other: Report) -> None:
        """Both together."""
        self.counts += other.counts
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.sent += other.sent
        mine = {one.what: one for one in self.compared}
        for one in other.compared:
            old = mine.get(one.what, Compared(one.what, 0, 0, 0))
            mine[one.what] = Compared(
                one.what,
                *(old.expected + one.expected, old.lost + one.lost, old.doubled + one.doubled),
                (*old.examples, *one.examples)[:5],
            )
        self.compared = list(mine.values())

    def show(self, out: Console) -> None:
        """The table of a round."""
        did = Table("what was done", "times", box=None, header_style="bold")
        for what, n in sorted(self.counts.items()):
            did.add_row(what, f"{n:,}")
        came = Table("outcome", "records", box=None, header_style="bold")
        for outcome, n in self.outcomes.most_common():
            came.add_row(outcome, f"{n:,}")
        came.add_row("sent", f"{self.sent:,}")
        table = Table("compared", "expected", "lost", "doubled", box=None, header_style="bold")
        for one in self.compared:
            table.add_row(one.what, f"{one.expected:,}", f"{one.lost:,}", f"{one.doubled:,}")
        for each in (did, came, table):
            out.print(each)
        for line in [*self.failures, *(e for one in self.compared for e in one.examples)]:
            out.print(line)


async def play(plan: Plan, jars: Path, folder: Path, say: Say) -> Report:
    """Run a round; its logs stay in the folder."""
    horizon = f"{plan.horizon:g}s"
    stage = Stage(jars, folder, plan.workers, plan.program, kept=plan.kept, horizon=horizon)
    report = Report(stage.counts, failures=stage.failures)
    async with stage.up():
        for worker in stage.workers:
            stage.revive(worker)
        await asyncio.gather(*(worker.ready() for worker in stage.workers))
        say("all workers are ready")
        report.sent = await _attacked(stage, plan, say)
        say("quiet")
        bootstrap = stage.settings.kafka.bootstrap
        truth = await recount(bootstrap, stage.topics, round(plan.horizon * 1000))
        await judge(stage, plan, truth, report, say)
    return report


async def _attacked(stage: Stage, plan: Plan, say: Say) -> int:
    """Traffic and faults; how much was sent."""
    over = asyncio.Event()
    flows: list[tuple[str, Source, float]] = [
        (stage.topics.responses, Traffic(plan.seed, plan.spread), plan.responses),
        (stage.topics.touchpoints, Touchpoints(plan.seed, plan.spread), plan.touchpoints),
    ]
    bootstrap = stage.settings.kafka.bootstrap
    sending = [
        asyncio.create_task(produce(bootstrap, topic, source, 1 << 40, rate, until=over))
        for topic, source, rate in flows
    ]
    try:
        await Schedule(stage, plan.seed, say, plan.often).run(time.monotonic() + plan.seconds)
    finally:
        over.set()
    return sum(await asyncio.gather(*sending))


async def judge(stage: Stage, plan: Plan, truth: Truth, report: Report, say: Say) -> None:
    """Start what does not run, let it finish, and compare everything; into the report."""
    bootstrap = stage.settings.kafka.bootstrap
    report.outcomes = _total(truth.responses) + _total(truth.touchpoints)
    for worker in stage.workers:
        stage.revive(worker)
    report.compared.append(compared("records read", {"": report.sent}, {"": report.outcomes.total()}))
    report.compared += await _settled_metrics(stage, truth, plan.patience, say)
    for worker in stage.workers:
        if await worker.end() is None:
            stage.failures.append(f"{worker.name} did not end by SIGTERM, see {worker.log}")
    say("drain")
    last = stage.workers[0]
    last.start("--drain")
    code = await _ended(last, 2 * plan.patience)
    if code != 0:
        stage.failures.append(f"the drain ended with {code}, see {last.log}")
    say("compare")
    with open_store(stage.settings):
        report.compared += await compare_topics(bootstrap, stage.topics, truth)
        with connect(stage.settings, write=False) as client:
            report.compared += await asyncio.to_thread(compare_tables, client, stage.topics, truth)
        say("verify")
        await _verify(stage, last)


async def _verify(stage: Stage, worker: Worker) -> None:
    command = [sys.executable, "-m", "pipeline", "verify"]
    done = await asyncio.to_thread(
        run, command, env=worker.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-1500:]
        stage.failures.append(f"`feedback verify` ended with {done.returncode}: {said}")


async def _settled_metrics(stage: Stage, truth: Truth, patience: float, say: Say) -> list[Compared]:
    """What Prometheus would see, once it stands where it should, or when we have lost patience."""
    for worker in stage.workers:
        try:
            await worker.ready()
        except FeedbackError as error:
            stage.failures.append(f"{worker.name} never became ready: {error}")
            return []
    urls, until = [worker.url("metrics") for worker in stage.workers], time.monotonic() + patience
    while True:
        found = await asyncio.to_thread(compare_metrics, urls, truth)
        if not any(one.lost or one.doubled for one in found) or time.monotonic() > until:
            return found
        say(f"not settled yet: {found[0].lost:,} answers are still to come")
        await asyncio.sleep(1.0)


async def _ended(member: Member, seconds: float) -> int | None:
    """Its exit code; None if it did not end by itself in time."""
    until = time.monotonic() + seconds
    while member.running and time.monotonic() < until:  # noqa: ASYNC110  a process has no event
        await asyncio.sleep(0.1)
    code = member.code
    member.kill()
    return code


def _total(one: Recount) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, _, outcome), n in one.outcomes.items():
        found[outcome] += n
    return found
