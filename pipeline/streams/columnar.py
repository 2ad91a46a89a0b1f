"""Columnar fetch for aiokafka 0.14: chosen topics arrive as `Records` a partition, not as one object a record.

Stock aiokafka builds one ConsumerRecord per record in a Python generator, which costs more than decoding and counting
together. A `Fetcher` keeps what it fetched in the dict `_records`; `install` replaces that dict, in one consumer only,
by one that gives each arriving result of a chosen topic its own `getall`. The fetch loop, positions, CRC, aborted
transactions, control batches, errors, seek and rebalance stay aiokafka's.

Private names that this relies on are checked by `install`, so that another aiokafka fails at start and not in silence.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any
from weakref import proxy

import numpy as np
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import CorruptRecordException

from pipeline.errors import FeedbackError
from pipeline.events.joined import Joined
from pipeline.events.records import Records

LOG_APPEND_TIME = 1
_AT_ONCE = 0.01  # seconds; a broker that honours fetch.max.wait.ms takes longer over an empty answer
_REST = 0.03
# Values of a partition at a time. More than a fetch holds, but compressed it may hold a hundred times as much.
_MOST_BYTES = 8 << 20
_value = attrgetter("value")
_whole = attrgetter("value", "offset", "timestamp")

_METHODS = (
    (aiokafka_fetcher.Fetcher, ("_proc_fetch_request", "fetched_records")),
    (aiokafka_fetcher.FetchResult, ("_update_position", "check_assignment", "has_more", "getall", "getone")),
    (
        aiokafka_fetcher.PartitionRecords,
        ("_consume_aborted_up_to", "_contains_abort_marker", "_unpack_records"),
    ),
)
_FIELDS = (
    "self._records",
    "self._check_crcs",
    "self._isolation_level",
    "self._aborted_producers",
    "self.next_fetch_offset",
)


def install(consumer: Any, topics: Collection[str]) -> None:
    """Make `consumer.getmany` return `{TopicPartition: Records}` for these topics.

    Call once, after `await consumer.start()` and before anything was fetched.

    Raises:
        FeedbackError: this aiokafka is not the one this file knows.
    """
    fetcher = consumer._fetcher
    source = inspect.getsource(aiokafka_fetcher.PartitionRecords)
    known = (
        type(fetcher._records) is OrderedDict
        and not fetcher._records
        and all(hasattr(owner, name) for owner, names in _METHODS for name in names)
        and all(name in source for name in _FIELDS)
        and ".getall(max_records)" in inspect.getsource(aiokafka_fetcher.Fetcher.fetched_records)
    )
    if not known:
        msg = "the columnar fetch does not fit this aiokafka: install aiokafka 0.14"
        raise FeedbackError(msg)
    fetcher._records = _Results(topics)
    _pace(fetcher)


def _pace(fetcher: Any) -> None:
    """Fetches that end well when they are cancelled, and that do not come back at once with nothing.

    aiokafka's own answers False to a cancellation, and `close` awaits it; but cancelled in the pause after a fetch
    that failed, it lets the CancelledError out of `stop`, which ended a worker whose broker had just gone. And the
    embedded broker answers an empty fetch at once: it would be asked a thousand times a second.
    """
    fetch = fetcher._proc_fetch_request

    async def paced(*args: Any) -> Any:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        brought = False
        with suppress(asyncio.CancelledError):
            brought = await fetch(*args)
            if not brought and loop.time() - asked < _AT_ONCE:
                await asyncio.sleep(_REST)
        return brought

    fetcher._proc_fetch_request = paced


class _Results(OrderedDict[Any, Any]):
    """`Fetcher._records` whose results of chosen topics hand out columns."""

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__()
        self.topics = frozenset(topics)
        self.places: dict[Any, _Place] = {}

    def __setitem__(self, tp: Any, result: Any) -> None:
        if tp.topic in self.topics and type(result) is aiokafka_fetcher.FetchResult:
            _hand_out_columns(result, self.places.setdefault(tp, _Place()))
        super().__setitem__(tp, result)


@dataclass(slots=True)
class _Place:
    """What is known of a partition from one fetch to the next.

    Attributes:
        sparse: its offsets turned out to have holes within a batch.
        end: the position behind all that was read,
        since: and the offset from which on there was no record up to it: a transaction ends with a marker.
    """

    sparse: bool = False
    end: int = -1
    since: int = -1

    def begin(self, position: int) -> None:
        """Somebody reads at this position."""
        if position != self.end:
            self.since = position

    def read(self, last: int | None, position: int) -> int:
        """The position moved behind what was read, whose last record is `last`; since when none was left out."""
        since, self.end = self.since, position
        if last is not None:
            self.since = last + 1
        return since


def _hand_out_columns(result: Any, place: _Place) -> None:
    drain = _Drain(place)
    # weakly: holding a method that holds it, it would stay in memory until a search for garbage
    result.getall = partial(drain.getall, proxy(result))
    result.getone = partial(_refuse_getone, result._topic_partition)


def _refuse_getone(tp: Any) -> None:
    msg = f"{tp.topic} is fetched in columns: use getmany"
    raise NotImplementedError(msg)


class _Drain:
    """What is left of one fetch result: at most `max_records` at a time, and not many more bytes than `_MOST_BYTES`.

    Positions are kept as aiokafka expects.
    """

    def __init__(self, place: _Place) -> None:
        self.place = place
        self.batches: Iterator[tuple[Records, int]] | None = None
        self.rest: Records | None = None
        self.end = 0

    def getall(self, result: Any, max_records: int | None = None) -> Records | tuple[()]:
        tp = result._topic_partition
        if not result.check_assignment(tp) or not result.has_more():
            return ()
        held = result._partition_records
        if self.batches is None:
            self.batches = _unpack(held, tp, self.place)
        self.place.begin(held.next_fetch_offset)
        parts: list[Records] = []
        room, size = max_records, 0
        while room is None or room > 0:
            part = self._next(self.batches, held, room)
            if part is None:
                result._update_position()
                result._partition_records = None
                break
            parts.append(part)
            size += part.nbytes
            room = 0 if size >= _MOST_BYTES else None if room is None else room - len(part)
        else:
            result._update_position()
        since = self.place.read(parts[-1].last if parts else None, held.next_fetch_offset)
        return replace(Records.concat(parts), since=since) if parts else ()

    def _next(self, batches: Iterator[tuple[Records, int]], held: Any, room: int | None) -> Records | None:
        """The next records, at most `room`; the position moves behind them. None: the response is used up."""
        if self.rest is None:
            self.rest, self.end = next(batches, (None, 0))
        if self.rest is None:
            return None
        if room is None or room >= len(self.rest):
            part, self.rest = self.rest, None
            held.next_fetch_offset = self.end
        else:
            part, self.rest = self.rest.split(room)
            held.next_fetch_offset = part.last + 1
        return part


def _unpack(held: Any, tp: Any, place: _Place) -> Iterator[tuple[Records, int]]:
    """`PartitionRecords._unpack_records`, one item a Kafka record batch: its records and the offset behind them."""
    while held._records.has_next():
        batch = held._records.next_batch()
        if held._check_crcs and not batch.validate_crc():
            msg = f"Invalid CRC - {tp}"
            raise CorruptRecordException(msg)
        if _skipped(held, batch):
            held.next_fetch_offset = batch.next_offset
            continue
        records = _columns(batch, place)
        if records is None:
            return
        # a fetch from the middle of a batch brings the whole batch
        records = records.after(held.next_fetch_offset - 1)
        if len(records):
            yield records, batch.next_offset
        else:
            held.next_fetch_offset = batch.next_offset


def _skipped(held: Any, batch: Any) -> bool:
    """Control batches, and batches of aborted transactions."""
    if held._isolation_level == aiokafka_fetcher.READ_COMMITTED and batch.producer_id is not None:
        held._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and held._contains_abort_marker(batch):
            held._aborted_producers.discard(batch.producer_id)
        if batch.is_transactional and batch.producer_id in held._aborted_producers:
            return True
    return bool(batch.is_control_batch)


def _columns(batch: Any, place: _Place) -> Records | None:
    """None: offsets turned out not to be a range.

    A batch can be read only once, so the position stays before it, it is fetched again, and from then on every record
    of this partition is asked for its offset.
    """
    base = getattr(batch, "base_offset", None)  # message formats 0 and 1 have none
    if base is None or place.sparse or batch.timestamp_type != LOG_APPEND_TIME:
        return _record_by_record(batch)
    values = list(map(_value, batch))
    if len(values) != batch.last_offset_delta + 1:
        place.sparse = True
        return None
    count = len(values)
    times = np.full(count, batch.max_timestamp, np.int64)
    return Records(_joined(values), np.arange(base, base + count), times)


def _joined(values: list[Any]) -> Joined | list[Any]:
    """Here, while they are in this thread's cache: whoever takes them apart would join them."""
    try:
        return Joined.of(values)
    except TypeError:  # a null among them
        return values


def _record_by_record(batch: Any) -> Records:
    rows = list(map(_whole, batch))
    columns: Callable[[int], list[Any]] = lambda k: [row[k] for row in rows]  # noqa: E731  three uses, one line
    return Records.of(columns(0), columns(1), columns(2))
