"""Topics that are made anew, or gone, under a running worker."""

from __future__ import annotations

import logging

import pytest

from pipeline.journal.journal import JournalBroken
from pipeline.streams.originals import Originals


class Topics:
    """Ids as a broker tells them."""

    def __init__(self, **ids):
        self.ids = ids

    async def __call__(self, topics):
        return {name: told for name, told in self.ids.items() if name in topics}


async def test_a_topic_made_anew_is_refused():
    broker = Topics(a="1", b="2")
    originals = Originals(["a", "b"], broker)
    await originals.look()
    await originals.look()
    broker.ids["b"] = "3"
    with pytest.raises(
        JournalBroken, match=r"the topic b was made anew: its id is 3, .* knows 2.*feedback reset"
    ):
        await originals.look()


async def test_a_topic_that_is_gone_is_told_once_and_still_known_when_it_is_back(caplog):
    broker = Topics(a="1")
    originals = Originals(["a"], broker)
    await originals.look()
    del broker.ids["a"]
    with caplog.at_level(logging.ERROR):
        await originals.look()
        await originals.look()
    assert [record.topic for record in caplog.records] == ["a"]
    broker.ids["a"] = "2"
    with pytest.raises(JournalBroken, match="made anew"):
        await originals.look()


async def test_a_broker_without_ids_tells_nothing():
    originals = Originals(["a"], Topics(a=""))
    await originals.look()
    await originals.look()
    assert originals.mark == ""


async def test_the_mark_is_that_of_the_topics():
    marks = []
    for ids in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1", "b": "3"}):
        originals = Originals(["a", "b"], Topics(**ids))
        await originals.look()
        marks.append(originals.mark)
    assert marks[0] == marks[1] != marks[2]
