"""Folders are listed in one order on every system; built-in crops are distinct and have detail."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from challenge.configs.errors import UserError
from challenge.data.images import codec, formats, sources


def test_a_folder_is_listed_by_name_with_its_sub_folders(tmp_path, monkeypatch):
    names = ["b.PNG", "a/z.jpg", "a/B.tif", "a.png", "c/d/e.webp", "x.bmp", "y.jpeg", "z.tiff"]
    passed = [
        "README.txt",
        ".DS_Store",
        ".a.png",
        ".cache/a.png",
        "__MACOSX/a.png",
        "a.mov",
        "png",
    ]
    for name in names + passed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def listed():
        return [
            path.relative_to(tmp_path).as_posix() for path in sources.list_folder(tmp_path).files
        ]

    expected = ["a/B.tif", "a/z.jpg", "a.png", "b.PNG", "c/d/e.webp", "x.bmp", "y.jpeg", "z.tiff"]
    assert listed() == expected

    walk = os.walk

    def backwards(top, **options):
        for parent, folders, files in walk(top, **options):
            folders.sort(reverse=True)
            yield parent, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert listed() == expected


def test_what_is_passed_over_is_counted(tmp_path):
    for name in ["a.png", "b.mov", "c.MOV", "README", "d.txt", ".DS_Store", "sub/e.mov"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")  # to open it would wait for ever
    listing = sources.list_folder(tmp_path)
    assert [path.name for path in listing.files] == ["a.png"]
    told = listing.passed_over.removeprefix("passed over 6 files (").removesuffix(")")
    assert told.startswith("3 .mov, ")
    assert sorted(told.split(", ")) == ["1 .png", "1 .txt", "1 without a suffix", "3 .mov"]


@pytest.mark.parametrize("suffix", ["heic", "HEIF", "hif"])
def test_heic_is_read_where_it_can_be_and_else_told(tmp_path, monkeypatch, suffix):
    for name in (f"a.{suffix}", "b.png"):
        (tmp_path / name).touch()
    monkeypatch.setattr(formats, "reads_heic", lambda: True)
    assert len(sources.list_folder(tmp_path).files) == 2
    monkeypatch.setattr(formats, "reads_heic", lambda: False)
    listing = sources.list_folder(tmp_path)
    assert len(listing.files) == 1
    assert listing.passed_over == (
        f"passed over 1 file (1 .{suffix.lower()}); "
        "HEIC pictures are read once pillow-heif is installed (`pip install pillow-heif`)"
    )


def test_every_suffix_that_is_read_is_listed(tmp_path):
    suffixes = (
        "png jpg jpeg jpe jfif bmp dib tif tiff webp gif jp2 j2k avif ppm pgm pbm tga ico mpo"
    )
    for suffix in suffixes.split():
        (tmp_path / f"a.{suffix}").touch()
    listing = sources.list_folder(tmp_path)
    assert len(listing.files) == len(suffixes.split())
    assert not listing.passed_over


def test_linked_folders_are_entered_once(tmp_path):
    """Also where links lead in a circle."""
    photographs, elsewhere = tmp_path / "photographs", tmp_path / "elsewhere"
    for folder in (photographs, elsewhere):
        folder.mkdir()
    (photographs / "a.png").touch()
    (elsewhere / "b.png").touch()
    (photographs / "linked").symlink_to(elsewhere)
    (photographs / "again").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(photographs)
    found = [path.name for path in sources.list_folder(photographs).files]
    assert found == ["a.png", "b.png"]


def test_a_folder_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    told = sources.list_folder(tmp_path).passed_over
    assert told == f"1 folder cannot be opened: {tmp_path / 'closed'}"


def test_a_folder_without_pictures_is_refused(tmp_path):
    read = (
        "PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, AVIF, HEIC, PGM/PPM/PFM, TGA and ICO are read"
    )
    with pytest.raises(UserError) as caught:
        sources.list_folder(tmp_path)
    assert str(caught.value) == f"{tmp_path}: has no pictures; {read}"
    (tmp_path / "a.mov").touch()
    with pytest.raises(UserError) as caught:
        sources.list_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: has no pictures; passed over 1 file (1 .mov); {read}"
    )


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        sources.list_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize(("names", "count"), [(sources.BUILTIN_VAL, 6), (sources.BUILTIN_TEST, 12)])
def test_builtin_crops_are_distinct_detailed_and_spread(names, count, size):
    crops = sources.builtin_crops(names, size, count)
    assert len(set(crops)) == count
    per_photograph = [sum(name == crop[0] for crop in crops) for name in names]
    assert min(per_photograph) >= count // len(names)
    for number, (name, top, left) in enumerate(crops):
        picture = sources.builtin(name, size)
        crop = picture[:, top : top + size, left : left + size]
        assert crop.shape == (3, size, size)
        assert crop.std() > 5
        for other, above, beside in crops[:number]:
            if other == name:
                overlap = max(0, size - abs(top - above)) * max(0, size - abs(left - beside))
                assert overlap <= size**2 / 4


def test_val_and_test_have_no_photograph_in_common():
    assert not set(sources.BUILTIN_VAL) & set(sources.BUILTIN_TEST)


def test_more_crops_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"give [0-9]+ crops of 512x512, not 100; ask for fewer"):
        sources.builtin_crops(sources.BUILTIN_TEST, 512, 100)


def test_builtin_photographs_are_halved_for_small_crops():
    small, large = (sources.builtin("astronaut.png", size) for size in (64, 256))
    assert large.shape == (3, 512, 512)
    assert small.shape == (3, 128, 128)
    blocks = large.reshape(3, 128, 4, 128, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(small, blocks, atol=1.5)


def test_nothing_is_downloaded(monkeypatch):
    """Only packaged files are opened; scikit-image's downloader is never asked."""
    import skimage.data._fetchers as fetchers

    def refuse(*_: object) -> None:
        raise AssertionError("asked for a download")

    monkeypatch.setattr(fetchers, "_fetch", refuse)
    sources.builtin.cache_clear()
    for name in sources.BUILTIN_VAL + sources.BUILTIN_TEST:
        assert sources.builtin(name, 256).shape[0] == 3


def test_a_missing_packaged_photograph_is_told():
    with pytest.raises(UserError, match=r"scikit-image has no `moose\.png`; reinstall"):
        sources.builtin("moose.png", 64)


PINNED = {
    "chelsea.png": "9c717786308ef130",
    "astronaut.png": "9d1263ba0e684c99",
    "coffee.png": "9b3e037f9cd32e3a",
    "motorcycle_left.png": "036a8bd5572f98b7",
    "ihc.png": "a4aaac3f2e68b823",
}
"""Of those that every decoder of PNG reads alike: the packaged challenges have these pixels."""


def test_builtin_photographs_keep_their_pixels():
    for name, expected in PINNED.items():
        assert hashlib.sha256(sources.builtin(name, 256).tobytes()).hexdigest()[:16] == expected


def test_builtin_photographs_are_read_without_their_profiles():
    """`rocket.jpg` has Adobe RGB, and the challenges that are prepared ignored it."""
    path = Path(skimage.__file__).parent / "data" / "rocket.jpg"
    with Image.open(path) as image:
        assert image.info["icc_profile"]
        stored = np.asarray(image).transpose(2, 0, 1)
    assert np.array_equal(codec.read(path, convert=False).picture, stored)
    assert not np.array_equal(codec.photograph(path), stored)
    while min(stored.shape[1:]) >= 4 * 64:
        halves = stored[:, : stored.shape[1] // 2 * 2, : stored.shape[2] // 2 * 2]
        channels, height, width = halves.shape
        pairs = halves.reshape(channels, height // 2, 2, width // 2, 2)
        stored = np.rint(pairs.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    assert np.array_equal(sources.builtin("rocket.jpg", 64), stored)


def test_the_page_names_every_suffix():
    page = Path(__file__).parents[3] / "docs" / "photographs.md"
    rows = [row for row in page.read_text("utf-8").splitlines() if row.startswith("| ")]
    named = {word for row in rows for word in re.findall(r"\.[a-z0-9]+\b", row.split("|")[2])}
    assert named == {*formats.SUFFIXES, *formats.HEIC}
