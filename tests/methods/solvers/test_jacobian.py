"""Norms, eigenvalues and symmetry of Jacobians, against matrices of which they are known."""

import pytest
import torch

from challenge.methods.solvers import jacobian
from challenge.methods.solvers.jacobian import REFLECTED, RESIDUAL, WHOLE, Jacobian
from challenge.methods.solvers.krylov import krylov

SIDE = 6
SIZE = 2 * SIDE * SIDE
COMBINATIONS = {"D": WHOLE, "I - D": RESIDUAL, "2D - I": REFLECTED}


def directions(seed=0, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, SIDE, SIDE, generator=generator).repeat(batch, 1, 1, 1)


def random(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)


def of_values(values, left, right):
    return left @ torch.diag(values) @ right.mT


def orthogonal(seed):
    return torch.linalg.qr(random(seed))[0]


def symmetric():
    basis = orthogonal(1)
    return of_values(torch.linspace(-0.4, 0.9, SIZE, dtype=torch.float64), basis, basis)


MATRICES = {
    "symmetric": symmetric(),
    "of known singular values": of_values(
        torch.linspace(0.1, 1.3, SIZE, dtype=torch.float64), orthogonal(1), orthogonal(2)
    ),
    "random": random(3) / SIZE**0.5,
    "a rotation": orthogonal(4),
    "nilpotent": torch.diag(torch.ones(SIZE - 1, dtype=torch.float64), 1),
    "zero": torch.zeros(SIZE, SIZE, dtype=torch.float64),
    "half the identity": 0.5 * torch.eye(SIZE, dtype=torch.float64),
}


def linear(matrix):
    matrix = matrix.float()
    return lambda x: (x.flatten(1) @ matrix.mT).reshape(x.shape)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("of", COMBINATIONS)
def test_norms_are_those_of_known_matrices(name, of):
    combination = COMBINATIONS[of]
    matrix = MATRICES[name]
    whole = combination.a * matrix + combination.b * torch.eye(SIZE, dtype=torch.float64)
    expected = float(torch.linalg.matrix_norm(whole, 2))
    at = Jacobian(linear(matrix), directions(5))
    assert at.exact
    found, v = jacobian.norm(at, directions(6), 40, combination)
    assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert float(found) <= expected * (1 + 1e-5) + 1e-6
    assert float(v.norm()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("name", MATRICES)
def test_a_few_steps_never_exceed_the_norm(name):
    expected = float(torch.linalg.matrix_norm(MATRICES[name], 2))
    at = Jacobian(linear(MATRICES[name]), directions(5))
    found = [float(jacobian.norm(at, directions(6), steps)[0]) for steps in (1, 3, 10)]
    assert found == sorted(found) or max(found) - min(found) < 1e-5
    assert found[-1] <= expected * (1 + 1e-5) + 1e-6


def test_spectra_are_those_of_known_matrices():
    at = Jacobian(linear(MATRICES["symmetric"]), directions(5))
    least, largest = jacobian.symmetric_part(at, directions(6), 40)
    assert float(least) == pytest.approx(-0.4, abs=1e-3)
    assert float(largest) == pytest.approx(0.9, abs=1e-3)
    radius, rest = jacobian.spectral_radius(at, directions(6), 40)
    assert float(radius) == pytest.approx(0.9, abs=1e-3)
    assert float(rest) < 1e-2
    # Complex eigenvalues of modulus 1; no real vector shows them.
    turn = Jacobian(linear(MATRICES["a rotation"]), directions(5))
    radius, rest = jacobian.spectral_radius(turn, directions(6), SIZE)
    assert float(radius) == pytest.approx(1, abs=1e-3)
    half = Jacobian(linear(MATRICES["half the identity"]), directions(5))
    assert [float(each) for each in jacobian.symmetric_part(half, directions(6), 5)] == [
        pytest.approx(0.5, abs=1e-5)
    ] * 2


def test_eigenvalues_of_a_complete_space_are_those_that_there_are():
    """-3 +- 4 i of every pair: two products say all, whatever is asked for."""

    def turned(x):
        one, other = x[..., ::2], x[..., 1::2]
        return torch.stack([-3 * one - 4 * other, 4 * one - 3 * other], dim=-1).flatten(-2)

    at = Jacobian(turned, directions(7))
    values, rest = jacobian.eigenvalues(at, directions(6), 10)
    for own, off in zip(values, rest, strict=True):
        kept = own[off.isfinite()]
        assert len(kept) == 2
        torch.testing.assert_close(kept.real, torch.full_like(kept.real, -3.0), rtol=1e-5, atol=0)
        torch.testing.assert_close(kept.imag.abs(), torch.full_like(kept.real, 4.0))
        assert float(off.min()) < 1e-4


def test_a_norm_above_one_does_not_make_a_spectral_radius_above_one():
    """[[0, 5], [0, 0]] stretches by 5, and has no eigenvalue but 0."""
    at = Jacobian(linear(5 * MATRICES["nilpotent"]), directions(5))
    assert float(jacobian.norm(at, directions(6), 10)[0]) == pytest.approx(5, rel=1e-2)
    radius, rest = jacobian.spectral_radius(at, directions(6), 10)
    assert float(rest) > 0.1 * float(radius)  # it has not converged: nothing is said of J


def test_symmetric_maps_are_told_from_others():
    probes = [directions(seed) for seed in range(4)]
    found = {
        name: float(jacobian.asymmetry(Jacobian(linear(matrix), directions(5)), probes))
        for name, matrix in MATRICES.items()
    }
    assert found["symmetric"] < 1e-5
    assert found["half the identity"] < 1e-5
    assert found["zero"] == 0
    matrix = MATRICES["random"]
    expected = float((matrix - matrix.mT).norm() / matrix.norm())
    assert found["random"] == pytest.approx(expected, rel=0.2)
    assert found["of known singular values"] > 0.5


def curved(x):
    """Not linear, with a gradient as its values: Jacobian 1 / cosh(x)^2 on the diagonal."""
    return torch.tanh(x)


def test_the_jacobian_is_that_of_the_point():
    x = torch.linspace(0.3, 2, SIZE).reshape(1, 2, SIDE, SIDE)
    at = Jacobian(curved, x)
    assert at.exact
    expected = float(1 / torch.cosh(torch.tensor(0.3)) ** 2)
    assert float(jacobian.norm(at, directions(6), 40)[0]) == pytest.approx(expected, rel=1e-3)


def test_adversarial_points_stretch_more_within_their_radius():
    x = torch.full((1, 2, SIDE, SIDE), 1.0)
    start = directions(6)
    at, v = jacobian.norm(Jacobian(curved, x), start, 10)
    found, quotient = jacobian.ascend(curved, x, v, 0.5, 12)
    there = jacobian.norm(Jacobian(curved, found), start, 30)[0]
    assert float((found - x).square().mean().sqrt()) <= 0.5 * (1 + 1e-5)
    assert float(there) > 1.2 * float(at)
    assert max(float(there), float(quotient)) <= 1 + 1e-5


def test_adversarial_points_of_rectifiers_whose_jacobian_has_no_gradient():
    def kinked(x):
        return 0.2 * x + 0.7 * torch.relu(x - 1)

    x = torch.full((1, 2, SIDE, SIDE), 0.99)
    at, v = jacobian.norm(Jacobian(kinked, x), directions(6), 10)
    assert float(at) == pytest.approx(0.2, rel=1e-3)
    found, quotient = jacobian.ascend(kinked, x, v, 0.3, 12)
    there = jacobian.norm(Jacobian(kinked, found), directions(6), 30)[0]
    assert float(there) == pytest.approx(0.9, rel=1e-3)
    assert float(quotient) <= 0.9 * (1 + 1e-4)


def through_numpy(x):
    return torch.from_numpy(0.8 * x.detach().numpy())


def steps(x):
    """Differentiable in name: its derivative is 0 wherever there is one."""
    return torch.round(255 * x) / 255


def detached(x):
    """Half of its derivative is lost."""
    return 0.2 * x + 0.8 * x.detach()


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 0.5

    @staticmethod
    def backward(ctx, back):
        return back  # which is not the transpose


@pytest.mark.parametrize(
    ("function", "least", "most"),
    [
        (through_numpy, 0.799, 0.801),
        (steps, 0.8, 10),
        (detached, 0.999, 1.001),
        (Halved.apply, 0.499, 0.501),
    ],
)
def test_what_cannot_be_differentiated_is_told_by_its_values(function, least, most):
    at = Jacobian(function, directions(5).clamp(0, 1))
    assert not at.exact
    found, _ = jacobian.norm(at, directions(6), 5)
    assert least < float(found) < most


def test_batch_and_order_do_not_matter():
    function = linear(MATRICES["random"])

    def both(x):
        return torch.tanh(function(x))

    x = torch.cat([directions(seed) for seed in (1, 2, 3)])
    start = torch.cat([directions(seed) for seed in (7, 8, 9)])
    together = jacobian.norm(Jacobian(both, x), start, 12)[0]
    turned = jacobian.norm(Jacobian(both, x.flip(0)), start.flip(0), 12)[0].flip(0)
    alone = [jacobian.norm(Jacobian(both, x[k : k + 1]), start[k : k + 1], 12)[0] for k in range(3)]
    assert torch.allclose(together, turned, rtol=1e-5)
    assert torch.allclose(together, torch.cat(alone), rtol=1e-5)


def test_the_basis_is_orthonormal_and_stops_where_the_space_is_complete():
    found = krylov(linear(MATRICES["half the identity"]), directions(5), 4)
    gram = found.basis @ found.basis.mT
    assert torch.allclose(gram[0].diag(), torch.tensor([1.0, 0, 0, 0], dtype=torch.float64))
    full = krylov(linear(MATRICES["random"]), directions(5), 20)
    assert torch.allclose(
        full.basis @ full.basis.mT, torch.eye(20, dtype=torch.float64)[None], atol=1e-8
    )
