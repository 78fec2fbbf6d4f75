"""What was measured of a method at one noise level, and how bounds are judged.

What is measured at points is a lower bound of a Lipschitz constant: it refutes that the constant
is small, and never proves it. What follows from the architecture is an upper bound: it proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Verdict = Literal["holds", "fails", "not certified"]
Algorithm = Literal["pgd", "hqs", "admm", "drs", "red", "gs", "unrolled", "deq", "neural_ode"]
"""`red`: gradient descent of regularisation by denoising; `gs`: gradient-step plug-and-play."""

ROUNDING = 1e-3
"""By so much a measured constant must miss a limit: what float32 leaves of products."""


@dataclass(frozen=True)
class Bound:
    """An interval in which a Lipschitz constant lies."""

    lower: float | None = None
    """The largest that was measured at a point; None where nothing was."""
    upper: float | None = None
    """What is certified; None where nothing is."""

    def at_most(self, limit: float) -> Verdict:
        """Whether the constant is at most `limit`."""
        if self.lower is not None and self.lower > limit + ROUNDING:
            return "fails"
        if self.upper is not None and self.upper <= limit:
            return "holds"
        return "not certified"

    def below(self, limit: float) -> Verdict:
        """Whether the constant is less than `limit`."""
        if self.lower is not None and self.lower >= limit:
            return "fails"
        if self.upper is not None and self.upper < limit:
            return "holds"
        return "not certified"

    def __str__(self) -> str:
        """`>= 0.83, certified <= 1`."""
        parts = [] if self.lower is None else [f">= {self.lower:.4g}"]
        parts += [] if self.upper is None else [f"certified <= {self.upper:.4g}"]
        return ", ".join(parts) or "not measured"


@dataclass(frozen=True)
class DataFacts:
    """Of f(x) = 1/2 ||A x - y||^2: the ends of the spectrum of A^T A."""

    mu: float
    """The least eigenvalue, the modulus of strong convexity."""
    curvature: float
    """The largest one, the Lipschitz constant L of the gradient of f."""
    exact: bool
    """Whether both are known in closed form; else mu is at most, and L at least, what is given."""


@dataclass(frozen=True)
class Passage:
    """A flow x' = v(x, t) of one image, and the steps by which it is followed."""

    solver: str
    steps: int
    rejected: int
    evaluations: int
    growth: float | None
    """An eigenvalue of the symmetric part of dv/dx, the largest seen on the way: two flows may
    part by e^{m t}, and the one-sided Lipschitz constant m is at least so much. None where v has
    no derivative."""
    stiffness: float | None
    """h |lambda|, lambda an eigenvalue of dv/dx, the largest that was found to converge; h the mean
    length of a step."""
    amplification: float | None
    """|R(h lambda)|, by which a step multiplies, the largest of those with Re lambda <= 0; the
    least it may be, lambda being off by its residual."""
    error: float | None
    """Of the integration: distance to the end of a flow with a much smaller tolerance, root mean
    square, in units of the image range; None where that was not followed to its end."""
    adaptive: bool
    """Whether steps follow a tolerance."""
    stopped: str | None = None
    """Why the flow could not be followed to its end; None where it was."""


def worst_passage(passages: Sequence[Passage]) -> Passage | None:
    """What is worst of all, of each number by itself; None of none."""
    if not passages:
        return None

    def most(name: str) -> float | None:
        values = [getattr(each, name) for each in passages]
        return max((value for value in values if value is not None), default=None)

    return replace(
        passages[0],
        growth=most("growth"),
        stiffness=most("stiffness"),
        amplification=most("amplification"),
        error=most("error"),
        adaptive=any(each.adaptive for each in passages),
        stopped=next((each.stopped for each in passages if each.stopped), None),
    )


@dataclass(frozen=True)
class Facts:
    """What the theorems ask of a denoiser D at one noise level, and of the iteration with it."""

    algorithm: Algorithm
    data: DataFacts
    denoiser: Bound = Bound()
    """Of D."""
    residual: Bound = Bound()
    """Of I - D."""
    reflected: Bound = Bound()
    """Of 2 D - I."""
    iteration: Bound = Bound()
    """Of the map T, x_{k+1} = T(x_k), that the iteration repeats."""
    differentiable: bool | None = None
    """Whether D has a derivative that agrees with its values, at the points seen."""
    potential: bool = False
    """Whether D is a gradient step on a potential >= 0 by construction, so that J is symmetric."""
    asymmetry: float | None = None
    """||J - J^T||_F / ||J||_F, the largest seen."""
    least: float | None = None
    """A Rayleigh quotient of J, the least seen."""
    homogeneity: float | None = None
    """||D((1 + e) x) - (1 + e) D(x)|| / (e ||D(x)||), the largest seen."""
    radius: float | None = None
    """The largest |eigenvalue| of J that was found to converge."""
    step: float | None = None
    """s of pgd, 1 / R of hqs, admm and drs, t of red, tau of gs; None: free to choose."""
    weight: float = 1.0
    """lambda of red and gs."""
    backtracks: bool = False
    """Whether the step is made smaller until the objective falls enough."""
    last: float | None = None
    """Length of the last step, in units of the image range."""
    attraction: float | None = None
    """|eigenvalue| of J_T, the largest that converged at a point that T was seen to leave where it
    is, less its residual; None where there was none."""
    passage: Passage | None = None
    """Of a flow; see `worst_passage`."""


def closed(
    denoiser: float | None, residual: float | None, reflected: float | None
) -> tuple[float, float, float]:
    """Upper bounds of D, I - D and 2 D - I that follow from some of them; inf where none does.

    2 D - I = D - (I - D); D = (I + (2 D - I)) / 2; where 2 D - I is nonexpansive, D and I - D are.
    """
    infinite = float("inf")
    d, r, c = (infinite if each is None else each for each in (denoiser, residual, reflected))
    d = min(d, 1 + r, (1 + c) / 2)
    r = min(r, 1 + d, (1 + c) / 2)
    return d, r, min(c, 1 + 2 * r, 1 + 2 * d, d + r)
