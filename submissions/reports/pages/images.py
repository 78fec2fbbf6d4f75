"""Pictures inside of a page, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from challenge.data.images.codec import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 90
"""Of a picture that is not lossless, of 100."""


@dataclass(frozen=True)
class Photo:
    """A picture of a page, with what it says to who cannot see it."""

    uri: str
    width: int
    height: int
    alt: str


def photo(picture: Picture, alt: str, *, lossless: bool = True, times: int = 1) -> Photo:
    """A picture of 8 bits as a part of a page.

    Args:
        picture: shape (C, H, W) with one or three channels.
        alt: the alternative text.
        lossless: every pixel is kept; else a tenth of the size.
        times: a small picture's pixels are shown as squares of this side.
    """
    uri = data_uri(picture, lossless=lossless)
    return Photo(uri, picture.shape[2] * times, picture.shape[1] * times, alt)


def data_uri(picture: Picture, *, lossless: bool = True) -> str:
    """A `data:` address that is the picture itself: WebP, or where there is none, PNG or JPEG."""
    kind, content = encoded(picture, lossless=lossless)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def encoded(picture: Picture, *, lossless: bool = True) -> tuple[str, bytes]:
    """The kind, such as `webp`, and the bytes of a picture."""
    from PIL import features

    image, buffer = as_image(picture), io.BytesIO()
    if features.check("webp"):
        # method: 4 of 0 to 6; higher ones take several times as long for a few per cent.
        image.save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=4, exact=True)
        return "webp", buffer.getvalue()
    if lossless:
        image.save(buffer, "PNG", optimize=True)
        return "png", buffer.getvalue()
    image.save(buffer, "JPEG", quality=QUALITY)
    return "jpeg", buffer.getvalue()


def as_image(picture: Picture) -> Image:
    """A picture, (C, H, W), for Pillow."""
    from PIL import Image

    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels))
