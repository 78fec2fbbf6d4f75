"""Samples of JPEG files of more than 8 bits, or without loss, which Pillow does not read."""

from __future__ import annotations

from pathlib import Path

from challenge.data.images import ranges
from challenge.data.images.limits import refuse_huge
from challenge.data.images.samples import Colour, Samples

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the header that says how many bits and pixels a file has."""
_LOSSLESS = 0xC3
_END = b"\xff\xd9"


def is_deep(path: Path) -> bool:
    """Whether a JPEG file is one of those."""
    frame = _frame(path.read_bytes())
    return frame is not None and (frame[0] == _LOSSLESS or frame[1] != 8)


def read(path: Path) -> Samples:
    """Decode a file.

    Raises:
        UserError: if it has too many pixels.
        Exception: whatever a damaged file leads the decoder to.
    """
    import imagecodecs

    content = path.read_bytes()
    frame = _frame(content)
    assert frame is not None
    _, bits, height, width = frame
    refuse_huge(path, height, width)
    if _END not in content:  # the decoder would make up what is missing
        raise ValueError("its end is missing")
    values = imagecodecs.jpeg_decode(content)
    if values.shape[:2] != (height, width):
        raise ValueError("its header is damaged")
    colour: Colour = "grey" if values.ndim == 2 else "rgb"
    values = values[..., None] if values.ndim == 2 else values
    extent = ranges.of(values, bits, None, None)
    return Samples(values, colour, extent.black, extent.white, remarks=extent.remarks)


def _frame(content: bytes) -> tuple[int, int, int, int] | None:
    """Marker, bits, height and width of the frame header."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _FRAMES:
            height, width = (int.from_bytes(content[at + k : at + k + 2], "big") for k in (5, 7))
            return marker, content[at + 4], height, width
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
