"""The solvers of bilevel learning: closed forms, certificates, adjoints, batches, refusals."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods.solvers.conjugate_gradient import conjugate_gradient
from challenge.methods.solvers.descent import descend, power_method
from challenge.methods.solvers.fixed_point import fixed_point
from challenge.methods.solvers.implicit import Adjoint, Report, error_bound, fixed, stationary
from challenge.methods.solvers.solution import NotConverged, NotPositiveDefinite

EXACT = Adjoint(tolerance=1e-13, iterations=500)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def definite(count, size, least=0.1, seed=1):
    factor = draw(count, size, size, seed=seed)
    return factor @ factor.mT / size + least * torch.eye(size, dtype=torch.float64)


def apply(matrix):
    return lambda v: (matrix @ v[..., None])[..., 0]


# --- conjugate gradient ---------------------------------------------------------------------------


def test_conjugate_gradient_inverts():
    matrix, right = definite(3, 30), draw(3, 30)
    found = conjugate_gradient(apply(matrix), right, tolerance=1e-12, iterations=200)
    assert torch.allclose(found.x, torch.linalg.solve(matrix, right), rtol=1e-9)
    residual = (apply(matrix)(found.x) - right).norm(dim=1) / right.norm(dim=1)
    assert torch.allclose(found.residual, residual, rtol=1e-6, atol=1e-15)


def test_an_exact_preconditioner_needs_one_step_and_a_start_none():
    matrix, right = definite(2, 20), draw(2, 20)
    inverse = torch.linalg.inv(matrix)
    one = conjugate_gradient(
        apply(matrix), right, precondition=apply(inverse), tolerance=1e-10, iterations=9
    )
    none = conjugate_gradient(apply(matrix), right, start=one.x, tolerance=1e-9, iterations=9)
    assert (one.iterations, none.iterations) == (1, 0)


def test_a_system_does_not_depend_on_its_batch():
    # Well conditioned: a batched product rounds differently, and CG amplifies that.
    matrix, right = definite(4, 30, least=1.0), draw(4, 30)
    matrix[0] = torch.eye(30)
    right[1], right[2] = 0, right[2] * 1e-200
    knobs = {"tolerance": 1e-6, "iterations": 300}
    together = conjugate_gradient(apply(matrix), right, **knobs)
    for n in range(4):
        alone = conjugate_gradient(apply(matrix[n : n + 1]), right[n : n + 1], **knobs)
        scale = alone.x[0].abs().max().clamp_min(1e-300)
        assert torch.allclose(together.x[n] / scale, alone.x[0] / scale, rtol=0, atol=1e-12)
    assert (together.x[1] == 0).all()
    assert together.residual[1] == 0
    assert (together.residual <= 1.01e-6).all()


def test_a_start_far_away_is_no_harm():
    matrix, right = definite(1, 20), draw(1, 20)
    knobs = {"tolerance": 1e-10, "iterations": 100}
    found = conjugate_gradient(apply(matrix), right, start=1e20 * draw(1, 20, seed=5), **knobs)
    assert torch.equal(found.x, conjugate_gradient(apply(matrix), right, **knobs).x)


@pytest.mark.parametrize("least", [-1.0, 0.0])
def test_a_direction_without_curvature_is_refused(least):
    diagonal = torch.ones(2, 5, dtype=torch.float64)
    diagonal[1, 3] = least
    right = torch.zeros(2, 5, dtype=torch.float64)
    right[0, 0] = right[1, 3] = 1
    with pytest.raises(NotPositiveDefinite, match=rf"is `{least:.3g}`.*image 1 of 2.*weight"):
        conjugate_gradient(lambda v: diagonal * v, right, tolerance=1e-6, iterations=9)
    found = conjugate_gradient(
        lambda v: diagonal * v, right, tolerance=1e-6, iterations=9, strict=False
    )
    assert found.residual.tolist() == [0, 1]


def test_where_it_may_fail_the_best_iterate_is_returned():
    """Residuals of conjugate gradients rise and fall; with few iterations they end anywhere."""
    diagonal = torch.logspace(0, -5, 24, dtype=torch.float64)[None]
    right = torch.ones(1, 24, dtype=torch.float64)

    def residuals(strict):
        return torch.stack(
            [
                conjugate_gradient(
                    lambda v: diagonal * v, right, tolerance=0, iterations=n, strict=strict
                ).residual
                for n in range(16)
            ]
        ).flatten()

    last, best = residuals(True), residuals(False)
    assert (last.diff() > 0).any()
    torch.testing.assert_close(best, last.cummin(0).values, rtol=1e-6, atol=1e-12)


# --- Anderson acceleration ------------------------------------------------------------------------


def contraction(count=3, size=20, norm=0.95):
    matrix = definite(count, size)
    matrix = norm * matrix / torch.linalg.matrix_norm(matrix, 2)[:, None, None]
    shift = draw(count, size)
    exact = torch.linalg.solve(torch.eye(size, dtype=torch.float64) - matrix, shift)
    return (lambda x: apply(matrix)(x) + shift), exact


@pytest.mark.parametrize("memory", [0, 1, 2, 5])
@pytest.mark.parametrize("damping", [1.0, 0.7])
def test_fixed_points_of_a_contraction(memory, damping):
    f, exact = contraction()
    found = fixed_point(
        f,
        torch.zeros_like(exact),
        tolerance=1e-10,
        iterations=2000,
        memory=memory,
        damping=damping,
        strict=True,
    )
    assert torch.allclose(found.x, exact, rtol=1e-7, atol=1e-8)


def test_without_memory_it_is_the_plain_iteration_and_with_it_needs_fewer_steps():
    f, exact = contraction()
    x = torch.zeros_like(exact)
    plain = fixed_point(f, x, tolerance=0, iterations=8, memory=1)
    for _ in range(7):
        x = f(x)
    assert torch.allclose(plain.x, x, rtol=1e-14)
    counts = [
        fixed_point(f, torch.zeros_like(exact), tolerance=1e-8, iterations=999, memory=m).iterations
        for m in (1, 6)
    ]
    assert counts[1] < counts[0] / 4


def test_fixed_points_do_not_depend_on_the_batch():
    f, exact = contraction(3)
    scale = torch.tensor([1.0, 0.1, 0.5], dtype=torch.float64)[:, None]
    start = torch.zeros_like(exact)
    knobs = {"tolerance": 1e-5, "iterations": 300}
    together = fixed_point(lambda x: scale * f(x), start, **knobs)
    for n in range(3):

        def alone(x, n=n):
            return (scale * f(x.expand(3, -1)))[n : n + 1]

        single = fixed_point(alone, start[n : n + 1], **knobs)
        assert torch.allclose(together.x[n], single.x[0], rtol=1e-10, atol=1e-12)


def test_divergence_is_reported_and_refused_when_asked():
    start = torch.ones(2, 4, dtype=torch.float64)

    def f(x):
        return torch.stack([0.5 * x[0] + 1, x[1] ** 3 + 3])

    found = fixed_point(f, start, tolerance=1e-8, iterations=200, memory=1)
    assert found.residual[0] <= 1e-8 < 1 < found.residual[1]
    assert found.x.isfinite().all()
    with pytest.raises(NotConverged, match=r"residual is `3` .*image 1 of 2.*damping"):
        fixed_point(f, start, tolerance=1e-8, iterations=200, memory=1, strict=True)


# --- descent --------------------------------------------------------------------------------------


def quadratic(matrix, right):
    def objective(x):
        product = apply(matrix)(x)
        return (x * product / 2 - x * right).sum(1), product - right

    return objective


def test_descent_finds_minima_within_its_certificate():
    matrix, right = definite(3, 20, least=0.01), draw(3, 20)
    values = torch.linalg.eigvalsh(matrix)
    for tolerance in (1e-2, 1e-5, 1e-9):
        found = descend(
            quadratic(matrix, right),
            torch.zeros_like(right),
            tolerance=tolerance,
            iterations=5000,
            lipschitz=values[:, -1],
            convexity=values[:, 0],
        )
        error = (found.x - torch.linalg.solve(matrix, right)).norm(dim=1)
        assert (found.residual <= tolerance).all()
        assert (error <= found.distance * (1 + 1e-9)).all()
    assert (error < 1e-6).all()


def test_descent_is_as_fast_as_the_square_root_of_the_condition():
    scale = torch.logspace(-4, 0, 50, dtype=torch.float64)[None]
    right = draw(1, 50)
    found = descend(
        lambda x: ((scale * x * x / 2 - x * right).sum(1), scale * x - right),
        torch.zeros_like(right),
        tolerance=1e-8,
        iterations=20000,
    )
    assert found.residual[0] <= 1e-8
    assert found.iterations < 25 * 100  # the square root of 1e4; plain descent takes 1e5


def test_a_lipschitz_constant_that_is_too_small_is_raised():
    matrix, right = definite(2, 20), draw(2, 20)
    found = descend(
        quadratic(matrix, right),
        torch.zeros_like(right),
        tolerance=1e-9,
        iterations=3000,
        lipschitz=1e-3,
    )
    assert (found.residual <= 1e-9).all()
    assert (found.lipschitz < 4 * torch.linalg.eigvalsh(matrix)[:, -1]).all()


def test_descent_does_not_depend_on_the_batch():
    matrix, right = definite(3, 20), draw(3, 20)
    matrix[1] = torch.eye(20)
    start = torch.zeros_like(right)
    knobs = {"tolerance": 1e-4, "iterations": 500, "lipschitz": 0.1}
    together = descend(quadratic(matrix, right), start, **knobs)
    for n in range(3):
        part = slice(n, n + 1)
        alone = descend(quadratic(matrix[part], right[part]), start[part], **knobs)
        assert torch.allclose(together.x[n], alone.x[0], rtol=1e-12, atol=1e-14)


def test_energies_that_are_not_convex_fall_to_a_stationary_point():
    start = 3 * draw(4, 10, seed=9)
    energies = []

    def objective(x):
        value = (torch.log1p(x * x) + 0.1 * torch.cos(3 * x)).sum(1)
        energies.append(value)
        return value, 2 * x / (1 + x * x) - 0.3 * torch.sin(3 * x)

    found = descend(objective, start, tolerance=1e-10, iterations=2000, lipschitz=0.5)
    assert (found.residual <= 1e-10).all()
    assert (objective(found.x)[0] <= energies[0]).all()


def test_nothing_is_accepted_that_is_not_finite():
    start = torch.full((1, 3), 2.0, dtype=torch.float64)

    def objective(x):
        value = torch.where((x > 0).all(1), (x - x.log()).sum(1), torch.nan)
        return value, 1 - 1 / x

    found = descend(objective, start, tolerance=1e-9, iterations=500, lipschitz=1e-2)
    assert torch.allclose(found.x, torch.ones_like(start))


def test_power_method():
    matrix = definite(3, 20)
    found = power_method(apply(matrix), draw(3, 20), iterations=300)
    assert torch.allclose(found, torch.linalg.eigvalsh(matrix)[:, -1])


# --- implicit differentiation ---------------------------------------------------------------------


def tikhonov(theta, matrix, right):
    """E = 1/2 x M x - b x + 1/2 exp(t) |x|^2_D: its gradient and its minimiser."""
    weights = theta[0].exp() * theta[1]

    def gradient(x):
        return apply(matrix)(x) + weights * x - right

    exact = torch.linalg.solve(matrix + torch.diag_embed(weights.expand_as(right)), right)
    return gradient, exact


def parameters(size):
    leaves = (draw(1, seed=3).requires_grad_(), draw(size, seed=4).requires_grad_())
    return leaves, (leaves[0], leaves[1].square() + 0.5)  # the second is not a leaf


def test_hypergradients_of_a_tikhonov_lower_level_equal_the_closed_form():
    matrix, right, target = definite(3, 12), draw(3, 12).requires_grad_(), draw(3, 12, seed=8)
    leaves, theta = parameters(12)
    gradient, exact = tikhonov(theta, matrix, right)
    wanted = torch.autograd.grad((exact - target).square().mean(), [*leaves, right])
    leaves, theta = parameters(12)
    gradient, exact = tikhonov(theta, matrix, right)
    report = Report()
    x = stationary(gradient, exact.detach(), EXACT, report=report)
    assert torch.equal(x, exact)
    (x - target).square().mean().backward()
    for got, want in zip([*(leaf.grad for leaf in leaves), right.grad], wanted, strict=True):
        assert (got - want).norm() <= 1e-8 * want.norm()
    values = torch.linalg.eigvalsh(matrix + torch.diag_embed(theta[0].exp() * theta[1]))
    assert (report.curvature >= values[:, 0]).all()
    assert (report.curvature <= values[:, -1]).all()


def test_the_error_bound_holds_for_a_tikhonov_lower_level():
    matrix, right, target = definite(1, 12, least=0.3), draw(1, 12), draw(1, 12, seed=8)
    penalty = draw(12, seed=4).square()

    def lower(t):
        return lambda x: apply(matrix)(x) + t * penalty * x - right

    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    hessian = matrix + torch.diag(0.7 * penalty)
    values = torch.linalg.eigvalsh(hessian)
    exact = torch.linalg.solve(hessian, right)
    (truth,) = torch.autograd.grad(
        (stationary(lower(t), exact, EXACT) - target).square().sum() / 2, t
    )
    for seed in range(8):
        for size, tolerance in ((1e-1, 1e-9), (1e-4, 1e-1), (1e-3, 1e-3)):
            x = exact + size * draw(1, 12, seed=seed)
            report = Report()
            how = Adjoint(tolerance=tolerance, iterations=100)
            attached = stationary(lower(t), x, how, report=report)
            (got,) = torch.autograd.grad((attached - target).square().sum() / 2, t)
            bound = error_bound(
                lower=lower(0.7)(x).norm(dim=1),
                adjoint=report.residual * report.right,
                convexity=values[:, 0],
                sensitivity=(penalty * x).norm(dim=1),
                smoothness=1.0,
                adjoint_norm=report.adjoint,
                mixed=float(penalty.max()),
            )
            assert abs(got - truth) <= bound
            assert bound <= 1000 * (size + tolerance)


def fixed_map(theta, shift):
    matrix = draw(6, 6, seed=2)
    matrix = 0.8 * matrix / torch.linalg.matrix_norm(matrix, 2)
    return lambda x: torch.tanh(theta * (x @ matrix.T) + shift)


def test_hypergradients_of_a_fixed_point_equal_central_differences():
    target = draw(2, 6, seed=5)

    def loss(theta, shift, memory=5):
        f = fixed_map(theta, shift)
        with torch.no_grad():
            x = fixed_point(f, torch.zeros_like(target), tolerance=1e-14, iterations=300).x
        return (fixed(f, x, EXACT, memory=memory) - target).square().sum()

    theta = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    shift = draw(6, seed=6).requires_grad_()
    assert torch.autograd.gradcheck(loss, (theta, shift), rtol=1e-6, atol=1e-8)


def test_jacobian_free_is_the_last_step_and_biased():
    theta, shift = torch.tensor(0.9, dtype=torch.float64, requires_grad=True), draw(6, seed=6)
    f = fixed_map(theta, shift)
    with torch.no_grad():
        x = fixed_point(f, torch.zeros(2, 6, dtype=torch.float64), tolerance=1e-14, iterations=300)
    slopes = []
    for attached in (
        fixed(f, x.x, Adjoint("jacobian_free")),
        f(x.x),
        fixed(f, x.x, EXACT),
    ):
        slopes.append(torch.autograd.grad(attached.square().sum(), theta)[0])
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-10)
    assert abs(slopes[0] - slopes[2]) > 0.05 * abs(slopes[2])


def test_an_adjoint_system_that_is_not_definite_is_refused():
    theta = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    x = stationary(lambda x: x + theta * x, torch.zeros(2, 5, dtype=torch.float64), EXACT)
    with pytest.raises(NotPositiveDefinite, match="curvature of direction 1 is `-1`"):
        (x - 1).square().sum().backward()


def test_an_adjoint_solve_that_ends_too_early_is_refused_or_reported():
    matrix, right = definite(2, 40, least=1e-6), draw(2, 40)
    theta = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def attached(**knobs):
        report = Report()
        how = Adjoint(tolerance=1e-8, iterations=3, remedy="give `knob` more", **knobs)
        gradient, x = (lambda x: apply(matrix)(x) + theta * x - right), draw(2, 40)
        return stationary(gradient, x, how, report=report), report

    with pytest.raises(NotConverged, match=r"after 3 iterations, asked was `1e-08`.*`knob`"):
        attached()[0].square().sum().backward()
    x, report = attached(strict=False)
    x.square().sum().backward()
    assert (report.residual > 1e-7).all()
    assert theta.grad.isfinite()


def test_refusals_are_mistakes_of_the_user():
    assert issubclass(NotPositiveDefinite, UserError)
    assert issubclass(NotConverged, UserError)


def test_not_strict_it_returns_the_best_of_an_operator_that_is_nearly_singular():
    """A curvature of 1e-9 beside 1: the step along it is huge, and rounding makes it wrong."""
    values = torch.tensor([1.0, 0.9, 1e-9, -1e-4]).reshape(1, 1, 1, 4)
    right = torch.tensor([1.0, 1.0, 0.3, 0.3]).reshape(1, 1, 1, 4)
    found = conjugate_gradient(
        lambda p: values * p, right, tolerance=1e-6, iterations=50, strict=False
    )
    assert float(found.residual) < 0.5
    assert found.x.abs().max() < 100
