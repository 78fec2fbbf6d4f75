"""Muon: a matrix is moved along the nearest orthogonal one of its momentum.

    B <- mu B + (1 - mu) g,   G = mu B + (1 - mu) g
    W <- (1 - lr decay) W - 0.2 lr sqrt(max(n, m)) U V^T,   G = U S V^T

so that every direction of a layer learns as fast as the one with the largest gradient. A kernel of
shape (out, in, k, k) is the matrix of n = out rows and m = in k^2 columns; that of a transposed
convolution, whose first axis is its input, has the rows that it has. U V^T is found, not very
exactly, by five steps from X = G / ||G||_F,

    X <- a X + (b A + c A^2) X,   A = X X^T,   (a, b, c) = (3.4445, -4.775, 2.0315)

The factor 0.2 sqrt(max(n, m)) makes a step as long as one of Adam, which moves everything that is
not the matrix of a layer, so that `lr` means the same for all.

Jordan et al., Muon, 2024 (coefficients, kernels as matrices); Liu et al., Muon is Scalable for LLM
Training, 2025 (the factor).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
LENGTH = 0.2
"""The root mean square of a step of Adam at a learning rate of 1, about."""
TINY = 1e-7


LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""Whose weights are matrices."""


def kernels(module: nn.Module) -> list[nn.Parameter]:
    """The weights of layers that are learned, which Muon moves."""
    found = (each.weight for each in module.modules() if isinstance(each, LAYERS))
    return [each for each in found if isinstance(each, nn.Parameter) and each.requires_grad]


class Muon(torch.optim.AdamW):
    """Muon on groups of parameters with `orthogonal: True`, AdamW on the others.

    torch's moves parameters of two dimensions alone, which kernels of convolutions are not.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; `closure` as for every optimiser of torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kept = []
        for group in self.param_groups:
            for each in group["params"] if group.get("orthogonal") else ():
                if each.grad is not None:
                    self._move(each, group)
                    kept.append((each, each.grad))
                    each.grad = None
        super().step()
        for each, gradient in kept:
            each.grad = gradient
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient, momentum = parameter.grad, group["betas"][0]
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - momentum)
        matrix = gradient.lerp(buffer, momentum).flatten(1)
        length = LENGTH * max(matrix.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(orthogonal(matrix).view(parameter.shape), alpha=group["lr"] * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """U V^T of a matrix U S V^T (n, m), but for singular values between a half and 1.5.

    In bfloat16, which is exact enough for that. Of a matrix of zeros, zeros.
    """
    x = matrix.bfloat16()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp_min(TINY)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
