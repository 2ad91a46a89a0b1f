"""`load`: one `Settings` from file and environment, or every fault at once."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from pipeline.config import faults
from pipeline.config.faults import ConfigError
from pipeline.config.settings import Settings

DEFAULT_FILE = Path("feedback.toml")


def load(path: Path | None = None) -> Settings:
    """The settings of a file and of the environment, which wins.

    Args:
        path: the file; None means FEEDBACK_CONFIG, else feedback.toml here if there is one, else no file.

    Raises:
        ConfigError: with every fault.
    """
    file = path or _file_of_environment()
    environment = EnvSettingsSource(Settings)()
    origin = f"{file} and the environment" if file else "the environment; there is no feedback.toml here"
    return build(_merged(_read(file), environment), environment, origin)


def build(values: dict[str, Any], environment: Mapping[str, Any], origin: str) -> Settings:
    """`Settings` of merged values; `environment` is the part of them that came from variables."""
    lines = list(faults.unknown_variables(os.environ))
    wrong: list[faults.Path] = []
    try:
        settings = Settings(**values)
    except ValidationError as error:
        lines += faults.describe(error, environment)
        wrong = faults.spoiled(error)
        settings = _without(values, wrong)
    lines += [text for about, text in _contradictions(settings) if not _touches(about, wrong)]
    if lines:
        raise ConfigError(origin, lines)
    return settings


def _file_of_environment() -> Path | None:
    named = os.environ.get("FEEDBACK_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fault = "there is no such file: write it, or leave --config and FEEDBACK_CONFIG away"
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = f"cannot be read as TOML: {error}"
    raise ConfigError(str(file), [fault])


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees as one; where both have a value, `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old or {}, value) if both else value
    return merged


def _without(values: Mapping[str, Any], wrong: Sequence[faults.Path]) -> Settings:
    """The settings with defaults in place of what is wrong, so that contradictions are found as well."""
    rest = deepcopy(dict(values))
    for path in wrong:
        _remove(rest, path)
    try:
        return Settings(**rest)
    except ValidationError:
        return Settings()


def _remove(tree: dict[str, Any], path: faults.Path) -> None:
    """Cut a key, if it is there."""
    *parents, last = path
    for part in parents:
        below = tree.get(part)
        if not isinstance(below, dict):
            return
        tree = below
    tree.pop(last, None)


def _touches(about: Sequence[str], wrong: Sequence[faults.Path]) -> bool:
    """Whether one of the keys is wrong by itself; what it contradicts is then not known."""
    return any(name.split(".") == list(path[: name.count(".") + 1]) for name in about for path in wrong)


def _contradictions(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Values that are fine each and wrong together: the keys concerned, and what is wrong."""
    yield from _wrong_windows(settings)
    yield from _wrong_security(settings)
    if settings.instruments:
        yield from (((fault.partition(":")[0],), fault) for fault in settings.judge_instruments()[1])
    yield from _wrong_schedules(settings)


def _wrong_schedules(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    known = ", ".join(sorted(settings.schedules)) or "none"
    for table, named in (("sla", settings.sla), ("touchpoints", settings.touchpoints)):
        for name, one in named.items():
            if one.schedule is not None and one.schedule not in settings.schedules:
                text = f'{table}.{name}.schedule = "{one.schedule}": no such schedule; there are: {known}'
                yield ("schedules",), text


def _wrong_windows(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    names = [window.name for window in settings.windows]
    if not names:
        yield ("windows",), "windows: at least one is needed"
        return
    if len(set(names)) < len(names):
        yield ("windows",), f"windows = {names}: each only once"
    longest = settings.longest_window()
    if longest.seconds > settings.retention:
        text = f'retention: is shorter than the window "{longest.name}"; make it at least as long'
        yield ("windows", "retention"), text


def _wrong_security(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    security = settings.kafka.security
    login = security.username and security.password.get_secret_value()
    if security.protocol.startswith("SASL") and not login:
        yield ("kafka.security",), f"kafka.security: {security.protocol} needs username and password"
    if (security.cert_file is None) != (security.key_file is None):
        yield ("kafka.security",), "kafka.security: cert_file and key_file belong together; give both or none"
    for key in ("ca_file", "cert_file", "key_file"):
        file = getattr(security, key)
        if file is not None and not file.is_file():
            yield (f"kafka.security.{key}",), f"kafka.security.{key}: there is no file {file}"
