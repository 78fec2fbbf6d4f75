"""Contact sheets: small pictures of a split on one page, for people to look at."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from challenge.data.images import codec
from challenge.data.images.codec import Picture, Stored
from challenge.data.images.magnitude import magnitude

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 24
"""Images on a sheet."""

_THUMBNAIL = 160
_GUTTER = 12
_LABEL = 16


@dataclass
class Sheet:
    """A sheet of `count` images (at most 24 are shown), each a row of pictures with its id."""

    title: str
    count: int
    note: str = ""
    """A second line below the title."""
    _cells: list[tuple[str, list[Image]]] = field(default_factory=list)

    def shows(self, index: int) -> bool:
        """Whether image `index` of the split is on the sheet; those shown are spread evenly."""
        if self.count <= LARGEST:
            return True
        return index in {number * self.count // LARGEST for number in range(LARGEST)}

    def add(self, identity: str, *pictures: Picture) -> None:
        """Add the pictures of one image, each (C, H, W); they are shrunk by one factor."""
        from PIL import Image

        scale = _THUMBNAIL / max(max(picture.shape[1:]) for picture in pictures)
        thumbnails = []
        for picture in pictures:
            pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
            size = [max(1, round(side * scale)) for side in (picture.shape[2], picture.shape[1])]
            image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
            thumbnails.append(image.resize((size[0], size[1]), Image.Resampling.LANCZOS))
        self._cells.append((identity, thumbnails))

    def png(self) -> bytes:
        """The sheet as a PNG file."""
        from PIL import Image, ImageDraw, ImageFont

        across = max((len(images) for _, images in self._cells), default=1)
        columns = max(1, min(8 // across, len(self._cells)))
        rows = -(-len(self._cells) // columns)
        cell = across * (_THUMBNAIL + 2) + _GUTTER
        height = _THUMBNAIL + _LABEL + _GUTTER
        font = ImageFont.load_default(size=12)
        heads = [self.title, self.note] if self.note else [self.title]
        longest = max(round(font.getlength(head)) for head in heads)
        width = max(columns * cell, longest + _GUTTER) + _GUTTER
        head = len(heads) * _LABEL + _GUTTER
        page = Image.new("RGB", (width, rows * height + head + _GUTTER), "white")
        draw = ImageDraw.Draw(page)
        for number, text in enumerate(heads):
            place = _GUTTER, _GUTTER // 2 + number * _LABEL
            draw.text(place, text, fill="black", font=font)
        for number, (identity, images) in enumerate(self._cells):
            left = _GUTTER + number % columns * cell
            top = head + number // columns * height
            for image in images:
                # Smaller pictures (a valid blur) keep their place over the larger one's centre.
                corner = (_THUMBNAIL - image.width) // 2, (_THUMBNAIL - image.height) // 2
                page.paste(image, (left + corner[0], top + corner[1]))
                left += _THUMBNAIL + 2
            left = _GUTTER + number % columns * cell
            draw.text((left, top + _THUMBNAIL + 1), _short(identity), fill="dimgrey", font=font)
        buffer = io.BytesIO()
        page.save(buffer, format="PNG")
        return buffer.getvalue()


def to_picture(y: Stored, window: tuple[float, float] = (0.0, 1.0)) -> Picture:
    """An image or a measurement as a picture of 8 bits: black and white are those of `window`.

    Complex numbers, (2, H, W), are shown by their magnitude.
    """
    black, white = window
    seen = magnitude(codec.to_unit(y))
    unit = seen if window == (0.0, 1.0) else (seen - black) / (white - black)
    picture: Picture = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return picture


def _short(identity: str) -> str:
    return identity if len(identity) <= 24 else f"{identity[:12]}...{identity[-9:]}"
