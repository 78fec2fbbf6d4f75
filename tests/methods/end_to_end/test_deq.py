"""Deep equilibrium: its fixed point, the way back through it, and what has none."""

import itertools
import re
from pathlib import Path

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.reader.source import Source
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract_test import COLOURED, ToySession, check, toy_images, toy_problem
from challenge.methods.end_to_end.deq import DEQ
from challenge.methods.networks.architectures import Net
from challenge.methods.plug_and_play.pnp import PnP
from challenge.methods.plug_and_play.properties import in_float32
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.solution import NotConverged

ALGORITHMS = ["pgd", "hqs"]
EXACT = {"tolerance": 1e-12, "iterations": 300, "adjoint_tolerance": 1e-12,
         "adjoint_iterations": 300}  # fmt: skip


def make(algorithm="hqs", **knobs):
    torch.manual_seed(0)
    # Smooth, so that finite differences meet no kink.
    net = {"architecture": "cnn", "width": 3, "depth": 1, "activation": "silu"}
    if knobs.get("contraction"):
        net = {"width": 12, "depth": 1}
    return DEQ(algorithm=algorithm, net=Net(**net), **knobs)


def wake(method, scale=0.02):
    """Give the networks, zero before training, something to say."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return method


def measured(batch=2, side=16, operator="blur", **options):
    problem = toy_problem(operator=operator, **options)
    side = problem.fitting(side)
    x = torch.stack([toy_images(batch)[n][:, :side, :side] for n in range(batch)])
    return (x, *problem.measure(x, range(batch)))


def unread(section):
    """What is told of `train.precision` beside a `method:` section."""
    source = Source(Path("x.yaml"), {"method": section, "train": {"precision": "bf16"}})
    return [each.cause for each in registry.mistakes(source, section)]


def exact(algorithm, scale=0.02, **knobs):
    """In float64, with tolerances of rounding."""
    x, y, physics = measured(side=8)
    method = wake(make(algorithm, **{**EXACT, **knobs}), scale).double()
    method.data_step.log_prior.data += 4  # strongly convex: some tens of steps to rounding
    return method, x.double(), y.double(), physics.double()


# --- the fixed point ------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["blur", "downsampling"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_before_training_it_is_the_wiener_estimate(algorithm, operator):
    _, y, physics = measured(operator=operator)
    method = make(algorithm, tolerance=1e-5).eval()
    with torch.no_grad():
        wiener = method.wiener(DataTerm(y, physics))[0]
        found = method.solve(y, physics, start=torch.zeros_like(wiener))
        assert (found.residual <= 1e-5).all()
        torch.testing.assert_close(found.x, wiener, rtol=0, atol=2e-3)
        assert method.solve(y, physics).iterations == 1


@pytest.mark.parametrize("solver", ["anderson", "plain"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_is_the_limit_of_its_own_step(algorithm, solver):
    method, _, y, physics = exact(algorithm, solver=solver)
    with torch.no_grad():
        x_hat = method(y, physics)
        last = next(itertools.islice(method.estimates(y, physics), 150, None))
        step = method.equilibrium(y, physics).step
        assert (step(x_hat) - x_hat).norm() <= 1e-10 * x_hat.norm()
    torch.testing.assert_close(x_hat, last, rtol=0, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_where_it_contracts_there_is_one_fixed_point_from_every_start(algorithm):
    """However wild the weights are, and no faster than q^k."""
    x, y, physics = measured()
    q = 0.8
    method = wake(make(algorithm, contraction=q, tolerance=1e-5, iterations=60), 1.0).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        ends = [
            method.solve(y, physics, start=scale * torch.rand(x.shape, generator=generator)).x
            for scale in (0, 1, 30)
        ]
        step = method.equilibrium(y, physics).step
        for scale in (1e-2, 1.0, 10.0):
            one, other = (scale * torch.randn(x.shape, generator=generator) for _ in range(2))
            apart = (one - other).flatten(1).norm(dim=1)
            assert ((step(one) - step(other)).flatten(1).norm(dim=1) <= q * apart + 1e-4).all()
    for each in ends[1:]:
        torch.testing.assert_close(each, ends[0], rtol=0, atol=1e-3)
    assert method.equilibrium(y, physics).contraction == q


CLOSED = {"hqs": {"identity", "blur", "downsampling", "compose"}, "pgd": {"identity", "blur"}}
"""Examples of operators whose data step is computed in closed form; `compose` is downsampled."""


@pytest.mark.parametrize("operator", COLOURED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_contraction_is_certified_only_where_the_data_step_is_exact(algorithm, operator):
    _, y, physics = measured(operator=operator)
    method = make(algorithm, contraction=0.8).eval()
    certified = 0.8 if operator in CLOSED[algorithm] else None
    assert method.equilibrium(y, physics).contraction == certified
    if certified:
        rounded = make(algorithm, contraction=0.8, precision="bf16").eval()
        assert rounded.equilibrium(y, physics).contraction is None
        with in_float32(rounded):
            assert rounded.equilibrium(y, physics).contraction == 0.8


@pytest.mark.parametrize("boundary", ["valid", "reflect"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_of_a_blur_with_other_borders_no_contraction_is_certified(algorithm, boundary):
    _, y, physics = measured(side=32, boundary=boundary)
    assert make(algorithm, contraction=0.8).eval().equilibrium(y, physics).contraction is None


def test_anderson_needs_fewer_steps_than_the_plain_iteration():
    counts = []
    for solver in ("anderson", "plain"):
        method, _, y, physics = exact("hqs", solver=solver, tolerance=1e-8)
        method.data_step.log_prior.data -= 3
        method.share.data += 2
        with torch.no_grad():
            counts.append(method.solve(y, physics).iterations)
    assert counts[0] < 0.6 * counts[1]


def test_an_image_takes_the_steps_that_it_needs_whatever_its_batch():
    _, y, physics = measured(batch=3, operator="identity")
    method = wake(make(tolerance=1e-4)).eval()
    with torch.no_grad():
        together = method(y, physics)
        for n in range(3):
            _, one, single = measured(batch=3, operator="identity")
            single.noise_model.sigma = single.noise_model.sigma[n : n + 1]
            alone = method(one[n : n + 1], single)
            torch.testing.assert_close(together[n : n + 1], alone, rtol=0, atol=1e-5)


# --- the way back ---------------------------------------------------------------------------------


def gradients(method, loss):
    method.zero_grad()
    loss.backward()
    return [each.grad.clone() for each in method.parameters()]


def close(found, wanted, most):
    scale = torch.cat([each.flatten() for each in wanted]).norm()
    off = torch.cat([(a - b).flatten() for a, b in zip(found, wanted, strict=True)]).norm()
    assert off <= most * scale, float(off / scale)


@pytest.mark.parametrize(
    ("algorithm", "contraction"),
    [
        ("pgd", None),
        ("hqs", None),
        ("hqs", 0.9),
        pytest.param("pgd", 0.9, marks=pytest.mark.slow),
    ],
)
def test_gradients_are_those_of_the_unrolled_iteration_at_convergence(algorithm, contraction):
    method, x, y, physics = exact(algorithm, contraction=contraction)
    found = gradients(method, (method(y, physics) - x).square().mean())
    assert method.report.residual.max() <= 1e-11
    step = method.equilibrium(y, physics).step
    with torch.no_grad():
        z = method(y, physics)
    z = z + 0.0
    for _ in range(60):
        z = step(z)
    close(found, gradients(method, (z - x).square().mean()), 1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gradients_are_finite_differences(algorithm):
    method, x, y, physics = exact(algorithm)

    def loss():
        return (method(y, physics) - x).square().sum()

    found = gradients(method, loss())
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        way = [
            torch.randn(each.shape, generator=generator, dtype=torch.float64)
            for each in method.parameters()
        ]
        values = []
        with torch.no_grad():
            for h in (1e-5, -2e-5):
                for parameter, each in zip(method.parameters(), way, strict=True):
                    parameter.add_(h * each)
                values.append(float(loss()))
            for parameter, each in zip(method.parameters(), way, strict=True):
                parameter.add_(1e-5 * each)
        slope = (values[0] - values[1]) / 2e-5
        inner = sum(float((a * b).sum()) for a, b in zip(found, way, strict=True))
        assert inner == pytest.approx(slope, rel=1e-5)


def test_jacobian_free_is_the_last_step_alone():
    method, x, y, physics = exact(
        "hqs", gradient="jacobian_free", adjoint_tolerance=None, adjoint_iterations=None
    )
    found = gradients(method, (method(y, physics) - x).square().mean())
    assert "backward_residual" not in method.observe()
    with torch.no_grad():
        at = method(y, physics)
    last = method.equilibrium(y, physics).step(at)
    wanted = gradients(method, (last - x).square().mean())
    close(found, wanted, 1e-9)
    method, x, y, physics = exact("hqs")
    full = gradients(method, (method(y, physics) - x).square().mean())
    inner = sum((a * b).sum() for a, b in zip(full, wanted, strict=True))
    assert inner > 0  # biased, and downhill
    with pytest.raises(AssertionError):
        close(found, full, 1e-2)


def test_memory_does_not_depend_on_the_iterations():
    _, y, physics = measured()

    def held(iterations):
        method = wake(make(tolerance=1e-5, iterations=iterations, adjoint_iterations=iterations))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            method.train()(y, physics).square().sum().backward()
        assert method.found["forward_steps"] == iterations
        return sum(sizes), method.report.iterations

    (few, back), (many, back_again) = held(2), held(8)
    assert few == many
    assert 0 < back < back_again, "the way back iterates too"


@pytest.mark.parametrize(
    ("gradient", "contraction"),
    [
        ("implicit", None),
        pytest.param("jacobian_free", None, marks=pytest.mark.slow),
        pytest.param("implicit", 0.9, marks=pytest.mark.slow),
        pytest.param("jacobian_free", 0.9, marks=pytest.mark.slow),
    ],
)
def test_it_learns(gradient, contraction):
    x, y, physics = measured(side=16)
    net = Net(width=4, depth=1) if contraction is None else Net(width=12, depth=1, shuffle=1)
    torch.manual_seed(0)
    method = DEQ(gradient=gradient, contraction=contraction, net=net)
    optimiser = torch.optim.Adam(method.parameters(), lr=5e-4)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = (method.train()(y, physics) - x).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0], losses


@pytest.mark.parametrize("gradient", ["implicit", "jacobian_free"])
def test_residuals_of_both_ways_are_in_the_log(gradient):
    session = ToySession()
    method = make(gradient=gradient)
    train = TrainConfig(steps=2, batch=2, patch=24, tune=1, evaluate=1)
    method.fit(toy_problem(), toy_images(), train, session)
    logged = [line for line in session.lines if "loss" in line]
    assert all(0 <= line["forward_residual"] <= 1e-3 for line in logged)
    assert all(("backward_residual" in line) == (gradient == "implicit") for line in logged)
    assert len(logged) == 2


# --- from a denoiser ------------------------------------------------------------------------------


def drunet(**knobs):
    torch.manual_seed(3)
    section = {"name": "drunet", "width": 4, "depth": 1, "blocks": 1, **knobs}
    return registry.build(section).eval()


@pytest.mark.parametrize("operator", COLOURED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_started_from_a_denoiser_its_step_is_that_of_plug_and_play(algorithm, operator):
    _, y, physics = measured(operator=operator)
    denoiser = drunet()
    pnp = PnP(denoiser=drunet(), algorithm=algorithm, schedule="fixed", safeguard="best").eval()
    method = DEQ(algorithm=algorithm, start=denoiser).eval()
    with torch.no_grad():
        wanted = list(itertools.islice(pnp.estimates(y, physics, 3), 3))
        found = list(itertools.islice(method.estimates(y, physics), 4))[1:]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_the_step_learns_apart_from_the_denoiser_it_began_as():
    denoiser = drunet()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    method = DEQ(start=denoiser, iterations=3, tolerance=0.09)
    train = TrainConfig(steps=2, batch=2, patch=24, tune=1, evaluate=2, precision="float32")
    method.fit(toy_problem(), toy_images(), train, ToySession())
    after = method.net.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(denoiser.state_dict()[name], before[name]) for name in before)
    DEQ(start=drunet()).load_state_dict(method.state_dict())


# --- what is refused ------------------------------------------------------------------------------

REFUSED = [
    ({"net": {"dropout": 0.1}}, "`method.net.dropout`: is `0.1`"),
    ({"net": {"normalisation": "batch"}}, "`method.net.normalisation`: is `batch`"),
    ({"contraction": 0.9, "net": {"architecture": "cnn"}}, "`method.net`: has knobs beside"),
    ({"start": {"name": "drunet", "width": 4}, "net": {"width": 8}}, "`method.net`: is not read"),
    ({"start": {"name": "drunet", "width": 4}, "contraction": 0.9}, "`method.contraction`: is not"),
    (
        {"gradient": "jacobian_free", "adjoint_tolerance": 0.01},
        "`method.adjoint_tolerance`: is not",
    ),
    (
        {"gradient": "jacobian_free", "adjoint_iterations": 30},
        "`method.adjoint_iterations`: is not",
    ),
    ({"start": {"name": "tv", "weight": "usual"}}, "is not told the noise level"),
]


@pytest.mark.parametrize(("knobs", "words"), REFUSED)
def test_knobs_that_nothing_reads_or_that_leave_no_map_are_refused(knobs, words):
    with pytest.raises(UserError, match=re.escape(words)):
        registry.build({"name": "deq", **knobs})


def test_the_precision_of_training_is_read_by_nothing_and_refused():
    assert unread({"name": "deq"}) == ["`deq` does not read `train.precision`"]


def expanding(method):
    """T(x) > 0 everywhere, and in the mean T(x) > x for x > 0."""
    method.denoise = lambda z, x_0, data: 30 * z.abs() + 1
    return method


@pytest.mark.parametrize("training", [False, True])
def test_a_fixed_point_that_does_not_exist_is_one_line_with_the_knob(training):
    _, y, physics = measured()
    method = expanding(make(iterations=30)).train(training)
    words = r"image \d of 2: no fixed point was found: in \d+ iterations the least relative "
    with pytest.raises(NotConverged, match=words + r"residual is `\d.*method.contraction=0.95"):
        method(y, physics)


SMALL_DRUNET = {"name": "drunet", "width": 4, "depth": 1, "blocks": 1}
LOST = [
    # Knobs, what is told, and the knobs of one who follows it.
    ({}, "or with `method.contraction=0.95`$", {"contraction": 0.95}),
    (
        {"net": {"width": 4, "depth": 1, "blocks": 1, "bias_free": True}},
        "`method.contraction=0.95` and without `method.net.blocks` and `method.net.bias_free`$",
        {"contraction": 0.95, "net": {"width": 4, "depth": 1}},
    ),
    (
        {"start": SMALL_DRUNET},
        "or with `method.contraction=0.95` in place of `method.start`$",
        {"contraction": 0.95},
    ),
    ({"contraction": 0.9}, "train with a smaller `method.contraction`$", {"contraction": 0.8}),
]


@pytest.mark.parametrize(("knobs", "words", "followed"), LOST)
def test_what_helps_where_there_is_no_fixed_point_can_be_followed(knobs, words, followed):
    _, y, physics = measured(operator="identity")
    method = registry.build({"name": "deq", "iterations": 5, **knobs}).eval()
    method.denoise = lambda z, x_0, data: 1e3 * z.abs() + 1
    with pytest.raises(NotConverged, match=words) as told:
        method(y, physics)
    assert all(each in str(told.value) for each in ("`method.iterations`", "train"))
    registry.build({"name": "deq", **followed})


def test_a_residual_that_was_asked_for_is_met_however_large():
    _, y, physics = measured(operator="identity")
    method = make(tolerance=0.4, anytime=False).eval()
    with torch.no_grad():
        wiener = method.wiener(DataTerm(y, physics))[0]
        method.denoise = lambda z, x_0, data: z + 0.3 * x_0
        found = method.solve(y, physics, start=wiener)
    assert 0.1 < float(found.residual.max()) <= 0.4


def test_a_tolerance_that_was_not_met_is_an_error_or_the_best_estimate():
    _, y, physics = measured()
    strict = wake(make(iterations=2, tolerance=1e-5, anytime=False)).eval()
    with pytest.raises(NotConverged, match=r"residual is `.*`, asked was `1e-05`; give more `met"):
        strict(y, physics)
    anytime = wake(make(iterations=2, tolerance=1e-5)).eval()
    with torch.no_grad():
        assert anytime(y, physics).isfinite().all()


def test_a_tolerance_below_rounding_is_refused():
    _, y, physics = measured()
    words = "`method.tolerance`: is `1e-09`, and a step in float32 rounds by about `1e-06`"
    with pytest.raises(UserError, match=words):
        make(tolerance=1e-9)(y, physics)
    make(tolerance=1e-9).double()(y.double(), physics.double())


@pytest.mark.parametrize("algorithm", ["hqs", pytest.param("pgd", marks=pytest.mark.slow)])
def test_started_steps_hold_to_the_contract(algorithm):
    assert check(lambda: DEQ(algorithm=algorithm, start=drunet(), iterations=15)) == []
