"""Estimates that hold to every rule and are wrong get a hint; good and merely bad ones none."""

import numpy as np
import pytest

from challenge.submissions.scoring.hints import Example, hints


def picture(seed):
    """A smooth colour picture with edges, (3, 48, 48)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:1:48j, 0:1:48j]
    waves = [np.sin(4 * a * rows + 4 * b * columns + c) for a, b, c in random.normal(size=(3, 3))]
    edge = rows + random.normal() * columns > 0.6
    tint = random.uniform(-0.2, 0.2, size=(3, 1, 1))
    return (0.5 + 0.2 * np.stack(waves) + 0.15 * edge + tint).clip(0, 1).astype(np.float32)


TRUTHS = [picture(seed) for seed in range(4)]


def look(change, noise=0.02):
    random = np.random.default_rng(9)
    examples = []
    for truth in TRUTHS:
        good = truth + noise * random.normal(size=truth.shape).astype(np.float32)
        measured = truth + 0.1 * random.normal(size=truth.shape).astype(np.float32)
        examples.append(Example(np.asarray(change(good), np.float32), truth, measured))
    return hints(examples)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 255 * x, "in [0, 255]"),
        (lambda x: (255 * x).round(), "in [0, 255]"),
        (lambda x: 65535 * x, "in [0, 65535]"),
        (lambda x: x / 255, "divided by 255 twice"),
        (lambda x: x - 0.5, "in [-0.5, 0.5]"),
        (lambda x: 2 * x - 1, "in [-1, 1]"),
        (lambda x: (x - 0.55) / 0.25, "standardised"),
        (lambda x: 1 - x, "negatives"),
        (lambda x: x[::-1], "reverse order (BGR)"),
        (lambda x: x.transpose(0, 2, 1), "rows and columns exchanged"),
        (lambda x: x[:, ::-1], "upside down"),
        (lambda x: x[:, :, ::-1], "mirrored"),
        (lambda x: x[:, ::-1, ::-1], "turned by half a circle"),
        (lambda x: np.rot90(x, 1, (1, 2)), "`x_hat.rot90(-1, (2, 3))`"),
        (lambda x: np.rot90(x, -1, (1, 2)), "`x_hat.rot90(1, (2, 3))`"),
        (lambda x: 0 * x, "one flat colour"),
        (lambda x: 0 * x + 0.5, "one flat colour"),
        (lambda x: 40 * x**3, "images live in [0, 1]"),
        (lambda x: x + 0.3 * np.sin(99 * x), "worse than the measurements themselves"),
    ],
)
def test_each_mix_up_is_named(change, words):
    said = look(change)
    assert said
    assert words in said[0]


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08])
def test_an_estimate_that_is_one_gets_no_hint(noise):
    assert look(lambda x: x, noise) == []
    assert look(lambda x: x * 1.02 + 0.01, noise) == []


def test_noise_is_no_mix_up():
    random = np.random.default_rng(1)
    for scale, middle in ((1.0, 0.0), (1000.0, 0.0), (0.3, 0.5)):
        said = look(lambda x, s=scale, m=middle: m + s * random.normal(size=x.shape))
        assert not any("seem to be" in each for each in said)


def test_nothing_to_look_at_is_nothing_to_say():
    assert hints([]) == []
