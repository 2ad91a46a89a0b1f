"""Logging: one JSON object a line, or key=value for people at a terminal.

Messages are constant texts and what varies goes into `extra`: `log.info("store is back", extra={"rows": n})`.
No text of a customer is ever logged.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

# What every LogRecord has; the rest of its attributes came in as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = {
    "aiokafka": logging.WARNING,  # at DEBUG it builds a record for every send, whoever listens
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    # whoever asks the store says itself that it is away; the level of "urllib3" clickhouse_connect sets to its own
    "urllib3.connectionpool": logging.ERROR,
    "clickhouse_connect": logging.ERROR,
}
# Control characters but line feed and tab, and what turns the direction of writing.
_CONTROLS = (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_NAMED = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}
_REPEAT_SECONDS = 30.0
_REMEMBERED = 1000


def setup(level: str = "INFO", stream: TextIO | None = None, *, as_json: bool | None = None) -> None:
    """Send all logging to `stream` (stderr), as JSON lines unless it is a terminal. May be called again.

    Faust configures logging of its own when its worker starts: give that `override_logging=False`.
    """
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    for_machines = not target.isatty() if as_json is None else as_json
    handler.setFormatter(JsonLines() if for_machines else Readable())
    handler.addFilter(Calm())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
    logging.captureWarnings(capture=True)


def printable(text: str) -> str:
    """A text that others wrote, for a terminal: what would move its cursor, colour it or turn it round is named."""
    return text.translate(_NAMED)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What came in as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the extra fields, the error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Readable(logging.Formatter):
    """`12:30:01 warning store is away  retry_in=2.0`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it if there is one."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extra = " ".join(f"{key}={printable(str(value))}" for key, value in fields_of(record).items())
        line = f"{clock} {record.levelname.lower():7} {record.getMessage()}" + (f"  {extra}" if extra else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Calm(logging.Filter):
    """Lets a library say the same thing once in 30 seconds.

    aiokafka logs several errors a second for as long as a broker is away, and Faust ten for a missing topic.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.name.partition(".")[0] not in _QUIET:
            return True
        said = (record.name, record.msg if isinstance(record.msg, str) else type(record.msg).__name__)
        before = self._last.get(said)
        if before is not None and record.created - before < _REPEAT_SECONDS:
            return False
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        self._last[said] = record.created
        return True
