"""What is worth another try, and what is not."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError

from pipeline.errors import Away, FeedbackError
from pipeline.journal.log import Unknown
from pipeline.streams.patience import persist


def failing(error, times=1):
    left = [error] * times

    async def call(what):
        if left:
            raise left.pop()
        return what

    return call


@pytest.mark.parametrize("error", [Away("no broker answers"), Unknown("?"), KafkaConnectionError()])
async def test_what_is_away_may_come_back(error):
    assert await persist(failing(error, 2), "the broker", "there") == "there"


async def test_what_is_refused_stays_refused():
    with pytest.raises(FeedbackError, match="run feedback setup"):
        await persist(failing(FeedbackError("run feedback setup")), "the broker", 1)
