"""Neural ODEs: a residual network by Euler's method, a flow by all others; both gradients."""

import math
import re
from pathlib import Path

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.reader.source import Source
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract_test import ToySession, check, toy_images, toy_problem
from challenge.methods.end_to_end.neural_ode import NeuralODE
from challenge.methods.networks.architectures import Net
from challenge.methods.solvers.data_term import DataTerm

ALGORITHMS = ["pgd", "hqs"]
SOLVERS = ["euler", "heun", "rk4", "dopri5"]


def make(algorithm="hqs", **knobs):
    torch.manual_seed(0)
    net = Net(architecture="cnn", width=3, depth=1, activation="silu")
    return NeuralODE(algorithm=algorithm, net=net, **knobs)


def wake(method, scale=0.05):
    """Give the networks, zero before training, something to say."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return method


def measured(batch=2, side=12, **options):
    problem = toy_problem(**options)
    side = problem.fitting(side)
    x = torch.stack([toy_images(batch)[n][:, :side, :side] for n in range(batch)])
    return (x, *problem.measure(x, range(batch)))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_before_training_it_is_the_wiener_estimate(algorithm, solver):
    _, y, physics = measured()
    method = make(algorithm, solver=solver).eval()
    with torch.no_grad():
        wiener = method.wiener(DataTerm(y, physics))[0]
        torch.testing.assert_close(method(y, physics), wiener, rtol=0, atol=1e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_euler_s_method_it_is_a_residual_network_exactly(algorithm):
    """n blocks x + h v(x), written out."""
    _, y, physics = measured()
    n, horizon = 5, 3.0
    method = wake(make(algorithm, solver="euler", steps=n, horizon=horizon)).eval()
    with torch.no_grad():
        v = method.dynamics(y, physics).field
        x = method.wiener(DataTerm(y, physics))[0]
        h = torch.full((2,), horizon) / n
        for k in range(n):
            x = x + h[:, None, None, None] * v(x, k * h)
        assert torch.equal(method(y, physics), x)


def test_with_steps_of_length_one_it_is_an_unrolled_iteration():
    _, y, physics = measured()
    method = wake(make(solver="euler", steps=3, horizon=3.0)).eval()
    with torch.no_grad():
        data = DataTerm(y, physics)
        x = x_0 = method.wiener(data)[0]
        for k in range(3):
            share = torch.full((2, 1, 1, 1), k / 3)
            z = method.data_step(x, data, method.wiener.log_spectrum, share=share)
            x = method.denoise(z, x_0, data, share)
        torch.testing.assert_close(method(y, physics), x, rtol=0, atol=1e-5)


def test_all_solvers_follow_one_flow():
    _, y, physics = measured()
    ends = {}
    for solver, knobs in (("euler", {"steps": 64}), ("heun", {"steps": 24}), ("rk4", {"steps": 8}),
                          ("dopri5", {"tolerance": 1e-5})):  # fmt: skip
        with torch.no_grad():
            ends[solver] = wake(make(solver=solver, **knobs)).eval()(y, physics)
    off = {name: float((end - ends["dopri5"]).norm() / end.norm()) for name, end in ends.items()}
    assert off["rk4"] < 1e-4
    assert off["heun"] < 1e-3
    assert 2e-4 < off["euler"] < 5e-2


def gradients(knobs, algorithm="hqs"):
    x, y, physics = measured(side=8)
    method = wake(make(algorithm, **knobs)).double().train()
    x_hat = method(y.double(), physics.double())
    (x_hat - x).square().mean().backward()
    return method, torch.cat([each.grad.flatten() for each in method.parameters()])


@pytest.mark.parametrize("algorithm", ["hqs", pytest.param("pgd", marks=pytest.mark.slow)])
def test_the_adjoint_state_gives_the_gradients_of_backpropagation(algorithm):
    knobs = {"solver": "dopri5", "tolerance": 1e-8, "horizon": 2.0}
    method, adjoint = gradients({**knobs, "gradient": "adjoint"}, algorithm)
    assert method.observe()["adjoint_evaluations"] > 0
    _, backprop = gradients({**knobs, "gradient": "backprop"}, algorithm)
    assert (adjoint - backprop).norm() <= 1e-5 * backprop.norm()


def test_gradients_are_finite_differences():
    x, y, physics = measured(side=8)
    y, physics = y.double(), physics.double()
    knobs = {"solver": "dopri5", "tolerance": 1e-9, "horizon": 2.0}
    method, found = gradients(knobs)
    generator, values = torch.Generator().manual_seed(4), []
    way = torch.randn(len(found), generator=generator, dtype=torch.float64)
    sizes = [each.numel() for each in method.parameters()]
    with torch.no_grad():
        for h in (1e-5, -2e-5):
            for parameter, each in zip(method.parameters(), way.split(sizes), strict=True):
                parameter.add_(h * each.reshape(parameter.shape))
            values.append(float((method(y, physics) - x).square().mean()))
    assert float(found @ way) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_what_autograd_keeps_does_not_grow_with_the_steps():
    _, y, physics = measured(side=8)

    def kept(steps, gradient):
        method, sizes = wake(make(steps=steps, gradient=gradient)).train(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            method(y, physics)
        return sum(sizes)

    assert kept(80, "adjoint") <= 1.2 * kept(10, "adjoint") < kept(10, "backprop") / 5
    assert kept(40, "backprop") > 3 * kept(10, "backprop")


@pytest.mark.parametrize("knobs", [{}, {"solver": "dopri5"}], ids=str)
def test_what_a_training_step_took_is_in_the_log(knobs):
    session = ToySession()
    train = TrainConfig(steps=1, batch=1, patch=16, tune=1, evaluate=1)
    make(**knobs).fit(toy_problem(), toy_images(), train, session)
    (line,) = [each for each in session.lines if "loss" in each]
    assert line["flow_evaluations"] >= line["flow_steps"] > 0
    assert ("adjoint_evaluations" in line) == bool(knobs)


@pytest.mark.parametrize(
    "knobs", [{}, pytest.param({"solver": "dopri5"}, marks=pytest.mark.slow)], ids=str
)
def test_it_learns(knobs):
    x, y, physics = measured(side=16)
    method, losses = make(**knobs), []
    optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
    for _ in range(8):
        optimiser.zero_grad()
        loss = (method.train()(y, physics) - x).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def drunet():
    torch.manual_seed(3)
    return registry.build({"name": "drunet", "width": 4, "depth": 1, "blocks": 1}).eval()


@pytest.mark.parametrize("algorithm", ["hqs", pytest.param("pgd", marks=pytest.mark.slow)])
def test_started_from_a_denoiser_its_level_falls_and_it_holds_to_the_contract(algorithm):
    assert check(lambda: NeuralODE(algorithm=algorithm, steps=2, start=drunet())) == []
    method = NeuralODE(algorithm=algorithm, start=drunet())
    _, y, physics = measured()
    data = DataTerm(y, physics)
    levels = [method.level(data, torch.full((1, 1, 1, 1), share)) for share in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(levels[0], torch.full_like(levels[0], 49 / 255))
    torch.testing.assert_close(levels[2], data.sigma)
    torch.testing.assert_close(levels[1], (levels[0] * levels[2]).sqrt())


REFUSED = [
    ({"solver": "dopri5", "steps": 4}, "`method.steps`: is not a knob of `solver: dopri5`"),
    ({"solver": "rk4", "tolerance": 1e-3}, "`method.tolerance`: is not a knob of `solver: rk4`"),
    ({"solver": "dopri5", "precision": "bf16"}, "`method.precision`: is not a knob of"),
    ({"solver": "euler", "gradient": "adjoint"}, "whose error through Euler's method is that of"),
    ({"gradient": "adjoint", "net": {"dropout": 0.1}}, "`method.net.dropout`: is `0.1`"),
    ({"solver": "dopri5", "net": {"normalisation": "batch"}}, "`method.net.normalisation`"),
    ({"start": {"name": "drunet", "width": 4}, "net": {"width": 8}}, "`method.net`: is not read"),
    ({"start": {"name": "tv", "weight": "usual"}}, "is not told the noise level"),
]


@pytest.mark.parametrize(("knobs", "words"), REFUSED)
def test_knobs_that_nothing_reads_or_that_give_no_gradient_are_refused(knobs, words):
    with pytest.raises(UserError, match=re.escape(words)):
        registry.build({"name": "neural_ode", **knobs})


@pytest.mark.parametrize(
    ("knobs", "read"),
    [({}, True), ({"solver": "euler"}, True), ({"solver": "dopri5"}, False),
     ({"gradient": "adjoint"}, False), ({"solver": "dopri5", "gradient": "backprop"}, False)],
    ids=str,
)  # fmt: skip
def test_the_precision_of_training_is_refused_where_nothing_reads_it(knobs, read):
    section = {"name": "neural_ode", **knobs}
    source = Source(Path("x.yaml"), {"method": section, "train": {"precision": "bf16"}})
    told = ["`neural_ode` does not read `train.precision` with these knobs"]
    assert [each.cause for each in registry.mistakes(source, section)] == ([] if read else told)


@pytest.mark.parametrize("training", [False, True])
def test_a_stiff_flow_is_one_line_with_the_knobs(training):
    _, y, physics = measured()
    method = make(solver="dopri5").train(training)
    method.denoise = lambda z, x_0, data, share: z - 1e6 * (z - torch.cos(50 * share))
    words = r"image \d of 2: the flow .* t = \S+ a step of `\S+`.*`method.tolerance` or a shorter"
    with pytest.raises(UserError, match=words):
        method(y, physics)


def test_a_flow_that_leaves_the_range_of_images_is_told():
    _, y, physics = measured()
    method = make(solver="euler", steps=8).eval()
    method.denoise = lambda z, x_0, data, share: 30 * z
    with pytest.raises(UserError, match=r"the flow: its end reaches `\S+`.*more `method.steps`"):
        method(y, physics)
    method.denoise = lambda z, x_0, data, share: z / 0
    with pytest.raises(UserError, match="reaches `(inf|nan)`"):
        method(y, physics)


def test_a_tolerance_below_rounding_is_refused():
    _, y, physics = measured()
    with pytest.raises(UserError, match="`method.tolerance`: is `1e-09`, and a step in float32"):
        make(solver="dopri5", tolerance=1e-9)(y, physics)
    assert math.isclose(make(solver="dopri5").tolerance, 1e-3)
