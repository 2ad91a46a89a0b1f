"""The shop the sample traffic comes from: its touchpoints, how good they are, and when its day is busy."""

from __future__ import annotations

from dataclasses import dataclass

CSAT, NPS, CES = "csat_1_5", "nps_0_10", "ces_1_7"
CHANNELS = ("web", "app", "email", "store")
SEGMENTS = (("new", 3.0), ("returning", 5.0), ("business", 2.0))
CUSTOMERS = 8_000
CSAT_IN_DROP = 0.48
TARGET = 0.8  # CSAT target of every touchpoint; baselines lie well above, so only the drop falls below

_ONLINE = (5.5, 4.0, 0.5, 0.0)  # weights of CHANNELS
_WRITTEN = (3.0, 2.0, 5.0, 0.0)
_COUNTER = (0.0, 1.0, 0.0, 9.0)


@dataclass(frozen=True, slots=True)
class Place:
    """A touchpoint and how its customers feel about it on a normal day.

    Attributes:
        name: the touchpoint.
        stage: journey stage it belongs to.
        weight: its share of the traffic, relative to the others.
        channels: weights of `CHANNELS`.
        action: what people do here.
        csat: share of satisfied answers; None where this is not asked.
        nps: shares of promoters and detractors, or None.
        ces: mean on 1 (very hard) to 7 (very easy), or None.
        cases: cases opened a day.
        hours: median hours from opening to the first resolve.
    """

    name: str
    stage: str
    weight: float
    channels: tuple[float, float, float, float]
    action: str
    csat: float | None = None
    nps: tuple[float, float] | None = None
    ces: float | None = None
    cases: int = 0
    hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Drop:
    """One touchpoint turns bad: few of its customers are satisfied from `start` (milliseconds since 1970) on."""

    touchpoint: str
    start: int

    def holds(self, place: Place, at: int) -> bool:
        """Whether an answer given there and then is part of it."""
        return place.name == self.touchpoint and at >= self.start


PLACES = (
    Place("website", "discover", 9, _ONLINE, "page_viewed", csat=0.91, nps=(0.46, 0.17)),
    Place("search", "discover", 8, _ONLINE, "searched", csat=0.87, ces=5.4),
    Place("product_page", "engage", 9, _ONLINE, "product_viewed", csat=0.90),
    Place("store_visit", "engage", 5, _COUNTER, "visited", csat=0.93, nps=(0.58, 0.09)),
    Place("cart", "order", 8, _ONLINE, "item_added", csat=0.89, ces=5.9),
    Place("checkout", "order", 10, _ONLINE, "order_placed", csat=0.90, nps=(0.44, 0.15), ces=5.6),
    Place("payment", "pay", 17, _ONLINE, "order_paid", csat=0.90, cases=60, hours=1.2),
    Place("invoice", "pay", 5, _WRITTEN, "invoice_sent", csat=0.88, ces=5.1, cases=50, hours=3.0),
    Place("delivery", "use", 10, _WRITTEN, "delivered", csat=0.88, nps=(0.41, 0.22), cases=90, hours=5.0),
    Place("mobile_app", "use", 8, (0.0, 1.0, 0.0, 0.0), "app_opened", csat=0.92, nps=(0.52, 0.13), ces=6.1),
    Place("help_center", "support", 6, _ONLINE, "article_read", csat=0.86, ces=4.8),
    Place(
        "support_desk", "support", 5, _WRITTEN, "talked", csat=0.88, nps=(0.35, 0.27), cases=160, hours=2.4
    ),
)

# Traffic by hour of the day (UTC): a quiet night that never dries up, a lunch hump, an evening peak.
_HOURS = (
    *(0.66, 0.62, 0.60, 0.60, 0.60, 0.62, 0.70, 0.82, 0.95, 1.08, 1.18, 1.26),
    *(1.32, 1.28, 1.20, 1.16, 1.18, 1.26, 1.36, 1.42, 1.34, 1.14, 0.92, 0.76),
)
_MEAN = sum(_HOURS) / len(_HOURS)


PRAISE = ("fast!", "Just worked.", "Friendly and quick.", "Exactly what I needed.", "Easy, thank you.")
BLAME = ("Too slow.", "I had to try three times.", "Nobody answered.", "Confusing.", "Not what was promised.")
BLAME_IN_DROP = (
    "Card declined, twice.",
    "Charged but no order.",
    "The page hangs after I pay.",
    "3-D Secure loops.",
)


def rhythm(minute: int) -> float:
    """How busy this minute (since 1970) of the day is; 1 on average over a day."""
    hour, rest = divmod(minute % 1440, 60)
    return (_HOURS[hour] * (60 - rest) + _HOURS[(hour + 1) % 24] * rest) / 60 / _MEAN
