"""Slices of scanners as the images of a challenge, by what their values mean.

    x = clip((v - low) / (high - low), 0, 1),   v in the unit of `images.values`

Complex images keep their phase; real ones in a complex challenge get a smooth random one. Ids say
nothing of the files: their names may be those of patients.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import SliceImages
from challenge.data import noise
from challenge.data.images import patients, phantoms, photographs, slice_files
from challenge.data.images.photographs import Notice, Progress
from challenge.data.images.remarks import Remarks
from challenge.data.images.splits import Item, Plan, neutral
from challenge.data.layout import SPLITS, Split

TRAIN_LEAST = 2
"""One image to learn from and one to tune on."""
TOLD = 0.01
"""Share of the values outside of [low, high] from which on it is told."""
ALL = 0.9
"""Share from which on the range cannot be meant."""
HOUNSFIELD = "hu"
"""The unit, in lower case, that only a rescale makes of what a scanner stores."""
_SPACING = 0.01
"""By how much a pixel may be larger or smaller than is stated, as a share."""


@dataclass(frozen=True)
class Found:
    """What becomes of the slices of a folder."""

    plan: Plan
    duplicates: list[tuple[str, str]]
    """(file left out, file with the same values that is kept)."""


def plan(
    config: SliceImages,
    source: Source,
    seed: int,
    key: bytes,
    progress: Progress,
    notice: Notice,
) -> Found:
    """Look at every slice once, drop exact duplicates, and draw the splits.

    Raises:
        UserError: they are too few, or no file of a folder can be used; with every file that cannot
            be used, where `strict` is given.
    """
    folders = photographs.folders(config, source)
    listed = {split: _listed(folder) for split, folder in folders.items()}
    digests, unusable = _inspect(listed, config, progress, notice)
    _refuse_unusable(listed, unusable, folders, source)
    pools, duplicates = _without_duplicates(listed, digests)
    for dropped, kept in duplicates:
        notice(f"{dropped}: has the same values as {kept}, left out")
    owner: dict[Path, Path] = {}
    for split, pool in pools.items():
        found = patients.owners(config, pool)
        divided = split == "train" and len(pools) < len(SPLITS)
        if divided and (line := patients.told(config, found)):
            notice(line)
        owner |= found
    chosen = _draw(config, pools, owner, source, seed)
    for split, wanted in (("val", config.val), ("test", config.test)):
        if (count := len(chosen[split])) < wanted:
            notice(f"{folders[split]}: {split} has {count} slices, `images.{split}` is {wanted}")
    return Found(_items(config, chosen, digests, seed, key), duplicates)


def image(config: SliceImages, values: NDArray[Any]) -> NDArray[Any]:
    """A slice (H, W) in units of the range, shrunk, cropped or filled up to a square.

    Returns:
        Shape (size, size), real in [0, 1] or complex with such a magnitude, double precision.
    """
    low, high = config.values.low, config.values.high
    if n := config.shrink:
        height, width = (side // n * n for side in values.shape)
        values = values[:height, :width].reshape(height // n, n, width // n, n).mean((1, 3))
    if np.iscomplexobj(values):
        size = np.abs(values)
        unit = values / np.maximum(size, np.finfo(float).tiny) * (size / high).clip(0, 1)
    else:
        unit = ((values - low) / (high - low)).clip(0, 1)
    for axis in (0, 1):
        extra = unit.shape[axis] - config.size
        if extra > 0:
            unit = unit.take(range(extra // 2, extra // 2 + config.size), axis)
        elif extra < 0:
            margins = [(0, 0), (0, 0)]
            margins[axis] = (-extra // 2, -extra - -extra // 2)
            unit = np.pad(unit, margins)
    found: NDArray[Any] = unit
    return found


def _listed(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.is_file() and slice_files.is_slice(path)]
    if not found:
        raise UserError.of(folder, "has no slices", slice_files.READ)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _inspect(
    listed: Mapping[Split, Sequence[Path]],
    config: SliceImages,
    progress: Progress,
    notice: Notice,
) -> tuple[dict[Path, str], dict[Path, tuple[Mistake, ...]]]:
    """SHA-256 of the values of every slice that can be used, and why the others cannot.

    Says what a person should know.
    """
    files = [file for split in listed.values() for file in split]
    digests: dict[Path, str] = {}
    unusable: dict[Path, tuple[Mistake, ...]] = {}
    remarks = Remarks()
    for done, file in enumerate(files):
        progress("look at slices", done, len(files))
        try:
            found = slice_files.read(file)
            remarks.add(file, *_checked(file, found, config))
        except UserError as error:
            unusable[file] = error.mistakes
            continue
        state = hashlib.sha256(repr(found.values.shape).encode())
        state.update(np.ascontiguousarray(found.values).tobytes())
        digests[file] = state.hexdigest()
    progress("look at slices", len(files), len(files))
    mistakes = [mistake for each in unusable.values() for mistake in each]
    if mistakes and config.strict:
        raise UserError(*mistakes)
    for line in [*photographs.left_out(mistakes), *remarks.lines()]:
        notice(line)
    return digests, unusable


def _refuse_unusable(
    listed: Mapping[Split, Sequence[Path]],
    unusable: Mapping[Path, Sequence[Mistake]],
    folders: Mapping[Split, Path],
    source: Source,
) -> None:
    """Raise `UserError` for every folder of which no file can be used, with its first cause."""
    mistakes = []
    for split, files in listed.items():
        if all(file in unusable for file in files):
            first = unusable[files[0]][0]
            cause = f"none of the {len(files)} slices in `{folders[split]}` can be used, "
            cause += f"{files[0].name}: {first.cause}"
            mistakes.append(source.mistake(("images", "path"), cause, first.remedy))
    if mistakes:
        raise UserError(*mistakes)


def _checked(file: Path, found: slice_files.Slice, config: SliceImages) -> list[str]:
    """What is odd about a slice, as phrases; raises `UserError` where it cannot be used."""
    values, stated = found.values, config.values
    if np.iscomplexobj(values):
        if config.mode != "complex":
            cause = "holds complex values where real ones are expected"
            raise UserError.of(file, cause, "give `images.mode=complex`, or store magnitudes")
        values = np.abs(values)
    if min(values.shape) < config.shrink:
        cause = f"has {values.shape[0]}x{values.shape[1]} pixels"
        remedy = "give fewer by `images.shrink`, or take it out of the folder"
        raise UserError.of(
            file, f"{cause}, fewer than the means are over ({config.shrink})", remedy
        )
    if found.pixel_mm and abs(found.pixel_mm[0] / found.pixel_mm[1] - 1) > _SPACING:
        cause = "has pixels of {:.3g} by {:.3g} mm, which are not square".format(*found.pixel_mm)
        raise UserError.of(file, cause, "resample it, or take it out of the folder")
    if found.unit and stated.unit and found.unit.casefold() != stated.unit.casefold():
        cause = f"its rescale is to `{found.unit}`, `images.values.unit` is `{stated.unit}`"
        raise UserError.of(file, cause, "state its unit and range, or take it out of the folder")
    said = []
    if found.lacks and stated.unit:
        if stated.unit.casefold() == HOUNSFIELD and found.lacks == slice_files.INTERCEPT:
            cause = f"has no {found.lacks}, so that its numbers are not known to be in "
            remedy = "convert it to `.npy` in its unit, or take it out of the folder"
            raise UserError.of(file, f"{cause}`{stated.unit}`", remedy)
        said.append(f"no {found.lacks}, its numbers are taken to be in `{stated.unit}`")
    outside = float(((values < stated.low) | (values > stated.high)).mean())
    if outside >= ALL or values.max() == values.min():
        cause = f"{100 * outside:.0f} % of its values, {values.min():.4g} to {values.max():.4g}, "
        cause += f"lie outside [{stated.low:g}, {stated.high:g}]"
        if values.max() == values.min():
            cause = f"has one value everywhere, {values.max():.4g}"
        raise UserError.of(file, cause, "state the range by `images.values.low` and `.high`")
    if outside > TOLD:
        said.append(f"more than {100 * TOLD:.0f} % of the values lie outside [low, high], cut off")
    side = min(values.shape) // config.shrink
    if side < config.size:
        said.append(f"smaller than {config.size} pixels, filled up with {stated.low:g}")
    if found.pixel_mm and stated.pixel_mm:
        here = found.pixel_mm[0] * config.shrink
        if abs(here / stated.pixel_mm - 1) > _SPACING:
            said.append(f"pixels of {here:.3g} mm, `images.values.pixel_mm` is another")
    return said


def _without_duplicates(
    listed: Mapping[Split, Sequence[Path]], digests: Mapping[Path, str]
) -> tuple[dict[Split, list[Path]], list[tuple[str, str]]]:
    """Keep the first file of each content: in test before val before train, then by name."""
    first: dict[str, Path] = {}
    duplicates = []
    pools: dict[Split, list[Path]] = {}
    for split in reversed(SPLITS):
        if split not in listed:
            continue
        pools[split] = []
        for file in listed[split]:
            if file in digests:
                kept = first.setdefault(digests[file], file)
                if kept is file:
                    pools[split].append(file)
                else:
                    duplicates.append((str(file), str(kept)))
    return pools, duplicates


def _draw(
    config: SliceImages,
    pools: Mapping[Split, list[Path]],
    owner: Mapping[Path, Path],
    source: Source,
    seed: int,
) -> dict[Split, list[Path]]:
    """Draw test, then val; of a patient, all slices that are used are in one split."""
    wanted: dict[Split, int] = {"test": config.test, "val": config.val}
    pool = list(pools["train"])
    chosen: dict[Split, list[Path]] = {}
    for split, count in wanted.items():
        candidates = pools.get(split, pool)
        groups = sorted({owner[file] for file in candidates})
        order = noise.generator(seed, "slices", split).permutation(len(groups))
        taken: list[Path] = []
        for group in (groups[index] for index in order):
            if len(taken) < count:
                taken += [file for file in candidates if owner[file] == group]
        used = {owner[file] for file in taken}
        chosen[split] = sorted(taken[:count])
        if split not in pools:
            pool = [file for file in pool if owner[file] not in used]
        if not chosen[split]:
            raise UserError(
                source.mistake(("images", "path"), f"{split} has no slices of its own", "add some")
            )
    if len(pool) < TRAIN_LEAST:
        total = sum(map(len, pools.values()))
        cause = f"{len(pool)} of {total} different slices are left to train on, "
        cause += f"{TRAIN_LEAST} are needed"
        remedy = "add some, or give fewer by `images.val` and `images.test`"
        if any(who != file for file, who in owner.items()):
            cause = f"{len(set(owner.values()))} patients have too few: {cause}"
            remedy = "add patients; or, if neighbours may be apart, give `images.patients=file`"
        raise UserError(source.mistake(("images", "path"), cause, remedy))
    return {**chosen, "train": pool}


def _items(
    config: SliceImages,
    chosen: Mapping[Split, list[Path]],
    digests: Mapping[Path, str],
    seed: int,
    key: bytes,
) -> Plan:
    def item(identity: str, file: Path, split: Split) -> Item:
        def read() -> NDArray[np.float32]:
            unit = image(config, slice_files.read(file).values)
            if config.mode == "grey":
                return unit[None].astype(np.float32)
            if np.iscomplexobj(unit):
                return np.stack([unit.real, unit.imag]).astype(np.float32)
            hidden = noise.choices(key, f"phase {digests[file]}", 0)
            public = noise.generator(seed, "phase", digests[file])
            return phantoms.with_phase(hidden if split == "test" else public, unit[None])

        return Item(identity, os.path.abspath(file), read, config.shrink)

    def numbered(split: Split) -> list[Item]:
        # In the order of the contents, which says nothing of names.
        files = sorted(chosen[split], key=lambda file: digests[file])
        return [item(f"{split}-{number:04d}", file, split) for number, file in enumerate(files, 1)]

    test = chosen["test"]
    return {
        "train": numbered("train"),
        "val": numbered("val"),
        "test": [item(name, test[at], "test") for name, at in neutral(key, len(test))],
    }
