"""Attributes of netlink messages: type, length, value, in the byte order of the machine."""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")

_HEADER = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
_U8, _S8, _U16, _U32, _S32, _U64 = (struct.Struct(f"={code}") for code in "BbHIiQ")


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields type and value; what is cut off or contradicts itself ends it."""
    offset, end = 0, len(data)
    while offset + 4 <= end:
        length, kind = _HEADER.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def table(data: bytes) -> dict[int, bytes]:
    """Returns the attributes by type; of one that comes twice the last."""
    return dict(attributes(data))


def u8(value: bytes) -> int:
    """Reads an unsigned byte; 0 of nothing."""
    return value[0] if value else 0


def s8(value: bytes) -> int:
    """Reads a signed byte; 0 of nothing."""
    return int(_S8.unpack_from(value)[0]) if value else 0


def u16(value: bytes) -> int:
    """Reads 16 bits; 0 of less."""
    return int(_U16.unpack_from(value)[0]) if len(value) >= 2 else 0


def u32(value: bytes) -> int:
    """Reads 32 bits; 0 of less."""
    return int(_U32.unpack_from(value)[0]) if len(value) >= 4 else 0


def s32(value: bytes) -> int:
    """Reads signed 32 bits; 0 of less."""
    return int(_S32.unpack_from(value)[0]) if len(value) >= 4 else 0


def u64(value: bytes) -> int:
    """Reads 64 bits; of four bytes the 32 that are there, as older drivers send them."""
    return int(_U64.unpack_from(value)[0]) if len(value) >= 8 else u32(value)


def text(value: bytes) -> str:
    """Reads a text that ends in a zero."""
    return value.split(b"\0", 1)[0].decode(errors="replace")


def mac(value: bytes) -> str:
    """Reads a hardware address."""
    return value[:6].hex(":")


def told(found: Mapping[int, bytes], kind: int, read: Callable[[bytes], T]) -> T | None:
    """Reads an attribute of a table; None if it is not there."""
    return read(found[kind]) if kind in found else None


def attribute(kind: int, value: bytes | int | str | list[bytes]) -> bytes:
    """Writes an attribute: 32 bits of a number, a text with its zero, the attributes of a list."""
    if isinstance(value, int):
        value = _U32.pack(value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, list):
        value = b"".join(value)
    data = _HEADER.pack(len(value) + 4, kind) + value
    return data + b"\0" * (-len(data) % 4)
