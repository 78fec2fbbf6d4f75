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

Of complex images (`phase`), Lambda_k sees f and B h turned by the smooth phase of the Wiener
estimate, and its change is turned back (`transforms/smooth_phase.py`). Gamma_k sees frequencies
as they were measured.

Adler, Oktem, Learned Primal-Dual Reconstruction, 2018, algorithm 3; PDHG: Chambolle, Pock 2011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks.architectures import Net
from challenge.methods.networks.layers import recompute
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.guards import check_range
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms import smooth_phase

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

    def __init__(
        self,
        *,
        steps: Annotated[int, Ge(1), Le(64)] = 6,
        groups: Annotated[int, Ge(2), Le(32)] = 3,
        preconditioned: bool = True,
        net: Net = Net(),
        channels: Literal[1, 2, 3] = 3,
        phase: bool | None = None,
        dual_width: Annotated[int, Ge(1), Le(4096)] = 16,
        dual_depth: Annotated[int, Ge(0), Le(64)] = 1,
        checkpoint: bool = False,
        precision: Precision = "auto",
    ) -> None:
        """Build the networks.

        Args:
            steps: how many, each with one network for h and one for f.
            groups: of channels in h and in f; the first two are read by the operator.
            preconditioned: B is a regularised inverse of A; else A^T.
            net: the networks Lambda_k.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            phase: the networks Lambda_k see complex images turned by their smooth phase; null:
                where images are complex.
            dual_width: features of the plain convolutional networks Gamma_k.
            dual_depth: their hidden layers.
            checkpoint: in training, keep f and h of each step only and compute the rest again on
                the way back, so that memory hardly grows with the number of steps.
            precision: of the networks at inference; see `challenge methods network`.

        Raises:
            UserError: `phase` of images that have none.
        """
        super().__init__()
        self.steps, self.groups, self.channels = steps, groups, channels
        self.turned = smooth_phase.seen(phase, channels)
        self.preconditioned = preconditioned
        self.checkpoint = checkpoint
        self.dual_design = Net(architecture="cnn", width=dual_width, depth=dual_depth)
        self.primal_design = net
        self.wiener = WienerFilter()
        self.nets = self._build()
        self.compute = InferencePrecision(precision)
        if preconditioned:
            self.log_weight = nn.Parameter(-2 * torch.full((steps,), PRECISION).log())

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, or steps that diverge.
        """
        check_measurement(self.channels, y)
        data = DataTerm(y, physics)
        x = self.wiener(data)[0]
        f = x.repeat(1, self.groups, 1, 1)
        h = (physics.A(x) - y).repeat(1, self.groups, 1, 1)
        phase = smooth_phase.smooth_phase(x) if self.turned else None
        for k in range(self.steps):
            f, h = recompute(self.checkpoint, self._step, k, data, f, h, phase)
            if not self.training:
                check_range(f, f"step {k + 1} of the primal-dual algorithm")
        x_hat: Tensor = f[:, : self.channels]
        return x_hat

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then everything else from its seeded start."""
        check_problem(self.channels, problem)
        self.wiener.learn(images)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.nets,
            build=self._build,
            precision=self.compute,
        )

    def dual(self, k: int, h: Tensor, ahead: Tensor, y: Tensor) -> Tensor:
        """h_{k+1} of shape (B, groups C, H', W').

        Args:
            k: step, from 0.
            h: h_k, shape (B, groups C, H', W').
            ahead: A f_k^(2), of the shape of y.
            y: measurements, shape (B, C, H', W').
        """
        change: Tensor = self.compute(self.nets[2 * k], torch.cat([h, ahead, y], dim=1))
        return h + change

    def primal(self, k: int, f: Tensor, back: Tensor, sigma: Tensor) -> Tensor:
        """f_{k+1} of shape (B, groups C, H, W), of images as the network sees them: turned, where
        that is so.

        Args:
            k: step, from 0.
            f: f_k, shape (B, groups C, H, W).
            back: B h_{k+1}^(1), shape (B, C, H, W).
            sigma: noise level, shape (1 | B, 1, 1, 1).
        """
        level = sigma.expand(len(f), 1, *f.shape[-2:])
        change: Tensor = self.compute(self.nets[2 * k + 1], torch.cat([f, back, level], dim=1))
        return f + change

    def _step(
        self, k: int, data: DataTerm, f: Tensor, h: Tensor, phase: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        second = f[:, self.channels : 2 * self.channels].contiguous()
        h = self.dual(k, h, data.physics.A(second), data.y)
        first = h[:, : self.channels].contiguous()
        back: Tensor = data.physics.A_adjoint(first)
        if self.preconditioned:
            back = data.inverse(back, data.sigma.square() * self.log_weight[k].exp())
        if phase is not None:
            f, back = smooth_phase.turn_back(f, phase), smooth_phase.turn_back(back, phase)
        f = self.primal(k, f, back, data.sigma)
        return (f if phase is None else smooth_phase.turn(f, phase)), h

    def _build(self) -> nn.ModuleList:
        """Gamma_0, Lambda_0, Gamma_1, ..."""
        space = self.groups * self.channels
        made: list[nn.Module] = []
        for _ in range(self.steps):
            made += [
                self.dual_design.build(space + 2 * self.channels, space),
                self.primal_design.build(space + self.channels + 1, space),
            ]
        return nn.ModuleList(made)
