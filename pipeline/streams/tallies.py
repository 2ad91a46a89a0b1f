"""Builds the `Tally` of each input topic: what decides, where its journal lies, where it sends."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from pipeline.config import Settings
from pipeline.events.schemas import by_ids
from pipeline.journal.callbacks import Callbacks
from pipeline.journal.decide import DecideResponses, DecideTouchpoints
from pipeline.journal.journal import Journal, Run
from pipeline.journal.outbox import Outputs
from pipeline.journal.partition import Decider, SourcePartition, learn_nothing
from pipeline.journal.timers import Timers
from pipeline.stores.prometheus import Metrics
from pipeline.streams.along import Offer
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.registry import Registry
from pipeline.streams.tally import Tally
from pipeline.streams.topics import Topics


@dataclass(frozen=True, slots=True)
class Tallies:
    """What the tallies of a worker are made of.

    Attributes:
        settings: the whole configuration.
        topics: their names.
        broker: the connection for journals.
        outputs: where derived records go.
        registry: knows schemas of others; None without one.
        metrics: Prometheus.
        run: calls what takes long in a thread.
        offer: given what was read, checked and settled.
    """

    settings: Settings
    topics: Topics
    broker: Broker
    outputs: Outputs
    registry: Registry | None
    metrics: Metrics
    run: Run
    offer: Offer

    def all(self) -> dict[str, Tally]:
        """By the full name of the input topic."""
        return {self.topics.responses: self._responses(), self.topics.touchpoints: self._touchpoints()}

    def _responses(self) -> Tally:
        topic, settings = self.topics.responses, self.settings
        lookup = self.registry.lookup if self.registry else by_ids
        horizon = round(settings.horizon_of("responses") * 1000)
        instruments = settings.catalogue()
        callbacks = Callbacks(instruments, settings.follow_ups.milliseconds(), settings.kafka.partitions)
        decide = DecideResponses(topic, instruments, horizon, settings.kafka.partitions, lookup, callbacks)
        return self._tally(
            "responses", topic, self.topics.journal_responses, self.topics.ids_responses, decide
        )

    def _touchpoints(self) -> Tally:
        topic, settings = self.topics.touchpoints, self.settings
        lookup = self.registry.lookup if self.registry else by_ids
        horizon = round(settings.horizon_of("touchpoints") * 1000)
        rules = settings.rules()
        decide = DecideTouchpoints(topic, rules, horizon, settings.kafka.partitions, lookup)
        timers = Timers(rules, settings.kafka.partitions)
        return self._tally(
            "touchpoints", topic, self.topics.journal_touchpoints, self.topics.ids_touchpoints, decide, timers
        )

    def _tally(
        self, source: str, topic: str, journal: str, ids: str, decide: Decider, timers: Timers | None = None
    ) -> Tally:
        partitions = self.settings.kafka.partitions

        def make(p: int) -> SourcePartition:
            return SourcePartition(
                source,
                p,
                partitions,
                journal=Journal(
                    KafkaLog(self.broker, journal, p),
                    KafkaLog(self.broker, ids, p),
                    f"{journal}/{p}",
                    uuid4().hex,
                    self.run,
                ),
                inputs=KafkaLog(self.broker, topic, p),
                outputs=self.outputs,
                decide=decide,
                timers=timers,
                learn=self.registry.learn if self.registry else learn_nothing,
                run=self.run,
                snapshot_floor=round(self.settings.worker.snapshot_mb * 1e6),
            )

        return Tally(topic, partitions, self.outputs, make, self.metrics, self.offer)
