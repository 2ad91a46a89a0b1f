"""`feedback emit`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import ConfigOption, console, fail, load_settings
from pipeline.cli.sending import BootstrapOption, late_progress, open_client, report_line, scales_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.client import Feedback
    from pipeline.client.scales import Scales

_BOM = b"\xef\xbb\xbf"
_STEP = 200


def run(
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines; - or nothing reads stdin.", show_default=False)
    ] = None,
    bootstrap: BootstrapOption = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the last acknowledgements.", min=0.1)
    ] = 15.0,
    config: ConfigOption = None,
) -> None:
    """Send events from JSON lines.

    One event a line: {"type": "touchpoint" or "response", ...fields}. Times are ISO 8601 with a zone, or
    milliseconds since 1970; a missing id or time is filled in. A bad line is reported with its number and
    the rest goes on. The exit code is 0 only when every line was acknowledged by the broker.

    Example: echo '{"type": "response", "source": "me", "instrument": "csat_1_5", "score": 5,
    "touchpoint": "checkout", "channel": "web"}' | feedback emit
    """
    settings = load_settings(config)
    began = time.monotonic()
    with _opened(file) as lines:
        total = _count(lines) if lines.seekable() else None
        with late_progress("sending", total) as tell, open_client(settings, "emit", bootstrap) as feedback:
            sent = emit(lines, feedback, scales_of(settings), tell)
            late = _unacknowledged(feedback, wait)
    good = sent.good - late
    seconds = time.monotonic() - began
    console.print(
        f"{good:,} of {sent.lines:,} lines acknowledged in {seconds:.1f} s ({good / seconds:,.0f}/s)"
    )
    if good < sent.lines:
        raise typer.Exit(1)


@dataclass(slots=True)
class Sent:
    """Lines read that were not blank, and those of them that are events."""

    lines: int = 0
    good: int = 0


def emit(lines: Iterable[bytes], feedback: Feedback, scales: Scales, tell: Callable[[float], None]) -> Sent:
    """Send every line that is an event, and report the others."""
    from pipeline.client import BufferFullError, EventError
    from pipeline.client.lines import message_of, parse
    from pipeline.client.message import Rules

    sent = Sent()
    for number, text in enumerate(lines, 1):
        line = text.removeprefix(_BOM) if number == 1 else text
        if not line.strip():
            continue
        sent.lines += 1
        try:
            rules = Rules(now=time.time_ns() // 1_000_000, scales=scales, known_only=True)
            feedback.send(message_of(parse(line), rules, line=number))
        except EventError as fault:
            report_line(number, fault)
        except BufferFullError as fault:
            report_line(number, f"{fault} Stopped here.")
            break
        else:
            sent.good += 1
        if sent.lines % _STEP == 0:
            tell(number)
    return sent


def _unacknowledged(feedback: Feedback, seconds: float) -> int:
    """Wait for the broker; how many lines it did not acknowledge, each of them reported."""
    from pipeline.client import DeliveryError

    try:
        feedback.close(seconds)
    except DeliveryError as fault:
        for message in fault.messages:
            report_line(message.line, f"not acknowledged: {fault.reason}")
        return len(fault.messages)
    return 0


def _opened(file: Path | None) -> AbstractContextManager[IO[bytes]]:
    if file is None or str(file) == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as fault:
        fail(f"{file} cannot be read: {fault.strerror}")


def _count(file: IO[bytes]) -> int:
    """Lines from here to the end."""
    start = file.tell()
    count = sum(1 for _ in file)
    file.seek(start)
    return count
