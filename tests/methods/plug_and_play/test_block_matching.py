"""Block matching against a search without any shortcut."""

import pytest
import torch

from challenge.methods.plug_and_play.block_matching import References, count_at_most, match

BLOCK, STEP = 4, 3


def searched(image, grid, radius, count):
    """Squared distances of the best matches of every reference, by definition."""
    patches = image.unfold(0, BLOCK, 1).unfold(1, BLOCK, 1)
    found = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            y, x = grid.top + row * STEP, grid.left + column * STEP
            around = patches[
                max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1
            ]
            distances = (around - patches[y, x]).square().sum((-2, -1)).flatten()
            found.append(distances.sort().values[:count])
    return torch.stack(found, dim=1)


@pytest.mark.parametrize(
    ("size", "grid", "radius", "count"),
    [
        ((25, 19), References(0, 0, 8, 6, STEP), 5, 8),
        ((31, 28), References(6, 3, 4, 7, STEP), 4, 16),  # a part, with the image going on around
        ((4, 40), References(0, 0, 1, 13, STEP), 7, 8),
        ((4, 4), References(0, 0, 1, 1, STEP), 19, 1),
    ],
)
def test_the_matches_are_those_of_an_exhaustive_search(size, grid, radius, count):
    image = torch.rand(size, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    rows, columns = match(image, grid, BLOCK, radius, count)
    assert torch.equal(image, before)
    patches = image.unfold(0, BLOCK, 1).unfold(1, BLOCK, 1)
    found = patches[rows, columns]
    distances = (found - found[:1]).square().sum((-2, -1))
    torch.testing.assert_close(distances, searched(image, grid, radius, count), atol=1e-5, rtol=0)
    own = torch.cartesian_prod(torch.arange(grid.rows), torch.arange(grid.columns)) * STEP
    first = torch.stack((rows[0], columns[0]), dim=1)
    assert torch.equal(first, own + torch.tensor((grid.top, grid.left)))


def test_a_patch_is_matched_once_and_itself_first_in_a_flat_image():
    rows, columns = match(torch.ones(30, 30), References(0, 0, 8, 8, STEP), BLOCK, 6, 16)
    places = rows * 30 + columns
    assert all(len(set(group.tolist())) == 16 for group in places.T)
    assert torch.equal(rows[0].view(8, 8)[:, 0], torch.arange(8) * STEP)


@pytest.mark.parametrize(
    ("height", "width", "most"), [(1, 1, 1), (3, 1, 2), (1, 50, 16), (9, 9, 32)]
)
def test_a_group_is_as_large_as_every_reference_finds_patches(height, width, most):
    assert count_at_most(32, height, width, 19) == most
