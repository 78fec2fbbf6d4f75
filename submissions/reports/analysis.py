"""What the convergence analysis of a method finds: measurements, theorems, and both as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from challenge.submissions.reports.facts import DataFacts, Passage, Verdict
from challenge.submissions.reports.theorems import Judged, Theorem, worst

if TYPE_CHECKING:
    from challenge.methods.plug_and_play.stationary import Algorithm
    from challenge.methods.solvers.convergence import Rate
    from challenge.submissions.reports.subjects import Kind


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    images: int = 2
    size: int | None = None
    """Side of the centre of an image that is taken; None: `scenes.SIDE`, or all of the image where
    the operator sees it as a whole."""
    iterations: int = 100
    levels: tuple[float, ...] = ()
    """Of a denoiser; its usual ones where empty."""
    algorithm: Algorithm | None = None
    """Into which a denoiser alone is plugged."""
    step: float | None = None
    """Of that algorithm; half of 1 / L where None."""
    seed: int = 0


@dataclass(frozen=True)
class Level:
    """A denoiser at one noise level: over all images, the worst."""

    level: float
    norms: dict[str, dict[str, float]]
    """The largest, by the map and the kind of the points."""
    certified: dict[str, float | None]
    """By the map."""
    differentiable: bool
    homogeneity: float
    asymmetry: float | None
    least: float | None
    radius: float | None
    label: str
    """What tells it from the others: `15/255`, `step 2`, `t = 1`."""


@dataclass(frozen=True)
class Course:
    """An iteration of one image."""

    identity: str
    level: float
    algorithm: str
    step: float | None
    weight: float
    backtracks: bool
    data: DataFacts
    steps: tuple[float, ...]
    """||x_{k+1} - x_k||, root mean square, in units of the image range."""
    rate: Rate | None
    expansion: float | None
    """The largest ||J_T|| and r_{k+1} / r_k seen: T stretches at least so much."""
    certified: float | None
    """T stretches at most so much."""
    apart: float | None
    """Between the limits from two starts, as `steps`; None where there is one start."""
    apart_at_start: float | None
    objective: tuple[float, ...] = ()
    radius: float | None = None
    """|eigenvalue| of J_T at the fixed point that was found, the largest that converged, less its
    residual; None where there was none."""
    residual: float | None = None
    """||T(x) - x|| / ||x|| at that point, or the least that was found."""
    passage: Passage | None = None
    """Of a flow: how it is integrated."""

    @property
    def rise(self) -> float | None:
        """The largest relative rise of the objective; None where there is none."""
        from challenge.methods.solvers.convergence import largest_rise

        return largest_rise(self.objective) if self.objective else None


@dataclass(frozen=True)
class Statement:
    """A theorem, judged at every level."""

    theorem: Theorem
    algorithm: str
    levels: tuple[tuple[float, tuple[Judged, ...]], ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst(row.verdict for _, rows in self.levels for row in rows)

    @property
    def rows(self) -> list[Judged]:
        """Every assumption at the level at which it fares worst, which is named if not all do."""
        found = []
        for number, first in enumerate(self.levels[0][1]):
            column = [(level, rows[number]) for level, rows in self.levels]
            verdict = worst(row.verdict for _, row in column)
            level, row = next(each for each in column if each[1].verdict == verdict)
            same = all(each.verdict == verdict for _, each in column)
            where = "" if same else f", at {255 * level:.3g}/255"
            found.append(replace(first, measured=row.measured + where, verdict=verdict))
        return found


@dataclass(frozen=True)
class Analysis:
    """All of it."""

    name: str
    method: str
    kind: Kind
    challenge: str
    settings: Settings
    images: tuple[str, ...]
    levels: tuple[Level, ...]
    courses: tuple[Course, ...]
    statements: tuple[Statement, ...]
    silent: tuple[Theorem, ...] = field(default=())
    """Theorems that do not speak of the algorithm."""
    whole: int | None = None
    """Side of an image whose operator is another one than that of the part that was taken."""

    def to_json(self) -> dict[str, Any]:
        """As JSON can say it; what is not finite is null."""
        return {
            "format": 1,
            **_plain(
                {
                    "name": self.name,
                    "method": self.method,
                    "kind": self.kind,
                    "challenge": self.challenge,
                    "settings": asdict(self.settings),
                    "images": self.images,
                    "whole": self.whole,
                    "precision": "float32",
                    "levels": [asdict(each) for each in self.levels],
                    "iterations": [asdict(each) | {"rise": each.rise} for each in self.courses],
                    "theorems": [
                        {
                            "name": each.theorem.name,
                            "source": each.theorem.source,
                            "statement": each.theorem.statement,
                            "algorithm": each.algorithm,
                            "verdict": each.verdict,
                            "levels": [
                                {"level": level, "assumptions": [asdict(row) for row in rows]}
                                for level, rows in each.levels
                            ],
                        }
                        for each in self.statements
                    ],
                    "silent": [each.name for each in self.silent],
                }
            ),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
