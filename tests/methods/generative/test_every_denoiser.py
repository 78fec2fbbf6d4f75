"""By Tweedie's formula every denoiser is a score network, and is sampled as one."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods import from_source, registry
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.generative import samplers
from challenge.methods.generative.diffusion import Diffusion
from challenge.methods.generative.processes import VarianceExploding
from challenge.methods.plug_and_play.denoisers import Denoiser, denoise
from tests.methods.test_contract import make

DENOISERS = [name for name in registry.METHODS if from_source.operators(name) == ("identity",)]


@pytest.mark.parametrize("name", [*DENOISERS, "tv"])
def test_every_denoiser_is_sampled(name):
    method = make(name).eval()
    process = VarianceExploding(low=0.01, high=0.2)

    @torch.no_grad()
    def known(x, s):
        return denoise(method, x, s)

    x = torch.rand(1, 3, 24, 24)
    found = samplers.probability_flow(process, known, x, 2)
    assert found.shape == x.shape
    assert found.isfinite().all()


@pytest.mark.parametrize("guidance", ["diffpir", "pigdm"])
@pytest.mark.parametrize("name", [*DENOISERS, "tv"])
def test_every_denoiser_is_the_prior_of_posterior_samples(name, guidance):
    """Through what has no derivative only `diffpir` goes."""
    problem = toy_problem()
    y, physics = problem.measure(toy_images()[0][None], [0])

    def made():
        knobs = {"guidance": guidance, "steps": 2, "draws": 2, "highest": 0.2}
        return Diffusion(denoiser=make(name), **knobs).eval()

    if guidance == "pigdm" and not isinstance(make(name), Denoiser):
        with pytest.raises(UserError, match="cannot be differentiated"):
            made()
        return
    one, other = made().samples(y, physics)
    assert one.isfinite().all()
    assert other.isfinite().all()
    assert not torch.equal(one, other)
