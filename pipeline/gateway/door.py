"""Who may in: bearer tokens, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Sequence


class Door:
    """Knows the tokens."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tuple(token.encode() for token in tokens)

    def admits(self, authorization: str | None) -> bool:
        """Whether the header `Authorization` carries one of the tokens."""
        scheme, _, given = (authorization or "").partition(" ")
        token = given.strip().encode("utf-8", "surrogateescape")
        # Every token is compared, so that the time taken does not tell which one was nearly right.
        matches = [hmac.compare_digest(token, known) for known in self._tokens]
        return scheme.lower() == "bearer" and any(matches)
