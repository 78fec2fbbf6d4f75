"""The parallel-beam projector as an operator: two sparse matrices, A and its transpose.

The gradient of A is A^T and that of A^T is A, so that derivatives of any order are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from challenge.data.physics import projector
from challenge.data.physics.family import Shape

Pair = tuple[Tensor, Tensor]
"""A and A^T, sparse."""


class ParallelBeam(LinearPhysics):  # type: ignore[misc]
    """Line integrals along parallel rays, divided by N = max(H, W); see `projector`."""

    def __init__(self, angles: Tensor, shape: Shape) -> None:
        """Take the geometry.

        Args:
            angles: in degrees, shape (1, V) or (B, V).
            shape: (C, H, W) of the images.
        """
        super().__init__()
        self.register_buffer("angles", angles)
        self.img_size = shape

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """The sinograms, (B, C, V, D), of images (B, C, H, W)."""
        height, width = x.shape[-2:]
        size = self.angles.shape[-1], projector.detectors(height, width)

        def product(rows: Tensor, key: bytes) -> Any:
            pair = _matrices(key, height, width, x.dtype, x.device)
            return _Product.apply(rows, pair, False)

        return self._each(x, size, product)

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """The backprojections, (B, C, H, W), of sinograms (B, C, V, D)."""
        _, height, width = self.img_size

        def product(rows: Tensor, key: bytes) -> Any:
            pair = _matrices(key, height, width, y.dtype, y.device)
            return _Product.apply(rows, pair, True)

        return self._each(y, (height, width), product)

    def A_dagger(
        self,
        y: Tensor,
        solver: str | None = None,
        max_iter: int | None = None,
        tol: float | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The least-squares solution of least norm, (B, C, H, W), of sinograms (B, C, V, D).

        By SciPy's LSQR in double precision, which minds how badly A is conditioned; its derivative
        is the same of A^T, since the pseudo-inverse of A^T is the transpose of that of A.
        Filtered backprojection is `fbp`. Paige, Saunders, LSQR, 1982.

        Args:
            y: sinograms, (B, C, V, D).
            solver: `lsqr` or None, which is the same.
            max_iter: iterations at most, of each image; None: ten times as many as there are
                pixels or measurements. Noise of a badly conditioned A takes minutes for 128x128
                pixels, and is blown up: fewer iterations are a smoother image.
            tol: relative error of A and y that the solution may stand for; None: 1e-9.

        Raises:
            ValueError: another solver.
        """
        if solver not in (None, "lsqr"):
            raise ValueError(f"`solver`: is {solver!r}; there is `lsqr`")
        _, height, width = self.img_size

        def solution(rows: Tensor, key: bytes) -> Any:
            matrix = projector.matrix(np.frombuffer(key), height, width)
            return _LeastSquares.apply(rows, matrix, max_iter, 1e-9 if tol is None else tol)

        return self._each(y, (height, width), solution)

    def fbp(self, y: Tensor, window: projector.Window = "ram_lak", cutoff: float = 1.0) -> Tensor:
        """Filtered backprojections, (B, C, H, W), of sinograms (B, C, V, D) of even angles."""
        count = y.shape[-1]
        size = projector.length(count)
        response = torch.from_numpy(projector.ramp(count, window, cutoff)).to(y)
        filtered = torch.fft.irfft(torch.fft.rfft(y, size) * response, size)[..., :count]
        spaces = [projector.spacing(each) for each in self._degrees()]
        scale = y.new_tensor(spaces).reshape(-1, 1, 1, 1) * max(self.img_size[1:]) ** 2
        found: Tensor = scale * self.A_adjoint(filtered.contiguous())
        return found

    def likeness(self, height: int, width: int) -> Tensor:
        """The spectrum that A^T A would have, were it a convolution, (1 | B, 1, H, W // 2 + 1).

        (w(f_1) w(f_2) w(|f|))^2 / (dtheta N^2 |f|), f in cycles per pixel; the factors
        w(t) = sin(pi t) / (pi t) are of the means over pixels and strips. At f = 0, where that is
        infinite, it is twice the value of the lowest frequency.
        """
        rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
        f = torch.hypot(rows, columns)
        f[0, 0] = 0.5 / max(height, width)
        spaces = torch.tensor([projector.spacing(each) for each in self._degrees()])
        means = torch.sinc(rows) * torch.sinc(columns) * torch.sinc(f)
        scale = spaces.double().reshape(-1, 1, 1, 1) * max(height, width) ** 2
        found = means.square() / (scale * f)
        return found.to(self.angles)

    def _degrees(self) -> list[np.ndarray[Any, Any]]:
        return list(self.angles.detach().cpu().numpy())

    def _each(
        self, values: Tensor, to: tuple[int, int], found_of: Callable[[Tensor, bytes], Tensor]
    ) -> Tensor:
        """What is found of the rows of every image, by its angles; all at once where they are one.

        Args:
            values: a batch, (B, C, ., .).
            to: height and width of the result.
            found_of: of rows, and of the angles as bytes of float64.
        """
        degrees = self._degrees()
        if all(np.array_equal(each, degrees[0]) for each in degrees[1:]):
            degrees = degrees[:1]
        parts = [values] if len(degrees) == 1 else list(torch.split(values, 1))
        found = []
        for part, angles in zip(parts, degrees, strict=True):
            batch, channels = part.shape[:2]
            rows = part.reshape(batch * channels, -1)
            made = found_of(rows, angles.astype(np.float64).tobytes())
            found.append(made.reshape(batch, channels, *to))
        return found[0] if len(found) == 1 else torch.cat(found)


class _Product(torch.autograd.Function):
    """x M^T of rows x with one of a pair of matrices, each the other's transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pair: Pair, transposed: bool) -> Tensor:
        ctx.pair, ctx.transposed = pair, transposed
        # Exact where networks compute in 16 bits.
        with torch.autocast(x.device.type, enabled=False):
            return (pair[transposed] @ x.T).T.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(gradients[0], ctx.pair, not ctx.transposed), None, None


class _LeastSquares(torch.autograd.Function):
    """The solution of least norm of min ||M x - y||, of rows y."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, matrix: Any, most: int | None, tolerance: float) -> Tensor:
        from scipy.sparse.linalg import lsqr

        ctx.about = matrix, most, tolerance
        rows = y.detach().cpu().double().numpy()
        most = 10 * max(matrix.shape) if most is None else most
        found = [
            lsqr(matrix, row, atol=tolerance, btol=tolerance, conlim=0, iter_lim=most)[0]
            for row in rows
        ]
        return torch.from_numpy(np.stack(found)).to(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        matrix, *about = ctx.about
        return _LeastSquares.apply(gradients[0], matrix.T, *about), None, None, None


@lru_cache(maxsize=2)
def _matrices(
    angles: bytes, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> Pair:
    found = projector.matrix(np.frombuffer(angles), height, width)
    return _sparse(found, dtype, device), _sparse(found.T.tocsr(), dtype, device)


def _sparse(found: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    # int32 is what the multiplication of the CPU is fastest with.
    rows, columns = (
        torch.from_numpy(each.astype(np.int32)) for each in (found.indptr, found.indices)
    )
    values = torch.from_numpy(found.data).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its sparse tensors new
        made = torch.sparse_csr_tensor(rows, columns, values, found.shape, check_invariants=False)
        return made.to(device)
