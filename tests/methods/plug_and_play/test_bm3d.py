"""What BM3D must do, and how close it comes to the authors' binary."""

import importlib.util

import pytest
import torch

from challenge.methods.contract_test import toy_images
from challenge.methods.plug_and_play import bm3d
from challenge.methods.plug_and_play.bm3d import BM3D
from challenge.methods.plug_and_play.denoisers import Denoiser

SIDE = 40


def level(*sigma):
    return torch.tensor(sigma).view(-1, 1, 1, 1)


def noise(x, seed=0):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def truth(number=1, channels=3, side=SIDE):
    images = toy_images(number, channels, side)
    return torch.stack([images[index] for index in range(number)])


def psnr(estimate, x):
    return -10 * float((estimate - x).square().mean().log10())


def test_it_is_a_denoiser():
    assert isinstance(BM3D(), Denoiser)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("sigma", "gain"), [(0.02, 4.5), (0.1, 9), (0.3, 12)])
def test_it_takes_the_noise_off(channels, sigma, gain):
    x = truth(channels=channels)
    y = x + sigma * noise(x)
    assert psnr(BM3D().denoise(y, level(sigma)), x) > psnr(y, x) + gain


def test_each_stage_is_better_than_what_it_begins_with():
    x = truth(channels=1)[0]
    y = x + 0.1 * noise(x)
    first, second = bm3d._stages()
    x, y = x[:, :38, :38], y[:, :38, :38]  # whole steps
    basic = bm3d._filtered(first, y, None, 0.1)
    final = bm3d._filtered(second, y, basic, 0.1)
    assert psnr(y, x) + 6 < psnr(basic, x) < psnr(final, x) - 0.2


@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1e-4])
def test_without_noise_the_image_comes_back(sigma):
    x = truth() + 0.05 * noise(truth())
    assert (BM3D().denoise(x, level(sigma)) - x).abs().max() <= 2e-5 + 5 * sigma


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_constant_stays(channels):
    x = torch.linspace(0.2, 0.9, channels).view(1, -1, 1, 1).expand(1, channels, 30, 35)
    assert (BM3D().denoise(x, level(0.1)) - x).abs().max() < 1e-5


def test_every_image_of_a_batch_has_its_own_level_and_is_as_alone():
    x = truth(3)
    y = x + level(0.02, 0.1, 0.3) * noise(x)
    before = y.clone()
    together = BM3D().denoise(y, level(0.02, 0.1, 0.3))
    assert torch.equal(y, before)
    alone = [BM3D().denoise(y[n : n + 1], level(s)) for n, s in enumerate((0.02, 0.1, 0.3))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)
    shared = BM3D().denoise(y[[1, 0]], level(0.1))
    torch.testing.assert_close(shared[:1], alone[1], rtol=0, atol=1e-6)


def test_a_mirrored_image_is_denoised_to_the_mirrored_estimate_nearly():
    """The grid of references and the ties of matches differ, so it is not exact."""
    x = truth()
    y = x + 0.1 * noise(x)
    straight = BM3D().denoise(y, level(0.1))
    for dims in ((-1,), (-2,)):
        mirrored = BM3D().denoise(y.flip(dims), level(0.1)).flip(dims)
        assert psnr(mirrored, straight) > psnr(straight, x) + 6


def test_colours_help_one_another():
    x = truth(channels=1).expand(1, 3, SIDE, SIDE)
    y = x + 0.1 * noise(x)
    alone = BM3D().denoise(y.transpose(0, 1), level(0.1)).transpose(0, 1)
    assert psnr(BM3D().denoise(y, level(0.1)), x) > psnr(alone, x) + 0.5


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (8, 8), (7, 31), (17, 10)])
def test_images_of_any_size(size):
    x = torch.full((1, 3, *size), 0.5)
    y = x + 0.05 * noise(x)
    found = BM3D().denoise(y, level(0.05))
    assert found.shape == x.shape
    # What all patches have in common is not noise to any of them.
    assert (found - x).square().mean() <= (y - x).square().mean() * (1 + 1e-4)


def test_regions_are_only_a_matter_of_memory(monkeypatch):
    x = truth(channels=1)
    y = x + 0.1 * noise(x)
    whole = BM3D().denoise(y, level(0.1))
    monkeypatch.setattr(bm3d, "REGION", 4)
    monkeypatch.setattr(bm3d, "CHUNK", 64)
    # Rounding may choose another of two matches that are equally good.
    assert psnr(BM3D().denoise(y, level(0.1)), whole) > 70


def test_it_can_be_differentiated():
    """The groups being constant, the estimate is that of one linear map around most images."""
    x = truth(channels=1, side=14)
    y = (x + 0.1 * noise(x)).requires_grad_()
    BM3D().denoise(y, level(0.1)).sum().backward()
    assert torch.isfinite(y.grad).all()
    assert abs(y.grad.sum() / y.numel() - 1) < 0.2  # a brighter image, a brighter estimate


@pytest.mark.by_hand
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_it_is_at_most_a_tenth_of_a_decibel_below_the_binary(channels, sigma):
    """The authors' own, which may not be used commercially and is no dependency."""
    if importlib.util.find_spec("bm3d") is None:
        pytest.skip("PyPI's `bm3d` is not installed: `pip install bm3d` where its licence is met")
    import bm3d as binary
    from skimage.data import astronaut

    x = torch.from_numpy(astronaut()[64:192, 160:288, :channels].copy()).float() / 255
    y = x + sigma / 255 * noise(x)
    run = binary.bm3d_rgb if channels == 3 else binary.bm3d
    theirs = torch.from_numpy(run(y.double().numpy(), sigma / 255)).view_as(x)
    ours = BM3D().denoise(y.permute(2, 0, 1)[None], level(sigma / 255))[0].permute(1, 2, 0)
    assert psnr(ours, x) > psnr(theirs, x) - 0.1
