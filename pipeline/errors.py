"""What can go wrong outside a record. Bad records are values (`events.rejected`), never exceptions."""

from __future__ import annotations


class FeedbackError(Exception):
    """Broken infrastructure or a wrong set-up. The text is one sentence for people and says what to do next."""


class Away(FeedbackError):
    """Nobody answers just now. A command says so and ends; a worker tries again."""
