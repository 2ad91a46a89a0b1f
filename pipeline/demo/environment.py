"""What the demo adds to the configuration. As variables, since the child processes read them too."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Settings
from pipeline.demo.folder import Folder
from pipeline.sample import world


def asked_for(config: Path | None, data: Path | None, kafka: str | None) -> dict[str, str]:
    """From the command line."""
    found = {}
    if config:
        found["FEEDBACK_CONFIG"] = str(config.absolute())
    if data:
        found["FEEDBACK_WORKER__DATA_DIR"] = str(data.absolute())
    if kafka:
        found["FEEDBACK_KAFKA__BOOTSTRAP"] = kafka
    return found


def missing(settings: Settings, folder: Path, *, sample: bool) -> dict[str, str]:
    """What the configuration does not say: this demo's folder, a token, the sample traffic's touchpoints."""
    found = {"FEEDBACK_WORKER__DATA_DIR": str(folder.absolute())}
    if not settings.gateway.tokens:
        found["FEEDBACK_GATEWAY__TOKENS"] = Folder(folder).token()
    if sample:
        for place in world.PLACES:
            if place.name not in settings.touchpoints:
                name = f"FEEDBACK_TOUCHPOINTS__{place.name.upper()}"
                found[f"{name}__STAGE"] = place.stage
                found[f"{name}__CSAT_TARGET"] = str(world.TARGET)
    return found
