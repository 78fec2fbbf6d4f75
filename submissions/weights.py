"""The safetensors format, read without trusting it and written so that equal weights are equal.

    8 bytes, little-endian: length of the header | header: JSON, padded with spaces | raw tensors

Free of torch. https://github.com/huggingface/safetensors describes the format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

HEADER_LIMIT = 10_000_000
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


def read_header(file: BinaryIO, size: int) -> tuple[list[Stored], int]:
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
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise NotSafetensors(f"has a header that is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise NotSafetensors("has a header that is not a JSON object")
    tensors = [_tensor(name, value) for name, value in header.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            raise NotSafetensors(f"has a hole or an overlap before `{tensor.name}`")
        position = tensor.end
    if 8 + length + position != size:
        raise NotSafetensors(
            f"has {size:,} bytes, its header accounts for {8 + length + position:,}"
        )
    return tensors, 8 + length


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
            yield piece
            left -= len(piece)


SIDES, TOO_MANY = 16, 1 << 60
"""More sides than any tensor has, and more bytes than any file."""


def _tensor(name: str, value: Any) -> Stored:
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
        whole = [begin, end, *shape]
        if not all(type(number) is int and number >= 0 for number in whole):
            raise ValueError
        if not isinstance(dtype, str) or len(shape) > SIDES:
            raise TypeError
    except (TypeError, KeyError, ValueError):
        raise NotSafetensors(f"describes `{name}` wrongly") from None
    if dtype not in ITEMSIZE:
        allowed = ", ".join(ITEMSIZE)
        raise NotSafetensors(f"has `{name}` of type `{dtype}`, allowed are {allowed}")
    count = ITEMSIZE[dtype]
    for side in shape:
        # Capped, so that a shape of enormous numbers is neither multiplied out nor printed.
        count = min(count * min(side, TOO_MANY), TOO_MANY)
    if end - begin != count:
        raise NotSafetensors(f"gives `{name}` {end - begin:,} bytes, its shape needs {count:,}")
    return Stored(name, dtype, tuple(shape), begin, end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found
