"""The safetensors format, read without trusting it and written so that equal weights are equal.

    8 bytes, little-endian: length of the header | header: JSON, padded with spaces | raw tensors

Free of torch. https://github.com/huggingface/safetensors describes the format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np

HEADER_LIMIT = 2_000_000
"""Bytes of the longest header: 20,000 tensors. A hostile one takes 25 times as much memory."""
CHUNK = 1 << 20

ITEMSIZE = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "BOOL": 1,
    "I8": 1,
    "U8": 1,
}
"""Bytes of the element types that an entry may use."""

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_BF16_EXPONENT = 0x7F80
"""All ones in a NaN and in an infinite value; numpy has no bfloat16."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class NotSafetensors(ValueError):
    """The file breaks a rule of the format."""


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: its type, its shape, and where its bytes are behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: Readable, size: int) -> tuple[list[Stored], int]:
    """The tensors of a file in the order of their bytes, and where the bytes begin.

    Args:
        file: at its beginning.
        size: of the whole file, in bytes.

    Raises:
        NotSafetensors: header, types, sizes or offsets are wrong, or bytes are unaccounted for.
    """
    prefix = file.read(8)
    if len(prefix) < 8:
        raise NotSafetensors("is cut off")
    (length,) = struct.unpack("<Q", prefix)
    if length > HEADER_LIMIT or 8 + length > size:
        raise NotSafetensors(f"has a header of {length:,} bytes in a file of {size:,}")
    try:
        # Decoded here: left to itself, `json` takes UTF-16 too, which the library does not.
        text = file.read(length).decode()
        header = json.loads(
            text, object_pairs_hook=_unique, parse_int=_whole, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise NotSafetensors(f"has a header that is not JSON ({str(error)[:200]})") from None
    if not isinstance(header, dict):
        raise NotSafetensors("has a header that is not a JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(map(_is_text, [*metadata, *metadata.values()])):
        raise NotSafetensors("has metadata that is not text")
    tensors = [_tensor(name, value) for name, value in header.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            raise NotSafetensors(f"has a hole or an overlap before `{tensor.name[:80]}`")
        position = tensor.end
    if 8 + length + position != size:
        raise NotSafetensors(
            f"has {size:,} bytes, its header accounts for {8 + length + position:,}"
        )
    return tensors, 8 + length


def not_finite(file: Readable, tensors: Iterable[Stored]) -> dict[str, int]:
    """How many NaN and infinite values the tensors hold, by name; those without are left out.

    Args:
        file: where `read_header` leaves it; it is read to its end, in pieces.
        tensors: in the order of their bytes.

    Raises:
        NotSafetensors: the file ends early.
    """
    found: dict[str, int] = {}
    for tensor in tensors:
        left = tensor.end - tensor.begin
        while left:
            piece = file.read(min(left, CHUNK))
            if len(piece) != min(left, CHUNK):
                raise NotSafetensors("is cut off")
            left -= len(piece)
            count = _count(piece, tensor.dtype)
            if count:
                found[tensor.name] = found.get(tensor.name, 0) + count
    return found


def _count(piece: bytes, dtype: str) -> int:
    if dtype == "BF16":
        bits = np.frombuffer(piece, "<u2")
        return int(np.count_nonzero((bits & _BF16_EXPONENT) == _BF16_EXPONENT))
    if dtype not in _FLOATS:
        return 0
    values = np.frombuffer(piece, _FLOATS[dtype])
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def canonical(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The same tensors in a fixed order and with no other data, in pieces.

    Raises:
        NotSafetensors: as `read_header`.
    """
    tensors, start = read_header(file, size)
    # Wide elements first, as the library does, so that every tensor is aligned.
    tensors.sort(key=lambda tensor: (-ITEMSIZE[tensor.dtype], tensor.name))
    header: dict[str, Any] = {}
    position = 0
    for tensor in tensors:
        end = position + tensor.end - tensor.begin
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for tensor in tensors:
        file.seek(start + tensor.begin)
        left = tensor.end - tensor.begin
        while left:
            piece = file.read(min(left, CHUNK))
            if not piece:
                raise NotSafetensors("is cut off")
            yield piece
            left -= len(piece)


SIDES, TOO_MANY = 16, 1 << 60
"""More sides than any tensor has, and more bytes than any file."""


def _tensor(name: str, value: Any) -> Stored:
    shown = name[:80]
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > SIDES:
            raise TypeError
        whole = [begin, end, *shape]
        if not all(type(number) is int and 0 <= number < TOO_MANY for number in whole):
            raise ValueError
        if len(value) != 3 or not _is_text(name):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise NotSafetensors(f"describes `{shown}` wrongly") from None
    if dtype not in ITEMSIZE:
        allowed = ", ".join(ITEMSIZE)
        raise NotSafetensors(f"has `{shown}` of type `{dtype[:80]}`, allowed are {allowed}")
    count = ITEMSIZE[dtype]
    for side in shape:
        # Capped, so that a shape of enormous numbers is neither multiplied out nor printed; a
        # side 0 behind them does not make it small again, for the library refuses that too.
        count = TOO_MANY if count == TOO_MANY else min(count * side, TOO_MANY)
    if end - begin != count:
        raise NotSafetensors(f"gives `{shown}` {end - begin:,} bytes, its shape needs {count:,}")
    return Stored(name, dtype, tuple(shape), begin, end)


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written: half a surrogate pair is JSON, and cannot."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


def _whole(text: str) -> int:
    """-0 is a fraction to the library, and so no size."""
    return -1 if text == "-0" else int(text)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found
