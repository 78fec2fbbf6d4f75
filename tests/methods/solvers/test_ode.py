"""Integrators against known solutions, adjoint states against backpropagation."""

import math

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods.solvers.adjoint_state import KEPT, Way, flow_with_adjoint
from challenge.methods.solvers.ode import TABLEAUX, Rule, advance, integrate, stability

SOLVERS = list(TABLEAUX)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def times(x, begin, end):
    return x.new_full((len(x),), begin), x.new_full((len(x),), end)


def known(x, t):
    """x' = x cos t,   x(t) = x(0) exp(sin t)."""
    return x * torch.cos(t)[:, None]


# --- there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_order_is_what_the_books_say(solver):
    x = draw(2, 3)
    errors = []
    for steps in (8, 16):
        end = integrate(known, x, *times(x, 0.0, 2.0), Rule(solver, steps)).x
        errors.append(float((end - x * math.exp(math.sin(2.0))).norm()))
    order = math.log2(errors[0] / errors[1])
    assert order == pytest.approx(TABLEAUX[solver].order, abs=0.35)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_tableau_is_consistent(solver):
    tableau = TABLEAUX[solver]
    assert sum(tableau.b) == pytest.approx(1)
    assert sum(b * c for b, c in zip(tableau.b, tableau.c, strict=True)) == pytest.approx(
        0.5 if tableau.order > 1 else 0
    )
    if tableau.error is not None:
        assert sum(tableau.error) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    ("solver", "axis", "reach"),
    [
        ("euler", 2.0, 2.0),
        ("heun", 2.0, 2.1974),
        ("rk4", 2.7853, 2.9600),
        ("dopri5", 3.3066, 3.3990),
    ],
)
def test_stability_is_what_a_step_multiplies_by_and_its_region_is_that_of_the_books(
    solver, axis, reach
):
    """Hairer, Wanner 1996, figure IV.2.1, from a grid of the left half plane."""
    tableau = TABLEAUX[solver]
    real, imaginary = (
        torch.linspace(*ends, 1401, dtype=torch.float64) for ends in ((-3.5, 0), (0, 3.5))
    )
    z = torch.complex(*torch.meshgrid(real, imaginary, indexing="ij"))
    inside = z[stability(tableau, z).abs() <= 1 + 1e-12]
    assert float(inside.abs().max()) == pytest.approx(reach, abs=5e-3)
    assert float(-inside[inside.imag == 0].real.min()) == pytest.approx(axis, abs=5e-3)
    lambdas = torch.tensor([[-1.0 + 2.0j], [0.3 - 1.0j]], dtype=torch.complex128)
    h = torch.tensor([0.7, 1.9], dtype=torch.float64)
    one = torch.ones_like(lambdas)
    stepped, _ = advance(lambda x, t: lambdas * x, one, 0 * h, h, tableau)
    torch.testing.assert_close(stepped, stability(tableau, h[:, None] * lambdas))


@pytest.mark.parametrize("begin", [0.0, 2.0])
def test_the_error_follows_the_tolerance_there_and_back(begin):
    x = draw(2, 3)
    exact = x * math.exp(math.sin(2.0 - begin) - math.sin(begin))
    errors, steps = [], []
    for tolerance in (1e-4, 1e-8):
        rule = Rule("dopri5", tolerance=tolerance)
        flow = integrate(known, x, *times(x, begin, 2.0 - begin), rule)
        errors.append(float((flow.x - exact).norm() / exact.norm()))
        steps.append(flow.steps)
        assert errors[-1] <= 10 * tolerance
        assert flow.evaluations >= 7 * flow.steps
    assert steps[1] < 12 * steps[0]  # (1e4)^(1/5) times as many


def test_every_image_has_steps_of_its_own():
    def v(x, t):
        return speed[: len(x)] * torch.cos(5 * speed[: len(x)] * t[:, None]) * x

    speed = torch.tensor([[0.1], [1.0], [8.0]], dtype=torch.float64)
    x = draw(3, 4)
    rule = Rule("dopri5", tolerance=1e-6)
    together = integrate(v, x, *times(x, 0.0, 1.0), rule)
    counts = []
    for n in range(3):
        fast = speed[n : n + 1]

        def alone(x, t, fast=fast):
            return fast * torch.cos(5 * fast * t[:, None]) * x

        flow = integrate(alone, x[n : n + 1], *times(x[:1], 0.0, 1.0), rule)
        torch.testing.assert_close(together.x[n : n + 1], flow.x, rtol=0, atol=1e-13)
        counts.append(flow.steps)
    assert counts[0] < counts[2]


def test_steps_are_those_of_the_image_that_took_most():
    """Two images that are hard at different times: neither makes as many steps as there are."""
    places = torch.tensor([[0.25], [0.75]], dtype=torch.float64)

    def bump(x, t, places=places):
        return x * 20 * torch.exp(-(((t[:, None] - places[: len(x)]) / 0.02) ** 2))

    x, rule = draw(2, 3), Rule("dopri5", tolerance=1e-6)
    together = integrate(bump, x, *times(x, 0.0, 1.0), rule)
    alone = []
    for n in range(2):
        one = x[n : n + 1]
        at = places[n : n + 1]
        alone.append(
            integrate(lambda x, t, at=at: bump(x, t, at), one, *times(one, 0.0, 1.0), rule)
        )
    assert together.steps == max(each.steps for each in alone)
    assert together.rejected == max(each.rejected for each in alone) > 0


def test_the_path_has_its_ends_and_few_places_in_between():
    x = draw(1, 2)
    for rule in (Rule("heun", 10), Rule("heun", 1000), Rule("dopri5", tolerance=1e-10)):
        flow = integrate(known, x, *times(x, 0.0, 2.0), rule, keep=KEPT)
        assert flow.path[0][0] == 0
        assert flow.path[-1][0] == flow.steps
        assert float(flow.path[-1][1]) == 2.0
        assert torch.equal(flow.path[-1][2], flow.x)
        assert len(flow.path) <= KEPT + 2
        for _, t, state in flow.path:
            torch.testing.assert_close(state, x * t.sin().exp(), rtol=1e-2, atol=0)


def test_a_stiff_flow_is_one_line_with_time_and_step():
    x = draw(2, 3, seed=3).abs()

    def v(x, t):
        """Blows up at t = 1 for x = 1: no step is short enough there."""
        return x.square() * torch.tensor([[0.1], [1.0]], dtype=torch.float64)

    x = torch.ones_like(x)
    rule = Rule("dopri5", tolerance=1e-6)
    with pytest.raises(UserError, match=r"image 2 of 2: .* at t = (1|0.9\d*) .*; give less `k`"):
        integrate(v, x, *times(x, 0.0, 2.0), rule, remedy="give less `k`")


def test_a_flow_that_takes_too_many_steps_says_how_far_it_came():
    x = draw(1, 3)
    rule = Rule("dopri5", tolerance=1e-3, most=40)
    words = r"image 1 of 1: the flow did not come to its end in 40 steps: at t = 0\.\d+ a step of"
    with pytest.raises(UserError, match=words):
        integrate(lambda x, t: -1e4 * x + 1e4 * torch.cos(t)[:, None], x, *times(x, 0, 1), rule)


def test_a_field_that_is_not_finite_is_told():
    x = draw(1, 3)
    with pytest.raises(UserError, match="too stiff"):
        integrate(lambda x, t: x / 0, x, *times(x, 0.0, 1.0), Rule("dopri5", tolerance=1e-3))


def test_a_tolerance_below_rounding_is_refused():
    x = draw(1, 3).float()
    with pytest.raises(UserError, match="a tolerance of `1e-09` cannot be met: float32 rounds by"):
        integrate(known, x, *times(x, 0.0, 1.0), Rule("dopri5", tolerance=1e-9))


# --- back -----------------------------------------------------------------------------------------


class Field:
    """x' = -x + tanh(x B^T + s t) C^T, smooth, with a contracting part."""

    def __init__(self, size=4):
        self.parameters = [
            (0.7 * draw(size, size, seed=1)).requires_grad_(),
            (0.7 * draw(size, size, seed=2)).requires_grad_(),
            draw(size, seed=3).requires_grad_(),
        ]

    def __call__(self, x, t):
        b, c, s = self.parameters
        return -x + torch.tanh(x @ b.T + s * t[:, None]) @ c.T


def gradients(flow, v, x):
    loss = (flow.x - 0.3).square().sum()
    return torch.autograd.grad(loss, [x, *v.parameters])


def deviation(found, wanted):
    off = sum(float((a - b).square().sum()) for a, b in zip(found, wanted, strict=True))
    return math.sqrt(off / sum(float(each.square().sum()) for each in wanted))


def both(rule, end=2.0):
    """Gradients of the adjoint state, and those of backpropagation through the same steps."""
    v, x = Field(), draw(3, 4, seed=5).requires_grad_()
    span = times(x.detach(), 0.0, end)
    adjoint = gradients(flow_with_adjoint(v, x, *span, rule, v.parameters), v, x)
    return adjoint, gradients(integrate(v, x, *span, rule), v, x)


def test_adjoint_gradients_are_those_of_backpropagation_at_a_small_tolerance():
    adjoint, backprop = both(Rule("dopri5", tolerance=1e-8))
    assert deviation(adjoint, backprop) <= 1e-6  # 1e-5 asked, at 1e-7


def test_adjoint_gradients_are_finite_differences():
    v, x = Field(), draw(3, 4, seed=5)
    rule = Rule("dopri5", tolerance=1e-9)
    leaf = x.clone().requires_grad_()
    flow = flow_with_adjoint(v, leaf, *times(x, 0.0, 2.0), rule, v.parameters)
    found = gradients(flow, v, leaf)
    with torch.no_grad():
        for place, tensor in enumerate([x, *v.parameters]):
            way = draw(*tensor.shape, seed=9 + place)
            values = []
            for h in (1e-4, -2e-4):
                tensor.add_(h * way)
                end = integrate(v, x, *times(x, 0.0, 2.0), rule).x
                values.append(float((end - 0.3).square().sum()))
            tensor.add_(1e-4 * way)
            slope = (values[0] - values[1]) / 2e-4
            assert float((found[place] * way).sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("solver", ["heun", "rk4", "dopri5"])
def test_of_equal_steps_the_adjoint_s_error_falls_with_the_order(solver):
    errors = [deviation(*both(Rule(solver, steps))) for steps in (8, 16)]
    assert errors[1] < errors[0] / 2 ** (TABLEAUX[solver].order - 0.6)


def test_through_euler_s_method_the_adjoint_is_wrong_by_a_step():
    """O(h): some per cent with 8 steps, a sixteenth of it with 128."""
    errors = {steps: deviation(*both(Rule("euler", steps), end=1.0)) for steps in (8, 128)}
    assert 0.02 < errors[8] < 0.3, errors
    assert errors[8] / errors[128] == pytest.approx(16, rel=0.4), errors


def peak(steps, adjoint):
    """The most numbers that autograd keeps at a time, on both ways."""
    alive, most = 0, 0

    class Held:
        def __init__(self, tensor):
            nonlocal alive, most
            self.tensor = tensor.detach()  # an output would keep its own graph alive
            alive += tensor.numel()
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= self.tensor.numel()

    v, x = Field(), draw(3, 4, seed=5).requires_grad_()
    rule, span = Rule("euler", steps), times(x.detach(), 0.0, 2.0)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        if adjoint:
            flow = flow_with_adjoint(v, x, *span, rule, v.parameters)
        else:
            flow = integrate(v, x, *span, rule)
        gradients(flow, v, x)
    return most


def test_memory_does_not_grow_with_the_steps():
    kept = [peak(steps, adjoint=True) for steps in (10, 100, 1000)]
    assert max(kept) <= 1.3 * min(kept), kept
    assert peak(100, adjoint=False) > 8 * peak(10, adjoint=False) > kept[0]


def test_on_the_way_back_images_keep_steps_of_their_own():
    v, x = Field(), draw(3, 4, seed=5)
    x[2] *= 20
    rule = Rule("dopri5", tolerance=1e-5)
    way = Way()

    def of(part):
        leaf = x[part].clone().requires_grad_()
        flow = flow_with_adjoint(v, leaf, *times(leaf.detach(), 0.0, 2.0), rule, v.parameters,
                                 way=way)  # fmt: skip
        return gradients(flow, v, leaf)

    together, single = of(slice(0, 3)), [of(slice(n, n + 1)) for n in range(3)]
    # A kept state may lie between other steps of the path where another image takes more of them.
    torch.testing.assert_close(
        together[0], torch.cat([each[0] for each in single]), rtol=1e-3, atol=1e-6
    )
    for place in range(1, 4):
        total = sum(each[place] for each in single)
        torch.testing.assert_close(together[place], total, rtol=1e-3, atol=1e-5)
    assert way.evaluations > 0


@pytest.mark.parametrize("adjoint", [False, True])
def test_a_rejected_step_that_is_no_number_leaves_no_trace_in_the_gradients(adjoint):
    """x' = theta s cos(12 t) x in a narrow tube about its solution; beside it there is no field."""

    def v(x, t):
        wave = (12 * t[:, None]).sin() / 12
        off = (x / (x_0 * (3 * speed * wave).exp()) - 1) / 1e-3
        left.append(bool((off.abs() > 1).any()))
        inside = (1 - off.detach().square()).sqrt()
        return theta * speed * torch.cos(12 * t[:, None]) * x * (inside / inside)

    left, speed = [], torch.tensor([[1.0], [0.5], [0.1]], dtype=torch.float64)
    theta = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    x_0 = torch.tensor([[1.0], [0.7], [4.0]], dtype=torch.float64)
    x = x_0.clone().requires_grad_()
    rule, span = Rule("dopri5", tolerance=1e-7), times(x_0, 0.0, 1.0)
    flow = (
        flow_with_adjoint(v, x, *span, rule, [theta]) if adjoint else integrate(v, x, *span, rule)
    )
    there = any(left)
    left.clear()
    flow.x.sum().backward()
    assert any(left) if adjoint else there
    end, slope = x_0 * (3 * speed * math.sin(12) / 12).exp(), speed * math.sin(12) / 12
    torch.testing.assert_close(flow.x.detach(), end, rtol=1e-5, atol=0)
    torch.testing.assert_close(theta.grad[0], (end * slope).sum(), rtol=1e-4, atol=0)
    torch.testing.assert_close(x.grad, end / x_0, rtol=1e-4, atol=0)


def test_what_no_parameter_is_has_no_gradient():
    x = draw(2, 4).requires_grad_()
    v = Field()
    flow = flow_with_adjoint(v, x, *times(x.detach(), 0.0, 1.0), Rule("rk4", 4), v.parameters[:1])
    flow.x.sum().backward()
    assert v.parameters[0].grad is not None
    assert v.parameters[1].grad is None
    assert x.grad is not None
