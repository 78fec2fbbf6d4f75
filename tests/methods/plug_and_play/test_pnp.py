"""Plug-and-play against the convex algorithms, the Wiener filter, and iterations that diverge."""

import itertools
import re

import pytest
import torch
from deepinv.physics import GaussianNoise
from torch import nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.physics import families
from challenge.methods import registry
from challenge.methods.contract import Method
from challenge.methods.contract_test import COLOURED, ToySession, toy_images, toy_problem
from challenge.methods.plug_and_play import safeguard
from challenge.methods.plug_and_play.denoisers import NoiseRange, denoise
from challenge.methods.plug_and_play.pnp import PnP
from challenge.methods.plug_and_play.safeguard import Diverges
from challenge.methods.solvers.wiener_filter import wiener
from challenge.methods.transforms import spectrum
from challenge.methods.transforms.symmetries import SYMMETRIES, averaged, turn, turn_back
from challenge.methods.variational.wiener import Wiener

ALGORITHMS = ["hqs", "admm", "drs", "pgd"]
CLOSED = [("blur", None), ("identity", None), ("inpainting", None), ("downsampling", None)]
SOLVED = [(kind, None) for kind in COLOURED if (kind, None) not in CLOSED]
SOLVED += [("blur", "valid"), ("blur", "reflect"), ("downsampling", "reflect")]
"""Operators whose data step has a closed form, and those whose data step is solved."""
OPERATORS = [*CLOSED, *(pytest.param(*each, marks=pytest.mark.slow) for each in SOLVED)]
SIZE = 8, 10
SIGMA = 0.1
WEAK = 0.3  # a level at which pgd's step is 1 / R


def scene(operator, boundary=None, count=1):
    """Grey measurements in float64, their operator, and A as a matrix."""
    problem = toy_problem(1, boundary, operator, {"sigma": SIGMA})
    images = toy_images(count, 1)
    height, width = (problem.fitting(max(side, problem.smallest + 1)) for side in SIZE)
    x = torch.stack([images[index][:, :height, :width] for index in range(count)])
    y, physics = problem.measure(x, range(count))
    height, width = x.shape[-2:]
    basis = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    matrix = torch.stack([physics.A(each[None])[0].flatten() for each in basis], 1)
    return y.double(), physics, matrix


def method(**knobs):
    return registry.build({"name": "pnp", "denoiser": "wiener", **knobs}).eval()


def precision(height, width):
    """The matrix of P in 1/2 <x, P x>, of which `wiener` is the prox: 1 / S by definition."""
    basis = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    penalty = spectrum.penalty(spectrum.typical().double(), height, width)
    columns = torch.fft.irfft2(torch.fft.rfft2(basis) * penalty, s=(height, width))
    return columns.flatten(1).T


STRENGTH = {"ct": 20.0}
"""Where ||A||^2 is above 1: a step of `pgd` is at most 1 / ||A||^2, whatever is asked for."""


def convex(algorithm, matrix, y, prior, x, levels, strength, count):
    """The algorithms as they are written in books, with matrices."""
    one, normal, back = torch.eye(len(x)).double(), matrix.T @ matrix, matrix.T @ y
    dual, z, found = torch.zeros_like(x), x, []
    before = None
    for level in itertools.islice(levels, count):
        penalty = strength * SIGMA**2 / level**2
        if before is not None:
            dual, z = dual * before / penalty, x + (z - x) * before / penalty
        before = penalty

        def prox_f(v, r=penalty):
            return torch.linalg.solve(normal + r * one, back + r * v)

        def prox_g(v, r=penalty):
            return torch.linalg.solve(strength * SIGMA**2 / r * prior + one, v)

        if algorithm == "pgd":
            step = 1 / penalty
            assert step * torch.linalg.matrix_norm(normal, 2) <= 1
            x = prox_g(x - step * (normal @ x - back))
        elif algorithm == "hqs":
            x = prox_g(prox_f(x))
        elif algorithm == "admm":
            v = prox_f(x - dual)
            x = prox_g(v + dual)
            dual = dual + v - x
        else:
            v = prox_f(z)
            x = prox_g(2 * v - z)
            z = z + x - v
        found.append(x)
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_with_an_exact_prox_it_is_the_convex_algorithm(operator, boundary, algorithm):
    y, physics, matrix = scene(operator, boundary)
    start = physics.A_adjoint(y)
    strength, level = STRENGTH.get(operator, 12.0), WEAK
    pnp = method(algorithm=algorithm, schedule="fixed", strength=strength, level=level)
    found = list(pnp.estimates(y, physics, 6, start))
    prior = precision(*start.shape[-2:])
    levels = itertools.repeat(level)
    expected = convex(algorithm, matrix, y.flatten(), prior, start.flatten(), levels, strength, 6)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.flatten(), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["hqs", "admm", "drs"])
def test_with_an_exact_prox_the_schedule_is_that_of_dpir(algorithm):
    y, physics, matrix = scene("blur", "reflect")
    start = physics.A_adjoint(y)
    pnp = method(algorithm=algorithm, iterations=5, strength=0.5, level=0.4)
    prior = precision(*start.shape[-2:])
    levels = [0.4 * (SIGMA / 0.4) ** (k / 4) for k in range(5)]
    expected = convex(algorithm, matrix, y.flatten(), prior, start.flatten(), levels, 0.5, 5)
    found = list(pnp.estimates(y, physics, start=start))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.flatten(), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_at_a_fixed_level_it_reaches_the_minimiser_of_its_objective(operator, boundary, algorithm):
    y, physics, matrix = scene(operator, boundary)
    shape = physics.A_adjoint(y).shape
    strength, level = STRENGTH.get(operator, 12.0), WEAK
    penalty = strength * SIGMA**2 / level**2
    pnp = method(algorithm=algorithm, schedule="fixed", strength=strength, level=level)
    *_, x = pnp.estimates(y, physics, 100 if boundary == "valid" else 60)
    normal, prior = matrix.T @ matrix, strength * SIGMA**2 * precision(*shape[-2:])
    back, one = matrix.T @ y.flatten(), torch.eye(len(normal)).double()
    both = torch.linalg.solve(normal + prior, back)
    if algorithm == "hqs":
        # The gradient of the Moreau envelope of f is R (x - prox_f(x)).
        inverse = torch.linalg.inv(normal + penalty * one)
        expected = torch.linalg.solve(
            prior + penalty * (one - penalty * inverse), penalty * inverse @ back
        )
        assert (expected - both).norm() > 1e-3 * both.norm()
    else:
        expected = both
    torch.testing.assert_close(x.flatten(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "level"), [("admm", 0.1), ("admm", 0.3), ("drs", 0.1), ("drs", 0.3), ("pgd", 0.1)]
)
def test_with_the_best_denoiser_of_gaussian_images_it_is_the_wiener_filter(algorithm, level):
    """With strength 1, at any level: but pgd's step is 1 / R for levels up to sigma / ||A||."""
    y, physics, _ = scene("blur")
    pnp = method(algorithm=algorithm, schedule="fixed", strength=1.0, level=level)
    *_, x = pnp.estimates(y, physics, 300)
    expected = wiener(y, physics, spectrum.typical().double(), [1.0])[0]
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)


def test_the_denoiser_of_gaussian_images_follows_tweedies_formula():
    """D(x, s) = x + s^2 grad log p_s(x), where p_s is the density of images with noise s."""
    x = scene("identity")[0].requires_grad_()
    height, width = x.shape[-2:]
    penalty = spectrum.penalty(spectrum.typical().double(), height, width)
    inverse = penalty / (1 + WEAK**2 * penalty)  # 1 / (S + s^2), without the mean, which is free
    twice = torch.full((width // 2 + 1,), 2.0).double()
    twice[[0, -1]] = 1  # frequencies that are their own mirror images
    power = torch.fft.rfft2(x).abs().square()
    log_density = -(twice * inverse * power).sum() / (2 * height * width)
    (score,) = torch.autograd.grad(log_density, x)
    denoiser = registry.build({"name": "wiener"})
    found = denoise(denoiser, x.detach(), WEAK)
    torch.testing.assert_close(found, x + WEAK**2 * score, rtol=0, atol=1e-9)


class Shifts(Method):
    """A denoiser that prefers a direction."""

    operators = ("identity",)

    def forward(self, y, physics):
        return self.denoise(y, physics.noise_model.sigma.reshape(-1, 1, 1, 1))

    def denoise(self, x, sigma):
        return x + 0.3 * sigma * (x.roll(1, -1) - x).sin() + 0.1 * sigma * x.roll(2, -2).cos()


@pytest.mark.parametrize("which", range(SYMMETRIES))
def test_the_ensemble_turns_with_its_image(which):
    x = scene("identity")[0]
    torch.testing.assert_close(turn_back(turn(x, which), which), x, rtol=0, atol=0)

    def denoiser(v):
        return Shifts().denoise(v, torch.tensor(0.5))

    def whole(v):
        return averaged(lambda other: denoiser(turn(v, other)))

    torch.testing.assert_close(whole(turn(x, which)), turn(whole(x), which), rtol=0, atol=1e-12)


def turned(operator, parameters, which):
    """The parameters of an operator that is turned with its images."""
    if operator == "blur":
        kernel = turn(torch.from_numpy(parameters["kernel"]), which).contiguous().numpy()
        return {**parameters, "kernel": kernel}
    if operator == "inpainting":
        return {"mask": turn(torch.from_numpy(parameters["mask"]), which).contiguous().numpy()}
    return parameters


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "boundary",
    ["circular", "mask", *(pytest.param(b, marks=pytest.mark.slow) for b in ("valid", "reflect"))],
)
def test_with_the_ensemble_the_estimate_turns_with_the_measurement(boundary, algorithm):
    operator, boundary = ("inpainting", None) if boundary == "mask" else ("blur", boundary)
    problem = toy_problem(1, boundary, operator, {"sigma": SIGMA})
    x = toy_images(1, 1)[0][None, :, :12, :16]
    shape = (1, 12, 16)
    drawn = problem._draw(shape, problem.key, "train", 0)[0]

    def reconstruct(which, ensemble):
        seen = turn(y, which)
        size = shape if which % 2 == 0 else (1, shape[2], shape[1])
        physics = families.build(operator, [turned(operator, drawn, which)], size)
        physics.noise_model = GaussianNoise(sigma=torch.tensor([SIGMA]))
        pnp = PnP(denoiser=Shifts(), algorithm=algorithm, iterations=2, ensemble=ensemble)
        return turn_back(pnp.eval()(seen, physics), which)

    y = problem.measure(x, [0])[0].double()
    expected, alone = reconstruct(0, True), reconstruct(0, False)
    exact = 1e-4 if algorithm == "pgd" else 1e-5  # its step follows an estimate of ||A||
    for which in (1, 4, 7):
        torch.testing.assert_close(reconstruct(which, True), expected, rtol=0, atol=exact)
        assert (reconstruct(which, False) - alone).abs().max() > 1e-3


class Expands(Method):
    """A denoiser that expands bright images by a factor, and leaves dark ones alone."""

    operators = ("identity",)

    def __init__(self, factor=4.0, value=None):
        super().__init__()
        self.factor, self.value, self.calls = factor, value, 0

    def forward(self, y, physics):
        raise NotImplementedError

    def denoise(self, x, sigma):
        self.calls += 1
        bright = x.mean((1, 2, 3), keepdim=True) > 0.5
        wrong = self.factor * x if self.value is None else torch.full_like(x, self.value)
        return torch.where(bright, wrong, 0.9 * x)


def bright_and_dark(which=(0, 1, 2)):
    """Measurements of images of which number 1 is bright, with their operator."""
    problem = toy_problem(1, None, "blur", {"sigma": SIGMA})
    x = torch.stack([torch.full((1, 16, 16), (0.3, 0.9, 0.2)[index]) for index in which])
    return problem.measure(x, which)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_iteration_that_diverges_is_stopped_and_reported(algorithm, value):
    denoiser = Expands(value=value)
    knobs = {"algorithm": algorithm, "schedule": "fixed", "strength": 100.0, "iterations": 500}
    pnp = PnP(denoiser=denoiser, **knobs).eval()
    with pytest.raises(Diverges, match=r"image 2 of 3: .* diverges") as caught:
        pnp(*bright_and_dark())
    assert len(str(caught.value).splitlines()) == 1
    assert len(caught.value.residuals) == denoiser.calls <= 30
    if value is None:
        assert caught.value.residuals[-1] > safeguard.LARGE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", [None, float("nan")])
def test_the_best_estimate_is_taken_where_the_knob_says_so(algorithm, value):
    """Of the image that diverges; the others fare as they do alone."""
    knobs = {"algorithm": algorithm, "schedule": "fixed", "strength": 100.0, "iterations": 12}
    pnp = PnP(denoiser=Expands(value=value), safeguard="best", **knobs).eval()
    together = pnp(*bright_and_dark())
    assert together.isfinite().all()
    assert together.abs().max() <= safeguard.BIGGEST
    for index in range(3):
        alone = pnp(*bright_and_dark([index]))
        torch.testing.assert_close(alone, together[index : index + 1], rtol=0, atol=1e-5)
    unwatched = PnP(denoiser=Expands(value=value), **knobs).eval()
    for index in (0, 2):
        alone = unwatched(*bright_and_dark([index]))
        torch.testing.assert_close(alone, together[index : index + 1], rtol=0, atol=1e-5)


def told(low, high, **knobs):
    """pnp with a denoiser that was trained for some noise levels."""
    denoiser = Shifts()
    denoiser.levels = NoiseRange()
    denoiser.levels.ends.copy_(torch.tensor([low, high]))
    return PnP(denoiser=denoiser, **knobs).eval()


@pytest.mark.parametrize(
    ("known", "knobs", "outside"),
    [
        ((0.0, 20 / 255), {}, "49/255"),
        ((0.0, 20 / 255), {"level": 30 / 255}, "30/255"),
        ((0.0, 10 / 255), {}, "49/255"),  # the measurement is noisier than that
        ((0.15, 0.5), {}, "25.5/255"),
        ((0.0, 0.25), {"schedule": "fixed"}, "76.5/255"),
        ((0.3, 0.5), {"schedule": "fixed", "level": 0.2}, "51/255"),
        ((0.0, 20 / 255), {"schedule": "learned"}, "49/255"),
    ],
)
@pytest.mark.parametrize("place", ["fit", "inference"])
def test_levels_that_the_denoiser_was_not_trained_for_are_refused(known, knobs, outside, place):
    """In one line, whose remedy works."""
    sigma = 0.05 if known[1] == 20 / 255 else SIGMA
    problem = toy_problem(1, None, "blur", {"sigma": sigma})
    x = toy_images(1, 1)[0][None, :, :20, :24]

    def use(pnp):
        if place == "inference":
            return pnp(*problem.measure(x, [0]))
        return pnp.fit(problem, toy_images(2, 1), TrainConfig(steps=1, patch=24), ToySession())

    with pytest.raises(UserError, match=f"is asked for {outside}") as caught:
        use(told(*known, **knobs))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    remedy = dict(re.findall(r"method\.(\w+)=([\w.]+)", text))
    remedy["level"] = float(remedy["level"])
    use(told(*known, **{**knobs, **remedy}))


@pytest.mark.parametrize("names", [("strength",), ("level",), ("strength", "level")])
def test_what_is_null_is_tuned(names, monkeypatch):
    monkeypatch.setattr("challenge.methods.training.tuning.EVALUATIONS", 3)
    problem = toy_problem(1, None, "identity", {"sigma": (0.05, 0.1)})
    pnp = method(iterations=2, **dict.fromkeys(names))
    y, physics = problem.measure(toy_images(1, 1)[0][None], [0])
    with pytest.raises(UserError, match=f"`method.{names[0]}`: is `null` and was not tuned yet"):
        pnp(y, physics)
    session = ToySession()
    pnp.fit(problem, toy_images(4, 1), TrainConfig(tune=2), session)
    assert {*names, "step", "sigma", "psnr"} == session.lines[0].keys()
    best = {}
    for line in session.lines:
        best[line["sigma"]] = max(line["psnr"], best.get(line["sigma"], 0))
    assert len(best) == 2
    held = method(iterations=2, **dict.fromkeys(names))
    held.load_state_dict(pnp.state_dict())
    torch.testing.assert_close(held(y, physics), pnp(y, physics), rtol=0, atol=0)


class Scaled(Method):
    """A denoiser whose best level is twice the true one."""

    operators = ("identity",)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.drop = nn.Dropout(0.5)

    def forward(self, y, physics):
        raise NotImplementedError

    def denoise(self, x, sigma):
        penalty = self.weight * spectrum.penalty(spectrum.typical(), *x.shape[-2:])
        spectral = torch.fft.rfft2(x) / (1 + 4 * sigma.square() * penalty)
        return self.drop(torch.fft.irfft2(spectral, s=x.shape[-2:]))


@pytest.mark.parametrize("algorithm", ["admm", "pgd"])
def test_a_learned_schedule_is_trained_and_the_denoiser_is_not(algorithm):
    problem = toy_problem(1, None, "blur", {"sigma": (0.05, 0.1)})
    pnp = PnP(denoiser=Scaled(), algorithm=algorithm, schedule="learned", iterations=2)
    before = {name: value.clone() for name, value in pnp.named_parameters()}
    train = TrainConfig(steps=6, batch=2, patch=24, lr=0.1, tune=1, evaluate=3)
    session = ToySession()
    pnp.fit(problem, toy_images(4, 1), train, session)
    psnr = [line["psnr"] for line in session.lines if "psnr" in line]
    assert max(psnr) > psnr[0]
    learned = {name for name, value in pnp.named_parameters() if not value.equal(before[name])}
    assert learned == {"schedule.log_level", "schedule.log_penalty"}


def test_a_learned_schedule_stays_in_the_range_of_its_denoiser():
    pnp = told(0.01, 0.2, schedule="learned", iterations=3)
    pnp.schedule.log_level.data = torch.tensor([3.0, 0.0, -5.0])
    sigma = torch.full((1, 1, 1, 1), SIGMA)
    levels = pnp.schedule(pnp._levels(sigma, sigma, None), sigma, sigma, (0.01, 0.2)).levels
    assert levels.flatten()[[0, 2]].tolist() == pytest.approx([0.2, 0.01])


@pytest.mark.parametrize("name", ["strength", "level"])
def test_a_learned_schedule_takes_no_number_that_is_to_be_tuned(name):
    with pytest.raises(UserError, match=f"`method.{name}`: is `null`"):
        method(schedule="learned", **{name: None})


def test_a_learned_schedule_takes_no_denoiser_without_derivatives():
    with pytest.raises(UserError, match=r"`method.schedule`: is `learned`.*method.schedule=dpir"):
        method(schedule="learned", denoiser="tv")


def test_a_denoiser_for_other_colours_is_refused():
    denoiser = Wiener()
    denoiser.channels = 3
    with pytest.raises(UserError, match="`method.denoiser`: has `channels: 3`"):
        PnP(denoiser=denoiser).fit(toy_problem(1), toy_images(2, 1), TrainConfig(), ToySession())
