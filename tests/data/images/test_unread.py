"""Damaged is said of damaged files only; what is whole is read, or told what it is."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from challenge.configs.errors import UserError
from challenge.data.images import codec, formats

PIXELS = np.random.default_rng(0).integers(256, size=(48, 56, 3)).astype(np.uint8)
DEEP = PIXELS.astype(np.uint16) * 257
IMAGE = Image.fromarray(PIXELS)


def by_pillow(kind, **options):
    def content() -> bytes:
        buffer = io.BytesIO()
        IMAGE.save(buffer, kind, **options)
        return buffer.getvalue()

    return content


def by_tifffile(array, **options):
    def content() -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric="rgb", **options)
        return buffer.getvalue()

    return content


def heic() -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return by_pillow("HEIF")()


FILES = {
    "png": by_pillow("PNG"),
    "jpg": by_pillow("JPEG"),
    "progressive.jpg": by_pillow("JPEG", progressive=True),
    "12 bits.jpg": lambda: imagecodecs.jpeg8_encode(DEEP >> 4, bitspersample=12),
    "bmp": by_pillow("BMP"),
    "webp": by_pillow("WEBP"),
    "gif": by_pillow("GIF"),
    "jp2": by_pillow("JPEG2000"),
    "16 bits.jp2": lambda: imagecodecs.jpeg2k_encode(DEEP, codecformat="jp2", level=0),
    "avif": by_pillow("AVIF"),
    "ppm": by_pillow("PPM"),
    "ico": by_pillow("ICO", sizes=[(56, 48)]),
    "heic": heic,
    "16 bits.png": lambda: imagecodecs.png_encode(DEEP),
    "tif": by_tifffile(PIXELS),
    "strips.tif": by_tifffile(DEEP, rowsperstrip=7),
    "tiles.tif": by_tifffile(DEEP, tile=(16, 16)),
    "planes.tif": by_tifffile(np.moveaxis(DEEP, -1, 0), planarconfig="separate"),
    "lzw.tif": by_tifffile(DEEP, compression="lzw", predictor=True, rowsperstrip=7),
    "zip.tif": by_tifffile(PIXELS, compression="zlib", tile=(16, 16)),
    "packbits.tif": by_tifffile(PIXELS, compression="packbits"),
    "zstd.tif": by_tifffile(DEEP, compression="zstd"),
    "jpeg.tif": by_tifffile(PIXELS, compression="jpeg"),
    "ycbcr.tif": by_pillow("TIFF", compression="jpeg"),
}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        codec.read(path)
    (mistake,) = caught.value.mistakes
    assert mistake.place == str(path)
    assert "\n" not in str(mistake) and len(mistake.cause) < 200
    return f"{mistake.cause}; {mistake.remedy}"


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_damaged(tmp_path, name, capfd):
    content, path = FILES[name](), tmp_path / name
    path.write_bytes(content)
    codec.read(path)
    for length in (16, len(content) // 3, len(content) * 2 // 3, len(content) - 40):
        path.write_bytes(content[:length])
        text = refusal(path)
        assert text.startswith("is damaged, "), length
        assert text.endswith("; replace it by a good copy or take it out of the folder")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_the_content_decides_not_the_suffix(tmp_path, name, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(FILES[name]())
    assert codec.read(path).picture.shape[1:] == (48, 56)


FOREIGN = {
    "JPEG XL": lambda: imagecodecs.jpegxl_encode(PIXELS),
    "film (MP4)": lambda: b"\0\0\0\x20ftypisom" + bytes(64),
    "PDF": lambda: b"%PDF-1.7\n" + bytes(64),
    "Photoshop": lambda: b"8BPS\0\1" + bytes(64),
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_whole_and_not_read_is_told_what_it_is(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(FOREIGN[kind]())
    assert refusal(tmp_path / "a.png") == (
        f"is a {kind} file, which is not read; convert it to PNG or take it out of the folder"
    )


def test_heic_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(heic())
    monkeypatch.setattr(formats, "reads_heic", lambda: False)
    monkeypatch.setattr(formats, "_known", lambda: ("PNG", "JPEG", "AVIF"))
    assert refusal(tmp_path / "a.jpg") == f"is a HEIC picture; {formats.HEIC_REMEDY}"


STRANGE = {
    "complex": ({"photometric": "minisblack"}, np.ones((40, 40), np.complex64)),
    "seven channels": (
        {"photometric": "minisblack", "planarconfig": "contig"}, np.zeros((40, 40, 7), np.uint8)
    ),
    "a volume": ({"photometric": "minisblack", "volumetric": True}, np.zeros((5, 32, 32), "u1")),
    "a mosaic": ({"photometric": "cfa"}, np.zeros((40, 40), np.uint16)),
    "not finite": ({"photometric": "minisblack"}, np.full((40, 40), np.nan, np.float32)),
    "negative": ({"photometric": "minisblack"}, np.full((40, 40), -7, np.int16)),
    "photons": ({"photometric": "minisblack"}, np.full((40, 40), 3000, np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_tiffs_that_are_no_pictures_are_not_called_damaged(tmp_path, name):
    options, array = STRANGE[name]
    if name == "a volume":
        options = {**options, "tile": (5, 16, 16)}
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    text = refusal(tmp_path / "a.tif")
    assert "damaged" not in text and "convert it to PNG" in text


def test_a_compression_that_nobody_knows_is_told(tmp_path):
    content = bytearray(by_tifffile(PIXELS)())
    at = content.index(struct.pack("<HHIH", 259, 3, 1, 1))
    content[at + 8 : at + 10] = struct.pack("<H", 32895)
    (tmp_path / "a.tif").write_bytes(content)
    text = refusal(tmp_path / "a.tif")
    assert "damaged" not in text and "32895" in text


@pytest.mark.parametrize("chunk", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_a_png_with_much_text_is_read(tmp_path, monkeypatch, chunk, deep):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 2_000_000)  # of 64 MiB
    content = imagecodecs.png_encode(DEEP) if deep else by_pillow("PNG")()
    text = b"x" * 1_500_000
    body = {
        b"tEXt": b"Comment\0" + text,
        b"zTXt": b"Comment\0\0" + zlib.compress(text),
        b"iTXt": b"Comment\0\1\0\0\0" + zlib.compress(text),
    }[chunk]
    packed = struct.pack(">I", len(body)) + chunk + body
    packed += struct.pack(">I", zlib.crc32(chunk + body))
    at = content.index(b"IDAT") - 4
    path = tmp_path / "a.png"
    path.write_bytes(content[:at] + packed * 2 + content[at:])
    assert np.array_equal(codec.photograph(path).transpose(1, 2, 0), PIXELS)


@pytest.mark.parametrize("name", FILES)
def test_spoilt_bytes_give_a_picture_or_one_line(tmp_path, name, capfd):
    content, rng, path = FILES[name](), random.Random(name), tmp_path / name
    said = []
    for _ in range(12):
        spoilt = bytearray(content)
        for _ in range(rng.choice([1, 3])):
            head, tail = rng.randrange(min(len(spoilt), 300)), -rng.randrange(1, 300)
            spoilt[rng.choice([head, tail])] = rng.choice([0, 1, 127, 255, rng.randrange(256)])
        path.write_bytes(spoilt)
        try:
            assert codec.read(path).picture.dtype == np.uint8
        except UserError as error:
            said.append(str(error))
    assert not [line for line in said if "\n" in line]


def test_a_missing_package_is_not_said_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(DEEP))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ModuleNotFoundError, match="imagecodecs"):
        codec.photograph(path)
