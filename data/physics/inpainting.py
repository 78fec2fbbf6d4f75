"""Inpainting: only some pixels are seen.

    A x = m x,   m in {0, 1}, for every pixel or for every pixel and colour

What is not seen is 0 in the measurement, noise included.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.configs import loader
from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data import reading
from challenge.data.images import colour, decode
from challenge.data.physics.blur import one_of
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

SEEN = 0.5
"""From this value on, of the largest, a pixel of a mask's file is seen."""


class Inpainting(Family[schema.Inpainting]):
    """A x = m x; the mask m is drawn pixel by pixel, or is one of those given."""

    example = {"kind": "inpainting", "mask": {"keep": 0.6}}

    def load(
        self, config: schema.Inpainting, shape: Shape, source: Path | None, notice: Notice
    ) -> Arrays:
        if isinstance(config.mask, schema.RandomMask):
            return {}
        path = loader.find_file(config.mask.file, source)
        masks, (channels, height, width) = _read(path), shape
        count, colours, rows, columns = masks.shape
        if (rows, columns) != (height, width):
            raise UserError.of(
                path,
                f"its masks have {rows}x{columns} pixels, the images have {height}x{width}",
                "give masks of that size",
            )
        if not count or colours not in (1, channels):
            raise UserError.of(
                path,
                f"has {count} masks for {colours} channels, the images have {channels}",
                "give masks of shape (H, W), (N, H, W) or (N, C, H, W)",
            )
        if not masks.any((1, 2, 3)).all():
            raise UserError.of(path, "has a mask that sees nothing", "0 is unseen, 1 or 255 seen")
        return {"masks": masks}

    def published(self, config: schema.Inpainting) -> schema.Inpainting:
        if isinstance(config.mask, schema.RandomMask):
            return config
        mask = config.mask.model_copy(update={"file": Path(config.mask.file).name})
        return config.model_copy(update={"mask": mask})

    def draw(
        self,
        config: schema.Inpainting,
        arrays: Arrays,
        shape: Shape,
        generator: np.random.Generator,
    ) -> Parameters:
        _, height, width = shape
        if isinstance(config.mask, schema.RandomMask):
            keep = config.mask.keep
            low, high = keep if isinstance(keep, tuple) else (keep, keep)
            share = low + (high - low) * generator.random()
            return {"mask": generator.random((1, height, width)) < share}
        mask = one_of(arrays["masks"], generator)
        rows, columns = mask.shape[1:]
        # A patch of an image sees a part of the mask; a larger image sees it repeated.
        times = -(-height // rows), -(-width // columns)
        if times != (1, 1):
            mask = np.tile(mask, (1, *times))
        top = int(generator.integers(mask.shape[1] - height + 1))
        left = int(generator.integers(mask.shape[2] - width + 1))
        return {"mask": mask[:, top : top + height, left : left + width]}

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from deepinv.physics import Inpainting

        mask = parameters["mask"]
        return Inpainting(img_size=shape, mask=mask.float(), device=mask.device)

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        mask = parameters["mask"]
        channels, height, width = shape
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            return f"`mask` is {getattr(mask, 'dtype', type(mask).__name__)}, not bool"
        if mask.shape not in ((1, height, width), (channels, height, width)):
            return f"a mask of shape {mask.shape} does not belong to an image {shape}"
        return ""

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str]:
        mask = parameters["mask"]
        return mask.mean(0, dtype=np.float32), f"mask, {100 * mask.mean():.0f} % is seen"


def _read(path: Path) -> NDArray[np.bool_]:
    """The masks of a file, bool of shape (N, 1 | C, H, W)."""
    if path.suffix.lower() == ".npy":
        try:
            reading.check(path)
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError.of(path, "holds no array", "save it with `numpy.save`") from error
        if values.ndim not in (2, 3, 4):
            shape = "(H, W), (N, H, W) or (N, C, H, W)"
            raise UserError.of(path, f"has shape {values.shape}", f"masks have shape {shape}")
        if values.dtype.kind not in "buif" or not np.isfinite(values).all():
            raise UserError.of(path, f"holds {values.dtype}", "masks are 0 (unseen) and 1 (seen)")
    else:
        values = colour.luminance(decode.read(path))
    largest = values.max(initial=0)
    masks: NDArray[np.bool_] = values >= SEEN * largest if largest > 0 else values > 0
    if masks.ndim == 4:
        return masks
    return masks.reshape(-1, 1, *masks.shape[-2:])
