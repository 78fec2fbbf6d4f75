"""A weight that was meant for other noise is told of, one that fits is not."""

import pytest

from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.variational.huber import Huber
from challenge.methods.variational.tv import TV


@pytest.mark.parametrize("method", [TV, Huber])
@pytest.mark.parametrize(
    ("weight", "noise", "words"),
    [
        (0.007, {"sigma": 0.03}, None),
        (0.007, {"sigma": (0.02, 0.05)}, None),
        (0.02, {"sigma": 0.1}, None),
        (0.007, {"sigma": 0.1}, "as for a noise level of about 0.035; here it is 0.1: "),
        (0.007, {"sigma": 0.01}, "here it is 0.01: "),
        (0.007, {"sigma": (0.02, 0.2)}, "here it is 0.02 to 0.2: "),
        (0.007, {"kind": "poisson", "gain": 0.1}, "here it is 0.2"),
    ],
)
def test_a_weight_for_other_noise_is_told_of(method, weight, noise, words):
    said = method(weight=weight).advice(toy_problem(noise=noise), toy_images())
    if words is None:
        assert said is None
    else:
        assert words in said
        remedy = "`method.weight=null` tunes it" if method is TV else "`--sweep method.weight="
        assert remedy in said


@pytest.mark.parametrize(
    ("operator", "boundary"), [("blur", "valid"), ("downsampling", None), ("inpainting", None)]
)
def test_it_is_told_on_every_operator(operator, boundary):
    problem = toy_problem(operator=operator, boundary=boundary, noise={"sigma": 0.2})
    assert "here it is 0.2" in TV().advice(problem, toy_images())


def test_a_weight_that_is_tuned_needs_no_advice():
    assert TV(weight=None).advice(toy_problem(noise={"sigma": 0.2}), toy_images()) is None
