"""Values as people write them: durations, addresses, lists. Each parser says what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf

from pipeline.measures.windows import Window
from pipeline.measures.windows import parse as parse_window

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:,/]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_duration(value: object) -> float:
    """Seconds of "250ms", "10s", "15m", "24h" or "7d". A bare number is refused: nobody can tell its unit."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        msg = 'should be a duration above zero with its unit, such as "250ms", "10s", "15m", "24h" or "7d"'
        raise ValueError(msg)
    return float(found[1]) * _SECONDS[found[2]]


def parse_due(value: object) -> float | None:
    """The same, or None of "off"."""
    if value == "off" or value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        msg = f'{error}, or "off"'
        raise ValueError(msg) from error


def parse_listen(value: object) -> Listen:
    """`Listen` of "127.0.0.1:8080" or "[::1]:8080"."""
    if isinstance(value, Listen):
        return value
    found = _ADDRESS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found[2]) > 65_535:
        msg = 'should be an address like "127.0.0.1:8080", with a port from 0 to 65535'
        raise ValueError(msg)
    return Listen(found[1].strip("[]"), int(found[2]))


def parse_bootstrap(value: object) -> str:
    """One or more addresses of brokers, separated by commas, as Kafka clients take them."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not parts or any(_ADDRESS.fullmatch(part) is None for part in parts):
        msg = 'should be "HOST:PORT", or several of them separated by commas'
        raise ValueError(msg)
    return ",".join(parts)


def split_list(value: Any) -> Any:
    """A list written as one text, as the environment has to; anything else unchanged."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _window(value: object) -> Window:
    return value if isinstance(value, Window) else parse_window(str(value))


Due = Annotated[float | None, BeforeValidator(parse_due)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Address = Annotated[InstanceOf[Listen], BeforeValidator(parse_listen)]
Bootstrap = Annotated[str, BeforeValidator(parse_bootstrap)]
WindowValue = Annotated[InstanceOf[Window], BeforeValidator(_window)]
Comma = BeforeValidator(split_list)
