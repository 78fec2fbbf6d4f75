"""Photographs are made smaller by the mean, and it is said wherever they are handed on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.configs.errors import UserError
from challenge.data.images import codec, limits, shrink

RNG = np.random.default_rng(0)


def text(path: Path, more: str = "") -> str:
    return f"""
name: mine
images: {{source: folder, path: {path}, size: 40, val: 2, test: 3{more}}}
operator: {{kernel: {{kind: gaussian, std: 1.0}}, boundary: circular}}
noise: {{sigma: 0.03}}
"""


@pytest.mark.parametrize(
    ("height", "width", "size", "n"),
    [
        (321, 481, 256, 1),  # small ones are kept
        (512, 512, 256, 1),
        (1000, 1500, 256, 1),
        (1200, 1600, 256, 1),
        (1536, 2048, 256, 2),
        (3000, 4000, 256, 3),
        (4000, 3000, 256, 3),
        (4000, 6000, 256, 5),
        (8736, 11648, 256, 10),
        (600, 8000, 256, 1),  # a panorama keeps twice the crop
        (3000, 4000, 1024, 1),  # as everything does where the crop is large
        (3000, 4000, 640, 2),
    ],
)
def test_by_default_to_about_a_megapixel(height, width, size, n):
    assert shrink.factor("auto", size)(height, width) == n
    assert shrink.factor(3, size)(height, width) == 3


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mean_over_pixels(n, channels, monkeypatch):
    picture = RNG.integers(256, size=(45, 38, channels)).astype(np.uint8)
    height, width = 45 // n, 38 // n
    cut = picture[: n * height, : n * width].astype(float)
    mean = cut.reshape(height, n, width, n, channels).mean(axis=(1, 3))
    assert np.abs(shrink.mean(picture, n) - mean).max() <= 0.6
    turned = np.ascontiguousarray(picture[::-1, ::-1])[::-1, ::-1]  # a view, as orientation makes
    assert np.array_equal(shrink.mean(turned, n), shrink.mean(picture, n))


def test_a_jpeg_beyond_the_limit_is_shrunk_by_its_decoder(tmp_path, monkeypatch):
    smooth = np.kron(RNG.integers(256, size=(6, 9, 3)), np.ones((64, 64, 1))).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    whole = codec.read(tmp_path / "a.jpg", lambda height, width: 12)
    monkeypatch.setattr("challenge.data.images.pillow_files.LARGEST_WHOLE", 50_000)
    drafted = codec.read(tmp_path / "a.jpg", lambda height, width: 12)
    assert (whole.shrunk, drafted.shrunk) == (12, 12)
    assert whole.picture.shape == drafted.picture.shape == (3, 32, 48)
    assert np.abs(whole.picture.astype(int) - drafted.picture).mean() < 3
    monkeypatch.setattr("challenge.data.images.pillow_files.LARGEST", 50_000)
    with pytest.raises(UserError, match="is too large, 576x384 pixels"):
        codec.read(tmp_path / "a.jpg")
    assert limits.LARGEST_JPEG > limits.LARGEST > limits.LARGEST_WHOLE


def test_it_is_said_in_the_manifest_and_on_the_sheets(prepare, photographs):
    whole = prepare(text(photographs))
    manifest = json.loads(whole.public.manifest.read_text("utf-8"))
    assert "shrunk" not in manifest and whole.shrunk == ""
    with Image.open(whole.public.sheet("val")) as sheet:
        before = sheet.height

    for path in list(photographs.iterdir()):
        picture = RNG.integers(256, size=(192, 208, 3)).astype(np.uint8)
        Image.fromarray(picture).save(path)
    shrunk = prepare(text(photographs, ", shrink: 4"), force=True)
    manifest = json.loads(shrunk.public.manifest.read_text("utf-8"))
    assert manifest["shrunk"] == dict.fromkeys(("train", "val", "test"), "averaged over 4x4 pixels")
    assert shrunk.shrunk == "averaged over 4x4 pixels"
    with Image.open(shrunk.public.sheet("val")) as sheet:
        assert sheet.height > before
    for path in (shrunk.public.path / "train").glob("*.png"):
        source = photographs / path.name
        expected = shrink.mean(codec.photograph(source).transpose(1, 2, 0), 4)
        assert np.array_equal(codec.stored(path), expected.transpose(2, 0, 1))


def test_a_photograph_too_small_once_shrunk_is_told_so(prepare, photographs):
    with pytest.raises(UserError, match="is too small, 28x24 pixels once averaged over 2x2"):
        prepare(text(photographs, ", shrink: 2, strict: true"))


def test_a_factor_is_a_whole_number_or_auto(prepare, photographs):
    for wrong in ("0", "2.5", "half", "true"):
        with pytest.raises(UserError) as caught:
            prepare(text(photographs, f", shrink: {wrong}"))
        assert len(caught.value.mistakes) == 1
        assert "images.shrink" in str(caught.value)
        assert wrong != "half" or "a whole number or `auto`" in str(caught.value)
