"""Where photographs come from: a folder of the user's, or what scikit-image brings along."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.images import codec
from challenge.data.images.codec import Picture

BUILTIN_VAL = ("chelsea.png", "rocket.jpg", "retina.jpg")
BUILTIN_TEST = (
    "astronaut.png",
    "coffee.png",
    "motorcycle_left.png",
    "ihc.png",
    "hubble_deep_field.jpg",
)
"""Photographs in scikit-image's own package; its other ones are downloaded, and never used."""

_TILE = 16
_SHARE = 0.4
_DETAIL = 0.012  # standard deviation of luma in a tile; the noise of a dark sky stays below


def list_folder(folder: Path) -> list[Path]:
    """All picture files in a folder and its sub-folders, by suffix, in the order of their names.

    Hidden files and folders and files of other kinds are passed over.

    Raises:
        UserError: if there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UserError.of(folder, "there is no such folder", "give the path of your photographs")
    found: list[Path] = []
    passed_over: Counter[str] = Counter()
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in files:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in codec.SUFFIXES:
                found.append(path)
            else:
                passed_over[path.suffix.lower() or name] += 1
    if not found:
        kinds = ", ".join(f"`{suffix}`" for suffix, _ in passed_over.most_common(5))
        raise UserError.of(
            folder,
            f"has no pictures, only {kinds}" if kinds else "has no pictures",
            "PNG, JPEG, BMP, TIFF and WebP are read",
        )
    # By the parts of the path below the folder, so that neither the file system's order nor the
    # separator decides.
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


@lru_cache(maxsize=8)  # about 10 MB for all of them
def builtin(name: str, size: int) -> Picture:
    """A packaged photograph, colour; halved while its shorter side is at least 4 x `size`.

    So small crops, too, show things rather than bare surfaces.

    Raises:
        UserError: if scikit-image was installed without it.
    """
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        raise UserError.of(
            "images.source", f"scikit-image has no `{name}`", "reinstall scikit-image"
        )
    picture = codec.photograph(path)
    while min(picture.shape[1:]) >= 4 * size:
        height, width = (side // 2 for side in picture.shape[1:])
        pairs = picture[:, : 2 * height, : 2 * width].reshape(3, height, 2, width, 2)
        picture = np.rint(pairs.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return picture


def builtin_crops(names: Sequence[str], size: int, count: int) -> list[tuple[str, int, int]]:
    """Choose `count` crops (photograph, top, left) of `size` x `size`, spread over photographs.

    Crops of a photograph lie on a regular grid and share at most a quarter of a side. A crop is
    taken only if 40 % of its 16 x 16 tiles have detail, so no black sky or margin; of
    each photograph the crop of most local contrast comes first.

    Raises:
        UserError: if the photographs give fewer crops.
    """
    queues = [_ranked(name, size) for name in names]
    longest = max(map(len, queues))
    turns = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    if len(turns) < count:
        raise UserError.of(
            "images",
            f"the built-in photographs give {len(turns)} crops of {size}x{size}, not {count}",
            "ask for fewer or smaller ones, or use `source: folder`",
        )
    return turns[:count]


def _ranked(name: str, size: int) -> list[tuple[str, int, int]]:
    picture = builtin(name, size)
    rows, columns = (_positions(side, size) for side in picture.shape[1:])
    luma = codec.adapt(picture, 1)[0]
    scored = []
    for top in rows:
        for left in columns:
            crop = luma[top : top + size, left : left + size]
            contrast = _contrast(crop)
            if (contrast > _DETAIL).mean() >= _SHARE:
                scored.append((-float(contrast.mean()), top, left))
    return [(name, top, left) for _, top, left in sorted(scored)]


def _positions(side: int, size: int) -> list[int]:
    if side < size:
        return []
    count = (side - size) * 4 // (3 * size) + 1
    if count == 1:
        return [(side - size) // 2]
    return [round(position) for position in np.linspace(0, side - size, count)]


def _contrast(luma: Picture) -> NDArray[np.float64]:
    """The standard deviation of every tile, in units of the range [0, 1]."""
    side = luma.shape[0] // _TILE * _TILE
    tiles = luma[:side, :side].reshape(side // _TILE, _TILE, side // _TILE, _TILE) / 255
    contrast: NDArray[np.float64] = tiles.std(axis=(1, 3))
    return contrast
