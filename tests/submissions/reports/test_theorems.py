"""The verdicts over every theorem and assumption: what proves, what refutes, what does neither."""

import dataclasses

import pytest

from challenge.submissions.reports.facts import (
    Bound,
    DataFacts,
    Facts,
    Passage,
    closed,
    worst_passage,
)
from challenge.submissions.reports.theorems import (
    THEOREMS,
    douglas_rachford,
    forward_backward,
    judge,
)

BY_NAME = {theorem.name: theorem for theorem in THEOREMS}
CONVEX = DataFacts(0.5, 1.0, True)
FLAT = DataFacts(0.0, 1.0, True)
ABOVE = Bound(0.9, 1 + 5e-7)
FLOW = Passage("rk4", 4, 0, 16, -0.5, 0.5, 0.9, 1e-4, False)


def flow(**other):
    return {"passage": dataclasses.replace(FLOW, **other)}


GOOD = {
    "Banach": Facts("pgd", CONVEX, iteration=Bound(0.5, 0.9)),
    "Krasnoselskii-Mann": Facts("pgd", FLAT, Bound(0.5, 0.99), reflected=Bound(0.9, 1.0), step=1.9),
    "Ryu et al.": Facts("pgd", CONVEX, residual=Bound(0.2, 0.3), step=0.7),
    "Hurault et al.": Facts(
        "gs", FLAT, residual=Bound(0.7, 0.9), potential=True, step=2.0, weight=0.5
    ),
    "Romano et al.": Facts("red", FLAT, Bound(0.9, 1.0), potential=True, step=0.1),
    "MMSE denoisers": Facts("pgd", FLAT, asymmetry=0.0, least=0.0, step=0.9),
    "Ostrowski": Facts("deq", FLAT, iteration=Bound(0.5, 0.9)),
    "Dahlquist": Facts("neural_ode", FLAT, passage=FLOW),
}
"""Facts with which all holds that can be certified."""

CASES = [
    # theorem, what is different, the assumption's first words, its verdict
    ("Banach", {}, "T has", "holds"),
    ("Banach", {"iteration": Bound(0.5)}, "T has", "not certified"),
    ("Banach", {"iteration": Bound(1.0)}, "T has", "fails"),
    ("Banach", {"iteration": Bound(0.5, 1.0)}, "T has", "not certified"),
    ("Krasnoselskii-Mann", {}, "D averaged", "holds"),
    ("Krasnoselskii-Mann", {"denoiser": Bound(0.5, 0.9), "reflected": Bound()}, "D av", "holds"),
    ("Krasnoselskii-Mann", {"denoiser": Bound(0.9), "reflected": Bound()}, "D av", "not certified"),
    # Not firmly nonexpansive, and averaged perhaps all the same.
    ("Krasnoselskii-Mann", {"denoiser": Bound(0.9), "reflected": Bound(1.4)}, "D av", "not certif"),
    ("Krasnoselskii-Mann", {"denoiser": Bound(1.2), "reflected": Bound(1.4)}, "D av", "fails"),
    # Certified, and not to be at most 1.
    ("Krasnoselskii-Mann", {"denoiser": Bound(0.9), "reflected": ABOVE}, "D av", "not certified"),
    ("Krasnoselskii-Mann", {"algorithm": "drs", "reflected": ABOVE}, "2D - I", "not certified"),
    ("Krasnoselskii-Mann", {}, "f convex", "holds"),
    ("Krasnoselskii-Mann", {}, "0 < s", "holds"),
    ("Krasnoselskii-Mann", {"step": 2.0}, "0 < s", "fails"),
    ("Krasnoselskii-Mann", {"data": DataFacts(0, 1, False)}, "0 < s", "not certified"),
    ("Krasnoselskii-Mann", {"algorithm": "drs"}, "2D - I", "holds"),
    ("Krasnoselskii-Mann", {"algorithm": "drs", "reflected": Bound(1.1)}, "2D - I", "fails"),
    ("Krasnoselskii-Mann", {"algorithm": "admm", "reflected": Bound(1)}, "2D - I", "not certified"),
    ("Krasnoselskii-Mann", {}, "T has a fixed", "holds"),
    ("Krasnoselskii-Mann", {"denoiser": Bound(0.5)}, "T has a fixed", "not certified"),
    # D contracts, and T need not.
    ("Krasnoselskii-Mann", {"step": 2.5}, "T has a fixed", "not certified"),
    ("Krasnoselskii-Mann", {"algorithm": "gs", "step": 1.5}, "T has a fixed", "not certified"),
    ("Krasnoselskii-Mann", {"algorithm": "drs"}, "T has a fixed", "not certified"),
    ("Krasnoselskii-Mann", {"algorithm": "hqs"}, "T has a fixed", "holds"),
    ("Krasnoselskii-Mann", {"algorithm": "gs", "step": 1.0}, "T has a fixed", "holds"),
    ("Krasnoselskii-Mann", {"algorithm": "gs", "step": 1.0}, "tau lambda", "holds"),
    ("Krasnoselskii-Mann", {"algorithm": "gs", "step": 1.5}, "tau lambda", "fails"),
    ("Krasnoselskii-Mann", {"algorithm": "red", "step": 0.6}, "0 < t", "holds"),
    # The limit itself, rounded.
    ("Krasnoselskii-Mann", {"algorithm": "red", "step": 2 / 3 - 1e-9}, "0 < t", "fails"),
    ("Krasnoselskii-Mann", {"algorithm": "red", "step": 0.7}, "0 < t", "fails"),
    ("Krasnoselskii-Mann", {"algorithm": "red"}, "D nonexpansive", "holds"),
    ("Krasnoselskii-Mann", {"algorithm": "hqs"}, "D averaged", "holds"),
    ("Ryu et al.", {}, "I - D", "holds"),
    ("Ryu et al.", {"residual": Bound(3.0, None)}, "I - D", "not certified"),
    ("Ryu et al.", {"algorithm": "drs", "residual": Bound(1.0)}, "I - D", "fails"),
    ("Ryu et al.", {"algorithm": "drs", "residual": Bound(0.9)}, "I - D", "not certified"),
    ("Ryu et al.", {"algorithm": "admm"}, "I - D", "holds"),
    ("Ryu et al.", {}, "f mu", "holds"),
    ("Ryu et al.", {"data": FLAT}, "f mu", "fails"),
    ("Ryu et al.", {"data": DataFacts(0.5, 1, False)}, "f mu", "not certified"),
    ("Ryu et al.", {}, "the step", "holds"),
    ("Ryu et al.", {"step": 0.4}, "the step", "not certified"),  # outside for 0.3, inside for 0.2
    ("Ryu et al.", {"step": 0.3}, "the step", "fails"),  # outside for 0.2
    ("Ryu et al.", {"step": 1.9}, "the step", "fails"),
    ("Ryu et al.", {"step": None}, "the step", "holds"),
    ("Ryu et al.", {"step": None, "data": FLAT}, "the step", "fails"),
    ("Ryu et al.", {"algorithm": "drs", "step": 0.6}, "the step", "holds"),
    ("Ryu et al.", {"algorithm": "drs", "step": 0.3}, "the step", "fails"),
    ("Hurault et al.", {}, "D = I", "holds"),
    ("Hurault et al.", {"potential": False, "asymmetry": 1e-6}, "D = I", "not certified"),
    ("Hurault et al.", {"potential": False, "asymmetry": 0.1}, "D = I", "fails"),
    ("Hurault et al.", {}, "grad g", "holds"),
    ("Hurault et al.", {"residual": Bound(0.9)}, "grad g", "not certified"),
    ("Hurault et al.", {}, "f proper", "holds"),
    ("Hurault et al.", {}, "tau lambda", "holds"),
    ("Hurault et al.", {"residual": Bound(0.9)}, "tau lambda", "not certified"),
    ("Hurault et al.", {"residual": Bound(1.1)}, "tau lambda", "fails"),
    ("Hurault et al.", {"residual": Bound(1.1), "backtracks": True}, "tau lambda", "holds"),
    ("Hurault et al.", {}, "f + lambda g", "holds"),
    ("Hurault et al.", {"potential": False}, "f + lambda g", "not certified"),
    ("Romano et al.", {"differentiable": True}, "D differentiable", "not certified"),
    ("Romano et al.", {"differentiable": False}, "D differentiable", "fails"),
    ("Romano et al.", {"homogeneity": 1e-5}, "D((1", "not certified"),
    ("Romano et al.", {"homogeneity": 0.3}, "D((1", "fails"),
    ("Romano et al.", {}, "J symmetric", "holds"),
    ("Romano et al.", {"potential": False, "asymmetry": 0.2}, "J symmetric", "fails"),
    ("Romano et al.", {}, "strong", "holds"),
    ("Romano et al.", {"denoiser": Bound(1.4)}, "strong", "not certified"),
    ("Romano et al.", {"denoiser": Bound(1.4), "radius": 0.9}, "strong", "not certified"),
    ("Romano et al.", {"denoiser": Bound(1.4), "radius": 1.2}, "strong", "fails"),
    ("Romano et al.", {}, "f + lambda rho", "not certified"),
    ("Romano et al.", {"data": CONVEX}, "f + lambda rho", "holds"),
    ("Romano et al.", {"data": DataFacts(0.5, 1, False)}, "f + lambda rho", "not certified"),
    ("Romano et al.", {"step": 0.7}, "0 < t", "fails"),
    ("MMSE denoisers", {}, "D(x) =", "not certified"),
    ("MMSE denoisers", {"asymmetry": 0.1}, "D(x) =", "fails"),
    ("MMSE denoisers", {"least": -0.1}, "D(x) =", "fails"),
    ("MMSE denoisers", {"differentiable": False}, "D(x) =", "fails"),
    ("MMSE denoisers", {}, "0 < s", "holds"),
    ("MMSE denoisers", {"step": 1.0}, "0 < s", "fails"),
    ("MMSE denoisers", {}, "grad f", "holds"),
    ("Ostrowski", {}, "T has", "holds"),
    ("Ostrowski", {"iteration": Bound(0.5)}, "T has", "not certified"),
    ("Ostrowski", {}, "|eigenvalues", "holds"),
    ("Ostrowski", {"iteration": Bound(1.2)}, "|eigenvalues", "not certified"),
    ("Ostrowski", {"iteration": Bound(1.2), "attraction": 0.9}, "|eigenvalues", "not certified"),
    ("Ostrowski", {"iteration": Bound(1.2), "attraction": 1.0005}, "|eigenvalues", "not certified"),
    ("Ostrowski", {"iteration": Bound(1.2), "attraction": 1.1}, "|eigenvalues", "fails"),
    ("Dahlquist", {}, "<v", "not certified"),
    ("Dahlquist", flow(growth=0.1), "<v", "fails"),
    ("Dahlquist", flow(growth=None), "<v", "not certified"),
    ("Dahlquist", {}, "|R", "not certified"),
    ("Dahlquist", flow(amplification=1.2), "|R", "fails"),
    ("Dahlquist", flow(stiffness=1e6, amplification=None), "|R", "not certified"),
    ("Dahlquist", flow(amplification=1.2, adaptive=True), "|R", "not certified"),
    ("Dahlquist", flow(amplification=None, stopped="too stiff"), "|R", "not certified"),
]


@pytest.mark.parametrize(("name", "other", "words", "verdict"), CASES)
def test_every_assumption_is_judged(name, other, words, verdict):
    theorem = BY_NAME[name]
    facts = dataclasses.replace(GOOD[name], **other)
    assert theorem.speaks_of(facts)
    rows, whole = judge(theorem, facts)
    (row,) = [each for each in rows if each.words.startswith(words)]
    assert row.verdict.startswith(verdict)
    assert row.measured
    found = {each.verdict for each in rows}
    assert whole == next(v for v in ("fails", "not certified", "holds") if v in found)


def test_every_assumption_of_every_theorem_is_in_the_table():
    """Whatever the algorithm: each line is seen to be judged one way and another."""
    seen = {name: set() for name in BY_NAME}
    for name, other, words, _ in CASES:
        rows, _ = judge(BY_NAME[name], dataclasses.replace(GOOD[name], **other))
        seen[name] |= {row.words for row in rows if row.words.startswith(words)}
    for theorem in THEOREMS:
        for algorithm in theorem.algorithms:
            facts = dataclasses.replace(GOOD[theorem.name], algorithm=algorithm)
            missing = {row.words for row in judge(theorem, facts)[0]} - seen[theorem.name]
            assert not missing, (theorem.name, algorithm)


def test_of_several_flows_each_number_is_the_worst():
    slow = dataclasses.replace(FLOW, growth=2.0, error=None)
    stiff = dataclasses.replace(FLOW, growth=None, amplification=7.0, stopped="why")
    for both in ([slow, stiff], [stiff, slow]):
        found = worst_passage(both)
        assert (found.growth, found.amplification, found.error) == (2.0, 7.0, 1e-4)
        assert found.stopped == "why"
    assert worst_passage([]) is None


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda each: each.name)
def test_with_nothing_measured_nothing_is_certified_or_refuted(theorem):
    """Save what is known of f alone."""
    for algorithm in theorem.algorithms:
        rows, whole = judge(theorem, Facts(algorithm, CONVEX))
        assert whole == "not certified"
        assert "fails" not in {row.verdict for row in rows}


@pytest.mark.parametrize("name", ["Banach", "Krasnoselskii-Mann", "Ryu et al.", "Hurault et al."])
def test_what_can_be_certified_as_a_whole_is(name):
    assert judge(BY_NAME[name], GOOD[name])[1] == "holds"


def test_the_interval_of_ryu_is_where_the_map_contracts():
    """Theorem 1, by its own constant on a grid of steps."""
    for epsilon, mu, curvature in [(0.1, 0.5, 1.0), (0.3, 1.0, 1.0), (0.9, 0.2, 2.0)]:
        low, high = forward_backward(epsilon, mu, curvature)
        for k in range(1, 400):
            alpha = k / 100
            constant = (1 + epsilon) * max(abs(1 - alpha * mu), abs(1 - alpha * curvature))
            if abs(constant - 1) > 1e-9:
                assert (constant < 1) == (low < alpha < high)
        assert (low < high) == (epsilon * (curvature - mu) < 2 * mu)


def test_the_bound_of_ryu_for_drs_is_where_the_map_contracts():
    """Theorem 2, by its own constant."""
    for epsilon, mu in [(0.1, 0.5), (0.5, 1.0), (0.9, 0.2)]:
        low = douglas_rachford(epsilon, mu)
        for k in range(1, 4000):
            a = k / 50 * mu
            top = 1 + epsilon + epsilon * a + 2 * epsilon**2 * a
            constant = top / (1 + a + 2 * epsilon * a)
            if abs(constant - 1) > 1e-9:
                assert (constant < 1) == (k / 50 > low)
    assert douglas_rachford(1.0, 1.0) == float("inf")
    assert douglas_rachford(0.3, 0.0) == float("inf")


def test_bounds_follow_from_each_other():
    infinite = float("inf")
    assert closed(None, 0.4, None) == pytest.approx((1.4, 0.4, 1.8))
    assert closed(None, None, 1.0) == (1.0, 1.0, 1.0)  # firmly nonexpansive
    assert closed(1.0, 1.0, None) == (1.0, 1.0, 2.0)  # which does not make it firmly so
    assert closed(None, None, None) == (infinite,) * 3
