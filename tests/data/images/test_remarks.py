"""What a person should know of a picture is said: its range, its pages, its profile, its greys."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from challenge.data.images import codec, levels
from challenge.data.images.remarks import Remarks, named

RAMP = np.tile(np.linspace(0, 1, 96), (64, 1))


def remarks(path):
    return list(codec.read(path).remarks)


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_few_bits_in_sixteen(tmp_path, bits):
    """Nothing says how many there are: read as dark, and said; declared, they are used."""
    path, values = tmp_path / "a.tif", np.rint(RAMP * (2**bits - 1)).astype(np.uint16)
    tifffile.imwrite(path, values)
    assert "values below a quarter of the 16 bits; scale them if they have fewer" in remarks(path)
    assert codec.photograph(path).max() <= 64
    for tag in (281, 341):
        tifffile.imwrite(path, values, extratags=[(tag, "H", 1, 2**bits - 1, True)])
        photograph = codec.read(path)
        assert photograph.remarks[0].startswith(f"white is {2**bits - 1}, ")
        assert np.abs(photograph.picture[0] - RAMP * 255).max() <= 1


def test_full_range_says_nothing(tmp_path):
    for kind, white in (("uint8", 255), ("uint16", 65535), ("float32", 1), ("uint32", 65535)):
        values = RAMP * white
        tifffile.imwrite(tmp_path / "a.tif", (values.round() if white > 1 else values).astype(kind))
        assert remarks(tmp_path / "a.tif") == []


def test_a_declared_maximum_that_lies_is_not_used(tmp_path):
    values = np.rint(RAMP * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(281, "H", 1, 255, True)])
    assert codec.photograph(tmp_path / "a.tif").max() == 255
    assert remarks(tmp_path / "a.tif") == []


def test_floats(tmp_path):
    path = tmp_path / "a.tif"
    expected = np.rint(RAMP * 255)
    tifffile.imwrite(path, (RAMP * 1.04 - 0.02).astype(np.float32))  # a sharpened edge
    assert codec.photograph(path).min() == 0 and codec.photograph(path).max() == 255
    tifffile.imwrite(path, (RAMP * 255).astype(np.float32))
    assert remarks(path) == ["floats above 1, white is taken to be 255"]
    assert np.array_equal(codec.photograph(path)[0], expected)
    low, high = (struct.pack("<f", value) for value in (-2.0, 6.0))
    tags = [(340, "f", 1, low, True), (341, "f", 1, high, True)]
    tifffile.imwrite(path, (RAMP * 8 - 2).astype(np.float32), extratags=tags)
    assert np.array_equal(codec.photograph(path)[0], expected)


# --- alpha --------------------------------------------------------------------------------------


def bmp(pixels: np.ndarray) -> bytes:
    """A BMP of 32 bits whose header says that the fourth byte is the opacity."""
    height, width = pixels.shape[:2]
    body = pixels[::-1].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    info = struct.pack(
        "<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0
    ) + masks  # fmt: skip
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + body


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif", "tga", "webp", "ico", "premultiplied.tif"])
def test_an_opacity_of_0_everywhere_is_none(tmp_path, suffix):
    colours = np.random.default_rng(1).integers(256, size=(32, 48, 3)).astype(np.uint8)
    pixels = np.dstack([colours, np.zeros((32, 48), np.uint8)])
    path, image = tmp_path / f"a.{suffix}", Image.fromarray(pixels)
    if suffix == "bmp":
        path.write_bytes(bmp(pixels[..., [2, 1, 0, 3]]))
    elif suffix == "webp":
        image.save(path, lossless=True, exact=True)
    elif suffix == "ico":
        image.save(path, sizes=[(48, 32)])
    elif suffix == "premultiplied.tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["assocalpha"])
    else:
        image.save(path)
    assert np.array_equal(codec.photograph(path).transpose(1, 2, 0), colours)
    assert remarks(path) == ["opacity is 0 everywhere, taken for opaque"]


# --- several pictures ---------------------------------------------------------------------------

SMALL, LARGE = (
    np.random.default_rng(seed).integers(256, size=(side, side, 3)).astype(np.uint8)
    for seed, side in ((2, 32), (3, 64))
)
LARGEST, FIRST = (f"several pictures in one file, the {which} one is read" for which in
                  ("largest", "first"))  # fmt: skip


def test_the_largest_page_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for picture in (SMALL, LARGE, SMALL):
            file.write(picture, photometric="rgb")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:  # said to be a smaller copy
        file.write(SMALL, photometric="rgb", subfiletype=1)
        file.write(LARGE, photometric="rgb")
    Image.fromarray(SMALL).save(
        tmp_path / "a.mpo", save_all=True, append_images=[Image.fromarray(LARGE)], quality=95
    )
    for name in ("a.tif", "b.tif", "a.mpo"):
        assert codec.photograph(tmp_path / name).shape == (3, 64, 64)
        assert remarks(tmp_path / name) == [LARGEST]
    assert np.array_equal(codec.photograph(tmp_path / "a.tif").transpose(1, 2, 0), LARGE)


@pytest.mark.parametrize("suffix", ["tif", "imagej.tif", "gif", "png", "webp", "avif"])
def test_the_first_of_equal_pages_is_read(tmp_path, suffix):
    pages = [LARGE // 2, LARGE // 2 + 120]
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, np.stack(pages), photometric="rgb")
    elif suffix == "imagej.tif":
        tifffile.imwrite(path, np.stack(pages), imagej=True)
    else:
        first, *others = (Image.fromarray(page) for page in pages)
        first.save(path, save_all=True, append_images=others)
    assert remarks(path) == [FIRST]
    assert codec.photograph(path).mean() < 100


# --- profiles -----------------------------------------------------------------------------------


def icc(red, green, blue, gamma=2.2) -> bytes:
    """A profile of other primaries (x, y), white D65, and a gamma, as version 2 writes them."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367],
                         [0.0389, -0.0685, 1.0296]])  # fmt: skip
    d65, d50 = np.array([0.9504, 1, 1.0889]), np.array([0.9642, 1, 0.8249])
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    primaries = primaries * np.linalg.solve(primaries, d65)
    adapt = np.linalg.inv(bradford) @ np.diag(bradford @ d50 / (bradford @ d65)) @ bradford
    columns = (adapt @ primaries).T

    def fixed(*values):
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(*d50)}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True):
        tags[name] = b"XYZ \0\0\0\0" + fixed(*column)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    return _profile(b"RGB ", tags)


def grey_icc(gamma) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    return _profile(b"GRAY", {b"wtpt": white, b"kTRC": curve})


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


ADOBE = icc((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), 2.19921875)
P3 = icc((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CONVERTED = "a colour profile, converted to sRGB"
COLOURS = np.random.default_rng(4).integers(70, 190, size=(48, 64, 3)).astype(np.uint8)


def put(path: Path, pixels: np.ndarray, profile: bytes) -> None:
    """Write a picture with a profile, in the format of its suffix, in 16 bits where asked."""
    if path.stem == "deep":
        tifffile.imwrite(
            path, pixels.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile
        )
    else:
        options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
        Image.fromarray(pixels).save(path, icc_profile=profile, **options.get(path.suffix[1:], {}))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "deep.tif"])
@pytest.mark.parametrize("profile", [ADOBE, P3], ids=["Adobe RGB", "Display P3"])
def test_a_profile_is_converted(tmp_path, name, profile):
    """In a space with more colours the same numbers are more colourful; grey stays grey."""
    pixels = COLOURS.copy()
    pixels[:16, :16] = 120
    put(tmp_path / name, pixels, profile)
    photograph = codec.read(tmp_path / name)
    found = photograph.picture.transpose(1, 2, 0).astype(int)
    assert photograph.remarks == (CONVERTED,)
    assert np.abs(found[4:12, 4:12] - 120).max() <= 2
    assert np.ptp(found, axis=2).mean() > 1.1 * np.ptp(pixels, axis=2).mean()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "deep.tif"])
def test_srgb_is_left_as_it_is(tmp_path, name):
    put(tmp_path / name, COLOURS, SRGB)
    photograph = codec.read(tmp_path / name)
    assert photograph.remarks == ()
    assert np.array_equal(photograph.picture.transpose(1, 2, 0), COLOURS)


def test_a_grey_profile(tmp_path):
    values = np.rint(RAMP * 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=grey_icc(1.0))
    photograph = codec.read(tmp_path / "a.png")
    assert photograph.remarks == (CONVERTED,)
    linear = values / 255
    srgb = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(photograph.picture[0] - 255 * srgb).max() < 2
    Image.fromarray(values).save(tmp_path / "b.png", icc_profile=grey_icc(2.2))
    assert np.abs(codec.photograph(tmp_path / "b.png")[0] - values.astype(int)).max() < 10


@pytest.mark.parametrize("orientation", [1, 6])
def test_profile_opacity_and_orientation_together(tmp_path, orientation):
    pixels = np.dstack([COLOURS, np.full((48, 64), 255, np.uint8)])
    pixels[:10, :10, 3] = 0
    tags = Image.Exif()
    tags[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=ADOBE, exif=tags)
    picture = codec.photograph(tmp_path / "a.png")
    Image.fromarray(COLOURS).save(tmp_path / "b.png", icc_profile=ADOBE)
    expected = codec.photograph(tmp_path / "b.png").copy()
    expected[:, :10, :10] = 255
    if orientation == 6:
        expected = np.rot90(expected, -1, (1, 2))
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (b"this is no profile" * 20, "cannot be read"),
        (ADOBE[:200], "cannot be read"),
        (grey_icc(2.2), "of other colours than its own"),
    ],
    ids=["junk", "cut", "grey"],
)
def test_a_broken_profile_is_told_and_the_values_kept(tmp_path, profile, told):
    put(tmp_path / "a.png", COLOURS, profile)
    photograph = codec.read(tmp_path / "a.png")
    assert np.array_equal(photograph.picture.transpose(1, 2, 0), COLOURS)
    (said,) = photograph.remarks
    assert said.startswith("a colour profile ") and told in said


def adobe_rgb(path):
    tags = Image.Exif()
    tags[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}  # as cameras write it
    Image.fromarray(COLOURS).save(path, exif=tags)


def png_of_gamma(gamma, *more):
    def write(path):
        chunks = PngImagePlugin.PngInfo()
        chunks.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
        for each in more:
            chunks.add(*each)
        Image.fromarray(COLOURS).save(path, pnginfo=chunks)

    return write


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.jpg", adobe_rgb, "Adobe RGB by its EXIF"),
        ("a.png", png_of_gamma(1.0), "a gamma of its own"),
        ("b.png", png_of_gamma(1 / 2.2), ""),
        ("c.png", png_of_gamma(1.0, (b"sRGB", b"\0")), ""),
    ],
    ids=["Adobe RGB", "linear", "gamma of sRGB", "sRGB"],
)
def test_colours_that_only_a_header_tells_are_said(tmp_path, name, write, said):
    write(tmp_path / name)
    told = [f"{said}, without a profile: values are taken as they are"] if said else []
    assert remarks(tmp_path / name) == told


# --- greys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (RAMP * 255, []),
        (RAMP * 15, ["hardly any grey levels, at most 16", "all but black"]),
        (np.where(RAMP > 0.5, 255, 0), ["hardly any grey levels, at most 16"]),
        (255 - RAMP * 15, ["hardly any grey levels, at most 16", "all but white"]),
        (RAMP * 16, ["all but black"]),
        (255 - RAMP * 16, ["all but white"]),
        (60 + RAMP * 60, []),
    ],
)
def test_levels(values, said):
    assert levels.remarks(np.rint(values).astype(np.uint8)[..., None]) == said


def test_few_levels_are_told_of_what_the_file_has(tmp_path):
    """Not of the means that it is shrunk to, which have many."""
    bits = np.random.default_rng(7).integers(2, size=(400, 500)) > 0
    Image.fromarray(bits).save(tmp_path / "a.png")
    photograph = codec.read(tmp_path / "a.png", lambda height, width: 10)
    assert len(np.unique(photograph.picture)) > 30
    assert photograph.remarks == ("hardly any grey levels, at most 16",)


def test_flat_pictures():
    rng = np.random.default_rng(6)
    noisy = np.clip(200 + rng.normal(0, 1, (3, 64, 64)), 0, 255)
    slope = np.tile(np.linspace(100, 160, 256), (1, 256, 1))
    for flat in (np.full((1, 64, 64), 90), noisy, np.rint(slope)):
        assert levels.is_flat(flat.astype(np.uint8))
    detail = rng.integers(256, size=(1, 64, 64)).astype(np.uint8)
    assert not levels.is_flat(detail)
    one_colour = np.concatenate([np.full((2, 64, 64), 90, np.uint8), detail])
    assert not levels.is_flat(one_colour)


def test_a_line_for_each_kind_of_remark():
    said = Remarks()
    for number in range(8):
        said.add(Path(f"folder/{number}.png"), "dark")
    said.add(Path("folder/x.png"), "dark", "flat")
    assert said.lines() == [
        "0.png, 1.png, 2.png, 3.png, 4.png and 4 more: dark",
        "folder/x.png: flat",
    ]
    assert named([Path("a"), Path("b")]) == "a and b"
