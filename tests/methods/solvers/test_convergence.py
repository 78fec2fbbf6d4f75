"""Rates are those of iterations of which they are known."""

import math

import pytest
import torch

from challenge.methods.solvers import convergence


def of(function, start):
    x = start
    while True:
        yield x
        x = function(x)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_the_rate_of_a_linear_contraction(rate):
    scale = torch.linspace(0.1, 0.7 * rate, 27).reshape(1, 3, 3, 3)
    scale[0, 1, 1, 1] = rate
    found = convergence.trace(of(lambda x: scale * x + 0.3, torch.rand(1, 3, 3, 3)), 400)
    assert found.rate.law == "linear"
    assert found.rate.value == pytest.approx(rate, rel=2e-2)
    assert not found.rate.diverges
    assert found.contraction <= rate * (1 + 1e-3)


def test_the_power_of_a_sublinear_law():
    found = convergence.fit([3 * k**-1.5 for k in range(1, 60)])
    assert (found.law, found.value) == ("sublinear", pytest.approx(1.5, rel=1e-6))


def test_growing_steps_diverge_and_end_where_they_are_not_finite():
    found = convergence.trace(of(lambda x: 1.3 * x, torch.ones(1, 1, 2, 2)), 40)
    assert found.rate.diverges
    assert found.rate.value == pytest.approx(1.3, rel=1e-3)
    assert found.contraction == pytest.approx(1.3, rel=1e-3)
    ended = convergence.trace(of(lambda x: 1e9 * x, torch.ones(1, 1, 2, 2)), 40)
    assert not math.isfinite(ended.steps[-1])
    assert len(ended.steps) < 10
    assert ended.last.isfinite().all()


@pytest.mark.parametrize("floor", [1e-8, 4e-7, 2e-6])
def test_rounding_is_no_part_of_a_rate(floor):
    """Whatever is left of it by a map that amplifies it."""
    steps = [max(0.5**k, (1 + 0.1 * (k % 3)) * floor) for k in range(1, 120)]
    found = convergence.fit(steps)
    assert (found.law, found.value) == ("linear", pytest.approx(0.5, rel=1e-3))


@pytest.mark.parametrize("rate", [0.9, 0.99, 0.999])
def test_slow_steps_are_no_rounding(rate):
    found = convergence.fit([1e-4 * rate**k for k in range(1, 400)])
    assert (found.law, found.value) == ("linear", pytest.approx(rate, rel=1e-6))


def test_a_few_steps_have_no_rate():
    assert convergence.fit([1, 0.5, 0.25]) is None
    assert convergence.fit([]) is None
    assert convergence.fit([0.0] * 30) is None


def test_rises_are_seen_and_rounding_is_not():
    assert convergence.largest_rise([4, 3, 3 * (1 + 1e-7), 1]) == 0
    assert convergence.largest_rise([4, 2, 3, 1]) == pytest.approx(0.5)
    assert convergence.largest_rise([4.0]) == 0


def test_distance_is_the_root_mean_square():
    assert convergence.distance(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25)) == 0.25
