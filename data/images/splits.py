"""Which image goes into which split, under which id: disjoint by content, drawn by the public seed.

Only the order of the test ids follows from the secret key, so that an id tells nothing about the
file it came from.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import BuiltinImages, FolderImages
from challenge.data import noise
from challenge.data.images import codec, leaves, sources
from challenge.data.images.codec import Picture
from challenge.data.layout import Split

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

TRAIN_LEAST = 2
"""One image to learn from and one to tune on."""
TRAIN_LARGEST = 1024
"""Pixels of a training image's side; what lies farther from its centre is cut off."""


@dataclass(frozen=True)
class Item:
    """One image of a split; `read` decodes it, in the challenge's channels, cropped."""

    identity: str
    source: str
    """Where it came from: a file, or a built-in image and its crop."""
    read: Callable[[], Picture]


Items = Sequence[Item]
Plan = Mapping[Split, Items]


def plan_builtin(config: BuiltinImages, seed: int, key: bytes) -> Plan:
    """Dead leaves for training, crops of scikit-image's photographs for val and test."""
    channels, size = channels_of(config), config.size

    def leaf(index: int) -> Item:
        return Item(
            f"leaves-{index:0{max(4, len(str(config.train - 1)))}d}",
            f"dead leaves, seed {seed}, image {index}",
            lambda: codec.adapt(leaves.leaves(seed, index, size), channels),
        )

    def crop(identity: str, name: str, top: int, left: int) -> Item:
        def read() -> Picture:
            part = sources.builtin(name, size)[:, top : top + size, left : left + size]
            return codec.adapt(part.copy(), channels)

        return Item(identity, f"{name}, crop at ({top}, {left})", read)

    val = sources.builtin_crops(sources.BUILTIN_VAL, size, config.val)
    test = sources.builtin_crops(sources.BUILTIN_TEST, size, config.test)
    return {
        "train": [leaf(index) for index in range(config.train)],
        "val": [
            crop(f"{_id(Path(name))}-{top}-{left}", name, top, left) for name, top, left in val
        ],
        "test": [crop(identity, *test[place]) for identity, place in _neutral(key, len(test))],
    }


def plan_folder(
    config: FolderImages,
    source: Source,
    seed: int,
    key: bytes,
    smallest: int,
    progress: Progress,
    notice: Notice,
) -> tuple[Plan, list[tuple[str, str]]]:
    """Look at every photograph once, drop exact duplicates, and draw the splits.

    Args:
        smallest: pixels that the shorter side needs.

    Returns:
        The plan, and the duplicates: (file left out, file that is kept).

    Raises:
        UserError: with every broken photograph, or because they are too few.
    """
    folders = _folders(config, source)
    listed = _list(folders)
    digests = _look(listed, channels_of(config), smallest, progress, notice)
    pools, duplicates = _without_duplicates(listed, digests)
    for dropped, kept in duplicates:
        notice(f"{dropped}: has the same pixels as {kept}, left out")
    _refuse_equal_ids(pools)
    chosen = _draw(config, pools, source, seed)
    return _items(config, chosen, key), duplicates


def channels_of(images: BuiltinImages | FolderImages) -> int:
    """3 in a colour challenge, 1 in a grey one."""
    return 3 if images.mode == "colour" else 1


def _folders(config: FolderImages, source: Source) -> dict[Split, Path]:
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


def _list(folders: Mapping[Split, Path]) -> dict[Split, list[Path]]:
    """The files of each folder; a file below two of them belongs to test, else to val."""
    listed: dict[Split, list[Path]] = {}
    taken: set[Path] = set()
    order: tuple[Split, ...] = ("test", "val", "train")
    for split in order:
        if split in folders:
            files = sources.list_folder(folders[split])
            listed[split] = [file for file in files if file.resolve() not in taken]
            taken |= {file.resolve() for file in files}
    return listed


def _look(
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


def _without_duplicates(
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


def _refuse_equal_ids(pools: Mapping[Split, Sequence[Path]]) -> None:
    mistakes = []
    for files in pools.values():
        same: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            same[_id(file).casefold()].append(file)  # some file systems ignore case
        mistakes += [
            Mistake(str(other), f"gives the same id as `{first}`", "rename one of the two")
            for first, *others in same.values()
            for other in others
        ]
    if mistakes:
        raise UserError(*mistakes)


def _draw(
    config: FolderImages, pools: Mapping[Split, list[Path]], source: Source, seed: int
) -> dict[Split, list[Path]]:
    """Draw test, then val, from their own folder or else from the training photographs."""
    wanted: dict[Split, int] = {"test": config.test, "val": config.val}
    pool = list(pools["train"])
    needed = sum(count for split, count in wanted.items() if split not in pools) + TRAIN_LEAST
    if len(pool) < needed:
        parts = [f"{count} {split}" for split, count in wanted.items() if split not in pools]
        cause = f"{len(pool)} different photographs are too few, {needed} are needed"
        remedy = " + ".join([*parts, f"{TRAIN_LEAST} train"])
        raise UserError(source.mistake(("images", "path"), f"{cause} ({remedy})", "add some"))
    chosen: dict[Split, list[Path]] = {}
    for split, count in wanted.items():
        candidates = pools.get(split, pool)
        if not candidates:
            cause = f"the folder of {split} has only photographs that are elsewhere, too"
            raise UserError(source.mistake(("images", "path", split), cause, "give others"))
        order = noise.generator(seed, "split", split).permutation(len(candidates))
        chosen[split] = [candidates[index] for index in sorted(order[:count])]
        if split not in pools:
            pool = [file for file in pool if file not in set(chosen[split])]
    return {**chosen, "train": pool}


def _items(config: FolderImages, chosen: Mapping[Split, list[Path]], key: bytes) -> Plan:
    channels = channels_of(config)

    def item(identity: str, file: Path, side: int) -> Item:
        def read() -> Picture:
            return codec.centre(codec.adapt(codec.photograph(file), channels), side, side)

        return Item(identity, str(file), read)

    train, val, test = chosen["train"], chosen["val"], chosen["test"]
    return {
        "train": [item(_id(file), file, TRAIN_LARGEST) for file in train],
        "val": [item(_id(file), file, config.size) for file in val],
        "test": [item(name, test[at], config.size) for name, at in _neutral(key, len(test))],
    }


def _neutral(key: bytes, count: int) -> list[tuple[str, int]]:
    """Ids 0001, 0002, ... each with the index of its image, in a secret order."""
    order = noise.secret_order(key, count)
    return [(f"{number:04d}", index) for number, index in enumerate(order, 1)]


def _id(file: Path) -> str:
    """The file's stem with every character outside A-Z, a-z, 0-9, _ and - replaced by _."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", file.stem)
