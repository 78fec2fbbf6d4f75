"""Every loss: its formula, its gradient, where it is least, and that it trains another network."""

import math

import numpy as np
import pytest
import torch
from scipy.special import huber as scipy_huber
from skimage.metrics import structural_similarity

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.network import Network
from challenge.methods.networks.architectures import Net
from challenge.methods.training import losses
from challenge.methods.training.losses import (
    DELTA,
    EPSILON,
    LOSSES,
    cross_entropy,
    expectation,
    similarity,
)

PAIRWISE = [name for name in LOSSES if name != "cross_entropy"]


def pair(*shape, seed=0, spread=0.1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return x + spread * torch.randn(shape, generator=generator, dtype=torch.float64), x


FORMULAS = {
    "mse": lambda d: d**2,
    "l1": np.abs,
    "charbonnier": lambda d: np.sqrt(d**2 + EPSILON**2),
    "huber": lambda d: scipy_huber(DELTA, d),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_is_its_formula(name):
    x_hat, x = pair(2, 3, 16, 16)
    expected = FORMULAS[name]((x_hat - x).numpy()).mean()
    assert LOSSES[name](x_hat, x).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_gradient_is_that_of_finite_differences(name):
    x_hat, x = pair(2, 1, 13, 12)
    assert torch.autograd.gradcheck(lambda v: LOSSES[name](v, x), x_hat.requires_grad_())


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_loss_is_least_at_the_truth_and_grows_with_the_error(name):
    x_hat, x = pair(1, 3, 24, 24)
    values = [LOSSES[name](x + t * (x_hat - x), x).item() for t in (0, 0.25, 0.5, 1, 2)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(EPSILON if name == "charbonnier" else 0, abs=1e-9)
    assert values[-1] > values[1]


def test_huber_and_charbonnier_are_between_squared_and_absolute_error():
    x = torch.zeros(1, 1, 4, 4)
    for small in (1e-4, 2e-4):
        d = torch.full_like(x, small)
        assert losses.huber(d, x).item() == pytest.approx(small**2 / 2)
        assert losses.charbonnier(d, x).item() - EPSILON == pytest.approx(
            small**2 / 2 / EPSILON, rel=0.02
        )
    large = torch.full_like(x, 0.5)
    assert losses.huber(large, x).item() == pytest.approx(DELTA * (0.5 - DELTA / 2))
    assert losses.charbonnier(large, x).item() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_the_judges(channels):
    x_hat, x = pair(2, channels, 40, 33)
    found = similarity(x_hat, x)
    for n in range(2):
        expected = structural_similarity(
            x_hat[n].numpy(),
            x[n].numpy(),
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert found[n].item() == pytest.approx(expected, abs=1e-12)
    assert losses.ssim(x_hat, x).item() == pytest.approx(1 - found.mean().item())
    assert similarity(x, x).tolist() == pytest.approx([1, 1])


def test_ssim_of_images_below_its_window_is_refused():
    with pytest.raises(ValueError, match="11 pixels"):
        similarity(torch.zeros(1, 1, 10, 20), torch.zeros(1, 1, 10, 20))


def test_ssim_keeps_its_digits_under_autocast():
    x_hat, x = (v.float() for v in pair(1, 3, 32, 32, spread=0.01))
    exact = similarity(x_hat, x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(similarity(x_hat, x), exact)


def logits_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cross_entropy_of_a_value_between_two_intensities():
    logits = logits_of(1, 1, 5, 1, 1)
    logs = logits[0, 0, :, 0, 0].log_softmax(0)
    for value, expected in (
        (0.5, -logs[2]),
        (0.6, -0.6 * logs[2] - 0.4 * logs[3]),
        (1.0, -logs[4]),
    ):
        x = torch.full((1, 1, 1, 1), value, dtype=torch.float64)
        assert cross_entropy(logits, x).item() == pytest.approx(expected.item())


def test_cross_entropy_is_torchs_where_the_truth_is_an_intensity():
    logits = logits_of(2, 3, 9, 4, 4)
    index = torch.randint(0, 9, (2, 3, 4, 4), generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), index.flatten(0, 1))
    assert cross_entropy(logits, index / 8).item() == pytest.approx(expected.item())


def test_the_least_cross_entropy_has_the_truth_as_its_mean():
    x = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.zeros(1, 2, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = cross_entropy(logits, x)
        value.backward()
        return value

    optimiser.step(closure)
    torch.testing.assert_close(expectation(logits), x, atol=2e-3, rtol=0)


def test_gradient_of_cross_entropy():
    logits, x = logits_of(1, 2, 4, 3, 3).requires_grad_(), pair(1, 2, 3, 3)[1]
    assert torch.autograd.gradcheck(lambda v: cross_entropy(v, x), logits)
    assert torch.autograd.gradcheck(expectation, logits)


def test_the_mean_of_a_distribution():
    certain = torch.full((1, 1, 3, 1, 1), -1e9)
    certain[0, 0, 1] = 0
    assert expectation(certain).item() == pytest.approx(0.5)
    assert expectation(torch.zeros(1, 1, 7, 1, 1)).item() == pytest.approx(0.5)


class Keeping(ToySession):
    """A session that keeps the last weights: those left in the method are the best ones."""

    def save(self, tensors, state):
        self.last = {name: value.clone() for name, value in tensors.items() if "last." in name}


def trained(name, **knobs):
    torch.manual_seed(0)
    method = Network(net=Net(width=8, depth=1, blocks=1), precision="float32", **knobs)
    train = TrainConfig(steps=100, batch=4, patch=24, tune=2, evaluate=25, loss=name, lr=1e-3)
    session = Keeping()
    method.fit(toy_problem(), toy_images(5), train, session)
    quality = [line["psnr"] for line in session.lines if "psnr" in line]
    return session.last["last.net.head.weight"], quality


@pytest.fixture(scope="module")
def all_trained():
    return {
        name: trained(name, **({"bins": 16} if name == "cross_entropy" else {})) for name in LOSSES
    }


def test_every_loss_trains_another_network(all_trained):
    heads = {name: head for name, (head, _) in all_trained.items()}
    for a in heads:
        for b in heads:
            assert a == b or not torch.equal(heads[a], heads[b])


@pytest.mark.parametrize("name", LOSSES)
def test_training_by_a_loss_gains_quality(all_trained, name):
    _, quality = all_trained[name]
    assert all(math.isfinite(value) for value in quality)
    assert max(quality) > quality[0] + 0.02
