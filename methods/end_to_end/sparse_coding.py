"""Sparse coding by a few learned layers: dense LISTA on synthetic problems.

    z* = argmin_z 1/2 ||y - D z||^2 + lam ||z||_1,    L = ||D||^2,    K layers from z_0 = 0:

    tied         z_{k+1} = soft(W_e y + S z_k, theta)
    untied       z_{k+1} = soft(W_e^k y + S_k z_k, theta_k)
    coupled      z_{k+1} = soft(z_k + W_k^T (y - D z_k), theta_k)

With W_e = D^T / L, S = I - D^T D / L, W = D / L and theta = lam / L each kind is ISTA
(`solvers.lasso`); it starts there and is trained to come to z* in few layers, for the y of one
distribution. Codes are rows: y (B, m), z (B, n), D (m, n).

Gregor, LeCun 2010 (LISTA); Chen, Liu, Wang, Yin 2018 (coupled: W_e and S of a convergent LISTA are
bound so; support recovery).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.methods.solvers.lasso import lipschitz, minimiser, soft

Mode = Literal["tied", "untied", "coupled"]
GROWTH, PACE, CLIP = 0.4, 3.0, 0.3
"""Share of the steps in which a network grows; learning rate of thresholds in that of matrices;
largest norm of a gradient (one step over the edge of stability undoes a training)."""


def nmse(z: Tensor, reference: Tensor) -> float:
    """Distance 10 log10(sum ||z - z*||^2 / sum ||z*||^2) over all rows, in dB."""
    error = (z.double() - reference.double()).square().sum() / reference.double().square().sum()
    return float(10 * error.log10())


class Recovery(NamedTuple):
    """How well the support {j: z_j != 0} of the reference is found, each in [0, 1]."""

    precision: float
    """Share of what was found that is right."""
    recall: float
    """Share of what is right that was found."""
    f1: float
    """Their harmonic mean."""


def recovery(z: Tensor, reference: Tensor) -> Recovery:
    """Support recovery over all rows of (B, n); an empty support counts as found."""
    found, right = z != 0, reference != 0
    both, count, wanted = (int(each.sum()) for each in (found & right, found, right))
    precision, recall = both / count if count else 1.0, both / wanted if wanted else 1.0
    return Recovery(precision, recall, 2 * both / (count + wanted) if count + wanted else 1.0)


class Problem(NamedTuple):
    """Lasso problems of one distribution: y = D z, z_j normal with probability `density`, else 0.

    The setting of Gregor and LeCun with codes that are drawn in place of patches of images.
    """

    dictionary: Tensor
    """(m, n), columns of norm 1."""
    lam: float
    density: float

    @classmethod
    def gaussian(cls, m: int, n: int, *, lam: float, density: float, seed: int = 0) -> Problem:
        """With normal columns scaled to norm 1, float64."""
        drawn = torch.randn(m, n, dtype=torch.float64, generator=_generator(seed))
        return cls(drawn / drawn.norm(dim=0), lam, density)

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """y of shape (count, m) and its minimiser z* (count, n), float64."""
        generator, n = _generator(seed), self.dictionary.shape[1]
        z = torch.randn(count, n, dtype=torch.float64, generator=generator)
        z *= torch.rand(count, n, generator=generator) < self.density
        y = z @ self.dictionary.T
        return y, minimiser(y, self.dictionary, self.lam)


class Lista(nn.Module):
    """A few layers of ISTA with learned matrices and thresholds.

    Args:
        dictionary: D, shape (m, n); with its dtype.
        lam: weight of the 1-norm, > 0.
        layers: K >= 1, of which each applies `soft` once.
        mode: whether layers share W_e, S and theta (Gregor, LeCun), or each has its own, or each
            has its own W_k (Chen, Liu, Wang, Yin).
        shared: one W for all layers of mode `coupled`; theta_k stays each layer's own.
        scalar: one threshold for all coordinates.

    Raises:
        ValueError: `shared` with another mode, whose name says what is shared.
    """

    def __init__(
        self,
        dictionary: Tensor,
        lam: float,
        *,
        layers: int = 16,
        mode: Mode = "tied",
        shared: bool = False,
        scalar: bool = False,
    ) -> None:
        super().__init__()
        if shared and mode != "coupled":
            raise ValueError(f"`shared` is for mode `coupled`, not `{mode}`")
        self.layers, self.mode = layers, mode
        size, n = float(lipschitz(dictionary)), dictionary.shape[1]
        self.dictionary: Tensor
        self.register_buffer("dictionary", dictionary.clone())
        count = 1 if mode == "tied" or shared else layers
        self.encoder = nn.Parameter((dictionary / size).repeat(count, 1, 1))
        """W_e^T = W_k, shape (1 | K, m, n)."""
        if mode != "coupled":
            square = torch.eye(n, dtype=dictionary.dtype) - dictionary.T @ dictionary / size
            self.recurrence = nn.Parameter(square.repeat(count, 1, 1))
            """S^T, shape (1 | K, n, n)."""
        thresholds = dictionary.new_full((1 if mode == "tied" else layers, 1 if scalar else n), 1)
        self.log_threshold = nn.Parameter((thresholds * lam / size).log())
        """Positive thresholds have logarithms."""

    def forward(self, y: Tensor, layers: int | None = None) -> Tensor:
        """The codes (B, n) of y (B, m) after the first `layers` layers, by default all."""
        z = y.new_zeros(len(y), self.dictionary.shape[1])
        encoders, thresholds = self.encoder.unbind(), self.log_threshold.exp().unbind()
        recurrences = self.recurrence.unbind() if self.mode != "coupled" else ()
        for k in range(self.layers if layers is None else layers):
            encoder = encoders[k % len(encoders)]
            if self.mode == "coupled":
                z = z + (y - z @ self.dictionary.T) @ encoder
            else:
                z = y @ encoder + z @ recurrences[k % len(recurrences)]
            z = soft(z, thresholds[k % len(thresholds)])
        return z

    @torch.no_grad()
    def copy_layer(self, k: int) -> None:
        """Let layer k >= 1 begin as layer k - 1 is, where each has its own weights."""
        for value in self.parameters():
            if len(value) > 1:
                value[k] = value[k - 1]


def train_lista(
    net: Lista,
    y: Tensor,
    reference: Tensor,
    *,
    steps: int = 1500,
    batch: int = 256,
    lr: float = 1.5e-3,
    seed: int = 0,
) -> list[float]:
    """Train a network in place to give the minimiser: min E ||z_K - z*||^2 / E ||z*||^2.

    Adam on batches drawn from a pool of problems (20,000 of `Problem.draw` are enough for 20x80),
    in two parts. In the first, GROWTH of the steps, the network grows: the loss is that of its
    first k layers, and layer k + 1 begins as a copy of layer k. Then all K layers are trained,
    with a learning rate that falls to 0 as a cosine.

    Args:
        net: of any floating dtype.
        y: the pool's measurements, shape (N, m).
        reference: their minimisers z*, shape (N, n).
        steps: of Adam.
        batch: problems of a step.
        lr: learning rate of the matrices; that of log theta is PACE times as high.
        seed: decides the batches.

    Returns:
        The loss of every step.

    Raises:
        UserError: a loss that is not finite.
    """
    y, reference = y.to(net.dictionary), reference.to(net.dictionary)
    scale = reference.square().sum(1).mean()
    matrices = [value for value in net.parameters() if value is not net.log_threshold]
    optimiser = torch.optim.Adam(
        [{"params": matrices, "pace": 1}, {"params": [net.log_threshold], "pace": PACE}]
    )
    generator, losses, growth, depth = _generator(seed), [], int(GROWTH * steps), 1
    for step in range(steps):
        wanted = net.layers if step >= growth else 1 + step * (net.layers - 1) // growth
        while depth < wanted:
            net.copy_layer(depth)
            depth += 1
        angle = math.pi * max(0.0, (step - growth) / (steps - growth))
        for group in optimiser.param_groups:
            group["lr"] = group["pace"] * lr * (1 + math.cos(angle)) / 2
        chosen = torch.randint(len(y), (batch,), generator=generator)
        loss = (net(y[chosen], wanted) - reference[chosen]).square().sum(1).mean() / scale
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError.of(
                f"step {step} of `train_lista`",
                f"the loss is `{losses[-1]}`",
                f"give `lr={lr / 3:.1g}`",
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
    return losses


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
