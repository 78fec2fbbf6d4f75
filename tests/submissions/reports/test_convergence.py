"""The analysis as a whole, on maps of which it is known what a theorem says of them."""

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from challenge.cli import analyse as command
from challenge.configs.errors import UserError
from challenge.data.physics.problem import tensors
from challenge.methods.contract import Method
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.end_to_end.deq import DEQ
from challenge.methods.end_to_end.neural_ode import NeuralODE
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.networks.architectures import Net
from challenge.methods.plug_and_play import properties
from challenge.methods.plug_and_play.denoisers import Bounds, NoiseRange
from challenge.methods.plug_and_play.dncnn import DnCNN
from challenge.methods.plug_and_play.drunet import DRUNet
from challenge.methods.plug_and_play.stationary import Stationary
from challenge.methods.plug_and_play.wavelet import WaveletThresholding
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.ode import TABLEAUX, stability
from challenge.methods.variational.tv import TV
from challenge.submissions.reports import convergence_pictures
from challenge.submissions.reports.analysis import Settings
from challenge.submissions.reports.convergence import analyse
from challenge.submissions.reports.subjects import check_asked

QUICK = Settings(images=2, size=16, iterations=40, levels=(0.1,))


class Val:
    """What of a challenge the analysis asks."""

    config = SimpleNamespace(name="toy")

    def __init__(self, operator="identity"):
        self.problem = toy_problem(operator=operator)
        drawn = toy_images(2, self.problem.channels)
        self.images = {name: drawn[k].numpy() for k, name in enumerate(("a", "b"))}

    def ids(self, split):
        return list(self.images)

    def truth(self, identity):
        return self.images[identity]


class Toy(Method):
    """A denoiser made of a function."""

    operators = ("identity",)

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, y, physics):
        return self.function(y)

    def denoise(self, x, sigma):
        return self.function(x)


class Certified(Toy):
    def __init__(self, function, **bounds):
        super().__init__(function)
        self.bounds = bounds

    def certificate(self):
        return Bounds(**{"residual": math.inf, "denoiser": math.inf, **self.bounds})


def differences(x):
    """The least squares part of a circular Laplacian, of norm 8 at most."""
    return 4 * x - sum(x.roll(k, axis) for k in (1, -1) for axis in (-1, -2))


class GradientStep(Certified):
    """D = I - grad g,   g = 0.05 <x, differences x>, of which grad g has the constant 0.8."""

    def __init__(self):
        super().__init__(lambda x: x - 0.1 * differences(x), residual=0.8)

    def potential(self, x, sigma):
        return 0.05 * (x * differences(x)).flatten(1).sum(1)


class Repeats(Method):
    """An iteration with a denoiser, as `pnp` is one."""

    def __init__(self, denoiser, algorithm="pgd", step=0.5):
        super().__init__()
        self.denoiser, self.algorithm, self.step = denoiser, algorithm, step

    def stationary(self, y, physics):
        return Stationary(
            self.algorithm, self.denoiser, self.denoiser.function, 0.1, self.step, weight=0.3
        )

    def forward(self, y, physics):
        data = DataTerm(y, physics)
        states = self.stationary(y, physics).iterate(data, data.back)
        return [next(states) for _ in range(5)][-1]


def expands(x):
    return 1.5 * x


def of(found, name):
    (statement,) = [each for each in found.statements if each.theorem.name == name]
    return statement


def row(found, name, words):
    (only,) = [each for each in of(found, name).rows if each.words.startswith(words)]
    return only


def test_a_certified_contraction_makes_banach_hold():
    found = analyse(Certified(lambda x: 0.5 * x, denoiser=0.5), "half", Val(), QUICK)
    assert of(found, "Banach").verdict == "holds"
    assert row(found, "Krasnoselskii-Mann", "D averaged").verdict == "holds"
    (level,) = found.levels
    for name, worst in (("D", 0.5), ("I - D", 0.5), ("2D - I", 0.0)):
        assert max(level.norms[name].values()) == pytest.approx(worst, abs=1e-5)
        assert level.certified[name] >= worst
    for course in found.courses:
        assert course.expansion <= course.certified * (1 + 1e-4)
        assert course.rate.value == pytest.approx(0.25, rel=1e-2)  # 0.5 (1 - s)
        assert course.apart < 1e-6 < course.apart_at_start


def test_wavelets_are_certified_to_be_firmly_nonexpansive():
    settings = Settings(images=1, size=16, iterations=20, levels=(0.1,))
    method = WaveletThresholding(levels=2)
    found = analyse(method, "wavelet", Val(), settings)
    assert row(found, "Krasnoselskii-Mann", "D averaged").verdict == "holds"
    for name, most in found.levels[0].certified.items():
        assert most == 1
        assert max(found.levels[0].norms[name].values()) <= most + 1e-4
    (course,) = found.courses
    assert course.certified == 0.5  # that of x -> x - s (x - y), s = 1/2
    one = analyse(WaveletThresholding(levels=2, shifts="one"), "one", Val(), settings)
    assert row(one, "Krasnoselskii-Mann", "D averaged").verdict == "not certified"


def test_the_same_map_without_a_certificate_is_not_certified():
    found = analyse(Toy(lambda x: 0.5 * x), "half", Val(), QUICK)
    assert of(found, "Banach").verdict == "not certified"
    assert of(found, "Ryu et al.").verdict == "not certified"


def test_an_expansive_map_is_refuted():
    found = analyse(Repeats(Toy(expands)), "expands", Val("blur"), QUICK)
    assert found.kind == "iteration"
    assert row(found, "Krasnoselskii-Mann", "D averaged").verdict == "fails"
    assert all(course.rate.diverges for course in found.courses)
    assert of(found, "Banach").verdict == "fails"


def test_the_objective_of_a_gradient_step_falls():
    found = analyse(GradientStep(), "step", Val(), QUICK)
    assert {course.algorithm for course in found.courses} == {"gs"}
    for course in found.courses:
        assert course.objective[-1] < course.objective[0]
        assert course.rise == 0
    assert of(found, "Hurault et al.").verdict == "holds"
    # A linear map is homogeneous; still that was seen at points.
    assert row(found, "Romano et al.", "J symmetric").verdict == "holds"
    assert row(found, "Romano et al.", "D((1").verdict == "not certified"


def test_a_map_that_is_no_gradient_is_no_posterior_mean():
    found = analyse(Toy(lambda x: 0.9 * x.roll(1, -1)), "shift", Val(), QUICK)
    assert row(found, "MMSE denoisers", "D(x) =").verdict == "fails"
    assert row(found, "Romano et al.", "J symmetric").verdict == "fails"


@pytest.mark.parametrize("algorithm", ["pgd", "hqs", "admm", "drs", "red", "gs"])
def test_theorems_that_speak_of_another_algorithm_are_silent(algorithm):
    method = Repeats(Toy(lambda x: 0.5 * x), algorithm)
    settings = Settings(images=1, size=16, iterations=10)
    found = analyse(method, "toy", Val("blur"), settings)
    spoken = {each.theorem.name for each in found.statements}
    assert spoken | {each.name for each in found.silent} == {
        *("Banach", "Krasnoselskii-Mann", "Ryu et al."),
        *("Hurault et al.", "Romano et al.", "MMSE denoisers", "Ostrowski", "Dahlquist"),
    }
    assert ("Ryu et al." in spoken) == (algorithm in ("pgd", "admm", "drs"))
    assert {"Banach", "Krasnoselskii-Mann"} <= spoken


def test_every_image_is_judged_by_its_own_step():
    class Varies(Repeats):
        """Its step is too long for every image but the first."""

        first = None

        def stationary(self, y, physics):
            self.first = y if self.first is None else self.first
            self.step = 0.5 if torch.equal(y, self.first) else 3.0
            return super().stationary(y, physics)

    method = Varies(Certified(lambda x: 0.5 * x, denoiser=0.5))
    found = analyse(method, "varies", Val(), QUICK)
    step = row(found, "Krasnoselskii-Mann", "0 < s")
    assert (step.verdict, step.measured) == ("fails", "s = 3, 2 / L = 2")


def test_theorems_that_take_no_denoiser_are_silent_of_one():
    found = analyse(Certified(lambda x: 0.5 * x, denoiser=0.5), "half", Val(), QUICK)
    assert {each.name for each in found.silent} == {"Ostrowski", "Dahlquist"}


def test_red_with_a_denoiser_alone_is_inside_its_theorem():
    settings = Settings(images=1, size=16, iterations=10, levels=(0.1,), algorithm="red", step=0.5)
    found = analyse(Certified(lambda x: 0.5 * x, denoiser=0.5), "half", Val(), settings)
    assert row(found, "Krasnoselskii-Mann", "0 < t").verdict == "holds"
    assert row(found, "Romano et al.", "f + lambda rho").verdict == "holds"


def test_a_blur_with_zeros_is_not_strongly_convex():
    found = analyse(Repeats(Toy(lambda x: 0.5 * x)), "toy", Val("downsampling"), QUICK)
    assert row(found, "Ryu et al.", "f mu").verdict == "fails"


def test_what_has_no_derivative_is_analysed_by_differences():
    def through_numpy(x):
        return torch.from_numpy(0.7 * np.asarray(x.detach()))

    found = analyse(Toy(through_numpy), "numpy", Val(), QUICK)
    assert max(found.levels[0].norms["D"].values()) == pytest.approx(0.7, rel=1e-3)
    assert row(found, "Romano et al.", "D differentiable").verdict == "fails"
    assert "derivative" in row(found, "Romano et al.", "D differentiable").measured


def test_an_unrolled_iteration_is_followed_beyond_its_steps():
    torch.manual_seed(0)
    method = Unrolled(steps=2, net=Net(architecture="cnn", width=4))
    found = analyse(method, "unrolled", Val("blur"), Settings(images=1, size=16, iterations=20))
    assert len(found.levels) == 2
    assert len(found.courses[0].steps) == 21
    assert {each.theorem.name for each in found.statements} == {"Banach"}


@pytest.mark.parametrize(("channels", "operator"), [(3, "blur"), (2, "mri")])
def test_steps_that_begin_as_a_denoiser_are_measured_as_they_are_called(
    channels, operator, monkeypatch
):
    """At the level of the step, which follows that of the measurement, and of what it sees."""
    prior = DRUNet(width=4, depth=1, blocks=1, shuffle=2, channels=channels)
    method = Unrolled(start=prior, steps=3, channels=channels)
    called, given = [], []
    denoise, measure = Unrolled.denoise, properties.measure

    def seen(self, k, v, sigma, memory):
        called.append((k, float(self.level(k, sigma)), v))
        return denoise(self, k, v, sigma, memory)

    def measured(prior, image, level, *rest):
        before = len(called)
        prior(image)
        given.append((image, level, *called[before]))
        return measure(prior, image, level, *rest)

    monkeypatch.setattr(Unrolled, "denoise", seen)
    monkeypatch.setattr(properties, "measure", measured)
    found = analyse(method, "unrolled", Val(operator), Settings(images=1, size=16, iterations=5))
    assert [k for _, _, k, _, _ in given] == [0, 1, 2]
    for (image, level, _, at, v), row in zip(given, found.levels, strict=True):
        assert level == pytest.approx(at) == pytest.approx(row.level)
        assert torch.equal(v, image) == (channels == 3)
        if channels == 2:  # nearly without a phase
            assert v[:, 1].square().sum() < 0.5 * image[:, 1].square().sum()
    assert given[0][1] > 2 * given[-1][1]


def test_an_unrolled_iteration_that_diverges_at_once_is_one_line():
    method = Unrolled(steps=2, net=Net(architecture="cnn", width=4))
    for each in method.nets.parameters():
        if each.dim() == 1:
            each.data.fill_(1e6)
    with pytest.raises(UserError, match="step 1 of the unrolled algorithm"):
        analyse(method, "far", Val("blur"), Settings(images=1, size=16, iterations=5))


def test_a_step_that_contracts_by_construction_has_its_theorems():
    torch.manual_seed(0)
    method = DEQ(contraction=0.7, net=Net(width=12, depth=1))
    settings = Settings(images=1, size=16, iterations=30)
    found = analyse(method, "deq", Val("blur"), settings)
    assert (found.kind, len(found.levels)) == ("equilibrium", 1)
    for name in ("Banach", "Ostrowski"):
        assert of(found, name).verdict == "holds"
    (course,) = found.courses
    assert course.expansion <= course.certified == 0.7
    assert course.radius is None or course.radius <= 0.7
    assert course.steps[-1] < 1e-4 * course.steps[0]
    assert course.apart < 1e-3 < course.apart_at_start
    assert {each.theorem.name for each in found.statements} == {"Banach", "Ostrowski"}


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["ct", "mri"])
def test_of_medicine_all_of_an_image_is_analysed(operator):
    """Projectors see all of it, complex images have two channels: the numbers are of these."""
    torch.manual_seed(0)
    val = Val(operator)
    channels, side = val.problem.channels, len(val.images["a"][0])
    deq = DEQ(contraction=0.7, net=Net(width=12, depth=1), channels=channels)
    found = analyse(deq, "deq", val, Settings(images=1, iterations=15))
    (course,) = found.courses
    assert (found.settings.size, found.whole) == (side, None)
    # The data step of mri is a division at every frequency; that of ct, by conjugate gradients that
    # are cut off, certifies nothing.
    assert course.certified == {"mri": 0.7, "ct": None}[operator]
    assert course.expansion <= 0.7 * (1.0001 if operator == "mri" else 1.02)
    assert course.apart < 0.02 * course.apart_at_start
    y, physics = tensors(val.problem.measure_stored(val.images["a"], "a", val.problem.key))
    x = torch.rand(1, channels, side, side)
    stretched = float(physics.A(x).square().sum() / x.square().sum())
    assert stretched <= course.data.curvature * (1 + 1e-4)
    flow = NeuralODE(steps=8, net=Net(architecture="cnn", width=4), channels=channels)
    cut = analyse(flow, "flow", val, Settings(images=1, size=16, iterations=15))
    assert (cut.settings.size, cut.whole) == (16, side)
    passage = cut.courses[0].passage
    assert passage.growth < 0.1
    assert passage.error < 0.02


def test_a_step_that_expands_is_seen_to():
    method = DEQ(net=Net(architecture="cnn", width=4, depth=1))
    method.denoise = lambda z, x_0, data: 30 * z
    found = analyse(method, "far", Val("identity"), Settings(images=1, size=16, iterations=60))
    assert of(found, "Banach").verdict == "fails"
    assert of(found, "Ostrowski").verdict == "fails"
    assert row(found, "Ostrowski", "T has").verdict == "not certified"
    (course,) = found.courses
    assert course.rate.diverges
    # Its fixed point repels, and is found all the same.
    assert course.residual < 1e-3
    assert course.radius == pytest.approx(course.expansion, rel=0.05)


@pytest.mark.parametrize(
    "denoise",
    [
        lambda z: 3 * z.abs() + 1,
        lambda z: z + 0.5,
        lambda z: z + 0.002,
        lambda z: z + 3e-4 + 0.01 * (z - 0.3).square(),
    ],
    ids=["away", "drifts", "slowly", "passes"],
)
def test_eigenvalues_where_there_is_no_fixed_point_refute_nothing(denoise):
    method = DEQ(net=Net(architecture="cnn", width=4, depth=1))
    method._step = lambda y, physics: (denoise, 0.5 + 0 * y, DataTerm(y, physics))
    found = analyse(method, "none", Val("identity"), Settings(images=1, size=16, iterations=3))
    (course,) = found.courses
    assert course.radius is None or course.radius < 1.001
    assert row(found, "Ostrowski", "|eigen").verdict == "not certified"


LINEAR = {"slow": -0.5, "stiff": -60.0, "parts": 2.0}
"""By the name, the rate of x' = m (x - 1/2)."""


@pytest.mark.parametrize(
    "name", ["stiff", *(pytest.param(name, marks=pytest.mark.slow) for name in ("slow", "parts"))]
)
def test_a_flow_is_told_by_its_growth_its_stiffness_and_the_error_of_its_steps(name):
    m = LINEAR[name]
    method = NeuralODE(solver="rk4", steps=4, horizon=2.0, net=Net(architecture="cnn", width=4))
    method.data_step.forward = lambda x, *given, **named: x
    method.denoise = lambda z, x_0, data, share: z + m * (z - 0.5)
    found = analyse(method, name, Val("identity"), Settings(images=1, size=16, iterations=50))
    assert (found.kind, [each.label for each in found.levels]) == (
        "flow", ["t = 0", "t = 1", "t = 2"],
    )  # fmt: skip
    (course,), h = found.courses, 0.5
    passage = course.passage
    assert (passage.steps, passage.evaluations) == (4, 16)
    assert passage.growth == pytest.approx(m, rel=1e-3)
    assert passage.stiffness == pytest.approx(h * abs(m), rel=1e-2)
    polynomial = sum((h * m) ** k / math.factorial(k) for k in range(5))
    assert course.expansion == pytest.approx(polynomial**4, rel=0.02)
    verdicts = {"slow": "not certified", "stiff": "fails", "parts": "fails"}
    assert of(found, "Dahlquist").verdict == verdicts[name]
    stable = row(found, "Dahlquist", "|R").verdict
    assert stable == ("fails" if name == "stiff" else "not certified")
    assert (passage.error > 1e-2) == (name != "slow")
    assert {each.theorem.name for each in found.statements} == {"Dahlquist"}


def test_a_flow_of_adaptive_steps_is_analysed_and_drawn(tmp_path):
    torch.manual_seed(0)
    net = Net(architecture="cnn", width=4, depth=1)
    method = NeuralODE(solver="dopri5", net=net)
    found = analyse(method, "ode", Val("blur"), Settings(images=1, size=16, iterations=20))
    (course,) = found.courses
    assert course.passage.adaptive
    assert len(course.steps) == course.passage.steps
    assert course.passage.error < 1e-2
    assert "by its tolerance" in row(found, "Dahlquist", "|R").measured
    json.dumps(found.to_json(), allow_nan=False)
    convergence_pictures.draw(tmp_path / "x.png", found)


def flow(field, solver="rk4", **knobs):
    """x' = field(x - 1/2), 4 steps of length 1/2."""
    steps = {} if solver == "dopri5" else {"steps": 4}
    net = Net(architecture="cnn", width=4)
    method = NeuralODE(solver=solver, horizon=2.0, net=net, **steps, **knobs)
    method.data_step.forward = lambda x, *given, **named: x
    method.denoise = lambda z, x_0, data, share: z + field(z - 0.5)
    return method


def spiral(z):
    """Every pair of pixels turns and shrinks: the eigenvalues 2 z and their conjugates."""

    def field(x):
        one, other = x[..., ::2], x[..., 1::2]
        pair = (z.real * one - z.imag * other, z.imag * one + z.real * other)
        return 2 * torch.stack(pair, dim=-1).flatten(-2)

    return field


def shifted(x):
    """-x and 40 times the pixel beside: the one eigenvalue -1, the norm 41."""
    beside = torch.cat([torch.zeros_like(x[..., :1, :1]).flatten(1), x.flatten(1)[:, :-1]], 1)
    return -x + 40 * beside[:, : x[0].numel()].reshape(x.shape)


QUICKLY = Settings(images=1, size=16, iterations=10)
SPIRALS = [
    # Beyond the negative axis' limit and stable; before it and not.
    ("euler", -1 + 0.9j, "not certified"),
    ("euler", -0.1 + 1j, "fails"),
    ("heun", -1.65 + 1.38j, "not certified"),
    ("heun", -0.2 + 1.8j, "fails"),
    ("rk4", -0.4 + 2.9j, "not certified"),
    ("rk4", -2.2 + 2.2j, "fails"),
    ("rk4", 0.1 + 1j, "not certified"),
]


@pytest.mark.parametrize(
    ("solver", "z", "verdict"),
    [
        pytest.param(*each, marks=[pytest.mark.slow] * (number not in (2, 4, 5)))
        for number, each in enumerate(SPIRALS)
    ],
)
def test_steps_are_refuted_by_the_stability_function_at_complex_eigenvalues(solver, z, verdict):
    found = analyse(flow(spiral(z), solver), "spiral", Val("identity"), QUICKLY)
    assert row(found, "Dahlquist", "|R").verdict == verdict
    passage = found.courses[0].passage
    assert passage.stiffness == pytest.approx(abs(z), rel=1e-2)
    if z.real > 0:
        assert passage.amplification is None
    else:
        at = stability(TABLEAUX[solver], torch.tensor(z, dtype=torch.complex128))
        assert passage.amplification == pytest.approx(float(at.abs()), rel=1e-2)


def test_a_norm_is_no_eigenvalue_and_refutes_no_step():
    found = analyse(flow(shifted), "shifted", Val("identity"), QUICKLY)
    assert row(found, "Dahlquist", "|R").verdict == "not certified"


def test_the_image_that_grows_and_the_one_that_is_stiff_are_both_heard():
    method = flow(None)
    followed, rates = method.dynamics, [2.0, -60.0]

    def dynamics(y, physics):
        m = rates.pop(0)
        method.denoise = lambda z, x_0, data, share: z + m * (z - 0.5)
        given = followed(y, physics)
        return replace(given, field=lambda x, t: m * (x - 0.5))

    method.dynamics = dynamics
    found = analyse(method, "both", Val("identity"), replace(QUICKLY, images=2))
    assert row(found, "Dahlquist", "<v").verdict == "fails"
    assert row(found, "Dahlquist", "|R").verdict == "fails"


@pytest.mark.parametrize(("solver", "verdict"), [("heun", "fails"), ("dopri5", "not certified")])
def test_a_very_stiff_flow_has_its_verdict(solver, verdict, tmp_path, capsys):
    found = analyse(flow(lambda x: -1e6 * x, solver), "stiff", Val("identity"), QUICKLY)
    assert row(found, "Dahlquist", "|R").verdict == verdict
    (course,) = found.courses
    assert course.passage.growth == pytest.approx(-1e6, rel=1e-2)
    assert course.passage.error is None
    assert (course.passage.stopped is not None) == (solver == "dopri5")
    json.dumps(found.to_json(), allow_nan=False)
    convergence_pictures.draw(tmp_path / "x.png", found)
    command._show(found)
    command._conclude(found)
    assert "too stiff" in capsys.readouterr().out.replace("\n", " ")


def test_of_a_field_without_derivative_nothing_is_said_to_grow_or_to_be_stiff():
    def through_numpy(x):
        return torch.from_numpy(-0.7 * np.asarray(x.detach()))

    found = analyse(flow(through_numpy), "numpy", Val("identity"), QUICKLY)
    passage = found.courses[0].passage
    assert (passage.growth, passage.stiffness, passage.amplification) == (None, None, None)
    assert of(found, "Dahlquist").verdict == "not certified"
    assert row(found, "Dahlquist", "<v").measured == "not measured"


@pytest.mark.parametrize(
    "method",
    [
        Unrolled(steps=1, net=Net(architecture="cnn", width=4), channels=1),
        DnCNN(width=2, depth=3, channels=1),
    ],
    ids=["unrolled", "denoiser"],
)
def test_a_method_for_other_images_is_one_line(method):
    words = "is for grey images, those of `toy` are in colour.*--challenge"
    with pytest.raises(UserError, match=words):
        analyse(method, "grey", Val("blur"), QUICK)


def test_no_theorem_speaks_of_a_method_without_a_denoiser():
    with pytest.raises(UserError, match="no theorem about denoisers speaks"):
        analyse(TV(), "runs/tv", Val(), QUICK)


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"levels": (0.1,)}, "iteration", "--levels: is for a denoiser alone; `Trained` has its"),
        ({"algorithm": "pgd"}, "iteration", "--algorithm: is for a denoiser alone"),
        ({"step": 0.5}, "unrolled", "--step: is for a denoiser alone"),
        ({"levels": (0.1, 0.3)}, "denoiser", "from 0/255 to 50/255, and is asked for 76.5/255"),
        ({"levels": (0.1,)}, "denoiser", None),
        ({}, "iteration", None),
    ],
)
def test_what_would_be_ignored_or_was_not_learned_is_refused(asked, kind, words):
    class Trained(Toy):
        """For a range of noise levels."""

        def __init__(self):
            super().__init__(expands)
            self.levels = NoiseRange()
            self.levels.ends.copy_(torch.tensor([0.0, 50 / 255]))

    if words is None:
        check_asked(Trained(), kind, Settings(**asked))
        return
    with pytest.raises(UserError, match=re.escape(words)):
        check_asked(Trained(), kind, Settings(**asked))


def test_it_is_reproducible_and_no_image_depends_on_another():
    def kinked(x):
        return 0.3 * x + 0.6 * torch.relu(x.roll(1, -1) - 0.3)

    both, again = (analyse(Toy(kinked), "toy", Val(), QUICK) for _ in range(2))
    assert both.to_json() == again.to_json()
    turned = Val()
    turned.images = dict(reversed(turned.images.items()))
    other = analyse(Toy(kinked), "toy", turned, QUICK)
    assert other.levels == both.levels
    assert sorted(other.courses, key=lambda each: each.identity) == list(both.courses)
    seeded = Settings(**{**QUICK.__dict__, "seed": 1})
    assert analyse(Toy(kinked), "toy", Val(), seeded).levels != both.levels


def test_json_and_picture_hold_what_was_found(tmp_path):
    settings = Settings(images=1, size=16, iterations=30, levels=(0.05, 0.1))
    found = analyse(Repeats(Toy(expands)), "expands", Val(), settings)
    text = json.dumps(found.to_json(), allow_nan=False)
    read = json.loads(text)
    assert [each["verdict"] for each in read["theorems"]] == [
        each.verdict for each in found.statements
    ]
    for each in (found, analyse(GradientStep(), "step", Val(), settings)):
        path = tmp_path / f"{each.name}.png"
        convergence_pictures.draw(path, each)
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 1
