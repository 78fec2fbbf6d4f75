"""Convolutions of operator norm at most 1, and a network of them that is 1-Lipschitz.

    (K x)(p) = sum_t W_t x(p + t),   A(theta) = sum_t W_t e^{i t . theta}
    ||K|| = max_theta sigma_max(A(theta)),   theta a frequency of the image's size

(Sedghi, Gupta, Long 2019), p on a torus. The supremum over all theta bounds the norm for every
size, and for zeros outside the image too. A kernel of side 2 d + 1 has a symbol of degree d in
each variable, so that sigma_max is known between the points where it is computed; see `norm`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 3
"""Of the kernels."""
COARSE = 8
"""Points of the grid, in each variable, on which the norm is first looked for."""
MARGIN = 1e-3
"""By which a bound may exceed the norm, relatively."""
MOST = 2048
"""Cells that are looked at together; beyond, the bound is taken as it is."""
BEAM, DIVISIONS = 4, 4
"""Cells that `quick_norm` divides, and how often."""


FIRST = 0.5
"""Norm of a block's convolution before training."""
NEARLY = 0.4
"""The same of a network that begins as the identity, in units of `FIRST`."""


def symbol(kernel: Tensor, theta: Tensor) -> Tensor:
    """A(theta), complex, shape (F, out, in).

    Args:
        kernel: shape (out, in, side, side), side odd.
        theta: frequencies in radians, shape (F, 2).
    """
    reach = kernel.shape[-1] // 2
    taps = torch.arange(-reach, reach + 1, dtype=theta.dtype, device=theta.device)
    rows, columns = (theta[:, axis, None] * taps for axis in (0, 1))
    phase = (rows[:, :, None] + columns[:, None, :]).flatten(1)
    flat = kernel.flatten(2).movedim(-1, 0).flatten(1)
    found = torch.complex(phase.cos() @ flat, phase.sin() @ flat)
    return found.reshape(-1, *kernel.shape[:2])


def gains(kernel: Tensor, theta: Tensor) -> Tensor:
    """sigma_max(A(theta)), shape (F,), by the eigenvalues of the smaller Gram matrix."""
    matrix = symbol(kernel, theta)
    if matrix.shape[1] > matrix.shape[2]:
        matrix = matrix.mH
    squares: Tensor = torch.linalg.eigvalsh(matrix @ matrix.mH)[:, -1]
    return squares.clamp_min(0).sqrt()


def cells(count: int, like: Tensor) -> Tensor:
    """Centres of `count` x `count` equal cells of [-pi, pi]^2, those with theta_1 > 0.

    Weights are real, so that A(-theta) is the conjugate of A(theta).
    """
    half = math.pi / count
    centres = -math.pi + half + 2 * half * torch.arange(count, device=like.device)
    return torch.cartesian_prod(centres[count // 2 :], centres).to(like.dtype)


@torch.no_grad()
def norm(kernel: Tensor, margin: float = MARGIN) -> float:
    """An upper bound on the operator norm M of a convolution, for every image size.

    Let u, v be the singular vectors at the frequency of the norm. p(theta) = Re u* A(theta) v
    is a real trigonometric polynomial with |p| <= M, and p = M there. Along a line in direction
    e it is of exponential type d (|e_1| + |e_2|), so that by the inequality of Bernstein and
    Szegoe (Duffin, Schaeffer 1938),

        sigma_max(A(theta + s)) >= p(theta + s) >= M cos(d (|s_1| + |s_2|)).

    A cell of half-width h whose centre is below the largest value times cos(2 d h) does not
    hold the maximum; the others are divided until 1 / cos(2 d h) <= 1 + margin.

    Args:
        kernel: shape (out, in, side, side), side odd.
        margin: at most by so much, relatively, the bound exceeds the norm; it may be by more
            where the symbol is so flat that thousands of cells are left.
    """
    exact = kernel.detach().to("cpu", torch.float64)
    degree = kernel.shape[-1] // 2
    count = COARSE * max(degree, 1)
    half, theta = math.pi / count, cells(count, exact)
    while True:
        values = gains(exact, theta)
        best, factor = float(values.max()), math.cos(2 * degree * half)
        kept = theta[values >= best * factor]
        if 1 / factor <= 1 + margin or 4 * len(kept) > MOST:
            return best / factor
        half, theta = divide(half, kept)


def quick_norm(kernel: Tensor) -> Tensor:
    """The operator norm, from below, to about 0.1 %; a scalar, differentiable.

    As `norm`, but of the cells only the best few are divided, a few times. The gradient is that
    of Re u* A v, for the singular vectors u, v at the frequency that was found.
    """
    with torch.no_grad():
        half, theta = math.pi / COARSE, cells(COARSE, kernel)
        for _ in range(DIVISIONS):
            theta = theta[gains(kernel, theta).topk(BEAM).indices]
            half, theta = divide(half, theta)
        theta = theta[gains(kernel, theta).argmax()][None]
        u, v = _singular(symbol(kernel, theta)[0])
    return (u.conj() @ symbol(kernel, theta)[0] @ v).real


def divide(half: float, theta: Tensor) -> tuple[float, Tensor]:
    """Half-width and centres of the quarters of cells, from those of the cells."""
    half /= 2
    sides = torch.tensor([-half, half], dtype=theta.dtype, device=theta.device)
    return half, (theta[:, None] + torch.cartesian_prod(sides, sides)).flatten(0, 1)


def _singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """u and v, of unit length, with u* A v = sigma_max(A)."""
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = matrix @ matrix.mH if wide else matrix.mH @ matrix
    first = torch.linalg.eigh(gram)[1][:, -1]
    second = (matrix.mH if wide else matrix) @ first
    second = second / torch.linalg.vector_norm(second).clamp_min(1e-30)
    return (first, second) if wide else (second, first)


class Conv(nn.Module):
    """K x + b + sigma c with ||K|| <= 1: a convolution on a torus, 1-Lipschitz in x.

    K = W / max(1, ||W||). While it trains, the norm is that of `quick_norm`, and differentiated;
    else it is the upper bound of `norm`, computed once for the weights that it finds.
    """

    def __init__(self, in_channels: int, out_channels: int, *, blind: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, SIDE, SIDE))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.level = None if blind else nn.Parameter(torch.randn(out_channels))
        with torch.no_grad():
            nn.init.orthogonal_(self.weight[:, :, SIDE // 2, SIDE // 2])  # an isometry
        self._known: tuple[Tensor, float] | None = None
        self._held: Tensor | None = None

    def kernel(self) -> Tensor:
        """K, of norm at most 1."""
        if self._held is not None:
            return self._held
        if self.weight.is_meta:  # only the shape matters
            return self.weight
        if not self.training:
            return self.weight / max(1.0, self._bound())
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.weight / quick_norm(self.weight).clamp_min(1)

    def forward(self, x: Tensor, sigma: Tensor | None, kernel: Tensor | None = None) -> Tensor:
        """Map (B, in, H, W) to (B, out, H, W); sigma of shape (1 | B, 1, 1, 1)."""
        y = convolve(x, self.kernel() if kernel is None else kernel, self.bias)
        if self.level is None or sigma is None:
            return y
        return y + (sigma * self.level[:, None, None]).to(y.dtype)

    def _bound(self) -> float:
        weight = self.weight.detach()
        if self._known is None or not torch.equal(weight, self._known[0].to(weight)):
            self._known = (weight.clone(), norm(weight))
        return self._known[1]


class Block(nn.Module):
    """x - 2 K^T relu(K x + b + sigma c): 1-Lipschitz in x, though x itself passes.

    With D the slopes of relu, in [0, 1], the Jacobian I - 2 K^T D K is symmetric and between
    1 - 2 ||K||^2 and 1 (Meunier, Delattre, Araujo, Allauzen 2022).
    """

    def __init__(self, width: int, *, blind: bool) -> None:
        super().__init__()
        self.conv = Conv(width, width, blind=blind)
        with torch.no_grad():
            self.conv.weight.normal_()
            self.conv.weight.mul_(FIRST / quick_norm(self.conv.weight))

    def forward(self, x: Tensor, sigma: Tensor | None) -> Tensor:
        kernel = self.conv.kernel()
        y = F.relu(self.conv(x, sigma, kernel))
        return x - 2 * convolve(y, kernel.transpose(0, 1).flip(-2, -1))


class Lipschitz(nn.Module):
    """R = shuffle_up K_out B_n ... B_1 K_in shuffle_down, 1-Lipschitz in x.

    Squares of pixels that become channels keep the norm, so do zeros that fill up the last
    square.
    """

    def __init__(
        self, channels: int, *, width: int, blocks: int, shuffle: int, blind: bool
    ) -> None:
        """Build the network; before training its output is 0.

        Args:
            channels: of the image.
            width: features.
            blocks: of two convolutions each.
            shuffle: side of the square of pixels that becomes channels; 1: none.
            blind: whether the noise level is not told.
        """
        super().__init__()
        self.shuffle = self.multiple = shuffle
        ends = channels * shuffle**2
        self.head = Conv(ends, width, blind=blind)
        self.blocks = nn.ModuleList(Block(width, blind=blind) for _ in range(blocks))
        self.tail = Conv(width, ends, blind=blind)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) to the same shape, for any H and W; sigma (1 | B, 1, 1, 1)."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.shuffle, 0, -height % self.shuffle))
        x = self.head(F.pixel_unshuffle(x, self.shuffle), sigma)
        for block in self.blocks:
            x = block(x, sigma)
        x = F.pixel_shuffle(self.tail(x, sigma), self.shuffle)
        return x[..., :height, :width]

    def bound(self) -> float:
        """An upper bound on the Lipschitz constant with respect to x, from the kernels in use."""
        inner = [each.conv for each in self.blocks if isinstance(each, Block)]
        steps = [max(1.0, 2 * norm(each.kernel()) ** 2 - 1) for each in inner]
        return norm(self.head.kernel()) * math.prod(steps) * norm(self.tail.kernel())


class Nonexpansive(nn.Module):
    """D = shuffle_up P B_n ... B_1 P^T shuffle_down, 1-Lipschitz in x, nearly the identity before
    training.

    P^T fills up the channels with zeros, and P takes the first ones: neither stretches anything.
    """

    def __init__(self, channels: int, *, width: int, blocks: int, shuffle: int) -> None:
        """Build the network.

        Args:
            channels: of the image.
            width: features; at least `channels` shuffle^2 are taken.
            blocks: of two convolutions each.
            shuffle: side of the square of pixels that becomes channels; 1: none.
        """
        super().__init__()
        self.shuffle = self.multiple = shuffle
        self.width = max(width, channels * shuffle**2)
        self.blocks = nn.ModuleList(Block(self.width, blind=False) for _ in range(blocks))
        for each in self.blocks.modules():
            if isinstance(each, Conv):
                with torch.no_grad():
                    each.weight.mul_(NEARLY)
                    each.level.mul_(NEARLY)  # type: ignore[union-attr]
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape, for any H and W; sigma (1 | B, 1, 1, 1)."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.shuffle, 0, -height % self.shuffle))
        x = F.pixel_unshuffle(x, self.shuffle)
        ends = x.shape[1]
        x = F.pad(x, (0, 0, 0, 0, 0, self.width - ends))
        for block in self.blocks:
            x = block(x, sigma)
        x = F.pixel_shuffle(x[:, :ends], self.shuffle)
        return x[..., :height, :width]


@contextmanager
def held_kernels(net: nn.Module) -> Iterator[None]:
    """Inside, every convolution's kernel is computed once: a network that is called many times with
    the same weights need not divide by the same norms."""
    inner = [each for each in net.modules() if isinstance(each, Conv)]
    for each in inner:
        each._held = each.kernel()
    try:
        yield
    finally:
        for each in inner:
            each._held = None


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution on a torus, of (B, in, H, W)."""
    margin = kernel.shape[-1] // 2
    return F.conv2d(F.pad(x, [margin] * 4, mode="circular"), kernel, bias)
