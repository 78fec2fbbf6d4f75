"""Photographs of every format and mode become the same pixels; broken ones are named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from challenge.configs.errors import UserError
from challenge.data.images import codec
from challenge.data.images.leaves import leaves

COLOUR = leaves(0, 1, 64)[:, :, :48]  # (3, 64, 48)
PIXELS = np.ascontiguousarray(COLOUR.transpose(1, 2, 0))
GREY = codec.adapt(COLOUR, 1)
IMAGE = Image.fromarray(PIXELS)
LUMA = Image.fromarray(GREY[0])
WIDE = PIXELS.astype(np.uint16) * 257


def png(width: int, height: int, depth: int, rows: bytes) -> bytes:
    """A colour PNG with any header, however little it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.fromarray(np.full((64, 48), 128, dtype=np.uint8)))
    return image


def over_white(planes: np.ndarray) -> np.ndarray:
    return np.rint((planes * 128.0 + 255.0 * 127) / 255)


@pytest.fixture
def file(tmp_path):
    return lambda name: tmp_path / name


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_lossless_formats_are_exact(file, suffix):
    IMAGE.save(file(f"a.{suffix}"), **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(codec.photograph(file(f"a.{suffix}")), COLOUR)


def test_the_content_decides_not_the_suffix(file):
    IMAGE.save(file("a.jpg"), format="PNG")
    assert np.array_equal(codec.photograph(file("a.jpg")), COLOUR)


def test_jpeg(file):
    IMAGE.save(file("a.jpg"), quality=95)
    assert abs(codec.photograph(file("a.jpg")).astype(int) - COLOUR).mean() < 4


def test_the_cameras_orientation_is_applied(file):
    exif = Image.Exif()
    exif[0x112] = 6
    IMAGE.rotate(90, expand=True).save(file("a.png"), exif=exif)
    assert np.array_equal(codec.photograph(file("a.png")), COLOUR)


def test_grey(file):
    LUMA.save(file("a.png"))
    assert np.array_equal(codec.photograph(file("a.png")), GREY)


def test_black_and_white(file):
    LUMA.convert("1").save(file("a.png"))
    assert set(np.unique(codec.photograph(file("a.png")))) == {0, 255}


def test_palette(file):
    palette = IMAGE.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(file("a.png"))
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(codec.photograph(file("a.png")), expected)


def test_a_transparent_palette_colour_becomes_white(file):
    palette = IMAGE.convert("P", palette=Image.Palette.ADAPTIVE)
    index = int(np.asarray(palette)[5, 7])
    palette.save(file("a.png"), transparency=index)
    picture = codec.photograph(file("a.png"))
    transparent = np.asarray(palette) == index
    assert (picture[:, transparent] == 255).all()
    assert np.array_equal(
        picture[:, ~transparent], np.asarray(palette.convert("RGB"))[~transparent].T
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_laid_over_white(file, suffix):
    with_alpha(IMAGE).save(
        file(f"a.{suffix}"), **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    picture = codec.photograph(file(f"a.{suffix}"))
    np.testing.assert_allclose(picture, over_white(COLOUR), atol=1)


def test_grey_with_alpha(file):
    with_alpha(LUMA).save(file("a.png"))
    picture = codec.photograph(file("a.png"))
    assert codec.is_grey(picture)
    np.testing.assert_allclose(picture[0], over_white(GREY[0]), atol=1)


def test_cmyk(file):
    IMAGE.convert("CMYK").save(file("a.tif"))
    assert np.array_equal(codec.photograph(file("a.tif")), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits(file, suffix):
    Image.fromarray(GREY[0].astype(np.uint16) * 257).save(file(f"a.{suffix}"))
    assert np.array_equal(codec.photograph(file(f"a.{suffix}")), GREY)


def test_colour_of_16_bits_png(file):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in WIDE)
    file("a.png").write_bytes(png(48, 64, 16, rows))
    assert np.array_equal(codec.photograph(file("a.png")), COLOUR)


TIFFS = {
    "interleaved": (WIDE, {"photometric": "rgb"}),
    "big endian": (WIDE, {"photometric": "rgb", "byteorder": ">"}),
    "planes": (WIDE.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "float": ((PIXELS / 255).astype(np.float32), {"photometric": "rgb"}),
}


@pytest.mark.parametrize(("array", "options"), TIFFS.values(), ids=TIFFS.keys())
def test_tiffs_of_more_than_8_bits(file, array, options):
    tifffile.imwrite(file("a.tif"), array, **options)
    assert np.array_equal(codec.photograph(file("a.tif")), COLOUR)


def test_a_grey_float_tiff(file):
    tifffile.imwrite(file("a.tif"), (GREY[0] / 255).astype(np.float32))
    assert np.array_equal(codec.photograph(file("a.tif")), GREY)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        codec.photograph(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


DAMAGED = "; replace it by a good copy or take it out of the folder"


def test_an_empty_file_is_refused(file):
    file("a.png").touch()
    assert refusal(file("a.png")) == f"is empty{DAMAGED}"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_text_is_refused(file, name):
    file(name).write_text("this is not a picture " * 100)
    assert refusal(file(name)) == (
        "is no picture of a known format; convert it to PNG or take it out of the folder"
    )


def test_a_broken_link_is_refused(file):
    file("a.png").symlink_to(file("nothing.png"))
    assert refusal(file("a.png")).startswith("cannot be read, No such file or directory; ")


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (60_000, 60_000)])
def test_a_bomb_is_refused_by_its_header(file, width, height):
    file("a.png").write_bytes(png(width, height, 8, bytes(100)))
    text = refusal(file("a.png"))
    assert text.startswith("is too large, ")
    assert text.endswith("; at most 128,000,000 pixels are read; make it smaller")


def test_a_range_without_a_meaning_is_refused(file):
    tifffile.imwrite(file("a.tif"), np.full((64, 48), 300.5, dtype=np.float32))
    text = refusal(file("a.tif"))
    assert text == "has floats from 300.5 to 300.5, neither to 1 nor to 255; convert it to PNG"


def test_adapt():
    assert np.array_equal(codec.adapt(GREY, 3), np.repeat(GREY, 3, axis=0))
    assert codec.adapt(COLOUR, 3) is COLOUR
    pure = np.zeros((3, 1, 3), dtype=np.uint8)
    pure[[0, 1, 2], 0, [0, 1, 2]] = 255
    assert codec.adapt(pure, 1)[0, 0].tolist() == [76, 150, 29]  # ITU-R BT.601


def test_is_grey():
    assert codec.is_grey(GREY)
    assert codec.is_grey(np.repeat(GREY, 3, axis=0))
    assert not codec.is_grey(COLOUR)


def test_centre():
    picture = np.arange(7 * 10, dtype=np.uint8).reshape(1, 7, 10)
    assert np.array_equal(codec.centre(picture, 3, 4), picture[:, 2:5, 3:7])
    assert np.array_equal(codec.centre(picture, 20, 4), picture[:, :, 3:7])


@pytest.mark.parametrize("picture", [COLOUR, GREY])
def test_what_is_encoded_is_stored(file, picture):
    file("a.png").write_bytes(codec.encode(picture))
    assert np.array_equal(codec.stored(file("a.png")), picture)
    assert codec.encode(picture) == codec.encode(picture.copy())


def test_a_damaged_stored_image_is_told(file):
    file("a.png").write_bytes(codec.encode(COLOUR)[:300])
    for name, cause in (("a.png", "is a damaged PNG file"), ("b.png", "there is no such image")):
        with pytest.raises(UserError) as caught:
            codec.stored(file(name))
        assert str(caught.value) == f"{file(name)}: {cause}; get a fresh copy of the challenge"
