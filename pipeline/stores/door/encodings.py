"""Content-Encoding: what ClickHouse clients send and ask for. A body is one frame, or several in a row."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import lz4.frame

from pipeline.stores.door.refusal import Code, refusal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_STEP = 1 << 20


class Encoder(Protocol):
    """Compresses a stream."""

    def compress(self, data: bytes) -> bytes:
        """What can be sent so far."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class _Lz4:
    """An LZ4 frame; the library wants its beginning asked for."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begin: bytes = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._begin = self._begin, b""
        return head + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        return self._begin + bytes(self._frame.flush())


class _Zlib:
    """zlib's decompressor with the two names that the others have."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_GZIP = zlib.MAX_WBITS | 16
_DECODERS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "zstd": zstd.ZstdDecompressor,
        "lz4": lz4.frame.LZ4FrameDecompressor,
        "gzip": lambda: _Zlib(_GZIP),
        "x-gzip": lambda: _Zlib(_GZIP),
        "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    }
)
# In the order in which a server chooses among what a client accepts.
_ENCODERS: Mapping[str, Callable[[], Encoder]] = MappingProxyType(
    {
        "zstd": zstd.ZstdCompressor,
        "lz4": _Lz4,
        "gzip": lambda: zlib.compressobj(level=3, wbits=_GZIP),
        "deflate": lambda: zlib.compressobj(level=3),
    }
)
_FAULTS = (zlib.error, zstd.ZstdError, RuntimeError, EOFError, ValueError)


def decode(body: bytes, encoding: str, most: int) -> bytes:
    """`body` without its Content-Encoding; at most `most` bytes.

    Raises:
        Refusal: the encoding is not known, the body is not in it, or it grows beyond `most`.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _DECODERS:
        known = ", ".join(_DECODERS)
        raise refusal(Code.UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {encoding!r} is not one of {known}")
    parts: list[bytes] = []
    try:
        while body:
            body = _frame(_DECODERS[name](), body, most - sum(map(len, parts)), parts)
    except _FAULTS as fault:
        raise refusal(Code.CANNOT_DECOMPRESS, f"the body is not {name}: {fault}") from fault
    return b"".join(parts)


def _frame(decoder: Any, body: bytes, room: int, parts: list[bytes]) -> bytes:
    """Decompress one frame into `parts`; what stands behind it."""
    while True:
        part = decoder.decompress(body, _STEP)
        body = b""
        room -= len(part)
        parts.append(part)
        if room < 0:
            raise refusal(Code.QUERY_IS_TOO_LARGE, "the body is too large once it is decompressed")
        if decoder.eof:
            rest: bytes = decoder.unused_data or b""
            return rest
        if not part and decoder.needs_input:
            msg = "it ends too early"
            raise EOFError(msg)


def accepted(header: str) -> str | None:
    """Which encoding to answer in to this Accept-Encoding; None for none."""
    offers = {}
    for offer in header.lower().split(","):
        name, _, quality = offer.partition(";")
        offers[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0")
    return next((name for name in _ENCODERS if offers.get(name)), None)


def encoder(name: str) -> Encoder:
    """A fresh encoder; `name` is one that `accepted` gave."""
    return _ENCODERS[name]()
