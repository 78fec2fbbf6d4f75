"""Pictures show what was measured, estimated and true, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.data.physics import measurements
from challenge.submissions.scoring import pictures
from challenge.submissions.scoring.scores import Interval, Score, Scores


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("channels", "lost"), [(3, 0), (1, 0), (3, 4)])
def test_three_panels(tmp_path: Path, channels: int, lost: int) -> None:
    shape = (channels, 30, 200)
    flat = {"y": 0.2, "x_hat": 2.0, "truth": 0.6}
    y = np.full((channels, 30 - lost, 200 - lost), flat["y"], np.float32)
    kernel = np.full((lost + 1, lost + 1), 1 / (lost + 1) ** 2, np.float32)
    boundary = "valid" if lost else "circular"
    source, truth = tmp_path / "0001.npz", tmp_path / "true.png"
    source.write_bytes(
        measurements.to_bytes(measurements.of_blur("0001", y, kernel, 0.1, boundary, shape))
    )
    np.save(tmp_path / "0001.npy", np.full(shape, flat["x_hat"], np.float32))
    pixels = np.full((30, 200, 3), 153, np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(truth)
    scores = Scores((Score("0001", 21.5, 0.7),), Interval(21.5, None, None), None)
    overview = pictures.draw_all(tmp_path, [("0001", source, truth)], scores, crop=0)
    drawn = opened(tmp_path / "0001.png")
    assert drawn.shape == (30 + 28, 3 * 200 - lost + 4 * 8, 3)
    row = drawn[8 + 15]
    middle = (8 + (200 - lost) // 2, 16 + 200 - lost + 100, 24 + 400 - lost + 100)
    assert [tuple(row[column]) for column in middle] == [(51,) * 3, (255,) * 3, (153,) * 3]
    assert opened(overview).shape[1] > 100


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("known", [True, False])
def test_the_overview_magnifies_where_the_estimate_errs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, known: bool
) -> None:
    """A difference of few pixels, which a small picture of the whole would hide, is seen."""
    shape = (channels, 256, 200)
    y = np.full(shape, 0.5, np.float32)
    x_hat = y.copy()
    x_hat[:, 180:184, 40:44] = 1.0
    source, truth = tmp_path / "0001.npz", tmp_path / "true.png"
    kernel = np.ones((1, 1), np.float32)
    source.write_bytes(
        measurements.to_bytes(measurements.of_blur("0001", y, kernel, 0.1, "circular", shape))
    )
    np.save(tmp_path / "0001.npy", x_hat)
    pixels = np.full((256, 200, 3), 128, np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(truth)
    added: list[np.ndarray] = []
    monkeypatch.setattr(pictures.Sheet, "add", lambda self, name, *shown: added.extend(shown))
    pictures.draw_all(tmp_path, [("0001", source, truth if known else None)], crop=0)
    whole, measured, estimate, *rest = added
    assert len(rest) == known
    assert estimate.shape[1:] == (256, 200), "as large as the whole"
    white = (estimate == 255).all(0)
    assert white.sum() == 16 * pictures.DETAIL**2, "a magnified square of 4x4 pixels"
    assert not (measured == 255).any() and not any((each == 255).any() for each in rest)
    frame = (whole == np.array(pictures.FRAME)[:, None, None]).all(0)
    rows, columns = np.nonzero(frame)
    assert rows.min() <= 180 < 183 <= rows.max() and columns.min() <= 40 < 43 <= columns.max()


def test_without_truth(tmp_path: Path) -> None:
    y = np.zeros((3, 20, 120), np.float32)
    source = tmp_path / "0001.npz"
    kernel = np.ones((1, 1), np.float32)
    source.write_bytes(
        measurements.to_bytes(
            measurements.of_blur("0001", y, kernel, 0.1, "circular", (3, 20, 120))
        )
    )
    np.save(tmp_path / "0001.npy", y)
    pictures.draw_all(tmp_path, [("0001", source, None)], crop=0)
    assert opened(tmp_path / "0001.png").shape == (48, 2 * 120 + 3 * 8, 3)


def test_captions_of_small_pictures_do_not_run_into_each_other() -> None:
    picture = np.zeros((3, 40, 40), np.uint8)
    words = ("measured 19.32 dB", "estimate 27.09 dB, SSIM 0.809", "truth")
    drawn = np.asarray(pictures.row([pictures.Panel(picture, word) for word in words], "0001"))
    below = (drawn[8 + 40 :] != 255).any((0, 2))
    # Each caption begins where its picture does, to a pixel; between two is the margin, empty.
    starts = [column for column in range(drawn.shape[1]) if drawn[8 + 20, column].sum() == 0]
    lefts = [column for column in starts if column - 1 not in starts]
    assert len(lefts) == 3
    for left in lefts[1:]:
        assert not below[left - pictures.MARGIN : left - 1].any()
        assert below[left - 1 : left + 6].any()
    assert not below[-pictures.MARGIN :].any()
