"""History to events: a declarative mapping from rows of CSV, JSON or Avro files, sorted by time and sent."""

from pipeline.replay.history import History, read_history
from pipeline.replay.mapping import EventMap, Mapper, Place, RowFault
from pipeline.replay.parse import MappingError, load_mapping, parse_mapping
from pipeline.replay.send import Report, replay, send_history

__all__ = [
    "EventMap",
    "History",
    "Mapper",
    "MappingError",
    "Place",
    "Report",
    "RowFault",
    "load_mapping",
    "parse_mapping",
    "read_history",
    "replay",
    "send_history",
]
