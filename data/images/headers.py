"""What a file's header says beside its samples: how it was held, and whose colours it has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION, _INTEROPERABILITY = 274, 0xA005
_ADOBE_RGB = "R03"
_SRGB_GAMMA, _NEAR = 1 / 2.2, 0.05
_WIDE = (9, 11, 12)
"""Primaries of BT.2020, DCI-P3 and Display P3, as films and HEIC count them."""
_CURVES = (8, 16, 18)
"""Transfers that are linear, PQ and HLG."""
_TOLD = "{}, without a profile: values are taken as they are"


def orientation(image: Image) -> int:
    """1 to 8; a damaged block of EXIF is no reason to lose a photograph."""
    if image.format == "TIFF":  # turned while it is loaded
        return 1
    with suppress(Exception):
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def foreign_colours(image: Image) -> tuple[str, ...]:
    """What is said of colours that are not sRGB's by the header, where no profile says which."""
    info = image.info
    if info.get("icc_profile"):
        return ()
    with suppress(Exception):
        if image.getexif().get_ifd(_INTEROPERABILITY).get(1) == _ADOBE_RGB:
            return (_TOLD.format("Adobe RGB by its EXIF"),)
    gamma = info.get("gamma", _SRGB_GAMMA)
    if "srgb" not in info and abs(gamma - _SRGB_GAMMA) > _NEAR:
        return (_TOLD.format("a gamma of its own"),)
    coded = info.get("nclx_profile") or {}
    if coded.get("color_primaries") in _WIDE or coded.get("transfer_characteristics") in _CURVES:
        return (_TOLD.format("colours beyond sRGB"),)
    return ()
