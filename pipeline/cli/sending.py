"""What the commands that send share: the client, the scales, progress that appears when it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import console, progress
from pipeline.logs import printable

if TYPE_CHECKING:
    from pipeline.cli.progress import Progress
    from pipeline.client import Feedback
    from pipeline.client.producer import Target
    from pipeline.client.scales import Scales
    from pipeline.config import Settings

BootstrapOption = Annotated[
    str | None,
    typer.Option(
        help="Broker, HOST:PORT; default: kafka.bootstrap.", show_default=False, metavar="HOST:PORT"
    ),
]
_PATIENCE = 2.0
# An import or a pipe can wait longer for the broker than an app's request can.
_BLOCK_SECONDS = 60.0
_CLOSE_SECONDS = 15.0


def target_of(settings: Settings, bootstrap: str | None = None) -> Target:
    """Where to send."""
    from pipeline.client.producer import Target
    from pipeline.streams.connection import client_options

    security: Mapping[str, Any] = client_options(settings)
    security = {name: value for name, value in security.items() if name != "bootstrap_servers"}
    return Target(
        bootstrap or settings.kafka.bootstrap,
        settings.kafka.prefix,
        security=security,
        registry_url=settings.registry_url,
    )


def scales_of(settings: Settings) -> Scales:
    """The lowest and highest answer of every instrument in use, own ones included."""
    return {name: (one.low, one.high) for name, one in settings.catalogue().items()}


def open_client(settings: Settings, source: str, bootstrap: str | None = None) -> Feedback:
    """A client with patience."""
    from pipeline.client import Feedback

    target = target_of(settings, bootstrap)
    return Feedback(
        target.bootstrap,
        source=source,
        prefix=target.prefix,
        block_seconds=_BLOCK_SECONDS,
        close_seconds=_CLOSE_SECONDS,
        security=target.security,
        registry_url=target.registry_url,
    )


@contextmanager
def late_progress(text: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """`progress`, but only from the third second on. Give what it yields how much is done so far."""
    began = time.monotonic()
    shown = 0.0
    bar: Progress | None = None

    def tell(done: float) -> None:
        nonlocal shown, bar
        if bar is None and time.monotonic() - began > _PATIENCE:
            bar = stack.enter_context(progress(text, total))
        if bar is not None:
            bar.advance(done - shown)
            shown = done

    with ExitStack() as stack:
        yield tell


def report_line(line: int, reason: object) -> None:
    """One bad line of the input."""
    from rich.text import Text

    console.print(Text(printable(f"line {line}: {reason}")))
