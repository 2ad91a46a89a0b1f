"""The demo's data folder, which is `worker.data_dir`.

lock            held while a demo runs
demo.json       which broker and what content the folder belongs to
gateway.token   made at the first start, mode 0600
sample.json     how far the sample traffic has come
broker/         the embedded broker's data and log
store/          the embedded store's data, token and log
workers/        the worker's own
logs/           worker.log, gateway.log and the demo's own, demo.log
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import FeedbackError

EMBEDDED = "embedded"
SAMPLE = "sample traffic"


@dataclass(frozen=True, slots=True)
class Owner:
    """What a data folder belongs to.

    Attributes:
        kafka: address of the brokers, or "embedded".
        source: "sample traffic", or the name of the replayed file.
        sent: the file was replayed to its end.
    """

    kafka: str
    source: str
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """Where things are."""

    path: Path

    @property
    def broker(self) -> Path:
        """Folder of the embedded broker."""
        return self.path / "broker"

    @property
    def sample(self) -> Path:
        """Progress of the sample traffic."""
        return self.path / "sample.json"

    def log(self, name: str) -> Path:
        """Log of a process, its folder made."""
        folder = self.path / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def token(self) -> str:
        """The gateway's token, made if there is none."""
        path = self.path / "gateway.token"
        if not path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(secrets.token_urlsafe(24), "utf-8")
        return path.read_text("utf-8").strip()

    def owner(self) -> Owner | None:
        """Whose data this is; None in a new folder."""
        path = self.path / "demo.json"
        try:
            return Owner(**json.loads(path.read_text("utf-8"))) if path.exists() else None
        except (ValueError, TypeError) as fault:
            msg = f"{path} cannot be read: remove the folder {self.path} to start over"
            raise FeedbackError(msg) from fault

    def owner_for(self, kafka: str, source: str) -> Owner:
        """The owner if it is this broker and content; in a new folder who would be.

        Raises:
            FeedbackError: it belongs to others; counts of two brokers or two histories must not mix.
        """
        owner = self.owner() or Owner(kafka, source)
        if owner.kafka != kafka:
            msg = (
                f"{self.path} holds data of the {_broker(owner.kafka)}, not of the {_broker(kafka)}: "
                "use that one, or another folder (--data)"
            )
            raise FeedbackError(msg)
        if owner.source != source:
            msg = (
                f"{self.path} holds data from {owner.source}, not from {source}: use another folder (--data)"
            )
            raise FeedbackError(msg)
        return owner

    def write(self, owner: Owner) -> None:
        """Replace what is known, as a whole."""
        self.path.mkdir(parents=True, exist_ok=True)
        fresh = self.path / "demo.json.new"
        fresh.write_text(json.dumps(asdict(owner)), "utf-8")
        fresh.replace(self.path / "demo.json")


def _broker(kafka: str) -> str:
    return "embedded broker" if kafka == EMBEDDED else f"broker at {kafka}"
