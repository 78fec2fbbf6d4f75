"""Training images, kept as 8-bit arrays in memory as far as a budget allows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from challenge.data import noise, reading

BUDGET = 1_000_000_000


class Images:
    """A sequence of training images; `images[i]` is float32 in [0, 1] of shape (C, H, W).

    Decoded images stay in memory as uint8 until they fill `budget` bytes; those beyond it are
    read from disk each time. Subsets share that memory.
    """

    def __init__(self, paths: Sequence[Path], budget: int = BUDGET) -> None:
        self._paths = list(paths)
        self._kept: dict[Path, reading.Picture] = {}
        self._budget = [budget]

    @classmethod
    def of(cls, pictures: Mapping[str, Tensor]) -> Images:
        """Images held in memory only, by id: float in [0, 1] of shape (C, H, W), kept as uint8."""
        images = cls([Path(f"{identity}.png") for identity in pictures], 0)
        images._kept = {
            path: (picture.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            for path, picture in zip(images._paths, pictures.values(), strict=True)
        }
        return images

    @property
    def ids(self) -> list[str]:
        """The id of each image."""
        return [path.stem for path in self._paths]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._unit(self._picture(index))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def shape(self, index: int) -> tuple[int, int, int]:
        """(C, H, W) of image `index`."""
        channels, height, width = self._picture(index).shape
        return channels, height, width

    def patch(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """The window of image `index` at (top, left); much faster than slicing the whole image."""
        window = self._picture(index)[:, top : top + height, left : left + width]
        if min(top, left) < 0 or window.shape[1:] != (height, width):
            raise IndexError(
                f"a {height}x{width} window at ({top}, {left}) leaves image {self.shape(index)}"
            )
        return self._unit(window)

    def subset(self, indices: Sequence[int]) -> Images:
        """The images with these indices, in this order."""
        part = Images([self._paths[index] for index in indices], 0)
        part._kept, part._budget = self._kept, self._budget
        return part

    def _picture(self, index: int) -> reading.Picture:
        path = self._paths[index]
        picture = self._kept.get(path)
        if picture is None:
            picture = reading.stored(path)
            if picture.nbytes <= self._budget[0]:
                self._budget[0] -= picture.nbytes
                self._kept[path] = picture
        return picture

    @staticmethod
    def _unit(picture: reading.Picture) -> Tensor:
        return torch.from_numpy(reading.to_unit(picture))


def split_tune(images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """Hold `count` images out of the training images: (train, tune).

    The choice follows from `seed` and the ids. `count` is reduced so that at least half of the
    images remain for training; both parts keep the order of `images`.
    """
    count = min(count, len(images) // 2)
    names = hashlib.sha256("\n".join(images.ids).encode()).hexdigest()
    held = set(noise.generator(seed, "tune", names).permutation(len(images))[:count].tolist())
    everything = range(len(images))
    return (
        images.subset([index for index in everything if index not in held]),
        images.subset([index for index in everything if index in held]),
    )
