"""Phantoms are reproducible, indexed and hidden; truth of floats goes through a challenge."""

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.data import noise
from challenge.data.challenges import seal
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.verify import verify
from challenge.data.images import codec, phantoms
from challenge.data.images.contact_sheet import to_picture
from challenge.submissions.scoring import metrics

TINY = """
name: tiny
images: {source: phantoms, size: 32, train: 5, val: 2, test: 3, mode: MODE}
operator: OPERATOR
noise: {sigma: 0.01}
"""
CHALLENGES = {
    "grey": "{kind: ct, views: 10}",
    "complex": "{kind: mri, acceleration: 2}",
}


def text(mode):
    return TINY.replace("MODE", mode).replace("OPERATOR", CHALLENGES[mode])


def drawn(index, size=32, mode="grey"):
    return phantoms.draw(noise.generator(0, "ellipses", "train", str(index)), size, mode)


def test_image_i_depends_on_nothing_but_i():
    assert np.array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))
    several = [drawn(index) for index in range(20)]
    assert min(each.min() for each in several) >= 0
    assert max(each.max() for each in several) <= 1
    levels = [len(np.unique(each)) for each in several]
    assert np.median(levels) > 256  # which 8 bits do not hold


def test_a_phantom_is_the_same_at_every_size():
    small = drawn(5, 32)[0]
    large = drawn(5, 96)[0].reshape(32, 3, 32, 3).mean((1, 3))
    assert np.abs(small - large).mean() < 0.01


def test_the_phase_is_smooth_and_leaves_the_magnitude():
    x = drawn(2, 64, "complex")
    np.testing.assert_allclose(np.hypot(*x), drawn(2, 64)[0], atol=1e-6)
    phase = np.exp(1j * np.angle(x[0] + 1j * x[1]))
    inside = np.hypot(*x) > 0.05
    steps = np.abs(np.diff(phase, axis=1))[inside[:, 1:] & inside[:, :-1]]
    assert steps.max() < 0.5
    assert np.ptp(x[0]) > 0.1


@pytest.mark.parametrize("mode", CHALLENGES)
def test_floats_go_through_a_challenge(prepare, mode):
    """Stored, opened, measured, sealed and verified, bit for bit."""
    made = prepare(text(mode))
    channels = 1 if mode == "grey" else 2
    challenge = open_challenge(made.public.path, verify=True)
    assert not challenge.practice
    assert challenge.channels == channels == challenge.problem.channels
    assert challenge.ids("train") == [f"train-000{index}" for index in range(5)]
    assert challenge.ids("val") == ["val-0000", "val-0001"]
    assert made.hidden.ids() == made.hidden.measured() == ["0001", "0002", "0003"]
    assert challenge.train.ids == challenge.ids("train")
    assert np.array_equal(challenge.train[3].numpy(), drawn(3, 32, mode))
    assert challenge.truth("val-0001").shape == (channels, 32, 32)
    assert seal.verify(made.public, made.hidden) == challenge.seal
    assert verify(made.public, made.hidden).measurements == 5
    for identity in challenge.ids("val"):
        content = made.public.image("val", identity).read_bytes()
        assert codec.encode(challenge.truth(identity)) == content


def test_what_is_kept_is_not_changed_by_who_gets_it(prepare):
    images = open_challenge(prepare(text("grey")).public.path).train
    first = images[0].clone()
    images[0].zero_()
    images.patch(0, 0, 0, 32, 32).zero_()
    assert np.array_equal(images[0], first)


def test_those_of_test_follow_from_the_key(prepare):
    """Two preparations of one config share train and val, and no image of test."""
    first = prepare(text("grey"))
    stored = [
        {codec.stored(each.hidden.image(name)).tobytes() for name in each.hidden.ids()}
        for each in (first, prepare(text("grey"), "name=other"))
    ]
    assert not stored[0] & stored[1]


@pytest.mark.parametrize(
    ("mode", "override", "cause"),
    [
        ("grey", "images.values.pixel_mm=0.5", "phantoms are drawings, without a size"),
        (
            "grey",
            "images.mode=complex",
            "images are complex, the operator `ct` is for grey",
        ),
        ("complex", "images.mode=grey", "images are grey, the operator `mri` is for complex"),
        ("complex", "noise={kind: poisson, gain: 0.01}", "values that are not negative"),
    ],
)
def test_images_that_do_not_fit_are_refused(prepare, mode, override, cause):
    with pytest.raises(UserError, match=cause):
        prepare(text(mode), override)


def test_complex_images_are_scored_and_shown_by_their_magnitude():
    """Whatever their phase; NMSE is the squared error beside the squared image."""
    x = drawn(2, 32, "complex").astype(np.float64)
    turn = np.exp(1.234j)
    turned = (x[0] + 1j * x[1]) * turn
    other = np.stack([turned.real, turned.imag])
    assert metrics.psnr(estimate=other, truth=x) == metrics.CAP
    assert metrics.nmse(estimate=1.0 * other, truth=x) < 1e-12
    assert metrics.nmse(estimate=0.9 * other, truth=x) == pytest.approx(0.01)
    grey = np.hypot(*x)[None]
    half = metrics.psnr(estimate=0.5 * other, truth=x)
    assert half == pytest.approx(metrics.psnr(estimate=0.5 * grey, truth=grey))
    assert to_picture(other.astype(np.float32)).shape == (1, 32, 32)


def test_pictures_show_the_window():
    x = np.array([[[0.0, 0.2, 0.3, 0.4, 1.0]]], np.float32)
    assert to_picture(x, (0.2, 0.4)).tolist() == [[[0, 0, 128, 255, 255]]]


def test_a_damaged_file_of_floats_is_told(tmp_path):
    path = tmp_path / "a.truth.npz"
    for content in (b"", b"PK\3\4", codec.encode(drawn(0))[:-50]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is a damaged file of floats"):
            codec.stored(path)
    np.savez(path, x=np.full((1, 4, 4), np.nan, np.float32))
    with pytest.raises(UserError, match="is a damaged file of floats"):
        codec.stored(path)
