"""The input: survey responses as a busy shop sends them, encoded once, the same bytes for every contender.

Seeded. 25 touchpoints, some asked far more than others, each with two or three instruments; three channels; segments
that are null in three of ten; one comment in six. Two records in a hundred repeat an earlier one byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.placement import partitions_of
from pipeline.events.schemas import schema
from pipeline.events.wire import header

DUPLICATES = 0.02
_REPEATS_WITHIN = 20_000
_DISORDER_MS = 20_000
_CUSTOMERS = 200_000
_CASES = 20_000
_ID = 32  # hex digits

TOUCHPOINTS = (
    *(
        "checkout",
        "delivery",
        "support_call",
        "search",
        "login",
        "payment",
        "returns",
        "app_start",
        "onboarding",
    ),
    *(
        "invoice",
        "chat",
        "store_visit",
        "product_page",
        "newsletter",
        "signup",
        "repair",
        "booking",
        "upgrade",
    ),
    *("cancellation", "loyalty", "pickup", "warranty", "referral", "survey_page", "exchange"),
)
CHANNELS, CHANNEL_SHARES = ("web", "app", "phone"), (0.55, 0.35, 0.10)
SEGMENTS, SEGMENT_SHARES = (None, "consumer", "business", "partner"), (0.30, 0.45, 0.20, 0.05)
LANGUAGES = ("en", "de", "fr", "es")
COMMENTS = (
    "fast, thank you",
    "Die Lieferung kam zwei Tage zu spät und niemand hat angerufen.",
    "I had to enter my address three times before the form let me go on.",
    "ok",
    "The person on the phone was very kind and knew at once what to do. Would come again any time.",
)
# instrument, share of the answers, share of each score from the lowest up
_CSAT = ("csat_1_5", 1, (0.06, 0.06, 0.13, 0.35, 0.40))
_NPS = ("nps_0_10", 0, (0.03, 0.01, 0.02, 0.02, 0.03, 0.06, 0.07, 0.16, 0.22, 0.20, 0.18))
_CES = ("ces_1_7", 1, (0.04, 0.05, 0.07, 0.12, 0.22, 0.28, 0.22))
_ASKED = (("csat_1_5", "nps_0_10"), ("csat_1_5", "nps_0_10", "ces_1_7"), ("csat_1_5", "ces_1_7"))

Rng = np.random.Generator
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Responses:
    """Records in the order in which they are sent.

    Attributes:
        keys: of the Kafka records.
        values: in wire format, or garbage.
        partition: where the Java default partitioner puts each key.
        expected: outcome -> how many records must come to it.
        cells: how many cells they count in.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    partition: npt.NDArray[np.int32]
    expected: dict[str, int]
    cells: int

    def __len__(self) -> int:
        return len(self.values)

    def first(self, n: int) -> Responses:
        """The first n, for a contender whose outcomes nobody asks for."""
        return Responses(self.keys[:n], self.values[:n], self.partition[:n], {}, 0)

    @property
    def bytes_each(self) -> float:
        """Mean size of a value."""
        return sum(map(len, self.values)) / max(1, len(self))


def responses(
    n: int, *, seed: int = 7, rate: float = 1000.0, garbage: float = 0.0, partitions: int = 4
) -> Responses:
    """n responses that were answered up to now.

    Args:
        n: how many records, repeats and garbage included.
        seed: the same seed gives the same responses, but for the time at which they end.
        rate: responses a second when they were answered. It says how many share a minute, and so a cell.
        garbage: share of the records that no reader can read.
        partitions: of the topic.
    """
    rng = np.random.default_rng(seed)
    ids = rng.bytes(n * _ID // 2).hex().encode()
    keys = [ids[k : k + _ID] for k in range(0, len(ids), _ID)]
    at = _times(rng, n, rate)
    values, cell = _values(rng, keys, at)
    origin = np.arange(n)
    for k in np.flatnonzero(rng.random(n) < DUPLICATES).tolist():
        if k:
            earlier = origin[k - 1 - int(rng.integers(min(k, _REPEATS_WITHIN)))]
            keys[k], values[k], origin[k] = keys[earlier], values[earlier], earlier
    bad = np.flatnonzero(rng.random(n) < garbage)
    for k in bad.tolist():
        values[k] = _garbage(rng, values[k])
    good = np.delete(origin, bad)
    counted = len(np.unique(good))
    expected = {"counted": counted, "duplicate": len(good) - counted, "dead_letter": len(bad)}
    return Responses(keys, values, _placed(keys, partitions), expected, len(np.unique(cell[good])))


def _times(rng: Rng, n: int, rate: float) -> Int64s:
    """Milliseconds since 1970, ascending but for some disorder, the last one a little before now."""
    end = int(time.time() * 1000) - 5_000
    sent = end - ((n - 1 - np.arange(n)) * (1000 / rate)).astype(np.int64)
    return sent - rng.integers(0, _DISORDER_MS, n)


def _values(rng: Rng, keys: Sequence[bytes], at: Int64s) -> tuple[list[bytes], Int64s]:
    """The encoded responses, and a number that tells their cells apart."""
    n = len(keys)
    popularity = 1 / np.arange(1, len(TOUCHPOINTS) + 1)
    touchpoint = rng.choice(len(TOUCHPOINTS), n, p=popularity / popularity.sum())
    answers, answer = _answers(rng, touchpoint)
    channel, segment = rng.choice(3, n, p=CHANNEL_SHARES), rng.choice(4, n, p=SEGMENT_SHARES)
    columns: list[Iterable[bytes]] = [
        (_text(key.decode()) for key in keys),
        _longs(at),
        _picked(answers, answer),
        _picked([_text(name) for name in TOUCHPOINTS], touchpoint),
        _picked([_text(name) for name in CHANNELS], channel),
        _some_of(rng, n, 0.9, [f"c-{k:06d}" for k in range(_CUSTOMERS)]),
        _some_of(rng, n, 0.1, [f"case-{k:05d}" for k in range(_CASES)]),
        _picked([_nullable(name) for name in SEGMENTS], segment),
        _some_of(rng, n, 0.8, LANGUAGES),
        _some_of(rng, n, 1 / 6, COMMENTS),
        _earlier(rng, at),
    ]
    head, tail = header(schema("SurveyResponse").schema_id), b"\0\0"  # revision 0, not retracted
    values = [b"".join((head, *parts, tail)) for parts in zip(*columns, strict=True)]
    leaf = ((answer * len(TOUCHPOINTS) + touchpoint) * 3 + channel) * 4 + segment
    minute = at // 60_000
    return values, leaf * (int(minute.max()) + 1) + minute


def _answers(rng: Rng, touchpoint: Int64s) -> tuple[list[bytes], Int64s]:
    """The possible answers (source, instrument and score, encoded), and which one each response gave."""
    possible: list[bytes] = []
    chosen = np.zeros(len(touchpoint), np.int64)
    for name, low, shares in (_CSAT, _NPS, _CES):
        asking = [t for t in range(len(TOUCHPOINTS)) if name in _ASKED[t % len(_ASKED)]]
        # each further question takes its part of the answers away from those before it
        mine = np.isin(touchpoint, asking) & ((not possible) | (rng.random(len(touchpoint)) < 0.3))
        rows = np.flatnonzero(mine)
        chosen[rows] = len(possible) + rng.choice(len(shares), len(rows), p=np.array(shares) / sum(shares))
        possible += [_text("shop") + _text(name) + _long(low + score) for score in range(len(shares))]
    return possible, chosen


def _some_of(rng: Rng, n: int, share: float, texts: Sequence[str]) -> Iterable[bytes]:
    """A nullable text, null in all but `share` of the rows."""
    chosen = np.where(rng.random(n) < share, rng.integers(0, len(texts), n), len(texts))
    return _picked([*map(_nullable, texts), _nullable(None)], chosen)


def _earlier(rng: Rng, at: Int64s) -> Iterable[bytes]:
    """`touchpoint_at`: a minute before the answer, or null."""
    known = rng.random(len(at)) < 0.5
    return (b"\2" + value if k else b"\0" for value, k in zip(_longs(at - 60_000), known, strict=True))


def _picked(table: Sequence[bytes], chosen: Int64s) -> Iterable[bytes]:
    return map(table.__getitem__, chosen.tolist())


def _longs(numbers: Int64s) -> list[bytes]:
    """Avro longs; times of these decades all take six bytes."""
    shifts = np.arange(0, 42, 7)
    groups = (numbers[:, None] * 2 >> shifts) & 0x7F
    groups[:, :-1] |= 0x80
    joined = groups.astype(np.uint8).tobytes()
    return [joined[k : k + 6] for k in range(0, len(joined), 6)]


def _long(number: int) -> bytes:
    """A small Avro long that is not negative."""
    return bytes([number * 2]) if number < 64 else bytes([number * 2 & 0x7F | 0x80, number * 2 >> 7])


def _text(text: str) -> bytes:
    raw = text.encode()
    return _long(len(raw)) + raw


def _nullable(text: str | None) -> bytes:
    return b"\0" if text is None else b"\2" + _text(text)


def _placed(keys: Sequence[bytes], partitions: int) -> npt.NDArray[np.int32]:
    size = np.full(len(keys), _ID, np.int64)
    return partitions_of(np.frombuffer(b"".join(keys), np.uint8), np.cumsum(size) - size, size, partitions)


def _garbage(rng: Rng, good: bytes) -> bytes:
    kinds = (b"", rng.bytes(20), good[:-3], good + b"x", good[:5] + rng.bytes(30), b'{"score": 5}')
    return kinds[int(rng.integers(len(kinds)))]
