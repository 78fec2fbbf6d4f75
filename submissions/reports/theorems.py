"""The convergence theorems of the course as data: assumptions, and what decides that they hold.

Of every assumption, what was measured and a verdict: `holds` follows from the construction or from
a certified bound; `fails` was seen at a point; `not certified` is everything else, however well it
looks. An assumption that fails takes the theorem away, not the convergence.

    f(x) = 1/2 ||A x - y||^2,   mu = least, L = largest eigenvalue of A^T A,   J = Jacobian of D
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from challenge.submissions.reports.facts import ROUNDING, Algorithm, Bound, Facts, Verdict

Finding = tuple[str, Verdict]
"""What was measured, in words, and what that says."""

SYMMETRIC = 1e-3
"""An asymmetry below is float32's rounding."""
HOMOGENEOUS = 1e-2
"""A deviation below is float32's rounding of a difference."""
NEGATIVE = -1e-3
"""A Rayleigh quotient below is no rounding."""
FLAT = 1e-7
"""An eigenvalue of so small a share of the largest one is 0 in float32."""
ROUNDED = 1e-6
"""A step so close to a limit, relatively, may be the limit itself, rounded."""


@dataclass(frozen=True)
class Assumption:
    """One line of a theorem."""

    words: str
    judge: Callable[[Facts], Finding]


@dataclass(frozen=True)
class Theorem:
    """A theorem, for the algorithms it speaks of."""

    name: str
    source: str
    statement: str
    algorithms: tuple[Algorithm, ...]
    assumptions: Callable[[Facts], Sequence[Assumption]]
    """For the algorithm at hand."""

    def speaks_of(self, facts: Facts) -> bool:
        """Whether the theorem is about this algorithm."""
        return facts.algorithm in self.algorithms

    @property
    def takes_denoisers(self) -> bool:
        """Whether a denoiser can be plugged into one of its algorithms."""
        return bool(set(self.algorithms) - {"deq", "neural_ode"})


@dataclass(frozen=True)
class Judged:
    """An assumption with what was found."""

    words: str
    measured: str
    verdict: Verdict


def judge(theorem: Theorem, facts: Facts) -> tuple[list[Judged], Verdict]:
    """Every assumption, and the theorem: it holds where all do, and fails where one does."""
    rows = [Judged(each.words, *each.judge(facts)) for each in theorem.assumptions(facts)]
    return rows, worst(row.verdict for row in rows)


def judge_all(theorem: Theorem, facts: Iterable[Facts]) -> tuple[Judged, ...]:
    """Every assumption, where it fares worst."""
    columns = zip(*(judge(theorem, each)[0] for each in facts), strict=True)
    return tuple(min(column, key=lambda row: _ORDER.index(row.verdict)) for column in columns)


_ORDER: list[Verdict] = ["fails", "not certified", "holds"]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """`fails` before `not certified` before `holds`."""
    return min(verdicts, key=_ORDER.index)


# What is judged.


def _bound(name: str, limit: float = 1, *, strictly: bool = False) -> Callable[[Facts], Finding]:
    def found(facts: Facts) -> Finding:
        bound: Bound = getattr(facts, name)
        return str(bound), bound.below(limit) if strictly else bound.at_most(limit)

    return found


def _averaged(facts: Facts) -> Finding:
    """(1 - a) I + a R with a nonexpansive R, 0 < a < 1: a = 1/2 where 2 D - I is nonexpansive."""
    words = f"D {facts.denoiser}; 2D - I {facts.reflected}"
    if facts.reflected.at_most(1) == "holds" or facts.denoiser.below(1) == "holds":
        return words, "holds"
    return words, "fails" if facts.denoiser.at_most(1) == "fails" else "not certified"


def _quadratic(facts: Facts) -> Finding:
    return "a least squares term", "holds"


def _step(facts: Facts, most: float, formula: str) -> Finding:
    """0 < s < most, where `most` depends on L alone."""
    if facts.step is None:
        return f"free to choose in (0, {most:.3g})", "holds"
    words = f"s = {facts.step:.3g}, {formula} = {most:.3g}"
    # Where L is a lower bound, the true limit is smaller still.
    if facts.step >= most * (1 - ROUNDED):
        return words, "fails"
    return words, "holds" if facts.data.exact else "not certified"


def _relaxation(facts: Facts) -> Finding:
    """T is (1 - tau lambda) I + tau lambda D before the prox: averaged as D is, where it mixes."""
    if facts.step is None:
        return "free to choose in (0, 1]", "holds"
    share = facts.step * facts.weight
    return f"tau lambda = {share:.3g}", "holds" if share <= 1 + ROUNDED else "fails"


def _fixed_point(facts: Facts) -> Finding:
    """One, where T contracts: what is added to D in T is nonexpansive, for such steps."""
    last = "no iteration" if facts.last is None else f"last step {facts.last:.1e}"
    if facts.denoiser.below(1) != "holds":
        return last, "not certified"
    rest: Verdict = "not certified"
    if facts.algorithm == "pgd":
        _, rest = _step(facts, 2 / facts.data.curvature, "")
    elif facts.algorithm == "gs":
        _, rest = _relaxation(facts)
    elif facts.algorithm == "hqs":
        rest = "holds"
    return ("D contracts", "holds") if rest == "holds" else (last, "not certified")


def _strongly_convex(facts: Facts) -> Finding:
    mu = facts.data.mu
    words = f"mu {'=' if facts.data.exact else '<='} {mu:.2e}, L = {facts.data.curvature:.3g}"
    if mu <= FLAT * facts.data.curvature:
        return words, "fails"
    return words, "holds" if facts.data.exact else "not certified"


def _has_minimiser(facts: Facts) -> Finding:
    """Of f plus what is convex and differentiable: one, where f is strongly convex."""
    words, verdict = _strongly_convex(facts)
    return words, "holds" if verdict == "holds" else "not certified"


def forward_backward(epsilon: float, mu: float, curvature: float) -> tuple[float, float]:
    """The open interval of the step for which D(x - s grad f(x)) contracts; empty where a >= b."""
    share = epsilon / (1 + epsilon)
    return (share / mu if mu > 0 else float("inf")), (2 - share) / curvature


def douglas_rachford(epsilon: float, mu: float) -> float:
    """What alpha must exceed; inf where nothing is enough."""
    if epsilon >= 1 or mu <= 0:
        return float("inf")
    return epsilon / ((1 + epsilon - 2 * epsilon**2) * mu)


def _ryu_step(facts: Facts) -> Finding:
    mu, curvature = facts.data.mu, facts.data.curvature

    def inside(epsilon: float) -> tuple[str, bool]:
        if facts.algorithm == "pgd":
            low, high = forward_backward(epsilon, mu, curvature)
        else:
            low, high = douglas_rachford(epsilon, mu), float("inf")
        words = f"({low:.3g}, {high:.3g})" if low < high else "empty"
        there = low < high if facts.step is None else low < facts.step < high
        return words, there

    given = "some step" if facts.step is None else f"alpha = {facts.step:.3g}"
    if facts.residual.upper is not None:
        words, there = inside(facts.residual.upper)
        if there:
            return f"{given}, in {words}", "holds" if facts.data.exact else "not certified"
    # The interval shrinks with epsilon: what is outside for less is outside.
    words, there = inside(facts.residual.lower or 0.0)
    return f"{given}, in {words} at most", "not certified" if there else "fails"


def _gradient(facts: Facts) -> Finding:
    if facts.potential:
        return "by construction", "holds"
    if facts.asymmetry is None:
        return "not measured", "not certified"
    words = f"asymmetry {facts.asymmetry:.2g}"
    return words, "fails" if facts.asymmetry > SYMMETRIC else "not certified"


def _smooth(facts: Facts) -> Finding:
    return str(facts.residual), "holds" if facts.residual.upper is not None else "not certified"


def _hurault_step(facts: Facts) -> Finding:
    if facts.backtracks:
        return "by backtracking", "holds"
    if facts.step is None:
        return "free to choose", "holds" if facts.residual.upper is not None else "not certified"
    share = facts.step * facts.weight
    return f"tau lambda = {share:.3g}, L_g {facts.residual}", facts.residual.below(1 / share)


def _bounded_below(facts: Facts) -> Finding:
    if facts.potential:
        return "f >= 0, g >= 0", "holds"
    return "f >= 0; g is not known", "not certified"


def _differentiable(facts: Facts) -> Finding:
    if facts.differentiable is None:
        return "not measured", "not certified"
    if not facts.differentiable:
        return "its derivative is not that of its values", "fails"
    return "at the points seen", "not certified"


def _homogeneous(facts: Facts) -> Finding:
    if facts.homogeneity is None:
        return "not measured", "not certified"
    words = f"deviation {facts.homogeneity:.2g}"
    return words, "fails" if facts.homogeneity > HOMOGENEOUS else "not certified"


def _passive(facts: Facts) -> Finding:
    if facts.denoiser.at_most(1) == "holds":
        return f"D {facts.denoiser}", "holds"
    if facts.radius is None:
        return "no eigenvalue converged", "not certified"
    verdict: Verdict = "fails" if facts.radius > 1 + 10 * SYMMETRIC else "not certified"
    return f"an eigenvalue of {facts.radius:.3g}", verdict


def _posterior_mean(facts: Facts) -> Finding:
    """J = Cov(x_0 | x) / sigma^2 of a posterior mean: symmetric, positive semidefinite."""
    parts = []
    if facts.asymmetry is not None:
        parts.append(f"asymmetry {facts.asymmetry:.2g}")
    if facts.least is not None:
        parts.append(f"<v, J v> >= {facts.least:.2g}")
    wrong = (facts.asymmetry or 0) > SYMMETRIC or (facts.least or 0) < NEGATIVE
    if facts.differentiable is False:
        return "its derivative is not that of its values", "fails"
    return ", ".join(parts) or "not measured", "fails" if wrong else "not certified"


# The theorems.


def _banach(facts: Facts) -> Sequence[Assumption]:
    return [Assumption("T has a Lipschitz constant q < 1", _bound("iteration", strictly=True))]


def _krasnoselskii(facts: Facts) -> Sequence[Assumption]:
    curvature, weight = facts.data.curvature, facts.weight
    convex = Assumption("f convex, grad f L-Lipschitz", _quadratic)
    there = Assumption("T has a fixed point", _fixed_point)
    averaged = Assumption("D averaged", _averaged)
    if facts.algorithm == "pgd":
        step = Assumption("0 < s < 2 / L", lambda facts: _step(facts, 2 / curvature, "2 / L"))
        return [averaged, convex, step, there]
    if facts.algorithm in ("admm", "drs"):
        return [Assumption("2D - I nonexpansive", _bound("reflected")), convex, there]
    if facts.algorithm == "red":
        most, formula = 2 / (curvature + 2 * weight), "2 / (L + 2 lambda)"
        step = Assumption(f"0 < t < {formula}", lambda facts: _step(facts, most, formula))
        return [Assumption("D nonexpansive", _bound("denoiser")), convex, step, there]
    if facts.algorithm == "gs":
        return [averaged, convex, Assumption("tau lambda <= 1", _relaxation), there]
    return [averaged, convex, there]


def _ryu(facts: Facts) -> Sequence[Assumption]:
    contraction = "epsilon-Lipschitz, epsilon < 1" if facts.algorithm != "pgd" else ""

    def residual(facts: Facts) -> Finding:
        bound = facts.residual
        if contraction:
            return str(bound), bound.below(1)
        return str(bound), "holds" if bound.upper is not None else "not certified"

    return [
        Assumption(f"I - D {contraction or 'epsilon-Lipschitz'}", residual),
        Assumption("f mu-strongly convex, grad f L-Lipschitz", _strongly_convex),
        Assumption("the step lies in the interval", _ryu_step),
    ]


def _hurault(facts: Facts) -> Sequence[Assumption]:
    return [
        Assumption("D = I - grad g", _gradient),
        Assumption("grad g = I - D is L_g-Lipschitz", _smooth),
        Assumption("f proper, closed, convex", _quadratic),
        Assumption("tau lambda L_g < 1", _hurault_step),
        Assumption("f + lambda g bounded below", _bounded_below),
    ]


def _romano(facts: Facts) -> Sequence[Assumption]:
    found = [
        Assumption("D differentiable", _differentiable),
        Assumption("D((1 + e) x) = (1 + e) D(x)", _homogeneous),
        Assumption("J symmetric", _gradient),
        Assumption("strong passivity: |eigenvalues of J| <= 1", _passive),
        Assumption("f + lambda rho has a minimiser", _has_minimiser),
    ]
    if facts.algorithm == "red":
        most, formula = 2 / (facts.data.curvature + 2 * facts.weight), "2 / (L + 2 lambda)"
        found.append(Assumption(f"0 < t < {formula}", lambda facts: _step(facts, most, formula)))
    return found


def _mmse(facts: Facts) -> Sequence[Assumption]:
    return [
        Assumption("D(x) = E[x_0 | x], the noise Gaussian", _posterior_mean),
        Assumption("grad f L-Lipschitz", _quadratic),
        Assumption("0 < s < 1 / L", lambda facts: _step(facts, 1 / facts.data.curvature, "1 / L")),
    ]


def _attracts(facts: Facts) -> Finding:
    if facts.iteration.below(1) == "holds":
        return f"T {facts.iteration}", "holds"
    if facts.attraction is None:
        return "no eigenvalue converged at a fixed point", "not certified"
    words = f"an eigenvalue of {facts.attraction:.3g}"
    return words, "fails" if facts.attraction > 1 + ROUNDING else "not certified"


def _one_sided(facts: Facts) -> Finding:
    if facts.passage is None or facts.passage.growth is None:
        return "not measured", "not certified"
    m = facts.passage.growth
    return f"m >= {m:.3g}", "fails" if m > SYMMETRIC else "not certified"


def _steps_are_stable(facts: Facts) -> Finding:
    if facts.passage is None:
        return "not measured", "not certified"
    found = facts.passage
    if found.stopped is not None:
        return "too stiff to follow", "not certified"
    if found.amplification is None:
        return "no eigenvalue converged", "not certified"
    words = f"|R| = {found.amplification:.3g}"
    if found.adaptive:  # h is a mean, and every step was held to the tolerance
        return f"{words}, by its tolerance", "not certified"
    return words, "fails" if found.amplification > 1 + ROUNDING else "not certified"


def _ostrowski(facts: Facts) -> Sequence[Assumption]:
    return [
        Assumption("T has a fixed point x*", _reached),
        Assumption("|eigenvalues of J_T(x*)| < 1", _attracts),
    ]


def _reached(facts: Facts) -> Finding:
    words = "no iteration" if facts.last is None else f"last step {facts.last:.1e}"
    return words, "holds" if facts.iteration.below(1) == "holds" else "not certified"


def _dahlquist(facts: Facts) -> Sequence[Assumption]:
    return [
        Assumption("<v(x) - v(z), x - z> <= 0", _one_sided),
        Assumption("|R(h lambda)| <= 1, Re lambda <= 0", _steps_are_stable),
    ]


ALL: tuple[Algorithm, ...] = ("pgd", "hqs", "admm", "drs", "red", "gs")

THEOREMS = (
    Theorem(
        "Banach",
        "Banach 1922",
        "If T is Lipschitz with a constant q < 1, it has one fixed point x*, and from every start "
        "||x_k - x*|| <= q^k / (1 - q) ||x_1 - x_0||.",
        (*ALL, "unrolled", "deq"),
        _banach,
    ),
    Theorem(
        "Ostrowski",
        "Ostrowski 1960; Ortega, Rheinboldt 1970, 10.1.3, 10.1.4",
        "If T is differentiable at a fixed point x* and rho, the largest |eigenvalue| of J_T(x*), "
        "is below 1, then x_k converges to x* from every start near it, with the rate rho.",
        ("deq",),
        _ostrowski,
    ),
    Theorem(
        "Dahlquist",
        "Dahlquist 1958, 1963; Hairer, Wanner 1996, IV.2, IV.12",
        "If <v(x, t) - v(z, t), x - z> <= m ||x - z||^2, two flows of x' = v(x, t) part by "
        "e^{m t} at most. An explicit method's steps of length h inherit that they do not part "
        "only where |R(h lambda)| <= 1 for every eigenvalue lambda of dv/dx, R(z) being what a "
        "step of x' = lambda x, z = h lambda, multiplies x by.",
        ("neural_ode",),
        _dahlquist,
    ),
    Theorem(
        "Krasnoselskii-Mann",
        "Krasnoselskii 1955, Mann 1953; Bauschke, Combettes 2017, theorem 5.15",
        "If T = (1 - a) I + a R, R nonexpansive, 0 < a < 1, has a fixed point, then x_k converges "
        "to one, and ||x_{k+1} - x_k||^2 <= a / (1 - a) dist(x_0, Fix T)^2 / (k + 1). T is such "
        "an averaged map under the assumptions below.",
        ALL,
        _krasnoselskii,
    ),
    Theorem(
        "Ryu et al.",
        "Ryu, Liu, Wang, Chen, Wang, Yin 2019, theorems 1 and 2, corollary 3",
        "If I - D is epsilon-Lipschitz and f mu-strongly convex, T contracts: of pgd, where grad f "
        "is L-Lipschitz, with max(|1 - alpha mu|, |1 - alpha L|) (1 + epsilon), below 1 for "
        "epsilon / (mu (1 + epsilon)) < alpha < 2 / L - epsilon / (L (1 + epsilon)); of drs and "
        "admm, where epsilon < 1, for alpha > epsilon / (mu (1 + epsilon - 2 epsilon^2)).",
        ("pgd", "drs", "admm"),
        _ryu,
    ),
    Theorem(
        "Hurault et al.",
        "Hurault, Leclaire, Papadakis 2022, theorem 1",
        "If D = I - grad g with an L_g-Lipschitz grad g, f is convex, F = f + lambda g bounded "
        "below and tau lambda L_g < 1, then F(x_k) falls, ||x_{k+1} - x_k|| -> 0, and every "
        "cluster point of x <- prox_{tau f}(x - tau lambda (x - D(x))) is a stationary point of F.",
        ("gs", "hqs"),
        _hurault,
    ),
    Theorem(
        "Romano et al.",
        "Romano, Elad, Milanfar 2017; Reehorst, Schniter 2019 (symmetry)",
        "If D is differentiable, homogeneous near every image, strongly passive, and J symmetric, "
        "then rho(x) = 1/2 <x, x - D(x)> is convex with the gradient x - D(x), and gradient "
        "descent on f + lambda rho, where that has a minimiser, reaches one. Without symmetry "
        "x - D(x) is the gradient of nothing.",
        ("red",),
        _romano,
    ),
    Theorem(
        "MMSE denoisers",
        "Gribonval 2011; Xu et al. 2020; Pritchard, Parhi, arXiv 2510.27211 (constants: here)",
        "If D is the posterior mean under Gaussian noise, D = prox_phi with a 1-weakly convex phi, "
        "the upper Moreau envelope of the negative log-marginal density, and for s L < 1 "
        "F = s f + phi falls along pgd, min_{k < K} ||x_{k+1} - x_k||^2 <= "
        "2 (F(x_0) - inf F) / ((1 - s L) K).",
        ("pgd",),
        _mmse,
    ),
)
