"""`feedback version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

import pipeline

_LIBRARIES = ("aiokafka", "faust-streaming", "polars", "clickhouse-connect", "chdb", "noida-db")


def run() -> None:
    """The version of this software and of what it stands on."""
    typer.echo(f"feedback {pipeline.__version__}")
    typer.echo(f"python {platform.python_version()}")
    for name in _LIBRARIES:
        typer.echo(f"{name} {_installed(name)}")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
