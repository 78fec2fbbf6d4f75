"""Runge-Kutta methods for x' = v(x, t), every image with steps of its own.

    k_i = v(x + h sum_j a_ij k_j, t + c_i h),   x+ = x + h sum_i b_i k_i

    euler     order 1, one stage: a residual block x + h v(x)
    heun      order 2, two stages
    rk4       order 4, four stages                        (Kutta 1901)
    dopri5    order 5, seven stages, with an embedded method of order 4 (Dormand, Prince 1980)

With `tolerance`, dopri5 chooses h so that of every step the difference e of both orders, of every
image by itself, is at most

    ||e|| <= tolerance max(||x||, ||x+||),   h <- 0.9 h (tolerance / error)^(1/5)

(Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4). A stiff flow shows by
steps that get ever shorter: explicit methods need h |lambda| below 2 to 3.4 for every eigenvalue of
dv/dx, however smooth the solution is (`stability`). It is told, with the time and the step, not
waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from challenge.configs.errors import UserError

Solver = Literal["euler", "heun", "rk4", "dopri5"]
Field = Callable[[Tensor, Tensor], Tensor]
"""v(x, t): x of shape (B, ...), t of shape (B,)."""


class Tableau(NamedTuple):
    """The numbers of a method (Butcher)."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None
    """b less that of the embedded method."""

    @property
    def c(self) -> list[float]:
        """Where in a step each stage is."""
        return [sum(row) for row in self.a]


_B5 = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
_B4 = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
TABLEAUX: dict[str, Tableau] = {
    "euler": Tableau(((),), (1.0,), 1),
    "heun": Tableau(((), (1.0,)), (0.5, 0.5), 2),
    "rk4": Tableau(((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), 4),
    "dopri5": Tableau(
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            _B5[:6],
        ),
        _B5,
        5,
        tuple(five - four for five, four in zip(_B5, _B4, strict=True)),
    ),
}
SAFETY, SLOWEST, FASTEST = 0.9, 0.2, 5.0
"""Of the next step: what is kept back, and the least and the most it is, in units of the last."""
ROUNDINGS = 16
"""A step of so many units of rounding of the time goes nowhere."""


@dataclass(frozen=True)
class Rule:
    """How a flow is integrated: in so many equal steps, or to a tolerance."""

    solver: Solver = "rk4"
    steps: int = 4
    tolerance: float | None = None
    """Of every step, relative to the norm of x; only of `dopri5`."""
    most: int = 1000
    """Steps, rejected ones included, after which it is given up."""

    @property
    def tableau(self) -> Tableau:
        """The numbers of the method."""
        return TABLEAUX[self.solver]


@dataclass
class Flow:
    """What came out."""

    x: Tensor
    """x at the end, shape (B, ...)."""
    steps: int = 0
    """Of the image that took most."""
    rejected: int = 0
    """Of the image that had most."""
    evaluations: int = 0
    """Of v, for the batch."""
    path: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    """Some of the places, first and last among them: how often an image had moved by then, t of
    shape (B,), x."""


OnStep = Callable[[Tensor, Tableau], None]
"""Told after every step: h of every image, shape (B,), 0 where none was made."""


def integrate(
    v: Field,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    rule: Rule,
    *,
    keep: int = 0,
    parts: int = 1,
    on_step: OnStep | None = None,
    remedy: str = "give a larger tolerance, or a shorter time",
) -> Flow:
    """Follow the flow of v, differentiable in all that v was made of.

    Args:
        v: the field, image by image.
        x: where to begin, shape (B, ...).
        begin: the time there, shape (B,).
        end: until when, shape (B,); before `begin` too.
        rule: steps or a tolerance.
        keep: so many steps of the path are kept at most, evenly spread, beside the ends.
        parts: of x, stacked in its second dimension, that have a tolerance each.
        on_step: called after every step.
        remedy: what the user can do where it fails.

    Raises:
        UserError: a step of no length, values that are not finite, more than `rule.most` steps, a
            tolerance below rounding.
    """
    if rule.tolerance is None:
        return _fixed(v, x, begin, end, rule, keep, on_step)
    least = 10 * torch.finfo(x.dtype).eps
    if rule.tolerance < least:
        kind = str(x.dtype).removeprefix("torch.")
        cause = (
            f"a tolerance of `{rule.tolerance:.3g}` cannot be met: {kind} rounds by `{least:.1g}`"
        )
        raise UserError.of("the flow", cause, remedy)
    return _adaptive(v, x, begin, end, rule, rule.tolerance, keep, parts, on_step, remedy)


def _fixed(
    v: Field, x: Tensor, begin: Tensor, end: Tensor, rule: Rule, keep: int, on_step: OnStep | None
) -> Flow:
    flow, tableau = Flow(x), rule.tableau
    h = (end - begin) / rule.steps
    _keep(flow, keep, 0, begin)
    for k in range(rule.steps):
        flow.x, _ = advance(v, flow.x, begin + k * h, h, tableau)
        flow.steps += 1
        flow.evaluations += len(tableau.b)
        if on_step is not None:
            on_step(h, tableau)
        _keep(flow, keep, k + 1, begin + (k + 1) * h, last=k + 1 == rule.steps)
    return flow


def _adaptive(
    v: Field,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    rule: Rule,
    tolerance: float,
    keep: int,
    parts: int,
    on_step: OnStep | None,
    remedy: str,
) -> Flow:
    flow, tableau, t = Flow(x, evaluations=1), rule.tableau, begin
    span = (end - begin).abs()
    sign = torch.sign(end - begin)
    power = 1 / tableau.order
    with torch.no_grad():
        speed = _norms(v(x, t), parts) / _norms(x, parts).clamp_min(torch.finfo(x.dtype).tiny)
        # An error of (h |v| / |x|)^5, about, were v no smoother than that.
        h = 0.5 * tolerance**power / speed.nan_to_num(1.0).amax(1).clamp_min(1e-12)
    count = x.new_zeros(len(x), dtype=torch.long)
    steps, rounds = torch.zeros_like(count), 0
    _keep(flow, keep, 0, t)
    while bool((t != end).any()):
        active = t != end
        rest = (end - t).abs()
        h = torch.where(active, h.minimum(rest), 0.0)
        following, error = advance(v, flow.x, t, sign * h, tableau)
        flow.evaluations += len(tableau.b)
        with torch.no_grad():
            size = torch.maximum(_norms(flow.x, parts), _norms(following, parts))
            off = _norms(error, parts) / (tolerance * size).clamp_min(torch.finfo(x.dtype).tiny)
            off = torch.where(off.isfinite(), off, torch.inf).amax(1)
            begun = t
            accepted = active & (off <= 1)
            factor = (SAFETY * off.clamp_min(1e-10) ** -power).clamp(SLOWEST, FASTEST)
            made = torch.where(accepted, sign * h, 0.0)
            t = torch.where(accepted, torch.where(h >= rest, end, t + made), t)
            count += active
            steps += accepted
            rounds += int(accepted.any())
            flow.steps, flow.rejected = int(steps.max()), int((count - steps).max())
            step, h = h, h * factor
            short = active & ~accepted & (h <= ROUNDINGS * torch.finfo(x.dtype).eps * span)
            if bool(short.any()) or int(count.max()) >= rule.most:
                place = int(short.to(torch.int).argmax() if bool(short.any()) else count.argmax())
                _give_up(place, t, step, count, bool(short.any()), tolerance, remedy)
            broken = bool((active & off.isinf()).any())
        if broken and (on_step is not None or following.requires_grad):
            # What a rejected step left that is no number has a gradient of no number, whatever it
            # is multiplied by: the image stays where it is instead.
            following, _ = advance(v, flow.x, begun, made, tableau)
            flow.evaluations += len(tableau.b)
        mask = accepted.reshape(-1, *[1] * (x.dim() - 1))
        flow.x = torch.where(mask, following, flow.x)
        if on_step is not None:
            on_step(made, tableau)
        _keep(flow, keep, rounds, t, last=not bool((t != end).any()))
    return flow


def advance(v: Field, x: Tensor, t: Tensor, h: Tensor, tableau: Tableau) -> tuple[Tensor, Tensor]:
    """One step of every image, and its error (0 where there is no embedded method).

    Args:
        v: the field.
        x: shape (B, ...).
        t: shape (B,).
        h: signed, shape (B,).
        tableau: of the method.
    """
    length = h.reshape(-1, *[1] * (x.dim() - 1))
    slopes: list[Tensor] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        at = x
        for a, k in zip(row, slopes, strict=True):
            at = at + (a * length) * k if a else at
        slopes.append(v(at, t + c * h))

    def mean(weights: tuple[float, ...]) -> Tensor:
        found = torch.zeros_like(x)
        for b, k in zip(weights, slopes, strict=True):
            found = found + b * k if b else found
        return found

    if len(slopes) == 1:
        return x + length * slopes[0], torch.zeros_like(x)
    error = torch.zeros_like(x) if tableau.error is None else length * mean(tableau.error).detach()
    return x + length * mean(tableau.b), error


def stability(tableau: Tableau, z: Tensor) -> Tensor:
    """R(z), by which a step of x' = lambda x multiplies x, z = h lambda: complex, of any shape.

    R(z) = 1 + z b^T (1 - z a)^-1 (1, ..., 1)^T. The region of stability is |R(z)| <= 1; of its
    left half, the largest |z| is 2 (euler), 2.19 (heun), 2.96 (rk4), 3.39 (dopri5), and on the
    negative axis 2, 2, 2.785 and 3.307.
    """
    slopes: list[Tensor] = []
    for row in tableau.a:
        at = sum((a * k for a, k in zip(row, slopes, strict=True)), torch.zeros_like(z))
        slopes.append(1 + z * at)
    return 1 + z * sum((b * k for b, k in zip(tableau.b, slopes, strict=True)), torch.zeros_like(z))


def _norms(x: Tensor, parts: int) -> Tensor:
    """Of every image and part, shape (B, parts)."""
    found: Tensor = x.detach().reshape(len(x), parts, -1).norm(dim=2)
    return found


def _keep(flow: Flow, keep: int, number: int, t: Tensor, last: bool = False) -> None:
    """Keep a place of the path; where there are too many, every second one goes."""
    if not keep:
        return
    if flow.path and flow.path[-1][0] == number:  # no image moved
        return
    stride = flow.path[1][0] - flow.path[0][0] if len(flow.path) > 1 else 1
    if not last and number % stride:
        return
    flow.path.append((number, t, flow.x.detach()))
    if len(flow.path) > keep + 1 and not last:
        flow.path = flow.path[::2]


def _give_up(
    place: int,
    t: Tensor,
    h: Tensor,
    count: Tensor,
    short: bool,
    tolerance: float,
    remedy: str,
) -> None:
    where = f"image {place + 1} of {len(t)}"
    at = f"at t = {float(t[place]):.3g} a step of `{float(h[place]):.2g}`"
    cause = (
        f"the flow is too stiff for an explicit method: {at} is still too long for the tolerance "
        f"`{tolerance:.3g}`"
        if short
        else f"the flow did not come to its end in {int(count[place])} steps: {at}, tolerance "
        f"`{tolerance:.3g}`"
    )
    raise UserError.of(where, cause, remedy)
