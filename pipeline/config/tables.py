"""The tables of `feedback.toml`: each key, its default and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from pipeline.config.values import Address, Bootstrap, Comma, Duration, Listen

if TYPE_CHECKING:
    from pipeline.measures.instruments import Instrument

Share = Annotated[float, Field(ge=0, le=1)]


def _loopback(port: int) -> Listen:
    return Listen("127.0.0.1", port)


def _dsn(value: str) -> str:
    parts = urlsplit(value)
    embedded = parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1
    if value and not embedded and not (parts.scheme in ("http", "https") and parts.hostname):
        msg = 'should be "chdb:///absolute/folder" or "http(s)://user:password@host:port/database"'
        raise ValueError(msg)
    return value


def _told(value: SecretStr) -> SecretStr:
    """Not empty: an empty password would let everybody in."""
    if value.get_secret_value().strip() != value.get_secret_value() or not value:
        msg = "should be a secret, not empty and without blanks around it"
        raise ValueError(msg)
    return value


Token = Annotated[SecretStr, AfterValidator(_told)]


class Table(BaseModel):
    """A table of the configuration: unknown keys are faults, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Security(Table):
    """How to talk to the brokers."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka's name for the combination of encryption and login."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How to log in, for the SASL protocols."""
    username: str = ""
    """Name of the login."""
    password: SecretStr = SecretStr("")
    """Of the login; better given as FEEDBACK_KAFKA__SECURITY__PASSWORD than written down."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the brokers' certificates; the system's own if not given."""
    cert_file: Path | None = None
    """PEM file of our certificate, where the brokers ask for one."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""


class Kafka(Table):
    """The brokers and the topics on them."""

    bootstrap: Bootstrap = "127.0.0.1:9092"
    """Addresses of one or more brokers."""
    partitions: int = Field(default=4, ge=1, le=1024)
    """Of every topic; fixed for good once `feedback setup` has run."""
    replication: int = Field(default=1, ge=1, le=9)
    """Copies of every record. Below 3 a broker that dies takes acknowledged records with it."""
    session_timeout: Duration = 10.0
    """A worker that is silent for so long loses its partitions to the others."""
    security: Security = Security()
    prefix: str = Field(default="feedback", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Of all topics and consumer groups, so that several pipelines can share a cluster."""


class Worker(Table):
    """What a worker keeps on its machine."""

    data_dir: Path = Path("feedback-data")
    """Folder of everything that is embedded: broker, store, tokens."""
    snapshot_mb: float = Field(default=16.0, gt=0)
    """Megabytes that the journal of a partition grows by before it is cut to a snapshot; a recovery reads
    about three times as much at most."""


class Store(Table):
    """ClickHouse: embedded, or a server."""

    dsn: Annotated[str, AfterValidator(_dsn)] = ""
    """"chdb:///folder" or "http(s)://user:password@host:port/database"; by default in worker.data_dir."""
    http: Address = _loopback(8123)
    """Where the embedded store serves the ClickHouse HTTP interface."""
    token: Token | None = None
    """Password of user `writer` of the embedded store; by default made at first start, kept in its folder."""

    @property
    def folder(self) -> Path | None:
        """Folder of the embedded store; None for a server."""
        parts = urlsplit(self.dsn)
        return Path(unquote(parts.path)) if parts.scheme == "chdb" else None

    @property
    def database(self) -> str:
        """Name of the database: the path of a server's DSN, else "feedback"."""
        return "feedback" if self.folder else urlsplit(self.dsn).path.strip("/") or "feedback"


class Metrics(Table):
    """Prometheus."""

    listen: Address = _loopback(9108)
    """Serves /metrics, /healthz and /readyz."""
    max_series: int = Field(default=250_000, ge=1)
    """Series of Prometheus, lines of a scrape about windows; what is beyond them is shown together as __other__.

    A leaf has 4 to 19 in each window, a marginal 4 to 12. ClickHouse keeps them all."""


class Gateway(Table):
    """HTTP ingest."""

    listen: Address = _loopback(8088)
    """Where it takes `POST /v1/events`."""
    tokens: Annotated[tuple[Token, ...], Comma] = ()
    """Bearer tokens that may send events."""


class Page(Table):
    """The built-in page."""

    listen: Address = _loopback(8080)
    """Where a browser finds it."""
    workers: Annotated[tuple[Address, ...], Comma] = ()
    """metrics.listen of every worker, by default that of this configuration. A host name that has several addresses
    stands for a worker at each."""


class Horizons(Table):
    """Overrides of `horizon` for one kind of event."""

    touchpoints: Duration | None = None
    """Of touchpoint events."""
    responses: Duration | None = None
    """Of survey responses."""


class InstrumentTable(Table):
    """A question on a scale of your own. Its name stands for this scale for good."""

    metric: str = Field(pattern=r"^(nps|csat|ces|net_\d+_\d+)$")
    """"nps", "csat", "ces", or "net_LOW_HIGH" for a net score that is not NPS."""
    min: int
    """The smallest answer."""
    max: int
    """The largest answer."""
    direction: Literal["high", "low"]
    """Which end of the scale is good."""
    promoters_from: int | None = None
    """For nps and net: promoters answer this or more. All thresholds count on the scale turned to high = good."""
    detractors_to: int | None = None
    """For nps and net: detractors answer this or less."""
    satisfied_from: int | None = None
    """For csat: satisfied are this answer and better ones. Scales of 3, 4, 5, 7 and 10 answers have a usual one."""
    easy_from: int | None = None
    """For ces: easy are this answer and better ones. Scales of 5 and 7 answers have a usual one."""

    def instrument(self, name: str) -> Instrument:
        """As the measures know it."""
        from pipeline.measures.instruments import Instrument

        thresholds = self.model_dump(exclude={"metric", "min", "max", "direction"})
        return Instrument(name, self.metric, self.min, self.max, self.direction, **thresholds)


class Touchpoint(Table):
    """What is known about a touchpoint beyond its name."""

    stage: Literal["discover", "engage", "order", "pay", "use", "support"] | None = None
    """The stage of the customer's journey that it belongs to."""
    csat_target: Share | None = None
    """Share of satisfied answers that the team wants to keep: the page marks what is surely below it, and an alert
    compares with it (with 0.8 where none is given)."""
    owner: str = ""
    """The team that is asked about it."""
    schedule: str | None = None
    """Name of its business hours; else the schedule named "default", else the only one there is."""


class Drops(Table):
    """Drop detection."""

    threshold: float = Field(default=9.0, gt=0)
    """Alarm when the evidence reaches this; higher means fewer false alarms and later ones."""
    guard: Share = 0.02
    """How far below its history a touchpoint may be without counting as worse."""
    odds_ratio: float = Field(default=0.529, gt=0, lt=1)
    """How bad the drop is that the detector looks for; 0.529 takes 85 % to 75 %."""
