"""Total variation: against an independent solver, closed forms, symmetries, batches, tuning."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.errors import UserError
from challenge.configs.schema.physics import GaussianNoise
from challenge.configs.schema.training import TrainConfig
from challenge.data.physics.blur import blur
from challenge.data.physics.problem import Problem
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.variational import tv
from challenge.methods.variational.tv import TV
from challenge.methods.variational.tv_gap import gap

BOUNDARIES = ["circular", "valid", "reflect"]


# --- an independent solver: numpy, float64, explicit matrices -------------------------------------


def blur_matrix(kernel: np.ndarray, height: int, width: int, boundary: str) -> np.ndarray:
    """The blur of one colour as a matrix, written out from the definition of a convolution."""
    side = len(kernel)
    half = side // 2
    rows = []
    margin = half if boundary == "valid" else 0
    for i in range(margin, height - margin):
        for j in range(margin, width - margin):
            row = np.zeros((height, width))
            for a in range(side):
                for b in range(side):
                    u, v = i + half - a, j + half - b
                    if boundary == "circular":
                        u, v = u % height, v % width
                    elif boundary == "reflect":
                        u, v = mirror(u, height), mirror(v, width)
                    row[u, v] += kernel[a, b]
            rows.append(row.ravel())
    return np.array(rows)


def mirror(index: int, size: int) -> int:
    index = abs(index)
    return index if index < size else 2 * (size - 1) - index


def difference_matrix(height: int, width: int) -> np.ndarray:
    """Both differences of one colour, shape (2 H W, H W); zero rows at the border."""
    along_rows = np.eye(height, k=1) - np.eye(height)
    along_columns = np.eye(width, k=1) - np.eye(width)
    along_rows[-1] = along_columns[-1] = 0
    return np.vstack([np.kron(along_rows, np.eye(width)), np.kron(np.eye(height), along_columns)])


def value(x, y, a, d, weight, coupled):
    """The objective; x of shape (C, HW), y of shape (C, M)."""
    field = (x @ d.T).reshape(len(x), 2, -1)
    norms = np.sqrt((field**2).sum((0, 1) if coupled else 1))
    return 0.5 * ((x @ a.T - y) ** 2).sum() + weight * norms.sum()


def reference(y, a, d, weight, coupled, iterations=4000):
    """Chambolle-Pock on the differences, the data step by a matrix inverse; lowest objective."""
    tau, sigma = 4.0, 1 / (8 * 4.0)
    inverse = np.linalg.inv(np.eye(a.shape[1]) + tau * a.T @ a)
    back = tau * y @ a
    x = y @ a
    ahead, p = x, np.zeros((len(y), d.shape[0]))
    for _ in range(iterations):
        p = (p + sigma * ahead @ d.T).reshape(len(y), 2, -1)
        norms = np.sqrt((p**2).sum((0, 1) if coupled else 1, keepdims=True))
        p = (p / np.maximum(1, norms / weight)).reshape(len(y), -1)
        before = x
        x = (x - tau * p @ d + back) @ inverse
        ahead = 2 * x - before
    return value(x, y, a, d, weight, coupled)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


def scene(seed: int, height: int = 12, width: int = 11) -> torch.Tensor:
    blocks = draw(seed, 1, 3, 3, 3).repeat_interleave(4, -2).repeat_interleave(4, -1)
    return blocks[..., :height, :width]


def measured(seed: int, boundary: str, side: int = 5, noise: float = 0.03):
    x = scene(seed)
    kernel = draw(seed + 1, 1, 1, side, side) ** 3
    kernel /= kernel.sum()
    physics = blur(kernel, noise, boundary, (3, *x.shape[-2:]))
    y = physics.A(x)
    return y + noise * (draw(seed + 2, *y.shape) - 0.5) * 12**0.5, physics, kernel


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(BOUNDARIES),
    st.booleans(),
    st.sampled_from([3, 5]),
    st.sampled_from([0.003, 0.01, 0.05]),
    st.integers(0, 999),
)
def test_the_objective_is_that_of_an_independent_solver(boundary, coupled, side, weight, seed):
    y, physics, kernel = measured(seed, boundary, side)
    x = TV(weight=weight, iterations=1000, coupled=coupled)(y, physics)
    height, width = x.shape[-2:]
    a = blur_matrix(kernel[0, 0].numpy(), height, width, boundary)
    d = difference_matrix(height, width)
    flat = y[0].reshape(3, -1).numpy()
    ours = value(x[0].reshape(3, -1).numpy(), flat, a, d, weight, coupled)
    assert ours == pytest.approx(reference(flat, a, d, weight, coupled), rel=1e-4)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_default_iterations_are_nearly_enough(boundary):
    problem = toy_problem(boundary=boundary)
    x = torch.stack(list(toy_images(2, side=48)))
    y, physics = problem.measure(x, range(2))
    default, long = (TV(iterations=n)(y, physics) for n in (60, 1000))
    assert (default - long).square().mean().sqrt() < 2e-3


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_huge_weight_gives_the_constant_that_fits_best(boundary, coupled):
    y, physics, _ = measured(3, boundary)
    x = TV(weight=100.0, iterations=3000, coupled=coupled)(y, physics)
    # the kernel sums to one, so A maps a constant to itself
    expected = y.mean((-2, -1), keepdim=True).expand_as(x)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-3)


def test_a_tiny_weight_without_blur_gives_the_measurement():
    y = scene(4)
    identity = torch.zeros(1, 1, 3, 3).double()
    identity[..., 1, 1] = 1
    for boundary in ("circular", "reflect"):
        physics = blur(identity, 0.03, boundary, (3, 12, 11))
        x = TV(weight=1e-7, iterations=200)(y, physics)
        torch.testing.assert_close(x, y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_constant_comes_back(boundary):
    _, physics, _ = measured(5, boundary)
    x = torch.full((1, 3, 12, 11), 0.3).double()
    x_hat = TV()(physics.A(x), physics)
    torch.testing.assert_close(x_hat, x, rtol=0, atol=1e-3)


def test_two_levels_of_a_step_move_towards_each_other_by_the_weight():
    """1D denoising of a step with n columns a side: each level moves by weight / n."""
    x = torch.zeros(1, 1, 6, 8).double()
    x[..., 4:] = 1
    identity = torch.ones(1, 1, 1, 1).double()
    physics = blur(identity, 0.1, "circular", (1, 6, 8))
    x_hat = TV(weight=0.2, iterations=2000)(x, physics)
    expected = x * (1 - 2 * 0.2 / 4) + 0.2 / 4
    torch.testing.assert_close(x_hat, expected, rtol=0, atol=1e-6)


# --- symmetries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_transposing_the_problem_transposes_the_answer(boundary):
    y, physics, kernel = measured(6, boundary)
    x = TV()(y, physics)
    other = blur(kernel.mT.contiguous(), 0.03, boundary, (3, *x.mT.shape[-2:]))
    torch.testing.assert_close(TV()(y.mT.contiguous(), other).mT, x, rtol=0, atol=1e-5)


def test_colours_are_coupled_where_asked():
    y, physics, _ = measured(7, "circular")
    swapped = y[:, [2, 0, 1]]
    for coupled in (True, False):
        method = TV(coupled=coupled)
        torch.testing.assert_close(method(swapped, physics), method(y, physics)[:, [2, 0, 1]])
    dull = y.clone()
    dull[:, 1:] = 0.5
    separate, together = (TV(coupled=c)(y, physics)[:, 0] for c in (False, True))
    torch.testing.assert_close(TV(coupled=False)(dull, physics)[:, 0], separate)
    assert not torch.allclose(TV(coupled=True)(dull, physics)[:, 0], together, atol=1e-3)


# --- batches, order, dtype, stopping --------------------------------------------------------------


def batch(boundary: str):
    problem = toy_problem(boundary=boundary)
    x = torch.stack(list(toy_images(3, side=40)))
    return problem, x


@pytest.mark.parametrize(
    ("boundary", "tolerance"),
    [*((boundary, None) for boundary in BOUNDARIES), ("circular", 1e-3), ("valid", 0.02)],
)
def test_a_batch_is_what_its_images_are_alone(boundary, tolerance, monkeypatch):
    problem, x = batch(boundary)
    x[1] = 0.4 + 0.02 * x[1]  # an image that converges at another pace
    method = TV(tolerance=tolerance, iterations=150)
    looks = []
    monkeypatch.setattr(tv, "gap", lambda *a, **k: looks.append(len(a[0])) or gap(*a, **k))
    together = method(*problem.measure(x, [0, 1, 2]))
    backward = method(*problem.measure(x.flip(0), [2, 1, 0])).flip(0)
    torch.testing.assert_close(backward, together, rtol=0, atol=1e-5)
    for n in range(3):
        looks.append(0)
        alone = method(*problem.measure(x[n : n + 1], [n]))
        torch.testing.assert_close(alone[0], together[n], rtol=0, atol=1e-5)
    # the images stop at different iterations, else this test would prove nothing
    paces = {len(list(run)) for one, run in itertools.groupby(looks) if one == 1}
    assert len(paces) > 1 or tolerance is None


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_single_precision_is_double_precision_rounded(boundary):
    y, physics, kernel = measured(8, boundary)
    double = TV()(y, physics)
    single = TV()(y.float(), blur(kernel.float(), 0.03, boundary, (3, 12, 11)))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)


def test_a_tolerance_stops_early_and_close_to_the_end():
    y, physics, _ = measured(9, "circular")
    calls = []
    adjoint = physics.A_adjoint
    physics.A_adjoint = lambda q: calls.append(1) or adjoint(q)  # one look at the gap, one call
    x = TV(tolerance=1e-3, iterations=5000)(y, physics)
    assert 1 <= len(calls) < 50
    rest = TV(iterations=5000)(y, physics)
    assert (x - rest).abs().max() < 2e-2
    loose = TV(tolerance=0.5, iterations=5000)(y, physics)
    assert (loose - rest).abs().max() > (x - rest).abs().max()


# --- the tuned weight -----------------------------------------------------------------------------


class Recorded(ToySession):
    def __init__(self) -> None:
        super().__init__()
        self.values: list[dict[str, float]] = []

    def log(self, step, total, **values):
        assert step <= total
        self.values.append(values)


def tuned(sigma: tuple[float, float]) -> tuple[TV, Problem, Recorded]:
    problem = toy_problem().at(GaussianNoise(sigma=sigma))
    method, session = TV(weight=None, iterations=30), Recorded()
    method.fit(problem, toy_images(4), TrainConfig(tune=2), session)
    return method, problem, session


def test_the_tuned_weight_is_better_than_its_neighbours():
    method, _, session = tuned((0.04, 0.04))
    best = float(method.tuned_log_weights[0].exp())
    assert torch.equal(method.tuned_log_weights[:1], method.tuned_log_weights[1:])
    quality = max(values["psnr"] for values in session.values)
    for values in session.values:
        if values["psnr"] == quality:
            assert values["weight"] == pytest.approx(best, rel=1e-4)
        elif not 0.5 < values["weight"] / best < 2:
            assert values["psnr"] < quality
    assert len(session.values) > 5


def test_a_range_of_noise_levels_has_a_weight_at_each_end():
    method, problem, _ = tuned((0.02, 0.08))
    assert method.tuned_levels.tolist() == pytest.approx([0.02, 0.08])
    low, high = method.tuned_log_weights.exp().tolist()
    assert high > 1.5 * low
    y, _ = problem.measure(toy_images(1)[0][None], [0])
    kernel = torch.from_numpy(problem.arrays["kernels"])[:1, None]
    for sigma, weight in ((0.02, low), (0.04, (low * high) ** 0.5), (0.08, high), (0.5, high)):
        physics = blur(kernel, sigma, "circular", (3, 48, 48))
        expected = TV(weight=weight, iterations=30)(y, physics)
        torch.testing.assert_close(method(y, physics), expected, rtol=0, atol=1e-5)
    levels = torch.tensor([0.02, 0.08])
    both = method(y.repeat(2, 1, 1, 1), blur(kernel, levels, "circular", (3, 48, 48)))
    single = method(y, blur(kernel, 0.08, "circular", (3, 48, 48)))
    torch.testing.assert_close(both[1:], single, rtol=0, atol=1e-5)


def test_a_given_weight_is_left_alone():
    method, session = TV(weight=0.01), Recorded()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.fit(toy_problem(), toy_images(4), TrainConfig(), session)
    assert session.values == []
    assert {name: value.shape for name, value in before.items()} == {
        name: value.shape for name, value in tuned((0.04, 0.04))[0].state_dict().items()
    }
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_an_untuned_weight_is_the_users_mistake():
    y, physics, _ = measured(1, "circular")
    with pytest.raises(UserError, match=r"`method.weight`: is `null` and was not tuned"):
        TV(weight=None)(y, physics)
