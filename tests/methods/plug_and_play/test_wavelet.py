"""Wavelet thresholding is a proximal map, at every noise level, alone and as a mean over shifts."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from challenge.methods.plug_and_play import wavelet
from challenge.methods.plug_and_play.denoisers import denoise
from challenge.methods.plug_and_play.wavelet import WaveletThresholding
from challenge.methods.transforms.cosine import to_opponent
from challenge.methods.transforms.wavelets import Wavelet, analyse, mirror, unmirror

FIRM = [
    *({"wavelet": name, "shifts": "all"} for name in get_args(Wavelet)),
    {"wavelet": "sym4", "shifts": "one"},
    {"wavelet": "haar", "shifts": "one", "levels": 3},
]


def noisy(*shape, seed=0):
    """Double precision, so that laws can be read to many digits."""
    draw = torch.Generator().manual_seed(seed)
    smooth = torch.linspace(0, 3, shape[-1], dtype=torch.float64).sin()
    return 0.5 + 0.3 * smooth + 0.1 * torch.randn(*shape, dtype=torch.float64, generator=draw)


def level(value):
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_basis_minimises_its_energy(channels):
    """Its subgradient contains 0: what was taken off each coefficient is its threshold, or all."""
    y, sigma = noisy(2, channels, 16, 32), 0.1
    x = WaveletThresholding(levels=3, threshold=1.4, shifts="one").denoise(y, level(sigma))
    seen = to_opponent if channels == 3 else lambda each: each
    taken = analyse(seen(y - x), "sym4", 3, every_shift=False)
    left = analyse(seen(x), "sym4", 3, every_shift=False)
    assert float(taken[-1].abs().max()) < 1e-12
    for at, (off, kept) in enumerate(zip(taken[:-1], left[:-1], strict=True)):
        limit = torch.tensor([1, wavelet.COLOUR, wavelet.COLOUR][:channels], dtype=torch.float64)
        limit = (1.4 * sigma * wavelet.COARSER**at * limit).reshape(-1, 1, 1, 1).expand_as(off)
        there = kept.abs() > 1e-12
        assert 0 < there.sum() < there.numel()
        torch.testing.assert_close(off[there], (limit * kept.sign())[there], rtol=0, atol=1e-12)
        assert bool((off.abs() <= limit + 1e-12).all())


@pytest.mark.parametrize("knobs", FIRM, ids=str)
def test_it_is_firmly_non_expansive_and_so_is_what_it_takes_off(knobs):
    """||D x - D y||^2 <= <D x - D y, x - y>; with all shifts whatever the size."""
    method = WaveletThresholding(**knobs)
    size = (13, 22) if knobs["shifts"] == "all" else (16, 32)
    for seed, sigma in enumerate((1e-3, 0.1, 0.1, 1.0)):
        x, y = noisy(2, 3, *size, seed=2 * seed), noisy(2, 3, *size, seed=2 * seed + 1)
        moved = method.denoise(x, level(sigma)) - method.denoise(y, level(sigma))
        product = (moved * (x - y)).sum((1, 2, 3))
        assert bool((moved.square().sum((1, 2, 3)) <= product * (1 + 1e-12)).all())
        assert sigma < 1e-2 or bool((product < 0.9 * (x - y).square().sum((1, 2, 3))).all())


@pytest.mark.parametrize("name", ["haar", "sym4"])
def test_all_shifts_are_the_mean_of_one_basis_over_them_and_mirror_images(name):
    y, sigma = noisy(1, 3, 8, 16), level(0.1)
    one = WaveletThresholding(wavelet=name, levels=2, shifts="one")
    shifts = [(down, right) for down in range(4) for right in range(4)]
    mean = sum(
        one.denoise(mirror(y).roll(each, (-2, -1)), sigma).roll((-each[0], -each[1]), (-2, -1))
        for each in shifts
    ) / len(shifts)
    every = WaveletThresholding(wavelet=name, levels=2, shifts="all")
    torch.testing.assert_close(every.denoise(y, sigma), unmirror(mean), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shifts", ["one", "all"])
def test_without_noise_it_is_the_identity_and_under_much_a_flat_image(shifts):
    y = noisy(2, 3, 16, 32)
    method = WaveletThresholding(levels=4, shifts=shifts)
    torch.testing.assert_close(method.denoise(y, level(0.0)), y, rtol=0, atol=1e-12)
    flat = method.denoise(y, level(1e6))
    if shifts == "one":
        assert float(flat.std((-2, -1)).max()) < float(y.std((-2, -1)).min())
    torch.testing.assert_close(flat.mean((-2, -1)), y.mean((-2, -1)), rtol=0, atol=1e-12)


def test_each_image_has_its_own_level_and_may_be_small():
    y = noisy(2, 1, 3, 5)
    method = WaveletThresholding(wavelet="sym8", levels=6)
    levels = torch.tensor([0.05, 0.2], dtype=torch.float64).reshape(2, 1, 1, 1)
    together = method.denoise(y, levels)
    for index in range(2):
        alone = denoise(method, y[index : index + 1], float(levels[index]))
        torch.testing.assert_close(together[index : index + 1], alone)


def test_one_basis_continues_other_sizes_by_their_last_pixels():
    y, sigma = noisy(1, 3, 13, 22), level(0.1)
    method = WaveletThresholding(levels=3, shifts="one")
    whole = F.pad(y, (0, 2, 0, 3), mode="replicate")
    assert torch.equal(method.denoise(y, sigma), method.denoise(whole, sigma)[..., :13, :22])


def test_it_can_be_differentiated():
    """Its Jacobian is symmetric, as a proximal map's."""
    y, method = noisy(1, 1, 6, 5), WaveletThresholding(wavelet="db2", levels=2)
    jacobian = torch.autograd.functional.jacobian(lambda x: method.denoise(x, level(0.1)), y)
    matrix = jacobian.reshape(30, 30)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(matrix)
    assert float(values[0]) > -1e-12
    assert float(values[-1]) < 1 + 1e-12
