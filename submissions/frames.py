"""Messages between the judge's supervisor and the inference process.

    4 bytes, big-endian: length of the header | header: a JSON object | header["bytes"] bytes

Nothing of a message is ever unpickled, and the reader decides how much it accepts.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

HEADER_LIMIT = 16_384
_LENGTH = struct.Struct(">I")

Header = dict[str, Any]


class Garbled(Exception):
    """What came is not a message."""


def write(stream: BinaryIO, header: Header, payload: bytes = b"") -> None:
    """Send one message."""
    text = json.dumps({**header, "bytes": len(payload)}).encode()
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"a header of {len(text)} bytes")
    stream.write(_LENGTH.pack(len(text)) + text)
    stream.write(payload)
    stream.flush()


def read_header(stream: BinaryIO) -> Header | None:
    """The next message's header, or None at the end of the stream.

    Raises:
        Garbled: it is too long, cut off, or not a JSON object with a length `bytes` >= 0.
    """
    prefix = stream.read(_LENGTH.size)
    if not prefix:
        return None
    if len(prefix) < _LENGTH.size:
        raise Garbled("cut off")
    (length,) = _LENGTH.unpack(prefix)
    if length > HEADER_LIMIT:
        raise Garbled("its header is too long")
    try:
        header = json.loads(read_payload(stream, length))
        count = header["bytes"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Garbled("its header is no JSON object") from error
    if not isinstance(header, dict) or type(count) is not int or count < 0:
        raise Garbled("its header has no length")
    return header


def read_payload(stream: BinaryIO, count: int) -> bytes:
    """Exactly `count` bytes; raises `Garbled` if the stream ends before."""
    content = stream.read(count)
    if len(content) < count:
        raise Garbled("cut off")
    return content
