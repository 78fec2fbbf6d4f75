"""DnCNN and FFDNet: the networks are deepinv's and the authors', whose weights they take."""

from functools import partial

import deepinv
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.plug_and_play.dncnn import DnCNN
from challenge.methods.plug_and_play.ffdnet import FFDNet
from challenge.methods.plug_and_play.published import ffdnet_of_authors, ffdnet_of_deepinv

TWICE = torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1)
CHAINS = {
    "dncnn blind": DnCNN(width=6, depth=4),
    "dncnn told": DnCNN(width=6, depth=3, blind=False, bias_free=True, channels=1),
    "ffdnet": FFDNet(width=6, depth=4),
    "ffdnet noise": FFDNet(width=6, depth=3, bias_free=True, channels=1, predicts="noise"),
}


def images(channels, height=12, width=14):
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(3))


def disturbed(method):
    """The method with weights of which none is 0."""
    torch.manual_seed(5)
    for parameter in method.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return method.eval()


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_dncnn_is_deepinvs(channels, bias):
    theirs = deepinv.models.DnCNN(channels, channels, depth=5, bias=bias, nf=8, pretrained=None)
    ours = DnCNN(width=8, depth=5, bias_free=not bias, channels=channels).eval()
    ours.net.load_state_dict(theirs.state_dict(), strict=True)
    x = images(channels, 11, 13)
    torch.testing.assert_close(ours.denoise(x, TWICE), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("predicts", ["image", "noise"])
def test_ffdnet_is_deepinvs(channels, predicts):
    theirs = deepinv.models.FFDNet(
        5, 8, channels, residual_denoising=predicts == "noise", pretrained=None
    )
    ours = FFDNet(width=8, depth=5, channels=channels, predicts=predicts).eval()
    ours.net.load_state_dict(ffdnet_of_deepinv(theirs.state_dict()), strict=True)
    if predicts == "noise":  # deepinv's is added
        ours.net.blocks[-1].weight.neg_()
        ours.net.blocks[-1].bias.neg_()
    x = images(channels)
    torch.testing.assert_close(ours.denoise(x, TWICE), theirs(x, TWICE))


@torch.no_grad()
def test_ffdnet_is_its_authors():
    """Layers in their order, with the map of the noise level last, at half the resolution."""
    layers = [nn.Conv2d(13, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)]
    layers = [*layers, nn.Conv2d(8, 12, 3, padding=1)]
    state = {
        f"model.{2 * index}.{name}": value
        for index, layer in enumerate(layers)
        for name, value in layer.state_dict().items()
    }
    ours = FFDNet(width=8, depth=3).eval()
    ours.net.load_state_dict(ffdnet_of_authors(state), strict=True)
    x = images(3)
    seen = torch.cat([F.pixel_unshuffle(x, 2), TWICE.expand(2, 1, 6, 7)], dim=1)
    expected = F.pixel_shuffle(layers[2](layers[1](layers[0](seen).relu()).relu()), 2)
    torch.testing.assert_close(ours.denoise(x, TWICE), expected)


@torch.no_grad()
def test_an_odd_size_is_continued_by_the_last_pixels():
    method = disturbed(FFDNet(width=6, depth=3))
    x = images(3, 11, 13)
    whole = F.pad(x, (0, 1, 0, 1), mode="replicate")
    assert torch.equal(method.denoise(x, TWICE), method.denoise(whole, TWICE)[..., :11, :13])


@torch.no_grad()
@pytest.mark.parametrize("name", CHAINS)
def test_every_image_has_its_own_noise_level_where_the_denoiser_is_told(name):
    method = disturbed(CHAINS[name])
    x = images(method.channels)
    told = not getattr(method, "blind", False)
    assert torch.equal(method.denoise(x, TWICE), method.denoise(x, 2 * TWICE)) != told
    together = method.denoise(x, TWICE)
    for index, alone in enumerate(x.split(1)):
        each = method.denoise(alone, TWICE[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], each)


@torch.no_grad()
@pytest.mark.parametrize("name", CHAINS)
def test_without_biases_a_denoiser_is_homogeneous(name):
    method = disturbed(CHAINS[name])
    x = images(method.channels)
    scaled, once = method.denoise(4 * x, 4 * TWICE), method.denoise(x, TWICE)
    assert torch.allclose(scaled, 4 * once, rtol=1e-5, atol=1e-6) == method.bias_free


@torch.no_grad()
@pytest.mark.parametrize("method", [DnCNN, partial(FFDNet, predicts="noise")])
def test_what_finds_the_noise_begins_as_the_identity(method):
    x = images(3)
    assert torch.equal(method().eval().denoise(x, TWICE), x)


def test_the_facts_are_the_published_ones():
    colour, grey = FFDNet().facts(), FFDNet(depth=15, width=64, channels=1).facts()
    assert (colour["parameters"], colour["receptive_field"]) == (852_108, 4 * 12 + 2)
    assert (grey["parameters"], grey["receptive_field"]) == (485_316, 4 * 15 + 2)
    assert DnCNN().facts()["parameters"] == 668_227
    assert DnCNN(depth=9).facts()["receptive_field"] == 2 * 9 + 1


@pytest.mark.parametrize("cls", [DnCNN, FFDNet])
def test_fit_takes_the_noise_range_and_refuses_other_channels(cls):
    train = TrainConfig(steps=1, batch=2, patch=24, tune=1, evaluate=1)
    noise = {"sigma": (0, 50 / 255)}
    method = cls(width=4, depth=3)
    problem = toy_problem(operator="identity", noise=noise)
    method.fit(problem, toy_images(), train, ToySession())
    assert method.levels.known == pytest.approx((0, 50 / 255))
    grey = toy_problem(1, operator="identity", noise=noise)
    with pytest.raises(UserError, match=r"give `method.channels=1`"):
        method.fit(grey, toy_images(channels=1), train, ToySession())
    with pytest.raises(UserError, match=r"the method is made for `3`, the measurement has `1`"):
        method.denoise(images(1), TWICE)
