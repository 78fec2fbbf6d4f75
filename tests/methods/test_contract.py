"""The contract over every method of the table, and proof that each rule can fail."""

from pathlib import Path

import pytest
import torch
from deepinv.physics import GaussianNoise

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.configs.schema.training import TrainConfig
from challenge.data.physics.families import FAMILIES
from challenge.methods import from_source, registry
from challenge.methods.contract import Method
from challenge.methods.contract_test import ToySession, check, toy_images, toy_problem
from challenge.methods.knobs import model
from challenge.methods.transforms.noise_level import noise_level

LATENT = {
    "net": {"latent": 4, "width": 4, "depth": 1, "blocks": 1, "shuffle": 2},
    "inference": {"iterations": 1, "restarts": 1},
}
UNROLLED = {"name": "unrolled", "steps": 1, "net": {"width": 4, "depth": 1}}
SMALL = {
    "adapt": {"of": UNROLLED, "steps": 2, "lr": 0.01, "margin": 0},
    "autoencoder": LATENT,
    "bilevel": {"filters": 4, "size": 3, "iterations": 10},
    "deq": {"iterations": 2, "net": {"width": 4, "depth": 1}},
    "dncnn": {"width": 4, "depth": 3, "blind": False},
    "diffusion": {
        "denoiser": {"name": "drunet", "width": 4, "depth": 1, "blocks": 1},
        "draws": 2,
        "steps": 2,
    },
    "drunet": {"width": 4, "depth": 1, "blocks": 1},
    "ensemble": {"of": UNROLLED},
    "ffdnet": {"width": 4, "depth": 3},
    "gsdrunet": {"width": 4, "depth": 1, "blocks": 1},
    "gs_pnp": {
        "denoiser": {"name": "gsdrunet", "width": 4, "depth": 1, "blocks": 1},
        "iterations": 1,
        "warm_up": 1,
    },
    "huber": {"iterations": 8},
    "lipschitz": {"width": 4, "blocks": 1},
    "lista": {"filters": 12, "layers": 2},
    "lpd": {"steps": 2, "net": {"width": 4, "depth": 1}, "dual_width": 4},
    "network": {"net": {"width": 8, "depth": 1}},
    "neural_ode": {"solver": "euler", "steps": 1, "net": {"width": 4, "depth": 1}},
    "pnp": {"denoiser": {"name": "tv", "weight": "usual", "iterations": 2}, "iterations": 2},
    "red": {"denoiser": {"name": "tv", "weight": "usual", "iterations": 2}, "iterations": 2},
    "score": {"width": 4, "depth": 1, "blocks": 1},
    "tv": {"iterations": 5},
    "unrolled": {"steps": 2, "net": {"width": 4, "depth": 1}},
    "vae": LATENT,
}
"""Knobs that make a method quick to test; the rules do not depend on size."""

COLOURS = (
    "autoencoder", "bilevel", "deq", "dncnn", "drunet", "ffdnet", "gsdrunet", "lipschitz", "lista",
    "lpd", "network", "neural_ode", "score", "unrolled", "vae",
)  # fmt: skip
"""Methods made for a number of channels."""
WRAPPERS = ("adapt", "ensemble")
"""Methods that call another one, `of`."""
KNOWS_PHOTONS = ("adapt",)
"""Methods that read the noise of every number off its brightness."""


def make(name: str, channels: int = 3) -> Method:
    section = {"name": name, **SMALL.get(name, {})}
    if channels != 3 and name in COLOURS:
        section["channels"] = channels
    if channels != 3 and name in ("diffusion", "gs_pnp"):
        section["denoiser"] = {**section["denoiser"], "channels": channels}
    if channels != 3 and name in WRAPPERS:
        section["of"] = {**section["of"], "channels": channels}
    torch.manual_seed(0)
    return registry.build(section, Path())


@pytest.mark.parametrize(
    "boundary", ["circular", "valid", pytest.param("reflect", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_method_holds_to_the_contract(name, boundary):
    if "blur" not in (from_source.operators(name) or FAMILIES):
        return
    problem = toy_problem(boundary=boundary)
    steps = 1 if boundary == "circular" else None
    assert check(lambda: make(name), problem=problem, steps=steps) == []


MEDICAL = ("ct", "mri")
OPERATORS = [(kind, None) for kind in FAMILIES if kind not in ("blur", *MEDICAL)]
OPERATORS += [("downsampling", "reflect")]
OPERATORS += [pytest.param(kind, None, marks=pytest.mark.slow) for kind in MEDICAL]


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_method_holds_to_the_contract_on_every_operator(name, operator, boundary):
    takes = from_source.operators(name)
    if takes is not None and operator not in takes:
        with pytest.raises(UserError, match=f"is for the operators .*is {operator}") as caught:
            registry.check_operator(make(name), name, "mine", operator)
        assert len(str(caught.value).splitlines()) == 1
        return
    registry.check_operator(make(name), name, "mine", operator)
    problem = toy_problem(boundary=boundary, operator=operator)
    assert check(lambda: make(name, problem.channels), problem=problem) == []


@pytest.mark.parametrize("operator", MEDICAL)
@pytest.mark.parametrize("name", ["fbp", "lpd", "tv", "zero_filled"])
def test_methods_of_medicine_hold_to_the_contract(name, operator):
    if operator in (from_source.operators(name) or MEDICAL):
        problem = toy_problem(operator=operator)
        assert check(lambda: make(name, problem.channels), problem=problem) == []


@pytest.mark.parametrize(
    ("operator", "boundary", "kind"),
    [
        pytest.param("blur", "valid", "poisson", marks=pytest.mark.slow),
        pytest.param("blur", "reflect", "poisson_gaussian", marks=pytest.mark.slow),
        ("inpainting", None, "poisson"),
        ("compose", None, "poisson_gaussian"),
    ],
)
@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_method_takes_every_noise(name, operator, boundary, kind):
    if operator not in (from_source.operators(name) or FAMILIES):
        return
    level = {"kind": kind, "gain": (0.005, 0.02)}
    level |= {"sigma": 0.02} if kind == "poisson_gaussian" else {}
    problem = toy_problem(3, boundary, operator, level)
    assert check(lambda: make(name), problem=problem, steps=None) == []


@pytest.mark.parametrize(
    ("operator", "boundary"), [("blur", "circular"), ("blur", "valid"), ("inpainting", None)]
)
@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_photons_are_taken_for_gaussian_noise_of_their_level(name, operator, boundary):
    """Whatever a method makes of the measurement's colours in between."""
    if operator not in (from_source.operators(name) or FAMILIES) or name in KNOWS_PHOTONS:
        return
    level = {"kind": "poisson", "gain": (0.005, 0.02)}
    problem = toy_problem(3, boundary, operator, level)
    x = torch.stack([toy_images(2)[index] for index in range(2)])
    y, physics = problem.measure(x, [0, 1])
    method = make(name).eval()
    with torch.no_grad():
        photons = method(y, physics)
        _, physics = problem.measure(x, [0, 1])
        physics.noise_model = GaussianNoise(sigma=noise_level(y, physics).flatten())
        torch.testing.assert_close(method(y, physics), photons, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_nothing_breaks_without_noise(name):
    """A range of levels may begin at 0."""
    operator = (from_source.operators(name) or ("identity",))[-1]
    silent = toy_problem(operator=operator).at(schema.GaussianNoise(sigma=(0, 1e-12)))
    assert check(lambda: make(name, silent.channels), problem=silent) == []


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_the_operators_of_a_method_are_read_without_importing_it(name):
    assert from_source.operators(name) == registry.resolve(name, Path()).operators


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_whether_a_method_takes_grey_images_is_read_without_importing_it(name):
    assert from_source.takes_grey(name) == registry.resolve(name, Path()).takes_grey


TAKE_GREY = [*filter(from_source.takes_grey, sorted(registry.METHODS)), *WRAPPERS]
GREY = [("blur", "circular"), ("blur", "valid"), ("inpainting", None), ("downsampling", "reflect")]


@pytest.mark.parametrize(("operator", "boundary"), GREY)
@pytest.mark.parametrize("name", TAKE_GREY)
def test_a_network_for_colours_holds_to_the_contract_on_grey_images(name, operator, boundary):
    method = make(name)
    assert method.takes_grey and method.channels == 3
    problem = toy_problem(1, boundary, operator)
    assert check(lambda: make(name), problem=problem, steps=None) == []


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_method_reconstructs_grey_images(name):
    operator = (from_source.operators(name) or ("blur",))[0]
    if 1 not in FAMILIES[operator].channels:
        return
    problem = toy_problem(channels=1, operator=operator)
    assert check(lambda: make(name, 1), problem=problem) == []


class Watched:
    """A `train:` section that knows which of its keys were read."""

    def __init__(self, **values):
        self._config, self.read = TrainConfig(**values), set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self._config, name)


@pytest.mark.parametrize(
    "knobs",
    [
        *({"name": name} for name in sorted(registry.METHODS)),
        {"name": "bilevel", "theta": "weight"},
        {"name": "bilevel", "theta": "weight_eps"},
        {"name": "neural_ode", "solver": "heun", "gradient": "adjoint"},
        {"name": "pnp", "strength": None},
        {"name": "pnp", "schedule": "learned", "denoiser": {"name": "drunet", **SMALL["drunet"]}},
        {"name": "tv", "weight": None},
    ],
    ids=str,
)
def test_the_keys_that_a_method_names_are_those_that_it_reads(knobs):
    section = {**SMALL.get(knobs["name"], {}), **knobs}
    cls = registry.resolve(knobs["name"], Path())
    train = Watched(steps=1, batch=2, patch=24, tune=1, evaluate=1)
    problem = toy_problem(operator=(cls.operators or ("blur",))[0])
    images = toy_images(channels=problem.channels)
    registry.build(section, Path()).fit(problem, images, train, ToySession())
    given = {name: value for name, value in section.items() if name != "name"}
    named = set(cls.reads_with(dict(model(cls).model_validate(given))))
    assert train.read <= named
    # Those of `supervised` matter to some losses, optimisers and schedules only.
    assert train.read >= named & {"tune", "steps", "batch", "patch", "lr", "optimiser", "loss"}


class Breaks(Method):
    """A method that breaks one rule."""

    reads = ("steps",)

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.calls = 0
        self.gain = torch.nn.Parameter(torch.rand(()) if rule == "weights" else torch.ones(()))
        self.hidden = torch.rand(()) if rule == "weights" else 1.0

    def forward(self, y, physics):
        self.calls += 1
        x = physics.A_adjoint(y) * self.gain.detach() * self.hidden
        match self.rule:
            case "shape":
                return x[..., 1:]
            case "dtype":
                return x.double()
            case "finite":
                return x / 0
            case "grad":
                with torch.enable_grad():
                    return x * self.gain
            case "batch":
                return x - x.mean()
            case "repeat":
                return x + 1e-3 * self.calls
            case "order":
                previous, self.previous = getattr(self, "previous", x), x
                return x + 1e-3 * previous.mean()
            case "y":
                y.mul_(0.5)
            case "physics":
                physics.noise_model.sigma.mul_(0.5)
            case "sizes":
                return x[..., :40, :40]
            case "crash":
                raise RuntimeError("no")
        return x

    def fit(self, problem, images, train, session):
        if self.rule == "fit":
            self.register_buffer("late", torch.zeros(1))
        if self.rule == "fit nan":
            self.gain.data.fill_(float("nan"))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("shape", "shape: x_hat has shape"),
        ("dtype", "dtype: x_hat is torch.float64"),
        ("finite", "finite"),
        ("grad", "requires a gradient"),
        ("batch", "batch 1 = batch n"),
        ("repeat", "same twice"),
        ("order", "order of images"),
        ("y", "y untouched"),
        ("physics", "changed `physics.noise_model.sigma`"),
        ("sizes", "two image sizes"),
        ("weights", "save -> load"),
        ("crash", "raised RuntimeError: no"),
        ("fit", "register every buffer"),
        ("fit nan", "after fit, finite"),
    ],
)
def test_each_rule_can_fail(rule, text):
    failures = check(lambda: Breaks(rule))
    assert any(text in str(failure) for failure in failures), failures


def test_a_method_that_keeps_every_rule_passes():
    assert check(lambda: Breaks("none")) == []


def test_toy_images_are_images():
    image = toy_images(2)[1]
    assert image.shape == (3, 48, 48)
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.05
