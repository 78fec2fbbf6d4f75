"""Block matching: for every reference patch, the patches around it that look most like it.

    d(p, q) = ||P_p x - P_q x||^2 = ||P_p x||^2 - 2 <P_p x, P_q x> + ||P_q x||^2

P_p cuts out the patch whose first pixel is p. References that lie close together look through one
window that covers those of all of them, so that their inner products are one product of matrices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 6
"""References a side that share a window: more of them copy less and multiply more in vain."""


class References(NamedTuple):
    """A grid of reference patches in an image."""

    top: int
    left: int
    rows: int
    columns: int
    step: int


def count_at_most(count: int, height: int, width: int, radius: int) -> int:
    """The largest power of two up to `count` that every reference finds patches for.

    Args:
        count: wanted.
        height: of the image, in places of a patch.
        width: as `height`.
        radius: of the search.
    """
    there = min(height, radius + 1) * min(width, radius + 1)
    return int(2 ** math.floor(math.log2(min(count, there))))


@torch.no_grad()
def match(image: Tensor, grid: References, block: int, radius: int, count: int) -> Tensor:
    """Rows and columns of the best matches of every reference, itself first.

    Args:
        image: of one channel, shape (H, W).
        grid: the references, each wholly inside the image.
        block: side of a patch.
        radius: how far from its reference a match may lie, in rows and in columns.
        count: matches of a reference; at most those of `count_at_most`.

    Returns:
        Shape (2, count, n), int64, the n references row by row.
    """
    step, reach = grid.step, TILE * grid.step
    down, across = -(-grid.rows // TILE), -(-grid.columns // TILE)
    window = 2 * radius + 1 + step * (TILE - 1)
    found = []
    padded, norms = _padded(image, grid, block, radius, reach)
    width, norm_width = padded.shape[1], norms.shape[1]
    for tile in range(down):
        start = (grid.top + tile * reach) * width + grid.left
        corner = (grid.top + tile * reach) * norm_width + grid.left
        candidates = padded.as_strided(
            (across, block, block, window, window), (reach, width, 1, width, 1), start
        ).reshape(across, block * block, -1)
        references = padded.as_strided(
            (across, TILE, TILE, block, block),
            (reach, step * width, step, width, 1),
            start + radius * (width + 1),
        ).reshape(across, TILE * TILE, -1)
        lengths = norms.as_strided((across, window, window), (reach, norm_width, 1), corner)
        # The reference's own norm is the same for all of its candidates.
        distances = torch.baddbmm(lengths.reshape(across, 1, -1), references, candidates, alpha=-2)
        found.append(_nearest(distances, window, radius, step, count))
    rows, columns = torch.stack(found).unbind(-1)  # each (down, across, TILE, TILE, count)
    own_rows = torch.arange(down * TILE, device=image.device).reshape(down, 1, TILE, 1, 1)
    own_columns = torch.arange(across * TILE, device=image.device).reshape(across, 1, TILE, 1)
    placed = torch.stack(
        (rows + own_rows * step + grid.top, columns + own_columns * step + grid.left)
    )
    # (2, down, across, TILE, TILE, count) -> (2, count, rows, columns)
    whole = placed.permute(0, 5, 1, 3, 2, 4).reshape(2, count, down * TILE, across * TILE)
    return whole[:, :, : grid.rows, : grid.columns].reshape(2, count, -1)


def _padded(
    image: Tensor, grid: References, block: int, radius: int, reach: int
) -> tuple[Tensor, Tensor]:
    """The image with room for every window; every patch's squared norm, infinite outside."""
    height, width = image.shape
    bottom, right = (
        max(radius, first + -(-number // TILE) * reach + 2 * radius + block - side - radius)
        for first, number, side in (
            (grid.top, grid.rows, height), (grid.left, grid.columns, width)
        )
    )  # fmt: skip
    # Differences are small beside the brightness of an image, and float32 has seven digits.
    centred = image - image.mean()
    padded = F.pad(centred, (radius, right, radius, bottom))
    squares = F.avg_pool2d(centred.square()[None, None], block, 1)[0, 0] * block**2
    room = (radius, right, radius, bottom)
    return padded.contiguous(), F.pad(squares, room, value=math.inf).contiguous()


def _nearest(distances: Tensor, window: int, radius: int, step: int, count: int) -> Tensor:
    """Where in its own part of the shared window each reference has its matches, beside itself.

    Args:
        distances: shape (across, TILE * TILE, window * window), contiguous.

    Returns:
        Rows and columns, shape (across, TILE, TILE, count, 2).
    """
    side, area = 2 * radius + 1, window * window
    own = distances.as_strided(
        (len(distances), TILE, TILE, side, side),
        (TILE * TILE * area, TILE * area + step * window, area + step, window, 1),
    )
    own[..., radius, radius] = -math.inf
    index = own.flatten(-2).topk(count, largest=False).indices
    return torch.stack((index // side - radius, index % side - radius), dim=-1)
