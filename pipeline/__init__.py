"""A streaming customer-experience pipeline: events in, rolling NPS, CSAT, CES and resolution times out."""

__version__ = "0.1.0"
