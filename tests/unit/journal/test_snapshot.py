"""A snapshot is made in a thread: what it is made of changes meanwhile."""

from __future__ import annotations

import pytest

from pipeline.journal import snapshot
from pipeline.journal.messages import Messages
from pipeline.journal.pack import unpack
from pipeline.journal.snapshot import chunk_of, chunks_of, load_state
from pipeline.journal.state import Outgoing, State


def test_what_is_published_while_it_is_made_neither_breaks_it_nor_stays_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, columns = State(), snapshot.columns_of_messages
    state.outbox = {s: Outgoing(0, {}, Messages.of([])) for s in (1, 2, 3)}

    def published_meanwhile(messages: Messages, prefix: str) -> object:
        state.mark_published(state.published + 1)
        return columns(messages, prefix)

    state.published = 1  # the mark moves before the outbox does
    monkeypatch.setattr(snapshot, "columns_of_messages", published_meanwhile)
    (value,) = chunks_of(state, (), "a snapshot")
    loaded = load_state(chunk_of(*unpack(value)).part, ())
    assert (loaded.published, sorted(loaded.outbox)) == (1, [2, 3])
