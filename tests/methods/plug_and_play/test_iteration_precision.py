"""In which precision the denoiser of an iteration computes: measured for the whole iteration."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.plug_and_play import iteration_precision
from challenge.methods.plug_and_play.iteration_precision import COST, EXACT, is_measured
from challenge.methods.training import precision
from challenge.methods.training.precision import InferencePrecision

SHORT = {
    "pnp": {"iterations": 2},
    "red": {"iterations": 2},
    "gs_pnp": {"iterations": 1, "warm_up": 1},
}
UNKNOWN = precision.UNKNOWN


def denoiser(name, asked="auto", cost=0.0):
    """A small network whose own cost is known."""
    kind = "gsdrunet" if name == "gs_pnp" else "drunet"
    torch.manual_seed(1)
    section = {"name": kind, "width": 4, "depth": 1, "blocks": 1, "precision": asked}
    made = registry.build(section).eval()
    made.compute.bf16_cost.fill_(cost)
    return section, made


def iteration(name, asked="auto", cost=0.0, **knobs):
    section, made = denoiser(name, asked, cost)
    whole = {"name": name, "denoiser": section, **SHORT[name], **knobs}
    return registry.build(whole, parts={"denoiser": made}).eval()


@pytest.fixture(autouse=True)
def has_bf16(monkeypatch):
    """Whatever processor this is."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


@pytest.fixture(scope="module")
def scene():
    problem = toy_problem()
    return problem.measure(torch.stack([toy_images(1)[0]]), [0])


def computes_in(method, scene, monkeypatch):
    """The precisions that the convolutions were asked for."""
    seen = set()
    real = precision.autocast

    def spy(wanted, device):
        seen.add(wanted)
        return real(wanted, device)

    monkeypatch.setattr(precision, "autocast", spy)
    with torch.no_grad():
        method(*scene)
    return {precision.uses_bf16(each, torch.device("cpu")) for each in seen}


@pytest.mark.parametrize("name", SHORT)
def test_what_bfloat16_costs_the_denoiser_by_itself_decides_nothing(name, scene, monkeypatch):
    method = iteration(name, cost=0.0)
    assert computes_in(method, scene, monkeypatch) == {False}
    for cost, fast in ((0.0, True), (0.01, True), (0.011, False), (UNKNOWN, False)):
        method.compute.bf16_cost.fill_(cost)
        assert computes_in(method, scene, monkeypatch) == {fast}, cost


@pytest.mark.parametrize(
    ("wanted", "asked", "fast"),
    [
        ("bf16", "float32", True),
        ("float32", "bf16", False),
        ("auto", "float32", False),
        ("auto", "bf16", True),
    ],
)
@pytest.mark.parametrize("name", SHORT)
def test_a_precision_that_is_given_is_used(name, wanted, asked, fast, scene, monkeypatch):
    method = iteration(name, asked, precision=wanted)
    method.compute.bf16_cost.fill_(UNKNOWN if fast else 0.0)
    assert computes_in(method, scene, monkeypatch) == {fast}


@pytest.mark.parametrize("name", SHORT)
def test_fit_measures_the_whole_iteration(name, monkeypatch):
    """On the tune part, as it computes then: and the number travels with the weights."""
    asked = []
    monkeypatch.setattr(
        iteration_precision,
        "quality",
        lambda method, tune, *_: asked.append((method.compute.wanted, len(tune))) or Psnr(method),
    )

    class Psnr:
        def __init__(self, method):
            self.psnr = 30.0 if method.compute.wanted == "float32" else 29.96

    method, session = iteration(name, cost=0.002), ToySession()
    method.fit(toy_problem(), toy_images(6), TrainConfig(tune=2), session)
    assert asked == [("float32", 2), ("bf16", 2)]
    assert session.lines[-1]["bf16_cost"] == pytest.approx(0.04)
    again = iteration(name)
    again.load_state_dict(method.state_dict())
    assert float(again.compute.bf16_cost) == pytest.approx(0.04)


def test_an_iteration_that_diverges_computes_in_float32(monkeypatch):
    method = iteration("pnp", strength=1e-6, level=0.5, schedule="fixed", iterations=20)
    monkeypatch.setattr("challenge.methods.plug_and_play.safeguard.LARGE", 0.0)
    monkeypatch.setattr("challenge.methods.plug_and_play.safeguard.GROWN", 0.0)
    session = ToySession()
    method.fit(toy_problem(), toy_images(4), TrainConfig(tune=1), session)
    assert float(method.compute.bf16_cost) == UNKNOWN
    assert session.lines == []


@pytest.mark.parametrize("cost", [0.002, UNKNOWN])
@pytest.mark.parametrize("name", SHORT)
def test_one_that_was_stored_without_a_cost_of_its_own_computes_as_it_did(name, cost):
    state = iteration(name).state_dict()
    del state[COST]
    state[f"denoiser.{COST}"] = torch.tensor(cost)
    method = iteration(name)
    method.load_state_dict(state)
    assert float(method.compute.bf16_cost) == pytest.approx(cost)


@pytest.mark.parametrize("name", ["pnp", "red"])
def test_a_denoiser_without_a_network_is_not_measured(name):
    section = {"name": name, "denoiser": {"name": "tv", "weight": "usual", "iterations": 2}}
    method = registry.build({**section, **SHORT[name]}).eval()
    state = {key: value for key, value in method.state_dict().items() if key != COST}
    method.load_state_dict(state)
    session = ToySession()
    method.fit(toy_problem(), toy_images(4), TrainConfig(tune=1), session)
    assert session.lines == []
    with pytest.raises(UserError, match=r"`method.precision`: is `bf16`, and `TV` has no network"):
        registry.build({**section, "precision": "bf16"})


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_which_methods_compute_in_float32_by_default(name):
    """So that a config tells whether tune images are read."""
    knobs = inspect.signature(registry.resolve(name, Path())).parameters
    if {"denoiser", "of"} & {*knobs}:
        return  # they compute in the precision of their part
    default = knobs["precision"].default if "precision" in knobs else "float32"
    assert (name in EXACT) == (default == "float32")
    for wanted in ("auto", "float32", "bf16"):
        found = is_measured({"precision": wanted, "denoiser": {"name": name}})
        assert found == (wanted == default == "auto")


def test_while_a_learned_schedule_trains_the_precision_of_the_training_rules():
    method = iteration("pnp", schedule="learned")
    held = [each for each in method.modules() if isinstance(each, InferencePrecision)]
    assert len(held) == 1
    assert not method.train().denoiser.net.training
    assert held[0].training
    assert not method.eval().compute.training


@pytest.mark.parametrize(
    ("name", "search"),
    [("pnp", "pnp.tune_several"), ("red", "strength.tune"), ("gs_pnp", "strength.tune")],
)
def test_numbers_are_tuned_where_the_session_computes(name, search, monkeypatch):
    class Elsewhere(ToySession):
        def __init__(self):
            self.seed, self.fabric = 0, SimpleNamespace(device=torch.device("meta"))

        def should_stop(self):
            return True

    method, seen = iteration(name, strength=None), set()

    def look(*_, **__):
        seen.update(each.device.type for each in method.state_dict().values())

    monkeypatch.setattr(f"challenge.methods.plug_and_play.{search}", look)
    method.fit(toy_problem(), toy_images(4), TrainConfig(tune=1), Elsewhere())
    assert seen == {"meta"}
