"""The lasso's solvers, and LISTA beside them."""

import math

import pytest
import torch
from deepinv.optim import L1Prior

from challenge.configs.errors import UserError
from challenge.methods.end_to_end import sparse_coding
from challenge.methods.end_to_end.sparse_coding import Lista, Problem, nmse, recovery, train_lista
from challenge.methods.solvers.lasso import (
    fista,
    ista,
    lipschitz,
    minimiser,
    objective,
    optimality,
    soft,
)

PROBLEM = Problem.gaussian(12, 24, lam=0.1, density=0.1, seed=3)
KINDS = [
    {"mode": "tied"},
    {"mode": "untied"},
    {"mode": "coupled"},
    {"mode": "coupled", "shared": True},
    {"mode": "untied", "scalar": True},
]


@pytest.fixture(scope="module")
def drawn():
    return PROBLEM.draw(40, 1)


def values(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# soft


def test_soft_is_the_prox_of_the_1_norm():
    """p = prox(x) where (x - p) / t is a subgradient of |p|, and only there."""
    x, t = values(500), values(500, seed=1).abs()
    p = soft(x, t)
    slope = (x - p) / t
    torch.testing.assert_close(slope[p != 0], p.sign()[p != 0], rtol=1e-9, atol=1e-9)
    assert slope.abs().max() <= 1 + 1e-12
    assert 100 < int((p == 0).sum()) < 400


def test_soft_and_the_projection_make_the_whole():
    """Moreau: x = prox_{t |.|}(x) + t prox_{indicator of [-1, 1]}(x / t)."""
    x, t = values(500), values(500, seed=1).abs() + 0.1
    torch.testing.assert_close(soft(x, t) + t * (x / t).clamp(-1, 1), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_is_that_of_torch_and_deepinv(dtype):
    x = values(3, 4, 5).to(dtype)
    t = values(4, 1, seed=1).abs().to(dtype)
    torch.testing.assert_close(soft(x, t), L1Prior().prox(x, gamma=t))
    expected = torch.nn.functional.softshrink(x, 0.3)
    torch.testing.assert_close(soft(x, torch.tensor(0.3, dtype=dtype)), expected)


def test_softs_gradient_is_that_of_finite_differences():
    x, t = values(3, 4, 5).requires_grad_(), (values(4, 1, seed=1).abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(soft, (x, t))


def test_soft_with_threshold_0_changes_nothing():
    x = values(50)
    assert torch.equal(soft(x, torch.zeros(1, dtype=x.dtype)), x)


# ISTA, FISTA, the minimiser


def test_the_minimiser_keeps_the_kkt_conditions(drawn):
    y, z = drawn
    lam, dictionary = PROBLEM.lam, PROBLEM.dictionary
    correlation = (y - z @ dictionary.T) @ dictionary
    active = z != 0
    assert 0.05 < active.double().mean() < 0.3
    assert (correlation[active] - lam * z.sign()[active]).abs().max() < 1e-8
    assert correlation.abs().max() <= lam + 1e-8
    assert optimality(z, y, dictionary, lam).max() <= 1e-10
    assert (optimality(z + 1e-3, y, dictionary, lam) > 1e-5).all()


def test_the_minimiser_is_the_closed_form_of_an_orthonormal_dictionary():
    dictionary, y = torch.linalg.qr(values(8, 8))[0], values(5, 8, seed=1)
    expected = soft(y @ dictionary, torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(minimiser(y, dictionary, 0.3), expected, rtol=0, atol=1e-9)


def test_a_large_weight_gives_0():
    y = values(5, 12)
    lam = float((y @ PROBLEM.dictionary).abs().max())
    assert not minimiser(y, PROBLEM.dictionary, lam).any()
    assert minimiser(y, PROBLEM.dictionary, 0.9 * lam).any()


def test_a_row_does_not_depend_on_its_batch(drawn):
    y, z = drawn
    alone = minimiser(y[7:8], PROBLEM.dictionary, PROBLEM.lam)
    torch.testing.assert_close(alone, z[7:8], rtol=0, atol=1e-12)


def test_too_few_iterations_are_refused_with_the_number():
    with pytest.raises(
        UserError, match=r"largest optimality is `.*` after 20 iterations; give more"
    ):
        minimiser(values(5, 12), PROBLEM.dictionary, 1e-3, most=20)


def test_ista_lowers_the_objective_in_every_step_and_comes_to_the_minimiser(drawn):
    y, z = drawn
    dictionary, lam = PROBLEM.dictionary, PROBLEM.lam
    found = torch.stack(
        [objective(ista(y, dictionary, lam, k), y, dictionary, lam) for k in range(40)]
    )
    assert (found.diff(dim=0) <= 1e-12).all()
    assert (found[0] - found[-1]).max() > 1
    torch.testing.assert_close(ista(y, dictionary, lam, 4000), z, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("solver", "power"), [(ista, 1), (fista, 2)])
def test_the_objective_keeps_to_the_known_bound(solver, power, drawn):
    """L ||z*||^2 / 2k for ISTA, 2 L ||z*||^2 / (k + 1)^2 for FISTA (Beck, Teboulle 2009)."""
    y, z = drawn
    dictionary, lam = PROBLEM.dictionary, PROBLEM.lam
    least, size = objective(z, y, dictionary, lam), lipschitz(dictionary)
    for k in (1, 2, 5, 10, 30, 100, 300):
        excess = objective(solver(y, dictionary, lam, k), y, dictionary, lam) - least
        bound = size * z.square().sum(1) * (1 / (2 * k) if power == 1 else 2 / (k + 1) ** 2)
        assert (excess <= bound + 1e-12).all()
        assert (excess >= -1e-12).all()


def test_fista_is_ahead_of_ista_and_both_stay_at_the_minimiser(drawn):
    y, z = drawn
    dictionary, lam = PROBLEM.dictionary, PROBLEM.lam
    assert nmse(fista(y, dictionary, lam, 60), z) < nmse(ista(y, dictionary, lam, 60), z) - 5
    size = lipschitz(dictionary)
    again = soft(z - (z @ dictionary.T - y) @ dictionary / size, lam / size)
    torch.testing.assert_close(again, z, rtol=0, atol=1e-9)


def test_the_first_steps_of_fista_are_those_of_the_paper(drawn):
    """t_1 = 1, v_2 = z_1 (no momentum yet), t_2 = (1 + sqrt 5) / 2, v_3 = z_2 + ... (z_2 - z_1)."""
    y, _ = drawn
    dictionary, lam = PROBLEM.dictionary, PROBLEM.lam
    size = lipschitz(dictionary)

    def step(v):
        return soft(v - (v @ dictionary.T - y) @ dictionary / size, lam / size)

    first = step(torch.zeros(len(y), 24).double())
    second = step(first)
    golden = (1 + math.sqrt(5)) / 2
    third = step(
        second + (golden - 1) / ((1 + math.sqrt(1 + 4 * golden**2)) / 2) * (second - first)
    )
    for k, expected in ((1, first), (2, second), (3, third)):
        torch.testing.assert_close(fista(y, dictionary, lam, k), expected, rtol=0, atol=1e-12)


# Distances


def test_nmse_is_the_relative_error_in_db():
    z = values(5, 7)
    assert nmse(1.1 * z, z) == pytest.approx(-20)
    assert nmse(torch.zeros_like(z), z) == pytest.approx(0)


def test_recovery_counts_the_support():
    reference = torch.tensor([[1.0, -2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]])
    found = torch.tensor([[5.0, 0.0, 1.0, 0.0], [0.0, 0.0, -1.0, 0.0]])
    assert recovery(found, reference) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert recovery(reference, reference) == (1, 1, 1)
    assert recovery(torch.zeros(2, 4), reference)[1:] == (0, 0)
    assert recovery(torch.zeros(2, 4), torch.zeros(2, 4)) == (1, 1, 1)


def test_problems_follow_from_their_seed():
    y, z = PROBLEM.draw(10, 5)
    assert torch.equal(y, PROBLEM.draw(10, 5)[0])
    assert not torch.equal(y, PROBLEM.draw(10, 6)[0])
    assert (PROBLEM.dictionary.norm(dim=0) - 1).abs().max() < 1e-12
    assert z.shape == (10, 24)


# LISTA


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 16])
def test_with_its_initial_weights_it_is_ista(kind, layers, drawn):
    y, _ = drawn
    net = Lista(PROBLEM.dictionary, PROBLEM.lam, layers=layers, **kind)
    expected = ista(y, PROBLEM.dictionary, PROBLEM.lam, layers)
    torch.testing.assert_close(net(y), expected, rtol=0, atol=1e-12)
    assert expected.any()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_shared_as_the_mode_says(kind):
    net = Lista(PROBLEM.dictionary, PROBLEM.lam, layers=4, **kind)
    m, n, k = 12, 24, 1 if kind["mode"] == "tied" else 4
    matrices = m * n if kind["mode"] == "coupled" else m * n + n * n
    count = (1 if kind.get("shared") else k) * matrices + k * (1 if kind.get("scalar") else n)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_is_that_of_finite_differences(kind, drawn):
    y, z = drawn
    net = Lista(PROBLEM.dictionary, PROBLEM.lam, layers=3, **kind)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * values(*parameter.shape)

    def loss():
        return (net(y) - z).square().sum()

    loss().backward()
    for parameter in net.parameters():
        way, step, ends = values(*parameter.shape, seed=1), 1e-7, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * way
                ends.append(float(loss()))
                parameter -= sign * step * way
        slope = float((parameter.grad * way).sum())
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_coupled_is_untied_with_bound_matrices(drawn):
    """W_e = W^T and S = I - W^T D give the same codes."""
    y, _ = drawn
    dictionary = PROBLEM.dictionary
    coupled = Lista(dictionary, PROBLEM.lam, layers=3, mode="coupled")
    untied = Lista(dictionary, PROBLEM.lam, layers=3, mode="untied")
    with torch.no_grad():
        coupled.encoder += 0.02 * values(*coupled.encoder.shape)
        untied.encoder.copy_(coupled.encoder)
        untied.recurrence.copy_(torch.eye(24).double() - dictionary.T @ coupled.encoder)
    torch.testing.assert_close(untied(y), coupled(y), rtol=0, atol=1e-12)


def test_the_first_layers_are_a_shorter_network(drawn):
    y, _ = drawn
    long, short = (Lista(PROBLEM.dictionary, PROBLEM.lam, layers=k, mode="untied") for k in (5, 2))
    assert torch.equal(long(y, 2), short(y))


@pytest.fixture(scope="module")
def coherent():
    """Four units for each measurement, as in Gregor and LeCun; 8 to 9 percent are active."""
    problem = Problem.gaussian(20, 80, lam=0.05, density=0.05)
    pool = problem.draw(6000, 0)
    return problem, pool, problem.draw(1000, 1)


SECOND_PROOFS = [pytest.param(mode, marks=pytest.mark.slow) for mode in ("tied", "untied")]


@pytest.mark.parametrize("mode", ["coupled", *SECOND_PROOFS])
def test_16_trained_layers_come_as_close_as_160_iterations_of_ista(mode, coherent):
    problem, pool, (y, z) = coherent
    assert 0.05 < (z != 0).double().mean() < 0.10
    net = Lista(problem.dictionary.float(), problem.lam, layers=16, mode=mode)
    before = nmse(net(y.float()).detach(), z)
    train_lista(net, *pool, steps=800)
    after = nmse(net(y.float()).detach(), z)
    assert before == pytest.approx(nmse(ista(y, problem.dictionary, problem.lam, 16), z), abs=0.01)
    assert after <= nmse(ista(y, problem.dictionary, problem.lam, 160), z) - 0.5
    assert recovery(net(y.float()), z).recall > 0.5


def test_thresholds_stay_positive_and_the_dictionary_as_it_is(drawn):
    net = Lista(PROBLEM.dictionary.float(), PROBLEM.lam, layers=3, mode="coupled")
    train_lista(net, *drawn, steps=30, batch=20, lr=0.1)
    assert (net.log_threshold.exp() > 0).all()
    assert torch.equal(net.dictionary, PROBLEM.dictionary.float())


def test_training_follows_from_its_seed(drawn):
    losses = []
    for seed in (0, 0, 1):
        net = Lista(PROBLEM.dictionary.float(), PROBLEM.lam, layers=3, mode="untied")
        losses.append(train_lista(net, *drawn, steps=20, batch=20, seed=seed))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_a_training_that_diverges_says_so(drawn, monkeypatch):
    monkeypatch.setattr(sparse_coding, "CLIP", 1e30)
    net = Lista(PROBLEM.dictionary.float(), PROBLEM.lam, layers=16, mode="untied")
    with pytest.raises(UserError, match=r"the loss is `(nan|inf)`; give `lr="):
        train_lista(net, *drawn, steps=50, batch=10, lr=1e6)


def test_shared_is_for_coupled_layers():
    with pytest.raises(ValueError, match="`shared` is for mode `coupled`, not `tied`"):
        Lista(PROBLEM.dictionary, 0.1, mode="tied", shared=True)
