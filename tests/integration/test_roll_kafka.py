"""The roll on a real broker: deltas in, absolute cells and scores out, and the same again from another owner."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.events.wire import decode
from pipeline.journal.deltas import CellChanges, Delta, pack_delta
from pipeline.journal.outbox import DELTAS, Send
from pipeline.measures.cells import Series
from pipeline.stores.prometheus import Metrics
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.kafka_outputs import KafkaOutputs
from pipeline.streams.roll import Roll
from pipeline.streams.setup import ensure

LEAF = Series("csat", "csat_1_5", "checkout", "web", "none")


def delta(number, cells, minute):
    k = np.array([k for k, _ in cells], np.int32)
    n = np.array([n for _, n in cells], np.int64)
    at, minutes = np.zeros(len(k), np.uint32), np.full(len(k), minute, np.int32)
    return pack_delta(Delta("responses", 0, number, 0, CellChanges((LEAF,), at, minutes, k, n, n * k * 1000)))


@pytest.fixture
async def broker(settings, kafka):
    configured = settings(kafka={"bootstrap": kafka}, windows=["1h"])
    await ensure(configured)
    broker = Broker(client_options(configured))
    await broker.start()
    yield configured, broker
    await broker.stop()


def logs(broker, prefix):
    return lambda q: tuple(KafkaLog(broker, f"{prefix}.{topic}", q) for topic in (DELTAS, "roll"))


async def everything(broker, topic):
    log = KafkaLog(broker, topic, 2)
    position, end = await log.bounds()
    found = []
    while position < end:
        entries, position = await log.read(position, end)
        found += [(entry.offset, decode(entry.value)[1]) for entry in entries]
    return found


async def test_cells_and_scores_arrive_and_a_second_owner_repeats_them(broker):
    configured, broker = broker
    prefix, minute = configured.kafka.prefix, int(time.time()) // 60
    outputs, told = KafkaOutputs(lambda: broker.results, prefix), Metrics.of(configured)
    values = [
        delta(1, [(5, 3), (1, 1)], minute),
        delta(1, [(5, 3), (1, 1)], minute),
        delta(2, [(5, 2)], minute),
        delta(3, [(k, 1) for k in range(1, 6)], minute - 90),
    ]
    await outputs.send([Send(DELTAS, 2, [(None, value)]) for value in values])
    ends = []
    for _ in range(2):
        roll = Roll(configured, logs(broker, prefix), outputs, told)
        roll.own([2])
        await roll.recover(2)
        await roll.tick(int(time.time() * 1000))
        assert roll.drained(2, len(values))
        found = await everything(broker, f"{prefix}.cells")
        ends.append(len(found))
        cells = {(c["bucket"].timestamp() // 60, c["bin"], c["part"]): c for _, c in found}
        assert sorted((c["bin"], c["n"], c["total"], c["version"]) for c in cells.values()) == [
            (1, 1, 1.0, 0),
            *((k, 1, float(k), 3) for k in range(1, 6)),
            (5, 5, 25.0, 2),
        ]
        scores = [score for _, score in await everything(broker, f"{prefix}.scores")]
        assert {(s["metric"], s["window"], s["touchpoint"], s["value"], s["n"]) for s in scores} == {
            ("csat", "1h", "checkout", 5 / 6, 6),
            ("csat", "1h", "", 5 / 6, 6),
        }
    assert ends == [7, 14]
    assert b'feedback_score_responses{metric="csat"' in told.exposition(await roll.owned())
