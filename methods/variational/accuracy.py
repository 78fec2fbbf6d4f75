"""How exactly a hypergradient was computed: its lower level and its adjoint system."""

from __future__ import annotations

import math

from challenge.methods.solvers.implicit import Report, error_bound
from challenge.methods.solvers.solution import Minimum


def accuracy(found: Minimum | None, report: Report) -> dict[str, float]:
    """Numbers for the log; see `solvers.implicit`.

    `lower` and `adjoint` are residuals, the largest of the batch; `bound` estimates the relative
    error of the hypergradient from them and the curvature that the adjoint solve met.

    Args:
        found: the solution of the lower level; None before the first.
        report: of the adjoint solve, empty where there was none.
    """
    if found is None:
        return {}
    values: dict[str, float] = {
        "lower": float(found.residual.max()),
        "lower_steps": found.iterations,
    }
    if report.residual is None or report.curvature is None:
        return values
    assert report.adjoint is not None and report.right is not None
    pixels = found.x[0].numel()
    curvature = report.curvature.clamp_min(1e-12)
    bound = error_bound(
        lower=found.residual * math.sqrt(pixels),
        adjoint=report.residual * report.right,
        convexity=curvature,
        sensitivity=1 / report.adjoint.clamp_min(1e-30),
        smoothness=1 / (pixels * len(curvature)),
        adjoint_norm=report.adjoint,
    )
    return values | {
        "adjoint": float(report.residual.max()),
        "adjoint_steps": report.iterations,
        "curvature": float(report.curvature.min()),
        "bound": float(bound.max()),
    }
