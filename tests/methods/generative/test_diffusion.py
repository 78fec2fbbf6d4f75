"""`diffusion`: seeds, draws, their standard deviation, time, and what it refuses."""

import pytest
import torch
from deepinv.models import MMSE

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods import build
from challenge.methods.contract import HasDeviation, Method, TimeLimit
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.generative.diffusion import Diffusion
from tests.methods.generative.gaussians import Gaussian

KINDS = ("moment", "pigdm", "dps", "diffpir")
SIDE = 8


class Finite(Method):
    """A prior of a few images, by deepinv's closed form: the posterior is known exactly."""

    operators = ("identity",)

    def __init__(self, images):
        super().__init__()
        self.images = images
        self.model = MMSE(images, torch.device("cpu"))

    def forward(self, y, physics):
        return self.denoise(y, physics.noise_model.sigma)

    def denoise(self, x, sigma):
        return self.model(x, sigma.flatten().expand(len(x)))


def measured(count: int = 2, sigma: float = 0.03, operator: str = "blur", channels: int = 1):
    problem = toy_problem(channels, None, operator, {"sigma": sigma})
    images = toy_images(count, channels, 24)
    return problem.measure(torch.stack([images[n] for n in range(count)]), range(count))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_samples(kind, seed):
    """Whatever the global generator is at, and whatever else is in the batch, in any order."""

    def samples(seed, order):
        problem = toy_problem(1, None, "blur", {"sigma": 0.03})
        images = toy_images(3, 1, 24)
        y, physics = problem.measure(torch.stack([images[n] for n in order]), order)
        method = Diffusion(denoiser=Gaussian(0.5, 0.2), guidance=kind, steps=4, draws=2, seed=seed)
        return method.samples(y, physics)

    torch.manual_seed(5)
    first = samples(seed, [0, 1, 2])
    state = torch.get_rng_state()
    again = samples(seed, [2, 0])
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(again, first[:, [2, 0]], rtol=0, atol=1e-5)
    assert torch.equal(samples(seed, [0, 1, 2]), first)
    assert float((first[0] - first[1]).abs().max()) > 0.01
    assert float((samples(seed + 1, [0, 1, 2]) - first).abs().max()) > 0.01


def test_the_deviation_is_that_of_the_draws_and_of_their_mean():
    y, physics = measured()
    method = Diffusion(denoiser=Gaussian(0.5, 0.2), steps=5, draws=4)
    assert isinstance(method, HasDeviation)
    samples = method.samples(y, physics)
    x_hat, deviation = method.with_deviation(y, physics)
    assert torch.equal(x_hat, method(y, physics))
    torch.testing.assert_close(deviation, samples.std(0) * (1 + 1 / 4) ** 0.5)
    one = Diffusion(denoiser=Gaussian(0.5, 0.2), steps=5, draws=1)
    x_hat, nothing = one.with_deviation(y, physics)
    assert nothing is None
    assert torch.equal(x_hat, samples[0])


def test_the_deviation_of_a_gaussian_is_calibrated():
    """Truth drawn from the prior: shares of Student's t with 7 degrees of freedom."""
    torch.manual_seed(0)
    x = 0.5 + 0.2 * torch.randn(1, 1, 64, 64)
    problem = toy_problem(1, None, "identity", {"sigma": 0.1})
    y, physics = problem.measure(x, [0])
    method = Diffusion(
        denoiser=Gaussian(0.5, 0.2), guidance="pigdm", spread=0.2, steps=150, highest=5.0
    )
    x_hat, deviation = method.with_deviation(y, physics)
    shares = [float(((x - x_hat).abs() <= k * deviation).float().mean()) for k in (1, 2)]
    assert shares == pytest.approx([0.649, 0.914], abs=0.035)


SOME_SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("moment", "dps")]


@pytest.mark.parametrize("kind", ["pigdm", "diffpir", *SOME_SLOW])
def test_samples_of_a_finite_set_are_near_its_posterior(kind):
    """Two images of six that a poor measurement cannot tell apart: draws are of both."""
    images = torch.stack([toy_images(6, 1, SIDE)[n] for n in range(6)])
    images[1] = images[0] + 0.05 * torch.randn(1, SIDE, SIDE, generator=torch.Generator())
    problem = toy_problem(1, None, "inpainting", {"sigma": 0.2})
    y, physics = problem.measure(images[:1], [0])
    distance = (y - physics.A(images)).square().sum((1, 2, 3)) / (2 * 0.2**2)
    weights = torch.softmax(-distance, 0)
    exact = (weights[:, None, None, None] * images).sum(0)
    assert 0.2 < float(weights[0]) < 0.8
    method = Diffusion(
        denoiser=Finite(images), guidance=kind, steps=30, draws=16, highest=2.0, lowest=0.005
    )
    samples = method.samples(y, physics)[:, 0]
    nearest = torch.cdist(samples.flatten(1), images.flatten(1)).min(1)
    assert float(nearest.values.mean()) / SIDE < 0.02, "samples are images of the set"
    shares = torch.bincount(nearest.indices, minlength=len(images)) / len(samples)
    gap = float((samples.mean(0) - exact).square().mean().sqrt())
    if kind == "diffpir":
        # It knows nothing of which image the noisy copy is of: some draws are of others.
        assert float(shares[:2].sum()) > 0.5
        assert gap < 0.6 * float((images.mean(0) - exact).square().mean().sqrt())
        return
    # As many of each as it is probable: within three standard errors of 16 draws.
    assert torch.allclose(shares, weights, atol=0.35) and float(shares[:2].min()) > 0
    assert gap < 0.5 * float((images[0] - images[1]).square().mean().sqrt())


def test_steps_are_as_many_as_the_time_suffices_for(monkeypatch):
    """A pass takes 0.1 s: of 20 s an image, 40 % are 8 s, 80 passes, 10 for each of 8 draws."""
    monkeypatch.setattr(Diffusion, "_seconds", lambda *_: 0.1)
    session = ToySession()
    session.time_limit = TimeLimit(20.0, 1024, 2)

    def fitted(**knobs):
        method = Diffusion(denoiser=Gaussian(0.5, 0.2), **knobs)
        method.fit(toy_problem(), toy_images(), TrainConfig(), session)
        return method

    method = fitted()
    assert method._count == 10
    assert session.lines[-1]["steps"] == 10
    again = Diffusion(denoiser=Gaussian(0.5, 0.2))
    again.load_state_dict(method.state_dict())
    assert again._count == 10
    assert fitted(steps=7)._count == 7
    assert fitted(draws=1)._count == 80
    said = r"`method.steps`: is `21`: with 8 draws that takes 16.8 s an image, 80% .* is 16 s; give"
    assert fitted(steps=20)._count == 20
    with pytest.raises(UserError, match=said) as caught:
        fitted(steps=21)
    assert str(caught.value).endswith("give `method.steps=auto`")
    with pytest.raises(UserError, match=r"give `method.steps=auto method.draws=16`"):
        fitted(steps=21, draws=17)
    said = r"`method.draws`: is `17`: in 5 steps, .* takes 8.5 s an image, 40% .* is 8 s; give `me"
    with pytest.raises(UserError, match=said):
        fitted(draws=17)
    # The remedy works.
    assert fitted(draws=16)._count == 5
    monkeypatch.setattr(Diffusion, "_seconds", lambda *_: 10.0)
    with pytest.raises(UserError) as caught:
        fitted(draws=1)
    assert "draws=" not in str(caught.value)
    assert str(caught.value).endswith("give a faster denoiser")


def test_a_pass_is_timed():
    problem = toy_problem()
    method = Diffusion(denoiser=Gaussian(0.5, 0.2))
    one, two = (
        method._seconds(problem, toy_images(), TimeLimit(1.0, pixels, 1)) for pixels in (1e4, 1e8)
    )
    assert 0 < one < two < 3600


class Range(Gaussian):
    """A denoiser that was trained for some levels."""

    def __init__(self, low, high):
        from challenge.methods.plug_and_play.denoisers import NoiseRange

        super().__init__(0.5, 0.2)
        self.levels = NoiseRange()
        self.levels.ends.copy_(torch.tensor([low, high]))


@pytest.mark.parametrize(
    ("denoiser", "knobs", "said"),
    [
        (Range(0.0, 0.2), {"highest": 0.4}, "asked for 102/255; give `method.highest=auto`"),
        (Range(0.02, 0.2), {"lowest": 0.004}, "asked for 1.02/255; give `method.lowest=auto`"),
        (Range(0.01, 10.0), {"lowest": 0.002}, "asked for 0.51/255; give `method.lowest=auto`"),
        (
            Gaussian(float("nan"), 0.2),
            {},
            "`method.denoiser`: a sample has the value nan in step",
        ),
        (Gaussian(0.5, 0.2), {"guidance": "dps", "weight": 1e6}, "`method.weight`: a sample has"),
    ],
)
def test_bad_samples_and_levels_are_one_line(denoiser, knobs, said):
    y, physics = measured(1)
    method = Diffusion(denoiser=denoiser, **{"steps": 4, "draws": 1, **knobs})
    with pytest.raises(UserError) as caught:
        method(y, physics)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_knobs_that_do_not_fit_each_other_are_refused():
    with pytest.raises(UserError, match=r"`method.lowest`: is `0.3`, above .* `0.1`"):
        Diffusion(denoiser=Gaussian(0.5, 0.2), lowest=0.3, highest=0.1)
    tv = build({"name": "tv", "weight": "usual"})
    for kind in ("moment", "pigdm", "dps"):
        with pytest.raises(UserError, match=r"`method.guidance`: is .* cannot be differentiated"):
            Diffusion(denoiser=tv, guidance=kind)
    assert Diffusion(denoiser=tv, guidance="diffpir").guidance == "diffpir"


def test_a_denoiser_of_other_colours_is_refused():
    section = {"name": "drunet", "width": 4, "depth": 1, "blocks": 1, "channels": 1}
    method = Diffusion(denoiser=build(section))
    with pytest.raises(UserError, match="has `channels: 1`, the images of `toy` have `3`"):
        method.fit(toy_problem(), toy_images(), TrainConfig(), ToySession())


def test_a_range_of_levels_bounds_the_schedule():
    for low, high, wanted in ((0.0, 50 / 255, (50 / 255, 2 / 255)), (0.01, 10.0, (0.5, 0.01))):
        schedule = Diffusion(denoiser=Range(low, high))._levels(torch.ones(1)).flatten()
        assert [float(schedule[0]), float(schedule[-1])] == pytest.approx(wanted)
        assert bool((schedule.diff() < 0).all())


def test_a_lowest_level_above_what_the_denoiser_knows_is_refused():
    method = Diffusion(denoiser=Range(0.02, 0.2), lowest=0.9)
    with pytest.raises(UserError, match=r"`method.lowest`: is `0.9`, above .* `0.2`"):
        method(*measured(1))


READ_BY = {
    "strength": ("diffpir",),
    "spread": ("pigdm", "diffpir", "dps"),
    "weight": ("dps",),
    "solves": ("moment",),
}


@pytest.mark.parametrize("guidance", KINDS)
@pytest.mark.parametrize("knob", READ_BY)
def test_a_knob_of_another_guidance_is_refused(knob, guidance):
    drunet = {"name": "drunet", "width": 4, "depth": 1, "blocks": 1}
    section = {"name": "diffusion", "denoiser": drunet, "guidance": guidance, knob: 3}
    if guidance in READ_BY[knob]:
        build(section)
        return
    with pytest.raises(UserError, match=f"`method.{knob}`: is not read by `{guidance}`"):
        build(section)
