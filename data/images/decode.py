"""From a file to its samples, whatever its suffix says; and why a file cannot be read.

A file is damaged only where its own format says so. What is whole, and not read all the same, is
told what it is.
"""

from __future__ import annotations

from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.images import formats, jpeg_files, pillow_files, ranges, shrink, tiff_files
from challenge.data.images.samples import Samples

DAMAGED = "replace it by a good copy or take it out of the folder"
CONVERT = "convert it to PNG or take it out of the folder"
_UNSUPPORTED = ("unsupported", "not supported", "not implemented", "cannot read this",
                "not available", "cannot handle", "unknown compression", "requires")  # fmt: skip
_LONGEST = 100
"""Characters of a decoder's own message."""


def read(path: Path, factor: shrink.Factor = shrink.whole) -> Samples:
    """Decode a picture file, to samples as stored.

    Args:
        factor: by how much the picture is shrunk later; the decoder of a very large JPEG file
            does a part of it.

    Raises:
        UserError: if the file is empty, damaged, no picture, of a kind that is not read, or too
            large.
    """
    kind = _kind(path)
    try:
        if kind == "TIFF":
            return tiff_files.read(path)
        if kind == "JPEG" and jpeg_files.is_deep(path):
            return jpeg_files.read(path)
        return pillow_files.read(path, factor)
    except (UserError, ModuleNotFoundError):  # the file is not to blame for a missing package
        raise
    except ranges.Meaningless as error:
        raise UserError.of(path, str(error), CONVERT) from None
    # A damaged file leads the decoders into any exception; a fault of ours would too, but then
    # for every file.
    except Exception as error:
        raise UserError.of(path, *_why(path, kind, error)) from error


def _kind(path: Path) -> str:
    """The format by content; raises `UserError` for what cannot be opened, or is empty."""
    try:
        if path.stat().st_size == 0:
            raise UserError.of(path, "is empty", DAMAGED)
        return formats.of(path)
    except PermissionError:
        raise UserError.of(path, "cannot be read", "check its permissions") from None
    except OSError as error:
        cause = f"cannot be read, {error.strerror}"
        raise UserError.of(path, cause, "check the link or take it out of the folder") from None


def _why(path: Path, kind: str, error: Exception) -> tuple[str, str]:
    """The cause and the remedy for a file that no decoder took."""
    from PIL import UnidentifiedImageError

    if kind == "HEIC" and not formats.reads_heic():
        return "is a HEIC picture", formats.HEIC_REMEDY
    if kind and kind not in formats.OURS:
        return f"is a {kind} file, which is not read", CONVERT
    if not kind and isinstance(error, UnidentifiedImageError):
        return "is no picture of a known format", CONVERT
    if isinstance(error, MemoryError):
        return "is damaged, or needs more memory than there is", DAMAGED
    reason = " ".join(str(error).split())[:_LONGEST].rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return f"is damaged, its {kind} header cannot be read", DAMAGED
    if isinstance(error, NotImplementedError) or any(
        word in reason.lower() for word in _UNSUPPORTED
    ):
        return f"is a {kind or 'picture'} file of a kind that is not read, {reason}", CONVERT
    return f"is damaged, {reason}", DAMAGED
