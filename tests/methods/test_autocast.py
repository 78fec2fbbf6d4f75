"""What is no network computes in float32 where networks compute in 16 bits."""

import pytest
import torch

from challenge.methods import build, toy_problem
from challenge.methods.contract_test import COLOURED
from challenge.methods.plug_and_play.denoisers import denoise
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms.cosine import from_opponent, to_opponent

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BLURS = [("blur", rule) for rule in ("circular", "valid", "reflect")]
PROBLEMS = [*BLURS, *((kind, None) for kind in COLOURED if kind != "blur")]


def same(function):
    """The value of a function with and without autocast."""
    exact = function()
    with torch.autocast("cpu", torch.bfloat16):
        found = function()
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


@pytest.mark.parametrize(("kind", "rule"), PROBLEMS)
def test_operators_and_data_steps_are_exact(kind, rule):
    y, physics = toy_problem(operator=kind, boundary=rule).measure(X, [0, 1])
    same(lambda: physics.A(X))
    same(lambda: physics.A_adjoint(y))
    same(lambda: DataTerm(y, physics).gradient(X))
    same(lambda: DataTerm(y, physics).prox(X, torch.full((1, 1, 1, 1), 0.1)))


@pytest.mark.parametrize("transform", [to_opponent, from_opponent])
def test_colours_are_exact(transform):
    same(lambda: transform(X))


@pytest.mark.parametrize(
    "section", [{"name": "tv", "weight": "usual"}, {"name": "wavelet"}, {"name": "bm3d"}]
)
def test_denoisers_without_a_network_are_exact(section):
    method = build(section).eval()
    with torch.no_grad():
        same(lambda: denoise(method, X, 0.1))
