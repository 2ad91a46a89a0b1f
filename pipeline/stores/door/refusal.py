"""`Refusal`: ClickHouse said no, with its error code, and the HTTP status that its server gives for it."""

from __future__ import annotations

import re
from enum import IntEnum


class Code(IntEnum):
    """The error codes of ClickHouse that the door gives by itself."""

    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_COMPRESSION_METHOD = 89
    READONLY = 164
    QUERY_IS_TOO_LARGE = 229
    CANNOT_DECOMPRESS = 271
    ACCESS_DENIED = 497
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


# As `exceptionCodeToHTTPStatus` of ClickHouse has them; whatever is not listed is 500.
_PARSING = (6, 25, 26, 27, 38, 41, 62, 72, 376, 427, 441, 675, 676)
_STATUS: dict[int, tuple[int, ...]] = {
    400: (*_PARSING, 8, 15, 36, 37, 44, 53, 89, 117, 123, 167, 168, 223, 271, 321),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    413: (229,),
    501: (48,),
    503: (76, 209, 439),
}
_BY_CODE = {code: status for status, codes in _STATUS.items() for code in codes}
_FOUND = re.compile(r"Code: (\d+)\. DB::Exception")
# The engine wraps some of its errors into each other: what comes before the last "Code:", and inner versions.
_WRAPPING = re.compile(r"(?:Code: \d+\. DB::Exception: )+(?=Code: \d)| \(version [\d.]+\)(?:\. \([A-Z_]+\))?")


class Refusal(Exception):
    """ClickHouse said no.

    Attributes:
        code: its error code.
        text: as its server puts it, "Code: 62. DB::Exception: Syntax error: ... (SYNTAX_ERROR)".
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status of a server for it."""
        return _BY_CODE.get(self.code, 500)


def refusal(code: Code, text: str) -> Refusal:
    """A refusal of the door's own, in the words of a server."""
    return Refusal(code, f"Code: {code.value}. DB::Exception: {text}. ({code.name})")


def of_engine(fault: Exception) -> Refusal:
    """What the engine's exception says."""
    text = str(fault)
    text = _WRAPPING.sub("", text[max(text.find("Code: "), 0) :].strip())
    found = _FOUND.search(text)
    return Refusal(int(found[1]) if found else Code.UNKNOWN_EXCEPTION, text)
