"""The lowest and highest answer of each instrument shipped, for checks at the call.

The full definitions are in `pipeline.measures.instruments`; this copy keeps the client light, and a test
keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Scales = Mapping[str, tuple[int, int]]

SCALES: Scales = MappingProxyType(
    {
        "nps_0_10": (0, 10),
        "nps_1_10": (1, 10),
        "csat_1_3": (1, 3),
        "csat_1_4": (1, 4),
        "csat_1_5": (1, 5),
        "csat_1_7": (1, 7),
        "csat_1_10": (1, 10),
        "ces_1_5": (1, 5),
        "ces_1_7": (1, 7),
        "ces_1_7_hard": (1, 7),
    }
)
