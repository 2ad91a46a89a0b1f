"""What the demo adds to the configuration. As variables, since the child processes read them too."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Listen, Settings
from pipeline.config.values import parse_listen
from pipeline.demo.folder import Folder
from pipeline.embedded.process import free_port
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
    """What the configuration leaves open: the folder, a token, the sample's touchpoints, ports given as 0."""
    found = {"FEEDBACK_WORKER__DATA_DIR": str(folder.absolute()), **_ports(settings)}
    if not settings.gateway.tokens:
        found["FEEDBACK_GATEWAY__TOKENS"] = Folder(folder).token()
    if sample:
        for place in world.PLACES:
            if place.name not in settings.touchpoints:
                name = f"FEEDBACK_TOUCHPOINTS__{place.name.upper()}"
                found[f"{name}__STAGE"] = place.stage
                found[f"{name}__CSAT_TARGET"] = str(world.TARGET)
    return found


def _ports(settings: Settings) -> dict[str, str]:
    """A port for every 0, since the parts have to find each other."""
    addresses = {
        "FEEDBACK_PAGE__LISTEN": settings.page.listen,
        "FEEDBACK_GATEWAY__LISTEN": settings.gateway.listen,
        "FEEDBACK_METRICS__LISTEN": settings.metrics.listen,
        "FEEDBACK_STORE__HTTP": settings.store.http,
        "FEEDBACK_KAFKA__BOOTSTRAP": parse_listen(settings.kafka.bootstrap.split(",")[0]),
    }
    return {
        name: str(Listen(listen.host, free_port(listen.host)))
        for name, listen in addresses.items()
        if listen.port == 0
    }
