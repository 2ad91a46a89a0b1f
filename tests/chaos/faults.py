"""What happens to a stage: faults, each of which heals again, and the seeded schedule that deals them out."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.chaos.stage import SESSION, KeptStore, Member, Stage, Worker

Say = Callable[[str], None]
Fault = Callable[[Stage, Worker, random.Random, Say], Awaitable[None]]
GAP = (0.5, 3.5)  # seconds between two faults; a fault may still go on when the next one begins


async def kill(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """SIGKILL and start again, sometimes twice in a row, into its recovery."""
    again = rng.choice([1, 1, 2])
    for _ in range(again):
        say(f"kill {worker.name}")
        stage.look(worker)
        if worker.running:
            stage.counts["kills of a worker"] += 1
        worker.kill()
        await asyncio.sleep(rng.choice([0.0, 0.0, rng.uniform(0, 6)]))
        stage.revive(worker)
        if again > 1:
            await asyncio.sleep(rng.uniform(2, 6))


async def kill_all(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """SIGKILL of every worker at one moment."""
    async with AsyncExitStack() as stack:
        for worker in stage.workers:
            await stack.enter_async_context(worker.free)
        say("kill all workers")
        for worker in stage.workers:
            stage.look(worker)
            stage.counts["kills of a worker"] += worker.running
            worker.send(signal.SIGKILL)
        for worker in stage.workers:
            worker.kill()
        await asyncio.sleep(rng.uniform(0, 3))
        for worker in stage.workers:
            stage.revive(worker)


async def kill_broker(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """SIGKILL of Apache Kafka, which forgets recent truncations."""
    await _killed(stage, stage.broker, rng.uniform(0, 3), say)


async def kill_store(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """SIGKILL of the store in the middle of whatever it inserts."""
    await _killed(stage, stage.store, rng.uniform(0, 2), say)


async def store_gone(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """The store is away for longer."""
    stage.counts["outages of the store"] += not isinstance(
        stage.store, KeptStore
    )  # which is back before that
    await _killed(stage, stage.store, rng.uniform(10, 20), say)


async def _killed(stage: Stage, member: Member, away: float, say: Say) -> None:
    async with member.free:
        say(f"kill the {member.name} for {away:.1f} s")
        stage.counts[f"kills of the {member.name}"] += 1
        member.kill()
        await asyncio.sleep(away)
        member.start()
        await member.ready()
        say(f"the {member.name} is back")


async def freeze(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """SIGSTOP until the others have taken over; it wakes up in the middle of what it did."""
    await _frozen(stage, worker, SESSION + rng.uniform(0.5, 4.0), say)


async def doze(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """The same, but not long enough, or only just."""
    await _frozen(stage, worker, rng.uniform(0.5, SESSION + 0.2), say)


async def freeze_broker(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """A broker that says nothing for a while, as in a long collection of garbage."""
    async with stage.broker.free:
        await _frozen(stage, stage.broker, rng.uniform(1.0, 6.0), say)


async def freeze_store(stage: Stage, _: Worker, rng: random.Random, say: Say) -> None:
    """A store that takes requests and does not answer."""
    async with stage.store.free:
        await _frozen(stage, stage.store, rng.uniform(1.0, 8.0), say)


async def _frozen(stage: Stage, member: Member, seconds: float, say: Say) -> None:
    say(f"freeze {member.name} for {seconds:.1f} s")
    stage.counts[f"stops of {'a worker' if isinstance(member, Worker) else f'the {member.name}'}"] += 1
    member.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    member.send(signal.SIGCONT)


async def scale(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """Down by SIGTERM, which must end it in order, and up again."""
    say(f"scale down: SIGTERM to {worker.name}")
    stage.counts["scaled down and up"] += 1
    stage.look(worker)
    if worker.running and await worker.end() is None:
        stage.failures.append(f"{worker.name} did not end by SIGTERM, see {worker.log}")
    stage.look(worker)
    await asyncio.sleep(rng.uniform(0, 8))
    say(f"scale up: {worker.name}")
    stage.revive(worker)


async def cut(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """Its connections to the broker break, and new ones are refused for a while."""
    away = rng.choice([0.0, rng.uniform(0, 2), rng.uniform(SESSION, SESSION + 4)])
    say(f"cut {worker.name} off for {away:.1f} s")
    stage.counts["connections cut"] += 1
    worker.proxy.refusing = True
    worker.proxy.cut()
    await asyncio.sleep(away)
    worker.proxy.heal()


async def deafen(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """The broker hears it, but it does not hear the broker; then its connections break: acknowledgements are lost."""
    deaf = rng.choice([rng.uniform(0.2, 2), rng.uniform(0.2, 2), rng.uniform(SESSION, SESSION + 4)])
    say(f"deafen {worker.name} for {deaf:.1f} s, then cut")
    stage.counts["acknowledgements lost"] += 1
    worker.proxy.deafen()
    await asyncio.sleep(deaf)
    worker.proxy.cut()
    worker.proxy.heal()


async def slow(stage: Stage, worker: Worker, rng: random.Random, say: Say) -> None:
    """A slow connection."""
    worker.proxy.delay = rng.uniform(0.02, 0.3)
    worker.proxy.rate = rng.choice([100_000.0, 1_000_000.0])
    seconds = rng.uniform(3, 10)
    say(f"slow down {worker.name} by {worker.proxy.delay * 1000:.0f} ms for {seconds:.1f} s")
    stage.counts["slow connections"] += 1
    await asyncio.sleep(seconds)
    worker.proxy.heal()


# How often each is in a deck. Every deck is dealt to the end, so all of them occur.
OFTEN: dict[Fault, int] = {kill: 6, freeze: 3, scale: 2, cut: 2, deafen: 2, doze: 1, slow: 1}
OFTEN |= {kill_all: 1, kill_broker: 1, kill_store: 1, store_gone: 1, freeze_broker: 1, freeze_store: 1}
_OF_THE_WHOLE = {kill_all, kill_broker, kill_store, store_gone, freeze_broker, freeze_store}


class Schedule:
    """Deals faults, one after the other, each on a worker that no other fault has."""

    def __init__(self, stage: Stage, seed: int, say: Say, often: dict[Fault, int] | None = None) -> None:
        self._stage = stage
        self._rng = random.Random(seed)
        self._say = say
        self._often = often or OFTEN
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, until: float) -> None:
        """Deal a deck, and more until that moment of the monotonic clock; all faults have healed when this returns."""
        try:
            await self._deck()
            while time.monotonic() < until:
                await self._deck()
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _deck(self) -> None:
        deck = [fault for fault, n in self._often.items() for _ in range(n)]
        self._rng.shuffle(deck)
        for fault in deck:
            own = random.Random(self._rng.random())  # a fault's choices do not depend on when others end
            await asyncio.sleep(self._rng.uniform(*GAP))
            task = asyncio.create_task(self._one(fault, own))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _one(self, fault: Fault, rng: random.Random) -> None:
        workers = self._stage.workers
        if fault in _OF_THE_WHOLE:
            await fault(self._stage, workers[0], rng, self._say)
            return
        worker = min(rng.sample(workers, len(workers)), key=lambda one: one.free.locked())
        async with worker.free:
            await fault(self._stage, worker, rng, self._say)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._tasks.discard(task)  # one that failed is raised by `run`
