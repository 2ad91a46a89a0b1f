"""Snapshots: the state of a source partition without its sealed ids, in chunks that stand in the journal itself.

Of several snapshots of one number the first in the log counts, for everybody. So which segments hold the ids is a
function of the log, and nobody goes on with ids that another has truncated: a snapshot that arrives late, after its
writer gave it up, finds its number taken. A snapshot that is first of its number replaces the state of a reader at
that number, too: built on a zombie's snapshot, it may have taken a record that everybody else rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.journal.casetable import cases_of, columns_of_cases
from pipeline.journal.effect import cells_of, columns_of
from pipeline.journal.messages import columns_of_messages, messages_of
from pipeline.journal.outcomes import Outcome
from pipeline.journal.pack import pack, unpack
from pipeline.journal.segments import Segment
from pipeline.journal.state import Outgoing, State
from pipeline.measures.cells import Series

_CHUNK = 4 << 20


class Chunk(NamedTuple):
    """A part of a snapshot as it stands in the journal; `segments` are those of the whole."""

    name: str
    number: int
    chunks: int
    sequence: int
    segments: tuple[Segment, ...]
    part: bytes


def chunks_of(state: State, segments: Sequence[Segment], name: str) -> list[bytes]:
    """The journal records of a snapshot. `segments` hold every id of the state that is still remembered."""
    blob = _dump(state)
    parts = [blob[k : k + _CHUNK] for k in range(0, len(blob), _CHUNK)]
    head = {"kind": "snapshot", "name": name, "chunks": len(parts), "sequence": state.sequence}
    head["segments"] = segments
    return [
        pack({**head, "chunk": k}, {"part": np.frombuffer(part, np.uint8)}) for k, part in enumerate(parts)
    ]


def chunk_of(head: dict[str, Any], columns: dict[str, Any]) -> Chunk:
    """A record of the kind "snapshot", unpacked."""
    segments = tuple(Segment(*segment) for segment in head["segments"])
    part = columns["part"].tobytes()
    return Chunk(head["name"], head["chunk"], head["chunks"], head["sequence"], segments, part)


class Part(Protocol):
    """A chunk of a snapshot of any kind."""

    @property
    def name(self) -> str:
        """Of the snapshot; no other has it."""
        ...

    @property
    def number(self) -> int:
        """0, 1, ... of the chunk."""
        ...

    @property
    def chunks(self) -> int:
        """How many the snapshot has."""
        ...

    @property
    def part(self) -> bytes:
        """What it holds."""
        ...


@dataclass
class Gathering:
    """Chunks of snapshots on the way to being complete, by how far the snapshot goes and its name."""

    parts: dict[tuple[int, str], dict[int, bytes]]

    def take(self, goes_to: int, chunk: Part) -> bytes | None:
        """The whole of a snapshot, once its last chunk is here.

        Args:
            goes_to: what the snapshot was folded up to, as its kind counts it.
            chunk: of it.
        """
        parts = self.parts.setdefault((goes_to, chunk.name), {})
        parts[chunk.number] = chunk.part
        if len(parts) < chunk.chunks:
            return None
        return b"".join(part for _, part in sorted(self.parts.pop((goes_to, chunk.name)).items()))

    def forget(self, before: int) -> None:
        """Snapshots that do not go as far as this are of no use any more; their writers may have died in the middle."""
        self.parts = {key: parts for key, parts in self.parts.items() if key[0] >= before}


def _dump(state: State) -> bytes:
    """In a thread: what is published meanwhile leaves the outbox under our eyes."""
    published = state.published
    outbox = {s: out for s, out in dict(state.outbox).items() if s > published}
    head = {
        "sequence": state.sequence,
        "applied": state.applied,
        "applied_time": state.applied_time,
        "topic_id": state.topic_id,
        "watermark": state.watermark,
        "published": published,
        "outcomes": [[day, int(outcome), n] for (day, outcome), n in state.outcomes.items()],
        "leaves": state.leaves,
        "numbers": list(state.numbers.items()),
        "outbox": [
            [s, out.watermark, [[q, k, c.series] for q, (k, c) in out.deltas.items()]]
            for s, out in outbox.items()
        ],
    }
    columns: dict[str, Any] = columns_of_cases(state.cases.rows())
    for s, out in outbox.items():
        columns |= columns_of_messages(out.messages, f"{s}.")
        for q, (_, cells) in out.deltas.items():
            columns |= columns_of(cells, f"{s}.{q}")
    return pack(head, columns)


def load_state(blob: bytes, segments: tuple[Segment, ...]) -> State:
    """The state of a whole snapshot. Its index is empty: the segments are to be loaded into it."""
    head, columns = unpack(blob)
    state = State(indexing=False)
    for name in ("sequence", "applied", "applied_time", "watermark", "published"):
        setattr(state, name, head[name])
    state.topic_id = head.get("topic_id", "")  # version 1 had none
    state.outcomes = Counter({(day, Outcome(outcome)): n for day, outcome, n in head["outcomes"]})
    state.name_leaves(Series(*leaf) for leaf in head["leaves"])
    state.cases.update(cases_of(head, columns), state.number)
    state.sealed(segments)
    state.numbers = Counter(dict(map(tuple, head["numbers"])))
    for s, watermark, deltas, *messages in head["outbox"]:  # version 1 has the messages here
        cells = {q: (number, cells_of(columns, f"{s}.{q}", series)) for q, number, series in deltas}
        told = messages_of(columns, f"{s}.", *messages)
        state.outbox[s] = Outgoing(watermark, cells, told)
    return state
