"""A broker that goes away between our look at it and the start of Faust, which as shipped crashes then."""

from __future__ import annotations

import asyncio

from pipeline.embedded.process import free_port
from pipeline.streams.app import AppOptions, build
from pipeline.streams.membership import Mandate
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from pipeline.streams.waiting import Room
from tests.chaos.proxy import Proxy


class Nothing:
    """Owns partitions and does nothing with them."""

    partitions = ()

    def __init__(self):
        self.owned, self.room = set(), Room()

    async def on_batch(self, partition, records):
        return True

    async def recover(self, partition):
        pass

    def own(self, partitions):
        self.owned |= set(partitions)

    def forget(self, partitions):
        pass


async def test_the_start_waits_for_the_broker(apache_kafka, settings, tmp_path):
    configured = settings(kafka={"bootstrap": apache_kafka})
    await ensure(configured)
    way = Proxy(free_port(), int(apache_kafka.rpartition(":")[2]))
    options = AppOptions(f"127.0.0.1:{way.port}", f"{configured.kafka.prefix}.g", 4, 6.0, str(tmp_path))
    handler, mandate = Nothing(), Mandate(6.0)
    app = build(options, {Topics(configured.kafka.prefix).responses: handler}, mandate, lambda: False)
    starting = asyncio.create_task(app.start())
    try:
        await asyncio.sleep(1.0)
        assert not starting.done(), "nothing listens there yet"
        await way.start()
        await starting
        async with asyncio.timeout(60):
            while not mandate.holds:  # noqa: ASYNC110 - what it waits for lies with the broker
                await asyncio.sleep(0.05)
        assert handler.owned == {0, 1, 2, 3}
    finally:
        await app.stop()
        await way.stop()
