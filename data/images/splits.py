"""Which image goes into which split, under which id: disjoint by content, drawn by the public seed.

Only the order of the test ids follows from the secret key, so that an id tells nothing about the
file it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import BuiltinImages, FolderImages
from challenge.data import noise
from challenge.data.images import codec, leaves, photographs, sources
from challenge.data.images.codec import Picture
from challenge.data.images.photographs import Notice, Progress
from challenge.data.layout import Split

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
            crop(f"{photographs.identity(Path(name))}-{top}-{left}", name, top, left)
            for name, top, left in val
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
    folders = photographs.folders(config, source)
    listed = photographs.files(folders)
    digests = photographs.inspect(listed, channels_of(config), smallest, progress, notice)
    pools, duplicates = photographs.without_duplicates(listed, digests)
    for dropped, kept in duplicates:
        notice(f"{dropped}: has the same pixels as {kept}, left out")
    photographs.refuse_equal_ids(pools)
    chosen = _draw(config, pools, source, seed)
    return _items(config, chosen, key), duplicates


def channels_of(images: BuiltinImages | FolderImages) -> int:
    """3 in a colour challenge, 1 in a grey one."""
    return 3 if images.mode == "colour" else 1


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
        "train": [item(photographs.identity(file), file, TRAIN_LARGEST) for file in train],
        "val": [item(photographs.identity(file), file, config.size) for file in val],
        "test": [item(name, test[at], config.size) for name, at in _neutral(key, len(test))],
    }


def _neutral(key: bytes, count: int) -> list[tuple[str, int]]:
    """Ids 0001, 0002, ... each with the index of its image, in a secret order."""
    order = noise.secret_order(key, count)
    return [(f"{number:04d}", index) for number, index in enumerate(order, 1)]
