"""Which image goes into which split, under which id: disjoint by content, drawn by the public seed.

Only the order of the test ids follows from the secret key, so that an id tells nothing about the
file it came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from challenge.configs.loader import Source
from challenge.configs.schema.images import (
    BuiltinImages,
    FolderImages,
    PhantomImages,
    channels_of,
)
from challenge.data import noise
from challenge.data.images import codec, leaves, phantoms, photographs, shrink, sources
from challenge.data.images.codec import Picture, Stored
from challenge.data.images.drawing import draw, proposal
from challenge.data.images.identities import identities, slug
from challenge.data.images.photographs import TRAIN_LARGEST, Looked, Notice, Progress
from challenge.data.images.remarks import named
from challenge.data.layout import Split


@dataclass(frozen=True)
class Item:
    """One image of a split; `read` decodes it, in the challenge's channels, cropped."""

    identity: str
    source: str
    """Where it came from: a file, or a built-in image and its crop."""
    read: Callable[[], Stored]
    shrunk: int = 1
    """Its pixels are means over so many by so many of the source."""


Items = Sequence[Item]
Plan = Mapping[Split, Items]


@dataclass(frozen=True)
class FolderPlan:
    """What becomes of the photographs of a folder."""

    plan: Plan
    duplicates: list[tuple[str, str]]
    """(file left out, file with the same pixels that is kept)."""
    proposal: str
    """Settings that would leave more to train on; empty where most photographs train."""


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
            crop(f"{slug(Path(name).stem)}-{top}-{left}", name, top, left)
            for name, top, left in val
        ],
        "test": [crop(identity, *test[place]) for identity, place in neutral(key, len(test))],
    }


def plan_phantoms(config: PhantomImages, seed: int, key: bytes) -> Plan:
    """Ellipses: those of train and val follow from the public seed, those of test from the key."""

    def item(identity: str, source: str, generator: Callable[[], np.random.Generator]) -> Item:
        def read() -> Stored:
            return phantoms.draw(generator(), config.size, config.mode)

        return Item(identity, source, read)

    def public(split: Split, index: int, count: int) -> Item:
        name = f"{split}-{index:0{max(4, len(str(count - 1)))}d}"
        words = f"ellipses, seed {seed}, {split} image {index}"
        return item(name, words, lambda: noise.generator(seed, "ellipses", split, str(index)))

    def hidden(identity: str, index: int) -> Item:
        words = f"ellipses of the key, image {index}"
        return item(identity, words, lambda: noise.choices(key, f"ellipses {index}", 0))

    return {
        "train": [public("train", index, config.train) for index in range(config.train)],
        "val": [public("val", index, config.val) for index in range(config.val)],
        "test": [hidden(identity, index) for identity, index in neutral(key, config.test)],
    }


def plan_folder(
    config: FolderImages,
    source: Source,
    seed: int,
    key: bytes,
    smallest: int,
    progress: Progress,
    notice: Notice,
) -> FolderPlan:
    """Look at every photograph once, drop exact duplicates, and draw the splits.

    Args:
        smallest: pixels that the shorter side needs.

    Raises:
        UserError: because they are too few; with every photograph that cannot be used, where the
            config is strict.
    """
    folders = photographs.folders(config, source)
    listed = photographs.files(folders, notice)
    looked = photographs.inspect(listed, config, channels_of(config), smallest, progress, notice)
    pools, duplicates = photographs.without_duplicates(listed, looked)
    for dropped, kept in duplicates:
        notice(f"{dropped}: has the same pixels as {kept}, left out")
    left_out = sum(map(len, listed.values())) - len(looked)
    chosen = draw(config, pools, source, seed, left_out)
    _tell_flat(chosen, looked, notice)
    ids = {
        file: identity
        for split, pool in pools.items()
        for file, identity in identities(folders[split], pool).items()
    }
    better = proposal(config, pools, len(chosen["train"]))
    return FolderPlan(_items(config, chosen, looked, ids, key), duplicates, better)


def shrunk(items: Items) -> str:
    """Over how many pixels the photographs of items were averaged; empty where none was."""
    return shrink.described(item.shrunk for item in items) if items else ""


def _tell_flat(
    chosen: Mapping[Split, list[Path]], looked: Mapping[Path, Looked], notice: Notice
) -> None:
    """Name the images in which there is hardly anything to reconstruct."""
    for split, files in chosen.items():
        flat = [
            file
            for file in files
            if (looked[file].flat if split == "train" else looked[file].flat_crop)
        ]
        if flat:
            notice(f"{named(flat)}: hardly any detail in what {split} has of it")


def _items(
    config: FolderImages,
    chosen: Mapping[Split, list[Path]],
    looked: Mapping[Path, Looked],
    ids: Mapping[Path, str],
    key: bytes,
) -> Plan:
    channels, factor = channels_of(config), shrink.factor(config.shrink, config.size)

    def item(identity: str, file: Path, side: int) -> Item:
        def read() -> Picture:
            picture = codec.read(file, factor).picture
            return codec.centre(codec.adapt(picture, channels), side, side)

        # Absolute: the judge keeps it closed, wherever it is called.
        return Item(identity, os.path.abspath(file), read, looked[file].shrunk)

    train, val, test = chosen["train"], chosen["val"], chosen["test"]
    return {
        "train": [item(ids[file], file, TRAIN_LARGEST) for file in train],
        "val": [item(ids[file], file, config.size) for file in val],
        "test": [item(name, test[at], config.size) for name, at in neutral(key, len(test))],
    }


def neutral(key: bytes, count: int) -> list[tuple[str, int]]:
    """Ids 0001, 0002, ... each with the index of its image, in a secret order."""
    order = noise.secret_order(key, count)
    return [(f"{number:04d}", index) for number, index in enumerate(order, 1)]
