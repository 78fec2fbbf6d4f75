"""The photographs of an organiser's folders: found, looked at once, and told apart."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import FolderImages
from challenge.data.images import codec, sources
from challenge.data.layout import Split

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]


def folders(config: FolderImages, source: Source) -> dict[Split, Path]:
    """The folder of every split that has one; a path is looked for beside the YAML, then here."""
    if isinstance(config.path, str):
        given: dict[Split, tuple[tuple[str, ...], str]] = {
            "train": (("images", "path"), config.path)
        }
    else:
        splits: tuple[Split, ...] = ("train", "val", "test")
        given = {
            split: (("images", "path", split), path)
            for split in splits
            if (path := getattr(config.path, split)) is not None
        }
    found: dict[Split, Path] = {}
    mistakes = []
    for split, (place, text) in given.items():
        path = Path(text).expanduser()
        tried = [source.path.parent / path, path]
        folder = next((each for each in tried if each.is_dir()), None)
        if folder is None:
            cause = f"there is no folder `{path}`"
            mistakes.append(source.mistake(place, cause, "give the path of your photographs"))
        else:
            found[split] = folder
    if mistakes:
        raise UserError(*mistakes)
    return found


def files(where: Mapping[Split, Path]) -> dict[Split, list[Path]]:
    """The files of each folder; a file below two of them belongs to test, else to val."""
    listed: dict[Split, list[Path]] = {}
    taken: set[Path] = set()
    order: tuple[Split, ...] = ("test", "val", "train")
    for split in order:
        if split in where:
            found = sources.list_folder(where[split])
            listed[split] = [file for file in found if file.resolve() not in taken]
            taken |= {file.resolve() for file in found}
    return listed


def inspect(
    listed: Mapping[Split, Sequence[Path]],
    channels: int,
    smallest: int,
    progress: Progress,
    notice: Notice,
) -> dict[Path, str]:
    """Decode every photograph once: SHA-256 of the pixels by file; refuse the broken ones."""
    digests: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    grey = 0
    files = [file for split in listed.values() for file in split]
    for done, file in enumerate(files):
        progress("look at photographs", done, len(files))
        try:
            picture = codec.photograph(file)
        except UserError as error:
            mistakes += error.mistakes
            continue
        height, width = picture.shape[1:]
        if min(height, width) < smallest:
            remedy = f"the shorter side needs {smallest} pixels here; take it out of the folder"
            mistakes.append(Mistake(str(file), f"is too small, {width}x{height} pixels", remedy))
        grey += codec.is_grey(picture)
        picture = codec.adapt(picture, channels)
        state = hashlib.sha256(repr(picture.shape).encode())
        state.update(picture.tobytes())
        digests[file] = state.hexdigest()
    progress("look at photographs", len(files), len(files))
    if mistakes:
        raise UserError(*mistakes)
    if grey and channels == 3:
        notice(f"{grey} of {len(files)} photographs are grey; their channel is repeated")
    return digests


def without_duplicates(
    listed: Mapping[Split, Sequence[Path]], digests: Mapping[Path, str]
) -> tuple[dict[Split, list[Path]], list[tuple[str, str]]]:
    """Keep the first file of each content: in test before val before train, then by name."""
    first: dict[str, Path] = {}
    duplicates = []
    pools: dict[Split, list[Path]] = {}
    for split, files in listed.items():  # in the order test, val, train
        pools[split] = []
        for file in files:
            kept = first.setdefault(digests[file], file)
            if kept is file:
                pools[split].append(file)
            else:
                duplicates.append((str(file), str(kept)))
    return pools, duplicates


def refuse_equal_ids(pools: Mapping[Split, Sequence[Path]]) -> None:
    """Raise `UserError` where two photographs of one split give the same id."""
    mistakes = []
    for files in pools.values():
        same: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            same[identity(file).casefold()].append(file)  # some file systems ignore case
        mistakes += [
            Mistake(str(other), f"gives the same id as `{first}`", "rename one of the two")
            for first, *others in same.values()
            for other in others
        ]
    if mistakes:
        raise UserError(*mistakes)


def identity(file: Path) -> str:
    """The file's stem with every character outside A-Z, a-z, 0-9, _ and - replaced by _."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", file.stem)
