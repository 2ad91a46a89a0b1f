"""`KafkaOutputs`: where the journals and the roll send what others read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from pipeline.events.wire import Heads, under
from pipeline.journal.log import Unknown
from pipeline.journal.outbox import Pair, Send


class KafkaOutputs:
    """See `journal.outbox.Outputs`; many small records go together.

    Args:
        producer: gives the one that sends; asked each time, since the connections come later.
        prefix: of the topics.

    Attributes:
        heads: headers of a schema registry to send under, where there is one.
    """

    def __init__(self, producer: Callable[[], AIOKafkaProducer], prefix: str) -> None:
        self.heads: Heads = {}
        self._producer = producer
        self._prefix = prefix

    async def send(self, sends: Sequence[Send]) -> list[int]:
        """Append all, in order within a partition; the last offset of each, as acknowledged."""
        places: dict[tuple[str, int], list[int]] = {}
        for k, send in enumerate(sends):
            places.setdefault((send.topic, send.partition), []).append(k)
        appended = await _acknowledged(
            [
                self._append(topic, partition, [pair for k in members for pair in sends[k].pairs])
                for (topic, partition), members in places.items()
            ]
        )
        offsets = [0] * len(sends)
        for members, found in zip(places.values(), appended, strict=True):
            ends = accumulate(len(sends[k].pairs) for k in members)
            for k, end in zip(members, ends, strict=True):
                offsets[k] = found[end - 1]
        return offsets

    async def send_many(self, topic: str, partition: int, pairs: Sequence[Pair]) -> None:
        """(key, value) pairs to one partition, whose offsets nobody asks for."""
        await self._append(topic, partition, pairs)

    def _headed(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        heads = self.heads
        return [(key, under(value, heads)) for key, value in pairs] if heads else pairs

    async def _append(self, topic: str, partition: int, pairs: Sequence[Pair]) -> list[int]:
        """Record batches of our own making: a producer call for each pair would cost 15 us."""
        producer, futures, counts = self._producer(), [], []
        try:
            for batch in _batches(producer, self._headed(pairs)):
                counts.append(batch.record_count())
                futures.append(
                    await producer.send_batch(batch, f"{self._prefix}.{topic}", partition=partition)
                )
        except KafkaError as error:
            await asyncio.gather(*futures, return_exceptions=True)
            raise Unknown(str(error)) from error
        bases = [int(meta.offset) for meta in await _acknowledged(futures)]
        return [base + k for base, count in zip(bases, counts, strict=True) for k in range(count)]


def _batches(producer: AIOKafkaProducer, pairs: Sequence[Pair]) -> Iterator[BatchBuilder]:
    """As few as hold them all. A pair that is larger than a batch is one of its own."""
    batch = producer.create_batch()
    for key, value in pairs:
        if batch.append(key=key, value=value, timestamp=None) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if pairs:
        yield batch


async def _acknowledged(futures: Sequence[Awaitable[Any]]) -> list[Any]:
    """Every acknowledgement; waits for all of them also when one fails, so that none is left behind unheard."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        if isinstance(result, KafkaError):
            raise Unknown(str(result)) from result
        if isinstance(result, BaseException):
            raise result
    return results
