"""How large a picture may be; its header says so before anything is decoded."""

from __future__ import annotations

from pathlib import Path

from challenge.configs.errors import UserError

LARGEST = 128_000_000
"""Pixels of the largest picture that is decoded whole."""
LARGEST_JPEG = 256_000_000
"""Of a JPEG picture that is shrunk anyway: its decoder does a part of it."""
LARGEST_WHOLE = 64_000_000
"""Up to here a JPEG picture that is shrunk is decoded whole nevertheless."""


def refuse_huge(path: Path, height: int, width: int, largest: int = LARGEST) -> None:
    """Raise `UserError` for a picture of more pixels than `largest`."""
    if height * width > largest:
        raise UserError.of(
            path,
            f"is too large, {width}x{height} pixels",
            f"at most {largest:,} pixels are read; make it smaller",
        )
