"""`Tally`: the source partitions of one input topic that this worker owns. It recovers, applies and publishes them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from pipeline.events.partition import partition_of
from pipeline.events.records import Records
from pipeline.journal.decide import outcome_records
from pipeline.journal.log import Unknown
from pipeline.journal.outbox import Outputs, Send
from pipeline.journal.partition import Decision, SourcePartition
from pipeline.streams.along import Offer, offer_nobody
from pipeline.streams.apart import Apart
from pipeline.streams.outgoing import OUTCOMES, progress_value, sent_values
from pipeline.streams.owned_inputs import Owned
from pipeline.streams.ownership import Ownership
from pipeline.streams.patience import TROUBLE, persist
from pipeline.streams.tally_metrics import TallyMetrics

log = logging.getLogger(__name__)
_STUCK = 15.0  # seconds without progress after which the worker reads for itself
_DRAIN_PATIENCE = 2.0
_PATIENCE = 0.25  # seconds for which partitions wait for one among them that is stuck


class Tally(Ownership[Owned]):
    """Every source partition of one topic that this worker owns.

    Args:
        topic: full name of the input topic.
        partitions: how many it has.
        outputs: where outcome counts go.
        make: builds a partition.
        metrics: Prometheus.
        offer: given what was read, checked and settled of a partition; must not wait.
    """

    def __init__(
        self,
        topic: str,
        partitions: int,
        outputs: Outputs,
        make: Callable[[int], SourcePartition],
        metrics: TallyMetrics,
        offer: Offer = offer_nobody,
    ) -> None:
        super().__init__(topic, lambda p: Owned(make(p)), metrics.forget)
        self.work = asyncio.Event()
        self._partitions = partitions
        self._outputs = outputs
        self._metrics = metrics
        self._offer = offer
        self._publishing = Apart(self._publish, _PATIENCE)
        self._telling = Apart(self._tell_outcomes, _PATIENCE)
        self._observing = Apart(self._observe, _PATIENCE)
        self._passing = Apart(self._pass_time, _PATIENCE)
        self._busy = 0  # batches that are being settled, or wait for it
        self._delivered = time.monotonic()  # when the last one was done

    async def recover(self, partition: int) -> None:
        """Fold the journal of a partition if it is ours, however long the broker is away."""
        owned = self._owned.get(partition)
        if owned is None:
            return
        async with owned.lock:
            # also when it was ours before: in between another owner may have died owing what it had accepted
            owned.ready = False
            await self._recovered(owned)

    async def on_batch(self, partition: int, records: Records) -> bool:
        """Settle a batch, and those that wait behind it; everything in it is in the journal when this returns.

        Returns:
            False if the partition is not ours: then nothing was done.
        """
        owned = self._owned.get(partition)
        if owned is None:
            return False
        owned.waiting.add(records)
        self._busy += 1
        try:
            async with owned.lock:
                if owned.waiting.holds(records):
                    await self._recovered(owned)
                    await owned.waiting.rest(records)
                    together = owned.waiting.together(records)
                    await self._apply(owned, Records.concat(together))
                    owned.waiting.settled(together)
        finally:
            owned.waiting.settled([records])
            self._busy -= 1
            self._delivered = time.monotonic()
        return True

    async def tick(self) -> int:
        """Send what is owed downstream; how many effects went out. One partition does not wait for another."""
        return sum(await self._publishing.each(self._ready()))

    async def tell(self) -> None:
        """Send the outcome counts that changed. They wait for a batch that is being settled; what is owed does not."""
        await self._telling.each(self._ready())

    async def drained(self, partition: int, end: int) -> bool:
        """Everything before `end` is applied and everything it owes was sent."""
        owned = self._owned.get(partition)
        if owned is None or not owned.ready:
            return False
        position = owned.partition.state.applied + 1
        if position < end and owned.still_for(_DRAIN_PATIENCE) and self._idle_for(_DRAIN_PATIENCE):
            # the delivery is stuck, or offsets without records stand at the end: transaction markers, say
            position = await self._catch(owned)
        if position < end or await self._overdue(owned):
            return False
        await self._tell_outcomes(owned)
        return (
            not owned.partition.state.outbox and not owned.untold and owned.partition.sent == owned.told_sent
        )

    async def observe(self) -> None:
        """Tell Prometheus how far behind we are, and help a delivery that is stuck."""
        await self._observing.each(self._ready())

    async def pass_time(self) -> None:
        """What time alone changes about cases, in every partition, however much that is."""
        await self._passing.each(self._ready())

    async def _observe(self, owned: Owned) -> None:
        owned.told.tell(self._metrics, self.topic, owned.partition)
        with suppress(Unknown):
            behind = owned.behind = await owned.partition.behind()
            if not self._is_ours(owned):
                return
            self._metrics.lag(self.topic, owned.partition.partition, behind)
            if behind and owned.still_for(_STUCK) and not owned.lock.locked():
                await self._catch(owned)

    async def _pass_time(self, owned: Owned) -> None:
        with suppress(Unknown):
            while await self._overdue(owned):
                async with owned.lock:
                    await owned.partition.pass_time(owned.clock())
                self.work.set()

    async def _overdue(self, owned: Owned) -> bool:
        async with owned.lock:  # a fold may run in a thread
            return owned.ready and owned.partition.overdue(owned.clock())

    async def _catch(self, owned: Owned) -> int:
        """Read and settle what lies behind the applied offset, without waiting for its delivery; how far that went."""
        async with owned.lock:
            records, position = await owned.partition.read_on()
            if len(records):
                where = {"topic": self.topic, "partition": owned.partition.partition}
                log.warning("nothing was delivered, reading on", extra={**where, "records": len(records)})
                await self._apply(owned, records)
            self._tell_expired(owned)
            owned.looked()
            owned.read_to = position
            return position

    def _idle_for(self, seconds: float) -> bool:
        """Nothing was delivered for so long. One partition may wait while the others have their turn."""
        return not self._busy and time.monotonic() - self._delivered >= seconds

    async def _recovered(self, owned: Owned) -> None:
        if owned.ready:
            return
        started = time.monotonic()
        await persist(owned.partition.recover, f"journal of {self.topic}/{owned.partition.partition}")
        state = owned.partition.state
        owned.untold.update(day for day, _ in state.outcomes)
        owned.ready = True
        owned.told.snapshot = owned.partition.journal.snapshot_time / 1000
        seconds = time.monotonic() - started
        self._metrics.recovery(self.topic, seconds)
        log.info(
            "recovered a partition",
            extra={
                "topic": self.topic,
                "partition": owned.partition.partition,
                "applied": state.applied,
                "ids": len(state.index),
                "leaves": len(state.leaves),
                "seconds": round(seconds, 3),
            },
        )
        self.work.set()

    async def _apply(self, owned: Owned, records: Records) -> None:
        name = f"{self.topic}/{owned.partition.partition}"
        for decision in await persist(owned.partition.apply, name, records):
            self._tell(owned, decision)
            if decision.checked:
                self._offer(self.topic, owned.partition.partition, decision.checked)
        self._tell_expired(owned)
        self._metrics.latency("counted", time.time() - records.times / 1000)
        self.work.set()
        await self._tidy(owned)

    async def _tidy(self, owned: Owned) -> None:
        started = time.monotonic()
        try:
            done = await owned.partition.tidy()
        except TROUBLE as error:
            log.warning("no snapshot this time", extra={"topic": self.topic, "error": str(error)})
            return
        if done:
            owned.told.snapshot = time.time()
            seconds = round(time.monotonic() - started, 3)
            where = {"topic": self.topic, "partition": owned.partition.partition}
            log.info("wrote a snapshot", extra={**where, "seconds": seconds})

    def _tell(self, owned: Owned, decision: Decision) -> None:
        effect = decision.effect
        owned.untold.update(day for day, _ in effect.outcomes)
        for (_, outcome), n in effect.outcomes.items():
            self._metrics.records(self.topic, outcome.label, n)
        for (reason, stage), n in Counter((str(bad.reason), bad.stage) for bad in decision.rejected).items():
            self._metrics.dead_letter(reason, stage, n)
        self._metrics.misplaced(self.topic, decision.misplaced)
        if self._is_ours(owned):
            self._metrics.watermark(self.topic, owned.partition.partition, effect.watermark / 1000)

    def _tell_expired(self, owned: Owned) -> None:
        expired = owned.partition.expired - owned.expired
        if not expired:
            return
        owned.expired += expired
        self._metrics.expired(self.topic, expired)
        log.error(
            "input expired before it was read, so no number holds it: give the topic a longer retention.ms, or run "
            "more workers; feedback rebuild brings back what the archive has stored of it",
            extra={"topic": self.topic, "partition": owned.partition.partition, "offsets": expired},
        )

    async def _publish(self, owned: Owned) -> int:
        try:
            return await owned.partition.publish()
        except Unknown as error:
            self._not_published(error)
            return 0

    async def _tell_outcomes(self, owned: Owned) -> None:
        async with owned.telling:
            try:
                await self._publish_outcomes(owned)
            except Unknown as error:
                self._not_published(error)

    def _not_published(self, error: Unknown) -> None:
        log.warning("could not publish, trying again", extra={"topic": self.topic, "error": str(error)})

    async def _publish_outcomes(self, owned: Owned) -> None:
        """Absolute counts of the days that changed; the version is the applied offset they belong to."""
        sent = dict(owned.partition.sent)
        if not owned.untold and sent == owned.told_sent:
            return
        async with owned.lock:  # a fold may run in a thread: counts and applied offset must be of one moment
            state = owned.partition.state
            version, outcomes, numbers = state.applied, dict(state.outcomes), dict(state.numbers)
            owed = max(state.outbox, default=0)
            days = set(owned.untold)
            owned.untold.clear()
        number = owned.partition.partition
        key = f"{self.topic}-{number}".encode()
        # what the roll still has to take comes first, so that nobody reads counts that seem to be in the cells
        values = [progress_value(f"deltas/{q}", {(self.topic, number): last}) for q, last in numbers.items()]
        values += sent_values(self.topic, sent)
        values += outcome_records(self.topic, number, version, outcomes, sorted(days))
        target = partition_of(key, self._partitions)
        try:
            await self._outputs.send([Send(OUTCOMES, target, [(key, value) for value in values])])
        except Unknown:
            owned.untold |= days
            raise
        owned.told_sent = sent
        owned.told_to(version, owed)
