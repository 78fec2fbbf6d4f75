"""Learned Primal-Dual: unrolled PDHG whose two proximal maps are small networks with memory.

    h_{k+1} = h_k + Gamma_k([h_k, A f_k^(2), y])
    f_{k+1} = f_k + Lambda_k([f_k, B h_{k+1}^(1), sigma]),     x_hat = f_K^(1)

h are `groups` groups of channels in the space of measurements, f as many in the space of images,
h^(i) and f^(i) group i, with one channel per colour. What the networks keep in the others is
theirs to learn: PDHG, with its dual, estimate and extrapolated point, is one choice of Gamma and
Lambda among others.

B is A^T as published, or (`preconditioned`) (A^T A + R_k)^-1 A^T with a learned R_k = r_k sigma^2,
by FFT for a circular boundary and by conjugate gradients otherwise: through A^T alone, a few small
networks do not undo a blur of 20 pixels. All groups of f start at the Wiener estimate, h at
A f - y; the networks are zero before training.

Adler, Oktem, Learned Primal-Dual Reconstruction, 2018, algorithm 3; PDHG: Chambolle, Pock 2011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.entry import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import architectures
from challenge.methods.networks.architectures import Architecture
from challenge.methods.networks.layers import recompute
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.training import fit
from challenge.methods.training.guards import check_range
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import Precision
from challenge.methods.variational import wiener

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

PRECISION = 0.05
"""The error of a Wiener estimate, about, in units of the image range: r_k starts at its inverse
square."""


class LPD(Method):
    """Learned Primal-Dual: PDHG with networks in place of both proximal maps.

        h <- h + Gamma_k([h, A f^(2), y]),   f <- f + Lambda_k([f, B h^(1), sigma])

    h lives where measurements live, f where images live; the operator is the one given at
    inference, so that every image may have another kernel. Adler, Oktem, Learned Primal-Dual
    Reconstruction, 2018.
    """

    reads = READS
    log_spectrum: Tensor
    bf16_cost: Tensor

    def __init__(
        self,
        *,
        steps: Annotated[int, Ge(1), Le(64)] = 6,
        groups: Annotated[int, Ge(2), Le(32)] = 3,
        preconditioned: bool = True,
        architecture: Architecture = "unet",
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Ge(1), Le(4096)] | None = None,
        depth: Annotated[int, Ge(0), Le(64)] | None = None,
        blocks: Annotated[int, Ge(1), Le(16)] | None = None,
        shuffle: Literal[1, 2, 4] | None = None,
        dual_width: Annotated[int, Ge(1), Le(4096)] = 16,
        dual_depth: Annotated[int, Ge(0), Le(64)] = 1,
        checkpoint: bool = False,
        precision: Precision = "auto",
    ) -> None:
        """Build the networks. A knob that is null has the architecture's own default.

        Args:
            steps: how many, each with one network for h and one for f.
            groups: of channels in h and in f; the first two are read by the operator.
            preconditioned: B is a regularised inverse of A; else A^T.
            architecture: of the networks Lambda_k; each has its page in `methods/networks`.
            channels: 3 for colour, 1 for grey images.
            width: features of a layer of Lambda_k; of a U-Net at the finest scale.
            depth: hidden layers (mlp, cnn), residual blocks (resnet), coarser scales (unet).
            blocks: residual blocks per scale, on the way down and up (unet).
            shuffle: side of the squares of pixels that Lambda_k sees as one; 1 is slowest.
            dual_width: features of the plain convolutional networks Gamma_k.
            dual_depth: their hidden layers.
            checkpoint: in training, keep f and h of each step only and compute the rest again on
                the way back, so that memory hardly grows with the number of steps.
            precision: of the networks at inference; see `challenge methods network`.

        Raises:
            UserError: a knob that the architecture does not have.
        """
        super().__init__()
        self.steps, self.groups, self.channels = steps, groups, channels
        self.preconditioned = preconditioned
        self.architecture: Architecture = architecture
        self.checkpoint, self.precision = checkpoint, precision
        self.knobs = architectures.given(width=width, depth=depth, blocks=blocks, shuffle=shuffle)
        self.dual_knobs = {"width": dual_width, "depth": dual_depth}
        self.nets = self._build()
        if preconditioned:
            self.log_weight = nn.Parameter(-2 * torch.full((steps,), PRECISION).log())
        fit.register(self)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, or steps that diverge.
        """
        fit.check_channels(self.channels, y)
        data = DataTerm(y, physics)
        x = wiener.estimates(data, self.log_spectrum, [1.0])[0]
        f = x.repeat(1, self.groups, 1, 1)
        h = (physics.A(x) - y).repeat(1, self.groups, 1, 1)
        for k in range(self.steps):
            f, h = recompute(self.checkpoint, self._step, k, data, f, h)
            if not self.training:
                check_range(f, f"step {k + 1} of the primal-dual algorithm")
        return f[:, : self.channels]

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then everything else from its seeded start."""
        fit.learn(self, problem, images, train, session, net=self.nets, build=self._build)

    def dual(self, k: int, h: Tensor, ahead: Tensor, y: Tensor) -> Tensor:
        """h_{k+1} of shape (B, groups C, H', W').

        Args:
            k: step, from 0.
            h: h_k, shape (B, groups C, H', W').
            ahead: A f_k^(2), of the shape of y.
            y: measurements, shape (B, C, H', W').
        """
        return h + self._correct(2 * k, torch.cat([h, ahead, y], dim=1))

    def primal(self, k: int, f: Tensor, back: Tensor, sigma: Tensor) -> Tensor:
        """f_{k+1} of shape (B, groups C, H, W).

        Args:
            k: step, from 0.
            f: f_k, shape (B, groups C, H, W).
            back: B h_{k+1}^(1), shape (B, C, H, W).
            sigma: noise level, shape (1 | B, 1, 1, 1).
        """
        level = sigma.expand(len(f), 1, *f.shape[-2:])
        return f + self._correct(2 * k + 1, torch.cat([f, back, level], dim=1))

    def _step(self, k: int, data: DataTerm, f: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        second = f[:, self.channels : 2 * self.channels].contiguous()
        h = self.dual(k, h, data.physics.A(second), data.y)
        first = h[:, : self.channels].contiguous()
        back: Tensor = data.physics.A_adjoint(first)
        if self.preconditioned:
            back = data.inverse(back, data.sigma.square() * self.log_weight[k].exp())
        return self.primal(k, f, back, data.sigma), h

    def _correct(self, index: int, seen: Tensor) -> Tensor:
        with fit.computing(self, seen.device):
            found: Tensor = self.nets[index](seen)
        return found.to(seen.dtype)

    def _build(self) -> nn.ModuleList:
        """Gamma_0, Lambda_0, Gamma_1, ..."""
        space = self.groups * self.channels
        made: list[nn.Module] = []
        for _ in range(self.steps):
            made += [
                architectures.build("cnn", space + 2 * self.channels, space, self.dual_knobs),
                architectures.build(
                    self.architecture, space + self.channels + 1, space, self.knobs
                ),
            ]
        return nn.ModuleList(made)
