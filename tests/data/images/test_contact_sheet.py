"""Contact sheets show truth and measurement side by side, at most 24, whatever the shapes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from challenge.data.images.contact_sheet import LARGEST, Sheet, to_picture


def drawn(sheet: Sheet) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sheet.png())))


def plain(value: int, height: int = 60, width: int = 60, channels: int = 3) -> np.ndarray:
    return np.full((channels, height, width), value, dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 24, 25, 1000])
def test_at_most_24_are_shown_spread_evenly(count):
    sheet = Sheet("t", count)
    shown = [index for index in range(count) if sheet.shows(index)]
    assert len(shown) == min(count, LARGEST)
    assert shown[0] == 0
    assert np.ptp(np.diff(shown)) <= 1 if len(shown) > 1 else True


def test_pairs_stand_side_by_side():
    sheet = Sheet("title", 2)
    sheet.add("a", plain(10), plain(200))
    sheet.add("b", plain(60), plain(120))
    page = drawn(sheet)
    row = page[100, :, 0]
    order = [int(value) for value in dict.fromkeys(row[row < 250])]
    assert order == [10, 200, 60, 120]


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_may_differ(channels):
    sheet = Sheet("t", 3)
    sheet.add("a", plain(9, 60, 90, channels), plain(99, 40, 70, channels))
    sheet.add("b" * 80, plain(9, 300, 20, channels), plain(99, 300, 20, channels))
    sheet.add("c", plain(9, 20, 20, channels), plain(99, 20, 20, channels))
    assert drawn(sheet).shape[2] == 3


def test_a_full_sheet_has_a_page_that_fits_a_screen():
    sheet = Sheet("t", 24)
    for number in range(24):
        sheet.add(f"{number:04d}", plain(number), plain(number))
    height, width, _ = drawn(sheet).shape
    assert 1000 < width < 1600
    assert 800 < height < 1400


def test_measurements_are_clipped():
    y = np.array([[[-0.5, 0.0, 0.5, 1.0, 1.7]]], dtype=np.float32)
    assert to_picture(y).tolist() == [[[0, 0, 128, 255, 255]]]


def test_the_public_sheet_of_test_shows_measurements_only(small, published):
    """Three images are three thumbnails wide where they are published, six in hidden."""
    assert not small.public.sheet("test").exists()
    widths = []
    for path in (published.public.sheet("test"), published.hidden.sheet):
        with Image.open(path) as page:
            widths.append(page.width)
    assert widths[0] < 0.6 * widths[1]
