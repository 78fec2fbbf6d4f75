"""Where photographs come from: a folder of the user's, or what scikit-image brings along."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from challenge.configs.errors import UserError
from challenge.data.images import codec, formats, levels
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

_SHARE = 0.4
_KINDS = 5
"""Suffixes of files passed over that are named."""


@dataclass(frozen=True)
class Listing:
    """The picture files of a folder, and what was passed over, in words."""

    files: list[Path]
    passed_over: str
    """One line, empty where nothing was."""


def list_folder(folder: Path) -> Listing:
    """All picture files in a folder and its sub-folders, by suffix, in the order of their names.

    Linked folders are entered once. Hidden files and folders are left aside; files of other kinds,
    and folders that cannot be opened, are counted.

    Raises:
        UserError: if there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UserError.of(folder, "there is no such folder", "give the path of your photographs")
    suffixes = formats.suffixes()
    found: list[Path] = []
    passed_over: Counter[str] = Counter()
    closed: list[str] = []
    entered = {folder.resolve()}

    def cannot_open(error: OSError) -> None:
        closed.append(str(error.filename))

    for parent, folders, files in os.walk(folder, onerror=cannot_open, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in list(folders):
            real = Path(parent, name).resolve()
            if real in entered:  # by a link, which may lead in a circle
                folders.remove(name)
            entered.add(real)
        for name in files:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            suffix = path.suffix.lower()
            if suffix in suffixes and (path.is_file() or not path.exists()):
                found.append(path)
            else:
                passed_over[suffix or "without a suffix"] += 1
    told = _passed_over(passed_over, closed)
    if not found:
        cause = f"has no pictures; {told}" if told else "has no pictures"
        raise UserError.of(folder, cause, formats.READ)
    # By the parts of the path below the folder, so that neither the file system's order nor the
    # separator decides.
    return Listing(sorted(found, key=lambda path: path.relative_to(folder).parts), told)


def _passed_over(suffixes: Counter[str], closed: list[str]) -> str:
    told = []
    if suffixes:
        total = suffixes.total()
        kinds = [f"{count} {suffix}" for suffix, count in suffixes.most_common(_KINDS)]
        if more := total - sum(count for _, count in suffixes.most_common(_KINDS)):
            kinds.append(f"{more} others")
        told.append(f"passed over {total} file{'s' * (total > 1)} ({', '.join(kinds)})")
    if closed:
        told.append(f"{len(closed)} folder{'s' * (len(closed) > 1)} cannot be opened: {closed[0]}")
    if any(suffix in formats.HEIC for suffix in suffixes):
        told.append(formats.HEIC_REMEDY)
    return "; ".join(told)


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
    picture = codec.read(path, convert=False).picture
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
            contrast = levels.contrast(crop)
            if (contrast > levels.DETAIL).mean() >= _SHARE:
                scored.append((-float(contrast.mean()), top, left))
    return [(name, top, left) for _, top, left in sorted(scored)]


def _positions(side: int, size: int) -> list[int]:
    if side < size:
        return []
    count = (side - size) * 4 // (3 * size) + 1
    if count == 1:
        return [(side - size) // 2]
    return [round(position) for position in np.linspace(0, side - size, count)]
