"""Blocks of the format Native as newer clients want them.

A client that sends `client_protocol_version` expects what that revision of ClickHouse's own protocol puts around
a block: a block info since 51903, and since 54454 a byte a column that says how it is laid out. chDB always writes
revision 0. clickhouse-go, and with it Grafana, cannot read that, so the difference is put in here. To find where
a column ends, its data must be walked over, by its type.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from pipeline.stores.door.refusal import Code, refusal

BLOCK_INFO_SINCE = 51_903
COLUMN_INFO_SINCE = 54_454
# Field 1, is_overflows = 0; field 2, bucket_num = -1; end.
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_ORDINARY = b"\x00"
_SIZES = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Enum16", "Date", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6"), 16),
    **dict.fromkeys(("UInt256", "Int256"), 32),
}
_ADDITIONAL_KEYS = 1 << 9
_NAMED = re.compile(r"(?:\w+|`(?:[^`\\]|\\.)*`) (.+)", re.DOTALL)
_U64 = struct.Struct("<Q")


def revised(blocks: bytes, revision: int, *, single: bool) -> bytes:
    """Blocks of revision 0 as `revision` has them; `single`: it is known that there is only one."""
    if revision < BLOCK_INFO_SINCE or not blocks:
        return blocks
    if single and revision < COLUMN_INFO_SINCE:
        return _BLOCK_INFO + blocks
    return b"".join(_revised(memoryview(blocks), _ORDINARY if revision >= COLUMN_INFO_SINCE else b""))


def _revised(block: memoryview, column_info: bytes) -> Iterator[memoryview | bytes]:
    start = at = 0
    while at < len(block):
        yield _BLOCK_INFO
        columns, at = _varint(block, at)
        rows, at = _varint(block, at)
        for _ in range(columns):
            _, at = _text(block, at)
            kind, at = _text(block, at)
            yield block[start:at]
            yield column_info
            start = at
            if rows:
                at = _data(kind, rows, block, _prefix(kind, at))
        yield block[start:at]
        start = at


def _prefix(kind: str, at: int) -> int:
    """The end of what stands before the data of a column: a version for each LowCardinality in its type."""
    return at + 8 * kind.count("LowCardinality(")


def _data(kind: str, rows: int, block: memoryview, at: int) -> int:
    """The end of `rows` values of type `kind`."""
    name, arguments = _parsed(kind)
    if name in _SIZES:
        return at + rows * _SIZES[name]
    if name.startswith("Interval"):
        return at + rows * 8
    walk = _WALKS.get(name)
    if walk is None:
        text = f"type {kind} in the format Native for this client: cast it, for example to String"
        raise refusal(Code.NOT_IMPLEMENTED, text)
    return walk(arguments, rows, block, at)


def _strings(_: list[str], rows: int, block: memoryview, at: int) -> int:
    for _row in range(rows):
        size = block[at]
        at += 1
        if size >= 128:
            size, at = _varint(block, at - 1)
        at += size
    return at


def _decimals(arguments: list[str], rows: int, _: memoryview, at: int) -> int:
    digits = int(arguments[0])
    return at + rows * next(size for most, size in ((9, 4), (18, 8), (38, 16), (76, 32)) if digits <= most)


def _nullables(arguments: list[str], rows: int, block: memoryview, at: int) -> int:
    return _data(arguments[0], rows, block, at + rows)


def _arrays(arguments: list[str], rows: int, block: memoryview, at: int) -> int:
    if not rows:
        return at
    inner: int = _U64.unpack_from(block, at + 8 * (rows - 1))[0]
    return _data(arguments[0], inner, block, at + 8 * rows)


def _tuples(arguments: list[str], rows: int, block: memoryview, at: int) -> int:
    for argument in arguments:
        named = _NAMED.fullmatch(argument)
        at = _data(named[1] if named else argument, rows, block, at)
    return at


def _maps(arguments: list[str], rows: int, block: memoryview, at: int) -> int:
    return _arrays([f"Tuple({arguments[0]}, {arguments[1]})"], rows, block, at)


def _low_cardinalities(arguments: list[str], rows: int, block: memoryview, at: int) -> int:
    if not rows:
        return at
    layout: int = _U64.unpack_from(block, at)[0]
    at += 8
    if layout & _ADDITIONAL_KEYS:
        keys: int = _U64.unpack_from(block, at)[0]
        at = _data(arguments[0].removeprefix("Nullable(").removesuffix(")"), keys, block, at + 8)
    return at + 8 + rows * (1 << (layout & 0xF))


_Walk = Callable[[list[str], int, memoryview, int], int]
_WALKS: dict[str, _Walk] = {
    "String": _strings,
    "FixedString": lambda arguments, rows, _, at: at + rows * int(arguments[0]),
    "Decimal": _decimals,
    "Nullable": _nullables,
    "Array": _arrays,
    "Tuple": _tuples,
    "Map": _maps,
    "LowCardinality": _low_cardinalities,
    "SimpleAggregateFunction": lambda arguments, rows, block, at: _data(arguments[1], rows, block, at),
}


def _parsed(kind: str) -> tuple[str, list[str]]:
    """The name and the arguments of a type such as "Map(String, Array(Int8))"."""
    name, _, inside = kind.partition("(")
    arguments: list[str] = []
    depth, quote, start = 0, "", 0
    inside = inside[:-1]
    for at, letter in enumerate(inside):
        if quote:
            quote = "" if letter == quote and inside[at - 1] != "\\" else quote
        elif letter in "'`":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and not depth:
            arguments.append(inside[start:at].strip())
            start = at + 1
    return name, [*arguments, inside[start:].strip()] if inside else []


def _text(block: memoryview, at: int) -> tuple[str, int]:
    size, at = _varint(block, at)
    return bytes(block[at : at + size]).decode(), at + size


def _varint(block: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value, at
        shift += 7
