"""`Settings`: the whole of `feedback.toml`, its keys at the top and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.config.cases import Cases, Schedule, Sla, rules_of
from pipeline.config.follow_ups import FollowUps
from pipeline.config.tables import (
    Drops,
    Gateway,
    Horizons,
    InstrumentTable,
    Kafka,
    Metrics,
    Page,
    Store,
    Touchpoint,
    Worker,
)
from pipeline.config.values import Comma, Duration, WindowValue
from pipeline.measures.windows import DEFAULT, Window

if TYPE_CHECKING:
    from pipeline.cases.rules import Rules
    from pipeline.measures.instruments import Instrument


class Settings(BaseSettings):
    """The whole configuration, built by `load`. Built from keywords it sees no environment."""

    model_config = SettingsConfigDict(
        env_prefix="FEEDBACK_",
        env_nested_delimiter="__",
        enable_decoding=False,  # lists in the environment are separated by commas, they are no JSON
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=False,  # defaults are written as they are used: seconds, addresses
    )

    kafka: Kafka = Kafka()
    worker: Worker = Worker()
    store: Store = Store()
    metrics: Metrics = Metrics()
    gateway: Gateway = Gateway()
    page: Page = Page()
    expected_rate: float = Field(default=20.0, gt=0)
    """Events a second in the long run; check-config computes the memory from it."""
    raw_retention: Duration = 400 * 86_400.0
    """How long ClickHouse keeps raw records, by the time they arrived."""
    registry_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """A Confluent-compatible schema registry, "https://user:password@host"; empty means schemas/registry.json."""
    horizon: Duration = 7 * 86_400.0
    """How long an id is remembered and how late an event may come; costs about 37 bytes an id."""
    horizons: Horizons = Horizons()
    retention: Duration = 35 * 86_400.0
    """How long the worker keeps counts for its windows. Made longer, it fills up as time goes on: what is forgotten
    does not come back, and a window that reaches further back shows less until then."""
    windows: Annotated[tuple[WindowValue, ...], Comma] = DEFAULT
    """Windows of the rolling scores."""
    instruments: Mapping[str, InstrumentTable] = {}
    touchpoints: Mapping[str, Touchpoint] = {}
    schedules: Mapping[str, Schedule] = {}
    sla: Mapping[str, Sla] = {}
    cases: Cases = Cases()
    follow_ups: FollowUps = FollowUps()
    drops: Drops = Drops()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords only: `load` merges file and environment itself, to know where a fault comes from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _place_store(self) -> Settings:
        if not self.store.dsn:
            folder = (self.worker.data_dir / "store").absolute()
            store = self.store.model_copy(update={"dsn": f"chdb://{folder}"})
            object.__setattr__(self, "store", store)  # frozen for everybody else
        return self

    def catalogue(self) -> Mapping[str, Instrument]:
        """All instruments in use, shipped and own, by name."""
        return self.judge_instruments()[0]

    def judge_instruments(self) -> tuple[Mapping[str, Instrument], tuple[str, ...]]:
        """The catalogue, and what is wrong with own instruments: nothing, once `load` has let them pass."""
        from pipeline.measures.catalogue import catalogue  # with numpy, which few commands need

        return catalogue(table.instrument(name) for name, table in self.instruments.items())

    def rules(self) -> Rules:
        """How cases are measured. Each call gives another object; hand one on."""
        return rules_of(self)

    def measuring_rules(self) -> str:
        """All that decides how cases and answers are measured, as text: others are other rules."""
        said = self.model_dump(
            mode="json", include={"sla", "schedules", "cases", "follow_ups", "instruments"}
        )
        said["touchpoints"] = {name: one.schedule for name, one in self.touchpoints.items() if one.schedule}
        return json.dumps(said, sort_keys=True)

    def horizon_of(self, source: Literal["responses", "touchpoints"]) -> float:
        """Seconds that an id of this input is remembered."""
        own = self.horizons.responses if source == "responses" else self.horizons.touchpoints
        return own if own is not None else self.horizon

    def stages(self) -> Mapping[str, str]:
        """The stage of the journey of each touchpoint that has one."""
        return {name: str(one.stage) for name, one in self.touchpoints.items() if one.stage}

    def longest_window(self) -> Window:
        """The window that reaches back furthest."""
        return max(self.windows, key=lambda window: window.seconds)
