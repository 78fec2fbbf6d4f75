"""How strong white noise is in every coefficient of a group of patches that overlap.

    v_m(a, b) = sum_kl h_mk h_ml r_a(y_k - y_l) r_b(x_k - x_l),   r_a(d) = sum_i t_a(i) t_a(i + d)

t_a is a row of the transform of patches, h_m one of that of groups, (y_k, x_k) the place of patch
k. Of patches that do not overlap, v = 1: the noise of one pixel is counted in two patches at once
where they do. Makinen, Azzari, Foi, Collaborative filtering of correlated noise: exact
transform-domain variance for improved shrinkage and patch matching, 2020.

With Haar over the group, h_mk h_ml is the same for all pairs (k, l) that part at the same node of
its tree. So v is linear in how many of the pairs of a node lie how far apart, which is counted.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from challenge.methods.transforms import patch_wavelets


@cache
def _pairs(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pairs k < l of a group, the node at which they part, and 2 h_mk h_ml by node.

    Returns:
        k, l and node, each of shape (pairs,); weights of shape (count, count - 1), float64.
    """
    first, second = torch.triu_indices(count, count, 1)
    level = (first ^ second).to(torch.float64).log2().floor().long() + 1
    node = (first >> level) + count - (count >> (level - 1))
    haar = patch_wavelets.basis(count)
    weights = torch.zeros(count, max(count - 1, 0), dtype=torch.float64)
    weights[:, node] = 2 * haar[:, first] * haar[:, second]
    return first, second, node, weights


def correlations(transform: Tensor) -> Tensor:
    """r_a(|dy|) r_b(|dx|) for patches that lie (dy, dx) apart, from 0 to their side, where it is 0.

    Args:
        transform: of a patch's rows and of its columns, shape (b, b).

    Returns:
        Shape ((b + 1)^2, b^2).
    """
    side = len(transform)
    rows = torch.stack(
        [(transform[:, d:] * transform[:, : side - d]).sum(1) for d in range(side + 1)]
    )
    return torch.einsum("ya,xb->yxab", rows, rows).reshape((side + 1) ** 2, -1)


def variances(places: Tensor, table: Tensor) -> Tensor:
    """v of every coefficient, for white noise of variance 1.

    Args:
        places: rows and columns of the patches of n groups, shape (2, count, n), int64.
        table: from `correlations`.

    Returns:
        Shape (count, n, b^2).
    """
    _, count, groups = places.shape
    if count == 1:
        return table.new_ones(1, groups, table.shape[1])
    first, second, node, weights = (each.to(table.device) for each in _pairs(count))
    side = round(table.shape[0] ** 0.5)
    apart = (places[:, first] - places[:, second]).abs_().clamp_(max=side - 1)
    bins = (node[:, None] * groups + torch.arange(groups, device=table.device)) * len(table)
    bins += apart[0] * side + apart[1]
    counted = torch.bincount(bins.flatten(), minlength=(count - 1) * groups * len(table))
    # Products of small integers and multiples of 1 / count: exact in float32.
    by_row = weights.to(table) @ counted.to(table.dtype).view(count - 1, -1)
    return (by_row.view(-1, len(table)) @ table).view(count, groups, -1) + 1
