"""What a wheel carries beside the package: the schemas, and the list of Kafka's jars.

In the wheel only: an editable install reads both from the checkout, and a copy would go stale.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = {"schemas": "pipeline/schemas", "deploy/kafka/pom.xml": "pipeline/deploy/kafka/pom.xml"}


class Carry(BuildHookInterface[Any]):
    """Adds `CARRIED` to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "standard":
            build_data["force_include"].update(CARRIED)
