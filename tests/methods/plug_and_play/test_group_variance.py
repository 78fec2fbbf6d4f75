"""The variance of noise in a group against the matrix that makes the group of the pixels."""

import pytest
import torch

from challenge.methods.plug_and_play.group_variance import correlations, variances
from challenge.methods.transforms import cosine, patch_wavelets

SIDE = 20


@pytest.mark.parametrize("count", [1, 2, 4, 16, 32])
@pytest.mark.parametrize(
    "transform",
    [cosine.basis(8), patch_wavelets.basis(8, patch_wavelets.BIOR15)],
    ids=["cosine", "bior1.5"],
)
def test_the_variance_is_that_of_the_pixels_weights(transform, count):
    """Of white noise, a weighed sum has the variance sum of squared weights."""
    places = torch.randint(0, SIDE - 7, (2, count, 3), generator=torch.Generator().manual_seed(0))
    two = torch.kron(transform, transform)
    pixels = torch.arange(SIDE**2).view(SIDE, SIDE).unfold(0, 8, 1).unfold(1, 8, 1)
    index = pixels[places[0], places[1]].reshape(count, 3, 64)
    # weights[k, n, a, pixel]: coefficient a of patch k of group n
    weights = torch.zeros(count, 3, 64, SIDE**2, dtype=torch.float64)
    weights.scatter_(3, index[:, :, None].expand(-1, -1, 64, -1), two.expand(count, 3, 64, 64))
    grouped = torch.einsum("mk,knap->mnap", patch_wavelets.basis(count), weights)
    expected = grouped.square().sum(-1)
    torch.testing.assert_close(variances(places, correlations(transform)), expected)
