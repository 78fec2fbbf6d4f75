"""One picture, written in every way that files know: it is read as the same pixels.

The picture has four levels, 0, 85, 170 and 255, which every depth from 2 bits on can hold, and an
opacity of 0, 85/255 and 1. Colour, depth, opacity, layout, compression, orientation: each step is
seen in each mode.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from challenge.data.images import codec

H, W = 20, 28
_rng = np.random.default_rng(5)
RGB = np.kron(_rng.integers(4, size=(10, 14, 3)), np.ones((2, 2, 1), int)).astype(np.uint8) * 85
GREY = RGB[..., :1]
BINARY = (GREY > 100).astype(np.uint8) * 255
ALPHA = np.full((H, W, 1), 255, np.uint8)
ALPHA[:6, :8], ALPHA[6:10, :8] = 0, 85

BLOCKS = (
    np.kron(_rng.integers(1, 3, size=(2, 4, 3)), np.ones((16, 16, 1), int)).astype(np.uint8) * 85
)
MIDDLES = slice(8, None, 16)
"""Of the blocks, where a lossy format is near enough."""

HELD = {
    1: lambda array: array,
    2: lambda array: array[:, ::-1],
    3: lambda array: np.rot90(array, 2),
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array),
    7: lambda array: np.rot90(array, 2).swapaxes(0, 1),
    8: lambda array: np.rot90(array, -1),
}
"""What a file with an orientation holds of an upright picture."""


def over_white(colours):
    return np.rint((colours * (ALPHA / 255.0)) + 255.0 - ALPHA).astype(np.uint8)


def inks(colours):
    """Cyan, magenta, yellow and black of a picture: black where it is black."""
    black = 255 - colours.max(axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.where(black < 255, 1 - colours / (255.0 - black), 0)
    return np.concatenate([np.rint(255 * rest).astype(np.uint8), black], axis=2)


def with_alpha(colours):
    return np.concatenate([colours, ALPHA], axis=2)


def multiplied(colours):
    return with_alpha(np.rint(colours * (ALPHA / 255.0)).astype(np.uint8))


def scaled(values, white):
    """From 0 to 255 to 0 to `white`, in the type that goes with it."""
    return np.rint(values * (white / 255.0))


def differs(path, expected, atol=0, every=slice(None)):
    """Where a picture is not as expected, in words; empty if it is."""
    picture = codec.photograph(path).transpose(1, 2, 0)
    if picture.shape != expected.shape:
        return f"{picture.shape}, not {expected.shape}"
    picture, expected = picture[every, every], expected[every, every]
    off = np.abs(picture.astype(int) - expected)
    return f"up to {off.max()} off" if off.max() > atol else ""


# --- TIFF ---------------------------------------------------------------------------------------

TYPES = {
    "uint8": 255, "uint16": 65535, "uint32": 2**32 - 1, "int8": 127, "int16": 32767,
    "int32": 2**31 - 1, "float16": 1, "float32": 1, "float64": 1,
}  # fmt: skip
COLOURS = {
    "grey": (GREY, GREY, {"photometric": "minisblack"}),
    "min is white": (GREY, GREY, {"photometric": "miniswhite"}),
    "grey, alpha": (
        with_alpha(GREY), over_white(GREY),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
    ),
    "min is white, alpha": (
        with_alpha(GREY), over_white(GREY),
        {"photometric": "miniswhite", "extrasamples": ["unassalpha"]},
    ),
    "grey, alpha multiplied": (
        multiplied(GREY), over_white(GREY),
        {"photometric": "minisblack", "extrasamples": ["assocalpha"]},
    ),
    "rgb": (RGB, RGB, {"photometric": "rgb"}),
    "rgb, alpha": (
        with_alpha(RGB), over_white(RGB), {"photometric": "rgb", "extrasamples": ["unassalpha"]},
    ),
    "rgb, alpha multiplied": (
        multiplied(RGB), over_white(RGB), {"photometric": "rgb", "extrasamples": ["assocalpha"]},
    ),
    "rgb, something else": (
        with_alpha(RGB), RGB, {"photometric": "rgb", "extrasamples": ["unspecified"]},
    ),
    "cmyk": (inks(RGB), RGB, {"photometric": "separated"}),
    "cmyk, alpha": (
        with_alpha(inks(RGB)), over_white(RGB),
        {"photometric": "separated", "extrasamples": ["unassalpha"]},
    ),
}  # fmt: skip
LAYOUTS = [
    {"rowsperstrip": 20},
    {"rowsperstrip": 3},
    {"tile": (16, 16)},
]
COMPRESSIONS = [
    {},
    {"compression": "lzw"},
    {"compression": "zlib", "predictor": True},
    {"compression": "packbits"},
    {"compression": "lzw", "predictor": True},
    {"compression": "zstd"},
]


WAYS = list(itertools.product((False, True), LAYOUTS, "<>"))
"""Planes apart or not, strips or tiles, byte order."""


@pytest.mark.parametrize(
    ("which", "of"), [(0, 4), pytest.param(0, 1, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize("colour", COLOURS)
def test_tiff(tmp_path, colour, which, of):
    """Every colour in every type; ways to lay it out, compress and turn it take their turns."""
    stored, expected, options = COLOURS[colour]
    wrong, turns = [], itertools.count(list(COLOURS).index(colour))
    for kind, white in TYPES.items():
        values = stored / 255.0 if white == 1 else scaled(stored, white)
        if colour.startswith("min is white"):
            values[..., 0] = white - values[..., 0]
        if white != 1:  # the largest of 32 bits is not a float
            values = values.clip(0, white)
        values = values.astype(kind)
        atol = 2 if "multiplied" in colour or kind == "int8" or colour.startswith("cmyk") else 0
        for planar, layout, byteorder in WAYS[next(turns) % of :: of]:
            turn = next(turns)
            orientation, compression = turn % 8 + 1, COMPRESSIONS[turn % len(COMPRESSIONS)]
            if kind == "float64" and "predictor" in compression:
                compression = {"compression": "zlib"}
            array = HELD[orientation](values)
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0) if planar else array)
            if values.shape[2] == 1:
                array = array.reshape([side for side in array.shape if side > 1])
            path = tmp_path / "a.tif"
            tifffile.imwrite(
                path,
                array,
                byteorder=byteorder,
                planarconfig="separate" if planar and values.shape[2] > 1 else None,
                extratags=[(274, "H", 1, orientation, True)],
                **options,
                **layout,
                **compression,
            )
            if said := differs(path, expected, atol):
                wrong.append((kind, planar, layout, byteorder, orientation, compression, said))
    assert not wrong


def packed_tiff(path, samples, bits, photometric, *, extra=None, colormap=None, tags=()):
    """A TIFF whose samples fill `bits` bits each, rows beginning at whole bytes."""
    height, width, count = samples.shape
    weights = 1 << np.arange(bits - 1, -1, -1)
    ones = (samples.reshape(height, -1, 1).astype(np.int64) & weights > 0).reshape(height, -1)
    data = np.packbits(ones, axis=1).tobytes()
    entries = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * count), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, [0]), (277, 3, [count]), (278, 3, [height]),
        (279, 4, [len(data)]), *tags,
    ]  # fmt: skip
    if extra is not None:
        entries.append((338, 3, [extra]))
    if colormap is not None:
        entries.append((320, 3, colormap))
    entries.sort()
    at = 8 + 2 + 12 * len(entries) + 4
    head, body = b"II*\0" + struct.pack("<IH", 8, len(entries)), b""
    for tag, kind, values in entries:
        content = struct.pack(f"<{len(values)}{'HI'[kind == 4]}", *values)
        if tag == 273:
            place = len(head) + 8
        if len(content) > 4:
            head += struct.pack("<HHII", tag, kind, len(values), at + len(body))
            body += content + b"\0" * (len(content) % 2)
        else:
            head += struct.pack("<HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    head = head[:place] + struct.pack("<I", at + len(body)) + head[place + 4 :]
    path.write_bytes(head + bytes(4) + body + data)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16, 24])
def test_tiff_of_any_number_of_bits(tmp_path, bits):
    path, white = tmp_path / "a.tif", 2**bits - 1
    grey, colours = (BINARY, np.repeat(BINARY, 3, 2)) if bits == 1 else (GREY, RGB)
    atol = 2 if bits == 6 else 0  # 85 is no value of 6 bits
    packed_tiff(path, scaled(grey, white), bits, 1)
    assert differs(path, grey, atol) == ""
    packed_tiff(path, white - scaled(grey, white), bits, 0)
    assert differs(path, grey, atol) == ""
    if bits > 1:
        packed_tiff(path, scaled(colours, white), bits, 2)
        assert differs(path, colours, atol) == ""
        for extra in (2, None):  # a fourth channel of which nothing is said is the opacity
            packed_tiff(path, scaled(with_alpha(colours), white), bits, 2, extra=extra)
            assert differs(path, over_white(colours), atol) == ""


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("largest", [255, 65535], ids=["8 bits", "16 bits"])
def test_tiff_with_a_palette(tmp_path, bits, largest):
    index = _rng.integers(2**bits, size=(H, W, 1))
    palette = _rng.integers(256, size=(2**bits, 3))
    palette[0] = 255, 0, 9
    stored = (palette.T * (257 if largest == 65535 else 1)).ravel().tolist()
    packed_tiff(tmp_path / "a.tif", index, bits, 3, colormap=stored)
    assert differs(tmp_path / "a.tif", palette[index[..., 0]].astype(np.uint8)) == ""


@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_tiff_in_lab(tmp_path, photometric, deep):
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    stored = np.asarray(ImageCms.applyTransform(Image.fromarray(BLOCKS), to_lab)).astype(np.int32)
    lightness, signed = stored[..., :1], stored[..., 1:].astype(np.uint8).view(np.int8)
    signed = signed.astype(np.int32)
    if photometric == "icclab":
        signed += 128
    if deep:
        lightness = lightness * (256 if photometric == "icclab" else 257)
        signed = signed * 256
    values = np.concatenate([lightness, signed], axis=2).astype(np.uint16 if deep else np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric)
    assert differs(tmp_path / "a.tif", BLOCKS, atol=4) == ""


def test_tiff_in_ycbcr(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(BLOCKS).save(path, compression="jpeg", quality=95)
    assert differs(path, BLOCKS, atol=8, every=MIDDLES) == ""
    tifffile.imwrite(path, BLOCKS, photometric="rgb", compression="jpeg")
    assert differs(path, BLOCKS, atol=8, every=MIDDLES) == ""
    Image.fromarray(BLOCKS).convert("YCbCr").save(path)
    assert differs(path, BLOCKS, atol=3) == ""


def test_tiff_of_a_fax(tmp_path):
    for compression in ("group3", "group4"):
        Image.fromarray(BINARY[..., 0]).convert("1").save(
            tmp_path / "a.tif", compression=compression
        )
        assert differs(tmp_path / "a.tif", BINARY) == ""


# --- what Pillow reads --------------------------------------------------------------------------


def png(path, samples, bits, kind, *chunks, interlace=0):
    height, width, count = samples.shape
    weights = 1 << np.arange(bits - 1, -1, -1)
    ones = (samples.reshape(height, -1, 1).astype(np.int64) & weights > 0).reshape(height, -1)
    rows = np.packbits(ones, axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlace)
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]:
        content += struct.pack(">I", len(body)) + name + body
        content += struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(content)


def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


PNGS = {
    **{f"grey {bits}": (GREY, GREY, bits, 0) for bits in (2, 4, 8, 16)},
    "grey 1": (BINARY, BINARY, 1, 0),
    **{f"rgb {bits}": (RGB, RGB, bits, 2) for bits in (8, 16)},
    **{f"grey, alpha {bits}": (with_alpha(GREY), over_white(GREY), bits, 4) for bits in (8, 16)},
    **{f"rgb, alpha {bits}": (with_alpha(RGB), over_white(RGB), bits, 6) for bits in (8, 16)},
}


@pytest.mark.parametrize("name", PNGS)
def test_png(tmp_path, name):
    stored, expected, bits, kind = PNGS[name]
    path = tmp_path / "a.png"
    for orientation in range(1, 9):
        values = HELD[orientation](scaled(stored, 2**bits - 1))
        png(path, values, bits, kind, (b"eXIf", exif(orientation)))
        assert differs(path, expected) == "", orientation


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_with_a_palette(tmp_path, bits):
    path, index = tmp_path / "a.png", _rng.integers(2**bits, size=(H, W, 1))
    palette = _rng.integers(256, size=(2**bits, 3)).astype(np.uint8)
    png(path, index, bits, 3, (b"PLTE", palette.tobytes()))
    colours = palette[index[..., 0]]
    assert differs(path, colours) == ""
    png(path, index, bits, 3, (b"PLTE", palette.tobytes()), (b"tRNS", bytes([255, 0])))
    expected = np.where(index == 1, 255, colours).astype(np.uint8)
    assert differs(path, expected) == ""
    png(path, index, bits, 3, (b"PLTE", palette.tobytes()), (b"tRNS", bytes([85])))
    mixed = np.rint(colours / 3 + 255 * 2 / 3)
    assert differs(path, np.where(index == 0, mixed, colours).astype(np.uint8)) == ""


@pytest.mark.parametrize(
    ("bits", "kind"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)]
)
def test_png_with_a_transparent_value(tmp_path, bits, kind):
    picture = RGB if kind == 2 else BINARY if bits == 1 else GREY
    value = picture[5, 5]
    stored = scaled(value, 2**bits - 1).astype(">u2").tobytes()
    png(tmp_path / "a.png", scaled(picture, 2**bits - 1), bits, kind, (b"tRNS", stored))
    there = (picture == value).all(axis=2, keepdims=True)
    expected = np.where(there, 255, picture).astype(np.uint8)
    found = codec.photograph(tmp_path / "a.png").transpose(1, 2, 0)
    assert np.array_equal(found, np.broadcast_to(expected, found.shape))


def saved(image, suffix, **options):
    return lambda path: image.save(path, **options)


def written(content):
    return lambda path: path.write_bytes(content)


def netpbm(magic, maxval, values, kind):
    header = f"{magic}\n{W} {H}\n" + (f"{maxval}\n" if maxval else "")
    return written(header.encode() + np.ascontiguousarray(values).astype(kind).tobytes())


_rgb, _grey, _binary = (
    Image.fromarray(RGB), Image.fromarray(GREY[..., 0]), Image.fromarray(BINARY[..., 0])
)  # fmt: skip
_rgba = Image.fromarray(with_alpha(RGB))
_grey_alpha = Image.merge("LA", (_grey, Image.fromarray(ALPHA[..., 0])))
_palette = Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W) % 4)
_palette.putpalette([9, 200, 30, 255, 0, 0, 0, 60, 255, 7, 7, 7])
_shown = np.asarray(_palette.convert("RGB"))
_bits = np.packbits(BINARY[..., 0] == 0, axis=1)


def deep_jpeg2k(colours, bits):
    values = scaled(colours, 2**bits - 1).astype(np.uint16 if bits > 8 else np.uint8)
    content = imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(values.squeeze()), bitspersample=bits, codecformat="jp2", level=0
    )
    return written(content)


OTHERS = {
    "a.bmp": (saved(_rgb, "bmp"), RGB, 0),
    "grey.bmp": (saved(_grey, "bmp"), GREY, 0),
    "binary.bmp": (saved(_binary.convert("1"), "bmp"), BINARY, 0),
    "palette.bmp": (saved(_palette, "bmp"), _shown, 0),
    "32.bmp": (saved(_rgba, "bmp"), RGB, 0),
    "a.dib": (saved(_rgb, "dib"), RGB, 0),
    "a.webp": (saved(_rgb, "webp", lossless=True), RGB, 0),
    "alpha.webp": (saved(_rgba, "webp", lossless=True, exact=True), over_white(RGB), 0),
    "a.gif": (saved(_palette, "gif"), _shown, 0),
    "grey.gif": (saved(_grey, "gif"), np.repeat(GREY, 3, 2), 0),
    "a.tga": (saved(_rgb, "tga"), RGB, 0),
    "grey.tga": (saved(_grey, "tga"), GREY, 0),
    "alpha.tga": (saved(_rgba, "tga"), over_white(RGB), 0),
    "palette.tga": (saved(_palette, "tga"), _shown, 0),
    "a.ico": (saved(_rgba, "ico", sizes=[(W, H)], bitmap_format="bmp"), over_white(RGB), 0),
    "png.ico": (saved(_rgba, "ico", sizes=[(W, H)]), over_white(RGB), 0),
    "grey.avif": (saved(_grey, "avif", quality=100), GREY, 2),
    "a.pbm": (netpbm("P4", 0, _bits, "u1"), BINARY, 0),
    **{
        f"{maxval}.pgm": (
            netpbm("P5", maxval, scaled(GREY, maxval), ">u2" if maxval > 255 else "u1"), GREY, 0
        )
        for maxval in (3, 15, 255, 1023, 4095, 65535)
    },
    **{
        f"{maxval}.ppm": (
            netpbm("P6", maxval, scaled(RGB, maxval), ">u2" if maxval > 255 else "u1"), RGB, 0
        )
        for maxval in (15, 255, 4095, 65535)
    },
    "a.pfm": (netpbm("Pf", "-1.0", GREY[::-1] / 255, "<f4"), GREY, 0),
    **{f"grey{bits}.jp2": (deep_jpeg2k(GREY, bits), GREY, 0) for bits in (8, 12, 16)},
    **{f"rgb{bits}.jp2": (deep_jpeg2k(RGB, bits), RGB, 0) for bits in (8, 10, 12, 16)},
    "grey.jpg": (saved(Image.fromarray(BLOCKS[..., 0]), "jpg", quality=95), BLOCKS[..., :1], 2),
    "rgb.jpg": (saved(Image.fromarray(BLOCKS), "jpg", quality=95), BLOCKS, 8),
    "cmyk.jpg": (
        saved(Image.fromarray(inks(BLOCKS), mode="CMYK"), "jpg", quality=95), BLOCKS, 8
    ),
    "12.jpg": (
        written(imagecodecs.jpeg8_encode(scaled(BLOCKS, 4095).astype("u2"), bitspersample=12)),
        BLOCKS, 8,
    ),
    "lossless.jpg": (written(imagecodecs.ljpeg_encode(GREY[..., 0])), GREY, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats(tmp_path, name):
    write, expected, atol = OTHERS[name]
    write(tmp_path / name)
    every = MIDDLES if name.endswith("jpg") else slice(None)
    assert differs(tmp_path / name, expected, atol, every) == ""


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "heic"])
def test_orientation_in_exif(tmp_path, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    picture = np.full((24, 32, 3), 60, np.uint8)
    picture[:8, :8], picture[:8, -8:] = (250, 20, 20), (20, 20, 250)
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x112] = orientation
        stored = np.ascontiguousarray(HELD[orientation](picture))
        Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=tags.tobytes(), quality=95)
        found = codec.photograph(tmp_path / f"a.{suffix}").transpose(1, 2, 0)
        assert found.shape == (24, 32, 3)
        assert found[3, 3, 0] > 180 > 90 > found[3, 3, 2], orientation
        assert found[3, -3, 2] > 180 > 90 > found[3, -3, 0], orientation


def test_sixteen_bits_are_rounded(tmp_path):
    """Every value of 16 bits, in each format that holds them: to the nearest of 8."""
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256, 1)
    expected = np.rint(values / 257).astype(np.uint8)
    colours = np.repeat(values, 3, 2)
    png(tmp_path / "rgb.png", colours, 16, 2)
    png(tmp_path / "grey.png", values, 16, 0)
    tifffile.imwrite(tmp_path / "rgb.tif", colours, photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", values[..., 0])
    content = imagecodecs.jpeg2k_encode(colours, codecformat="jp2", level=0)
    (tmp_path / "rgb.jp2").write_bytes(content)
    (tmp_path / "grey.pgm").write_bytes(b"P5 256 256 65535\n" + values.astype(">u2").tobytes())
    (tmp_path / "rgb.ppm").write_bytes(b"P6 256 256 65535\n" + colours.astype(">u2").tobytes())
    for path in sorted(tmp_path.iterdir()):
        planes = 3 if path.stem == "rgb" else 1
        assert differs(path, np.repeat(expected, planes, 2)) == "", path.name


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture = np.kron(_rng.integers(1, 3, size=(2, 4, 3)), np.ones((32, 32, 1), int))
    image = Image.fromarray(picture.astype(np.uint8) * 85)
    image.save(tmp_path / "a.heic", quality=95)
    assert differs(tmp_path / "a.heic", picture.astype(np.uint8) * 85, atol=8, every=MIDDLES) == ""


def test_nothing_but_pixels_gets_into_a_stored_picture(tmp_path):
    tags = Image.Exif()
    tags[0x010F], tags[0x9286] = "Camera of Ada", "a secret"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _rgb.save(tmp_path / "a.png", exif=tags, icc_profile=profile)
    content = codec.encode(codec.photograph(tmp_path / "a.png"))
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert not image.info
    assert b"Ada" not in content and isinstance(tmp_path, Path)
