"""How whole batches reach a Faust agent: the scheduler yields one pseudo-record a partition, whose value is `Records`.

Faust must not decode: an error there acknowledges the record before anybody saw it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import faust
from aiokafka.structs import ConsumerRecord
from faust.transport.utils import DefaultSchedulingStrategy

from pipeline.events.records import Records


class Raw(faust.Schema[Any, Any]):
    """Hands key and value through untouched; never raises."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        """The key as it came."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """The value as it came."""
        return message.value


def scheduler(topics: Collection[str]) -> type[DefaultSchedulingStrategy]:
    """A scheduling strategy for these topics; Faust builds it without arguments, so they are bound here."""
    chosen = frozenset(topics)

    class Batches(DefaultSchedulingStrategy):
        """One pseudo-record a topic partition; Faust's own topics pass record by record."""

        def iterate(self, records: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
            for tp, fetched in records.items():
                if tp.topic not in chosen:
                    yield from ((tp, record) for record in fetched)
                elif len(fetched):
                    yield tp, _pseudo_record(tp, fetched)

    return Batches


def _pseudo_record(tp: Any, records: Records) -> Any:
    return ConsumerRecord(
        tp.topic, tp.partition, records.last, int(records.times[-1]), 0, None, records, None, -1, -1, ()
    )
