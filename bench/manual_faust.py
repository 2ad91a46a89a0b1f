"""Contender: Faust as its manual shows it. Every record decoded by fastavro, one change of a table each.

No duplicates are looked for, and a crash may lose or double records: the least that a stream counter does.
"""

from __future__ import annotations

import io
import logging
import os
from typing import Any

import fastavro
import faust

from pipeline import logs
from pipeline.events.schemas import schema

log = logging.getLogger("bench")
RECORDS = int(os.environ["BENCH_RECORDS"])
_SCHEMA, _HEADER_BYTES = schema("SurveyResponse"), 5


class SurveyResponses(faust.Codec):
    """The value behind its Confluent header."""

    def _loads(self, value: bytes) -> object:
        return fastavro.schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), _SCHEMA.parsed, None)


faust.serializers.codecs.register("survey_response", SurveyResponses())
app = faust.App(
    os.environ["BENCH_APP"],
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="memory://",
    datadir=os.environ["BENCH_FOLDER"],
    topic_partitions=int(os.environ["BENCH_PARTITIONS"]),
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
responses = app.topic(os.environ["BENCH_TOPIC"], key_serializer="raw", value_serializer="survey_response")
counts = app.Table("counts", default=int)


@app.agent(responses)
async def count(stream: faust.StreamT[dict[str, Any]]) -> None:
    """The whole of it."""
    seen = 0
    async for response in stream:
        if not seen:
            log.info("first batch")
        counts[cell(response)] += 1
        seen += 1
        if seen == RECORDS:
            log.info("drained")
            logging.shutdown()
            os._exit(0)


def cell(response: dict[str, Any]) -> str:
    """Where a response counts."""
    minute = int(response["occurred_at"].timestamp()) // 60
    names = (response[name] for name in ("instrument", "touchpoint", "channel", "segment"))
    return "|".join(map(str, (*names, minute, response["score"])))


if __name__ == "__main__":
    logs.setup(as_json=True)
    worker = faust.Worker(app, override_logging=False, loglevel="WARN", redirect_stdouts=False)
    worker.execute_from_commandline()
