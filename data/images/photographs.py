"""The photographs of an organiser's folders: found, looked at once, and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import FolderImages, SliceImages
from challenge.data.images import codec, levels, shrink, sources
from challenge.data.images.remarks import Remarks
from challenge.data.layout import SPLITS, Split

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

TRAIN_LARGEST = 1024
"""Pixels of a training image's side; what lies farther from its centre is cut off."""
_LINES = 10
"""Causes for which files are left out that are told one by one."""


@dataclass(frozen=True)
class Looked:
    """What is known of a photograph that was looked at."""

    digest: str
    """SHA-256 of its pixels."""
    shrunk: int
    """Its pixels are means over so many by so many."""
    flat: bool
    """Whether there is hardly any detail in what training would see of it."""
    flat_crop: bool
    """Whether there is hardly any in what val or test would show of it."""


def folders(config: FolderImages | SliceImages, source: Source) -> dict[Split, Path]:
    """The folder of every split that has one; a path is looked for beside the YAML, then here."""
    if isinstance(config.path, str):
        given: dict[Split, tuple[tuple[str, ...], str]] = {
            "train": (("images", "path"), config.path)
        }
    else:
        given = {
            split: (("images", "path", split), path)
            for split in SPLITS
            if (path := getattr(config.path, split)) is not None
        }
    found: dict[Split, Path] = {}
    mistakes = []
    for split, (place, text) in given.items():
        path = Path(text).expanduser()
        tried = [source.path.parent / path, path]
        folder = next((each for each in tried if each.is_dir()), None)
        if folder is None:
            cause, remedy = f"there is no folder `{path}`", "give the path of your photographs"
            if any(each.exists() for each in tried):
                cause, remedy = f"`{path}` is no folder", "give the folder of your photographs"
            mistakes.append(source.mistake(place, cause, remedy))
        else:
            found[split] = folder
    if mistakes:
        raise UserError(*mistakes)
    return found


def files(where: Mapping[Split, Path], notice: Notice) -> dict[Split, list[Path]]:
    """The files of each folder; a file below two of them belongs to test, else to val."""
    listed: dict[Split, list[Path]] = {}
    taken: set[Path] = set()
    order: tuple[Split, ...] = ("test", "val", "train")
    for split in order:
        if split in where:
            listing = sources.list_folder(where[split])
            if listing.passed_over:
                notice(f"{where[split]}: {listing.passed_over}")
            listed[split] = [file for file in listing.files if file.resolve() not in taken]
            taken |= {file.resolve() for file in listing.files}
    return listed


def inspect(
    listed: Mapping[Split, Sequence[Path]],
    config: FolderImages,
    channels: int,
    smallest: int,
    progress: Progress,
    notice: Notice,
) -> dict[Path, Looked]:
    """Decode every photograph once, and say what a person should know of them.

    Returns:
        What is known of each; those that cannot be used are not there.

    Raises:
        UserError: with every photograph that cannot be used, where the config is strict.
    """
    looked: dict[Path, Looked] = {}
    unusable: list[Mistake] = []
    remarks = Remarks()
    factor = shrink.factor(config.shrink, config.size)
    grey = 0
    files = [file for split in listed.values() for file in split]
    for done, file in enumerate(files):
        progress("look at photographs", done, len(files))
        try:
            photograph = codec.read(file, factor)
            _refuse_small(file, photograph, smallest)
        except UserError as error:
            unusable += error.mistakes
            continue
        remarks.add(file, *photograph.remarks)
        grey += codec.is_grey(photograph.picture)
        looked[file] = _look(photograph, channels, config.size)
    progress("look at photographs", len(files), len(files))
    if unusable and config.strict:
        raise UserError(*unusable)
    for line in [*left_out(unusable), *remarks.lines()]:
        notice(line)
    if grey and channels == 3:
        notice(f"{grey} of {len(looked)} photographs are grey; their channel is repeated")
    return looked


def _refuse_small(file: Path, photograph: codec.Photograph, smallest: int) -> None:
    height, width = photograph.picture.shape[1:]
    if min(height, width) < smallest:
        n = photograph.shrunk
        shrunk = f" once averaged over {n}x{n}" if n > 1 else ""
        remedy = f"the shorter side needs {smallest} pixels here; take it out of the folder"
        raise UserError.of(file, f"is too small, {width}x{height} pixels{shrunk}", remedy)


def _look(photograph: codec.Photograph, channels: int, size: int) -> Looked:
    picture = codec.adapt(photograph.picture, channels)
    state = hashlib.sha256(repr(picture.shape).encode())
    state.update(picture.tobytes())
    return Looked(
        state.hexdigest(),
        photograph.shrunk,
        levels.is_flat(codec.centre(picture, TRAIN_LARGEST, TRAIN_LARGEST)),
        levels.is_flat(codec.centre(picture, size, size)),
    )


def left_out(unusable: Sequence[Mistake]) -> list[str]:
    """A line for each cause, the last one with a count of the others."""
    causes = Remarks()
    for mistake in unusable:
        causes.add(Path(mistake.place), f"{mistake.cause}, left out; {mistake.remedy}")
    lines = causes.lines()
    if more := len(lines[_LINES:]):
        return [
            *lines[:_LINES],
            f"left out for {more} other causes; `images.strict=true` lists all",
        ]
    return lines


def without_duplicates(
    listed: Mapping[Split, Sequence[Path]], looked: Mapping[Path, Looked]
) -> tuple[dict[Split, list[Path]], list[tuple[str, str]]]:
    """Keep the first file of each content: in test before val before train, then by name."""
    first: dict[str, Path] = {}
    duplicates = []
    pools: dict[Split, list[Path]] = {}
    for split, files in listed.items():  # in the order test, val, train
        pools[split] = []
        for file in files:
            if file not in looked:
                continue
            kept = first.setdefault(looked[file].digest, file)
            if kept is file:
                pools[split].append(file)
            else:
                duplicates.append((str(file), str(kept)))
    return pools, duplicates
