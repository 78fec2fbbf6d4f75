"""The picture formats: by which suffix a file is listed, and by which bytes it is recognised.

| format | suffixes | read by |
|---|---|---|
| PNG, JPEG, BMP, WebP, GIF, JPEG 2000, AVIF, PBM/PGM/PPM/PFM, TGA, ICO | see `SUFFIXES` | Pillow |
| TIFF | .tif .tiff | tifffile with imagecodecs; YCbCr by Pillow |
| HEIC | .heic .heif .hif | pillow-heif, where it is installed |

A suffix says only that a file is a picture; which one, its content says.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

READ = "PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, AVIF, HEIC, PGM/PPM/PFM, TGA and ICO are read"
HEIC_REMEDY = "HEIC pictures are read once pillow-heif is installed (`pip install pillow-heif`)"

_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TGA": (".tga",),
    "ICO": (".ico",),
}
HEIC = (".heic", ".heif", ".hif")
SUFFIXES = frozenset(suffix for each in _SUFFIXES.values() for suffix in each)

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\1\0", "ICO"),
    (4, b"ftypavi", "AVIF"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    *((0, b"P" + digit, "PPM") for digit in (b"1", b"2", b"3", b"4", b"5", b"6", b"f", b"F")),
    (4, b"ftyp", "film (MP4)"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"%PDF", "PDF"),
    (0, b"DDS ", "DDS"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x93NUMPY", "numpy"),
    (0, b"PK\3\4", "zip"),
    (0, b"gimp xcf", "GIMP"),
    (0, b"FUJIFILMCCD-RAW", "camera raw"),
)
_PILLOW = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF", "JPEG2000", "AVIF", "PPM", "ICO", "HEIF")
OURS = frozenset(
    ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WebP", "JPEG 2000", "ICO", "AVIF", "PPM", "HEIC")
)
"""Formats that are read: what cannot be opened though it begins as one of them is damaged."""


def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the files that this installation reads."""
    return SUFFIXES | frozenset(HEIC) if reads_heic() else SUFFIXES


def reads_heic() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def of(path: Path) -> str:
    """The name of a file's format by its first bytes; empty where they say nothing."""
    with path.open("rb") as file:
        head = file.read(32)
    for offset, magic, name in _MAGIC:
        if head[offset:].startswith(magic):
            return name
    return "SVG" if head.lstrip()[:4] in (b"<svg", b"<?xm") else ""


def pillow_formats(path: Path) -> list[str]:
    """The names of the formats that Pillow may try on a file."""
    # A Targa file has nothing that it begins with: other files would pass for one.
    targa = ["TGA"] if path.suffix.lower() == ".tga" else []
    return [*_known(), *targa]


@cache
def _known() -> tuple[str, ...]:
    from PIL import Image

    if reads_heic():
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _PILLOW if name in Image.OPEN)
