"""Training images, decoded once: kept in memory as far as a budget allows, else on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.data import atomic, noise
from challenge.data.images import codec
from challenge.data.images.magnitude import COMPLEX
from challenge.data.layout import identity

BUDGET = 1_000_000_000
"""Bytes of decoded images in memory."""
OPEN = 128
"""Files of the cache that are open at a time: systems allow about a thousand."""
SPARE = 2_000_000_000
"""Bytes of the disk that decoded images leave free."""


class Images:
    """A sequence of training images; `images[i]` is float32 of shape (C, H, W).

    In [0, 1]; of complex images, C = 2, the magnitude is.

    Decoded images stay in memory as they are stored, most as uint8, until they fill `budget`
    bytes. Those beyond it are decoded once into files of `cache`, of which a patch reads its own
    pixels only; without such a folder, or on a full disk, they are decoded each time. Subsets
    share all of it.
    """

    def __init__(
        self, paths: Sequence[Path], budget: int = BUDGET, cache: Path | None = None
    ) -> None:
        self._paths = list(paths)
        self._kept: dict[Path, codec.Stored] = {}
        self._mapped: dict[Path, codec.Stored] = {}
        # Of subsets, which may be read in several threads.
        self._lock = threading.Lock()
        self._budget = [budget]
        self._cache = cache

    @classmethod
    def of(cls, pictures: Mapping[str, Tensor]) -> Images:
        """Images held in memory only, by id: float in [0, 1] of shape (C, H, W), kept as uint8.

        Complex ones, C = 2, are kept as they are.
        """
        images = cls([Path(f"{name}.png") for name in pictures], 0)

        def kept(x: Tensor) -> codec.Stored:
            if len(x) == COMPLEX:
                return x.float().numpy().copy()
            return (x.clamp(0, 1) * 255).round().to(torch.uint8).numpy()

        images._kept = {
            path: kept(picture)
            for path, picture in zip(images._paths, pictures.values(), strict=True)
        }
        return images

    @property
    def ids(self) -> list[str]:
        """The id of each image."""
        return [identity(path) for path in self._paths]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._unit(self._picture(index))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def load(self) -> None:
        """Decode the images now, up to the first one that memory and cache have no room for."""
        for index in range(len(self)):
            self._picture(index)
            path = self._paths[index]
            if path not in self._kept and self._cached(path) is None:
                return

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
        part._kept, part._mapped = self._kept, self._mapped
        part._budget, part._cache, part._lock = self._budget, self._cache, self._lock
        return part

    def _picture(self, index: int) -> codec.Stored:
        path = self._paths[index]
        picture = self._kept.get(path)
        if picture is not None:
            return picture
        picture = self._cached(path)
        if picture is not None:
            return picture
        picture = codec.stored(path)
        if picture.nbytes <= self._budget[0]:
            self._budget[0] -= picture.nbytes
            self._kept[path] = picture
        elif self._cache is not None:
            self._spill(path, picture)
        return picture

    def _file(self, path: Path) -> Path | None:
        return None if self._cache is None else self._cache / f"{identity(path)}.npy"

    def _cached(self, path: Path) -> codec.Stored | None:
        """The decoded image in the cache, mapped: what is not looked at is not read."""
        if (found := self._mapped.get(path)) is not None:
            return found
        file = self._file(path)
        if file is None or not file.exists():
            return None
        with contextlib.suppress(OSError, ValueError, EOFError):
            mapped: codec.Stored = np.load(file, mmap_mode="r", allow_pickle=False)
            if mapped.dtype in (np.uint8, np.float32) and mapped.ndim == 3:
                with self._lock:
                    while len(self._mapped) >= OPEN:
                        del self._mapped[next(iter(self._mapped))]
                    self._mapped[path] = mapped
                return mapped
        return None

    def _spill(self, path: Path, picture: codec.Stored) -> None:
        """Put a decoded image into the cache, while the disk has room."""
        file = self._file(path)
        assert file is not None
        buffer = io.BytesIO()
        np.save(buffer, picture)
        # A cache that cannot be written costs time, nothing else.
        with contextlib.suppress(OSError, UserError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(file.parent).free > SPARE + picture.nbytes:
                atomic.write_bytes(file, buffer.getvalue())

    @staticmethod
    def _unit(picture: codec.Stored) -> Tensor:
        # A copy: what comes of floats must not change what is kept.
        return torch.from_numpy(codec.to_unit(picture).copy())


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
