"""Convolutional sparse coding: a few layers of ISTA, trained from end to end.

    z_0     = W_0^T w,                                          w the Wiener estimate
    z_{k+1} = soft(z_k - W_{k+1}^T P_k A^T (A D_k z_k - y), theta_k),         k < K
    x_hat   = D_K z_K

D z is a sum of filters of norm 1 that are placed every `stride` pixels, each times its code; W^T x
are the correlations of x with other filters. With P = I, D_k = D and W_k = D / L this is ISTA on

    min_z 1/2 ||A D z - y||^2 + L theta ||z||_1,                L >= ||A D||^2,

which takes hundreds of layers, since A^T A passes next to nothing of what the blur removed. With
`preconditioned`, P_k = (A^T A + R_k)^-1, so that P_k A^T is a regularised inverse of A: a division
in the Fourier domain where the boundary is circular, else a few steps of conjugate gradients.
R_k = sigma^2 / E_k, where E_k > 0 is learned: the power of the error that x has in layer k, a
constant or a function of frequency. Thresholds are in units of the noise, theta_k = sigma exp(t_k),
one for each filter.

The filters start as the cosine transform of patches, a tight frame: before training, x_hat is the
Wiener estimate but for the thresholds.

Gregor, LeCun 2010 (LISTA); Sreter, Giryes 2018 (convolutional); Janjusevic, Khalilian-Gourtani,
Wang 2022, CDLNet (stride, filters of each layer, thresholds in proportion to the noise).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks.dictionary import analyse, cosines, synthesise
from challenge.methods.networks.layers import recompute
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.lasso import soft
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.guards import check_range
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms import spectrum

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

ERROR = 0.05
"""About the root mean square error of a Wiener estimate, where sqrt(E_k) starts."""
CUT = 0.3
"""Where thresholds start, in units of the noise that white noise in x gives a code."""
KEPT = 1e-3
"""The same for the filters that are an average: it is never small."""
WIENER_ITERATIONS = 8
"""Conjugate gradients for w where the boundary is not circular; the layers do the rest."""
ITERATIONS, TOLERANCE = 5, 1e-4
"""Of those for P_k: at most so many, to so small a relative residual."""


class Lista(Method):
    """Convolutional LISTA: sparse coding in a few learned layers.

        z <- soft(z - W_k^T P_k A^T (A D_k z - y), theta_k),   x_hat = D_K z

    P_k A^T is a regularised inverse of A, or A^T without `preconditioned`. The operator is the
    one given at inference, so that every image may have another kernel and noise level. Gregor,
    LeCun, Learning Fast Approximations of Sparse Coding, 2010; Sreter, Giryes, Learned
    Convolutional Sparse Coding, 2018; Janjusevic, Khalilian-Gourtani, Wang, CDLNet, 2022.
    """

    reads = READS

    def __init__(
        self,
        *,
        layers: Annotated[int, Ge(1), Le(100)] = 10,
        filters: Annotated[int, Ge(1), Le(3072)] = 96,
        side: Annotated[int, Ge(1), Le(32)] = 6,
        stride: Annotated[int, Ge(1), Le(8)] = 2,
        tied: bool = False,
        shared: bool = False,
        preconditioned: bool = True,
        metric: Literal["white", "spectral"] | None = None,
        channels: Literal[1, 2, 3] = 3,
        checkpoint: bool = False,
        precision: Precision = "auto",
    ) -> None:
        """Build the filters.

        Args:
            layers: K, each of which thresholds once.
            filters: of the dictionary, at most `channels` side^2; the lowest frequencies.
            side: of a filter in pixels, a multiple of `stride`.
            stride: pixels from one code to the next; 2 costs a quarter of 1.
            tied: W_k = s_k D_k with a learned step s_k > 0; else W_k is learned by itself.
            shared: one D and one W for all layers; thresholds, steps and E_k are each layer's own.
            preconditioned: with P_k; else P_k = I.
            metric: whether E_k is a constant or a function of frequency, `spectral` by default.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            checkpoint: in training, keep each layer's codes only and compute the rest again on
                the way back, so that memory hardly grows with the number of layers.
            precision: of the filters at inference; see `challenge methods network`.

        Raises:
            UserError: knobs that do not fit each other.
        """
        super().__init__()
        _check(channels, filters, side, stride, preconditioned, metric)
        self.layers, self.filters, self.side, self.stride = layers, filters, side, stride
        self.tied, self.shared, self.preconditioned = tied, shared, preconditioned
        self.bins = 1 if metric == "white" else spectrum.BINS
        self.channels, self.checkpoint = channels, checkpoint
        self.wiener = WienerFilter(iterations=WIENER_ITERATIONS)
        self.net = self._build()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, or layers that diverge.
        """
        check_measurement(self.channels, y)
        data = DataTerm(y, physics)
        w = self.wiener(data)[0]
        with self.compute.context(y.device):
            z = analyse(w, self.analysis(0), self.stride, mode="replicate").to(y.dtype)
            for k in range(self.layers):
                z = recompute(self.checkpoint, self.layer, k, z, data)
                if not self.training:  # In training the loop says so, and keeps the best weights.
                    check_range(z, f"layer {k + 1} of {self.layers}", "method.layers")
            x = synthesise(z, self.dictionary(self.layers), self.stride, data.size).to(y.dtype)
        return x

    def layer(self, k: int, z: Tensor, data: DataTerm) -> Tensor:
        """z_{k+1} of z_k, shapes (B, filters, H_z, W_z); k counts from 0."""
        dtype = data.y.dtype
        x = synthesise(z, self.dictionary(k), self.stride, data.size).to(dtype)
        u = data.gradient(x)
        if self.preconditioned:
            weight = data.sigma.square() * self.inverse_error(k, data.size)
            u = data.inverse(u, weight, tolerance=TOLERANCE, iterations=ITERATIONS)
        theta = data.sigma * self.net["log_threshold"][k].exp()[:, None, None]
        return soft(z - analyse(u, self.analysis(k + 1), self.stride).to(dtype), theta)

    def inverse_error(self, k: int, size: tuple[int, int]) -> Tensor:
        """1 / E_k on the grid of `rfft2`, shape (1,) or (H, W // 2 + 1)."""
        log_error = self.net["log_error"][k]
        if len(log_error) == 1:
            one: Tensor = (-log_error).exp()
            return one
        return spectrum.penalty(log_error, *size, mean=True)

    def dictionary(self, k: int) -> Tensor:
        """D_k, 0 <= k <= K: filters of norm 1, shape (filters, C, side, side)."""
        filters = self.net["dictionary"][0 if self.shared else k]
        unit: Tensor = filters / filters.flatten(1).norm(dim=1)[:, None, None, None]
        return unit

    def analysis(self, k: int) -> Tensor:
        """W_k, 0 <= k <= K, shape (filters, C, side, side)."""
        if self.tied:
            step: Tensor = self.net["log_step"][k].exp()
            return self.dictionary(k) * step
        filters: Tensor = self.net["analysis"][0 if self.shared else k]
        # Stored as large as those of D, so that a learning rate is as fast for both.
        return filters / self.frame

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then train the layers from the cosine transform.

        At the end, on the tune part: round the weights to half precision where that costs at
        most 0.01 dB, and measure what inference in bfloat16 costs.
        """
        check_problem(self.channels, problem)
        self.wiener.learn(images)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.net,
            build=self._build,
            precision=self.compute,
        )

    @property
    def frame(self) -> float:
        """D D^T of the cosine transform: how often each pixel is covered by it."""
        return (self.side / self.stride) ** 2

    def _build(self) -> nn.ParameterDict:
        filters = cosines(self.channels, self.side)[: self.filters]
        frame = self.frame
        count = 1 if self.shared else self.layers + 1
        thresholds = torch.full((self.layers, self.filters), CUT / frame)
        thresholds[:, : self.channels] = KEPT / frame
        net = {
            "dictionary": filters.repeat(count, 1, 1, 1, 1),
            "log_threshold": thresholds.log(),
        }
        if self.tied:
            net["log_step"] = torch.full((self.layers + 1,), -math.log(frame))
        else:
            net["analysis"] = filters.repeat(count, 1, 1, 1, 1)
        if self.preconditioned:
            net["log_error"] = torch.full((self.layers, self.bins), 2 * math.log(ERROR))
        return nn.ParameterDict({name: nn.Parameter(value) for name, value in net.items()})


def _check(
    channels: int, filters: int, side: int, stride: int, preconditioned: bool, metric: str | None
) -> None:
    """Refuse knobs that do not fit each other."""
    if side % stride:
        raise UserError.of(
            "`method.side`",
            f"is `{side}`, not a multiple of `method.stride`, `{stride}`",
            f"give `method.side={-(-side // stride) * stride}`",
        )
    if filters > (most := channels * side**2):
        raise UserError.of(
            "`method.filters`",
            f"is `{filters}`, more than the {most} of {side}x{side} pixels in {channels} channels",
            f"give at most `{most}`, or a larger `method.side`",
        )
    if metric is not None and not preconditioned:
        raise UserError.of(
            "`method.metric`", "is of the preconditioner, which is off", "take one of the two out"
        )
