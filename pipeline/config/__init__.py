"""The configuration: `feedback.toml` and the environment, checked whole before anything starts."""

from __future__ import annotations

from pipeline.config.faults import ConfigError
from pipeline.config.load import load
from pipeline.config.settings import Settings
from pipeline.config.values import Listen

__all__ = ["ConfigError", "Listen", "Settings", "load"]
