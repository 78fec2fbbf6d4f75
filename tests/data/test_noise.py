"""The noise is a function of (key, identity, draw, shape), and it is white and normal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from challenge.configs.schema.physics import Blur, FileKernel, GaussianNoise
from challenge.data import noise
from challenge.data.physics import noise_models
from challenge.data.physics.families import FAMILIES

KEY = bytes(range(32))
LAW = hypothesis_settings(max_examples=25, deadline=None)


@LAW
@given(st.binary(min_size=1, max_size=40), st.text(max_size=9), st.integers(0, 2**63), st.data())
def test_same_arguments_give_the_same_noise(key, identity, draw, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    first = noise.normal(key, identity, draw, shape)
    noise.normal(key, identity, draw + 1, (7,))  # what is drawn in between does not matter
    again = noise.normal(key, identity, draw, shape)
    assert first.dtype == np.float32
    assert first.shape == shape
    assert np.array_equal(first, again)


@LAW
@given(st.tuples(st.binary(max_size=6), st.text(max_size=4), st.integers(0, 300)), st.data())
def test_any_other_argument_gives_other_noise(one, data):
    other = data.draw(
        st.tuples(st.binary(max_size=6), st.text(max_size=4), st.integers(0, 300)).filter(
            lambda each: each != one
        )
    )
    assert not np.array_equal(noise.normal(*one, (16,)), noise.normal(*other, (16,)))


def test_arguments_are_not_run_together():
    """Length prefixes: moving a character between key and identity changes the noise."""
    assert not np.array_equal(noise.normal(b"ka", "b", 0, (8,)), noise.normal(b"k", "ab", 0, (8,)))
    assert not np.array_equal(noise.normal(b"k", "a1", 2, (8,)), noise.normal(b"k", "a", 12, (8,)))


def test_moments_are_those_of_the_standard_normal():
    n = noise.normal(KEY, "a", 0, (1_000_000,)).astype(np.float64)
    # Five standard errors of each moment.
    assert abs(n.mean()) < 5 / 1e3
    assert abs(n.var() - 1) < 5 * np.sqrt(2) / 1e3
    assert abs((n**3).mean()) < 5 * np.sqrt(15) / 1e3
    assert abs((n**4).mean() - 3) < 5 * np.sqrt(96) / 1e3


@pytest.mark.parametrize(
    "other",
    [(bytes(32), "a", 0), (KEY, "b", 0), (KEY, "a", 1)],
    ids=["key", "identity", "draw"],
)
def test_noises_of_different_arguments_are_uncorrelated(other):
    one = noise.normal(KEY, "a", 0, (100_000,))
    assert abs(np.corrcoef(one, noise.normal(*other, (100_000,)))[0, 1]) < 5 / np.sqrt(100_000)


def test_noise_is_white():
    n = noise.normal(KEY, "a", 0, (512, 512)).astype(np.float64)
    for shift in ((0, 1), (1, 0), (1, 1), (0, 2), (256, 0)):
        assert abs((n * np.roll(n, shift, (0, 1))).mean()) < 5 / 512


def test_neighbouring_draws_share_no_values():
    """Two draws are two streams of Philox, not two parts of one."""
    values = np.concatenate([noise.normal(KEY, "a", draw, (500,)) for draw in range(40)])
    assert len(np.unique(values)) > 0.99 * len(values)


def test_the_values_stay_what_they_are():
    """Stored runs are resumed with it: a change of these numbers is a change of format."""
    expected = [0.1400451809, -0.1530225873, -1.3561205864, 1.2043313980]
    np.testing.assert_allclose(noise.normal(KEY, "0001", 3, (4,)), expected, rtol=1e-6)


def settings(draw, count, sigma):
    """Which of so many kernels a training image has, and its noise level."""
    generator = noise.choices(KEY, "train", draw)
    kernels = np.arange(count, dtype=np.float32).reshape(count, 1, 1)
    config = Blur(kernel=FileKernel(file="given"))
    found = FAMILIES["blur"].draw(config, {"kernels": kernels}, (3, 8, 8), generator)
    level = noise_models.draw(GaussianNoise(sigma=sigma), generator)
    return int(found["kernel"][0, 0]), level["sigma"]


def test_settings_are_uniform_over_kernels_and_levels():
    drawn = [settings(draw, 4, (0.01, 0.05)) for draw in range(4000)]
    indices, levels = np.array(drawn).T
    counts = np.bincount(indices.astype(int), minlength=4)
    assert (abs(counts - 1000) < 5 * np.sqrt(750)).all()
    assert levels.min() >= 0.01
    assert levels.max() <= 0.05
    assert abs(levels.mean() - 0.03) < 5 * 0.04 / np.sqrt(12 * 4000)
    assert abs(np.corrcoef(indices, levels)[0, 1]) < 5 / np.sqrt(4000)


def test_one_level_is_exact():
    assert settings(0, 1, (0.03, 0.03)) == (0, 0.03)


def test_public_keys_differ_and_secret_ones_never_repeat():
    keys = {
        noise.public_key(seed, name, split)
        for seed in (0, 1)
        for name in ("a", "b")
        for split in ("train", "val", "test")
    }
    assert len(keys) == 12
    assert {len(key) for key in keys} == {32}
    assert noise.secret_key() != noise.secret_key()


def test_the_secret_order_is_a_permutation_that_only_the_key_decides():
    order = noise.secret_order(KEY, 50)
    assert sorted(order) == list(range(50))
    assert order == noise.secret_order(KEY, 50)
    assert order != noise.secret_order(bytes(32), 50)
