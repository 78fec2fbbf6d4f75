"""Pictures as arrays: uint8 of shape (C, H, W), C = 3 in colour and 1 in grey.

`photograph` reads what people have (PNG, JPEG, BMP, TIFF, WebP, in any mode); `stored` reads what
`prepare` wrote. Free of torch.
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.layout import FRESH

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LARGEST = 64_000_000
"""Pixels of the largest picture that is decoded, read from its header first."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_DAMAGED = "replace it by a good copy or take it out of the folder"


def photograph(path: Path) -> Picture:
    """Decode a picture file: (3, H, W) in colour, (1, H, W) where it is grey.

    Transparent pixels are laid over white, palettes resolved, 16 bits rounded to 8, the
    orientation of the camera applied.

    Raises:
        UserError: if the file is empty, damaged, no picture, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        size = path.stat().st_size
    except OSError as error:
        cause = f"cannot be read, {error.strerror}"
        raise UserError.of(path, cause, "check the link or take it out of the folder") from None
    if size == 0:
        raise UserError.of(path, "is empty", _DAMAGED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow about oddities of a file that it can read
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _refuse_huge(path, image.height, image.width)
                if _is_misread(image):
                    return _other_tiff(path)
                return _planes(_to_array(path, image))
        except UserError:
            raise
        except PermissionError:
            raise UserError.of(path, "cannot be read", "check its permissions") from None
        except Image.DecompressionBombError:
            raise _huge(path, "more than 178 million pixels") from None
        except UnidentifiedImageError:
            return _other_tiff(path)
        # A damaged file leads the decoders into any exception; a fault of ours would too, but
        # then for every file.
        except Exception as error:
            raise UserError.of(path, f"is damaged, {_reason(error)}", _DAMAGED) from error


def adapt(picture: Picture, channels: int) -> Picture:
    """Bring a picture to 1 channel (BT.601 luma) or 3 (grey repeated)."""
    if len(picture) == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=0)
    luma = np.tensordot(_LUMA, picture.astype(np.float32), axes=1)
    return np.rint(luma).astype(np.uint8)[None]


def is_grey(picture: Picture) -> bool:
    """Whether a picture has no colour, however many channels it has."""
    return len(picture) == 1 or bool((picture == picture[:1]).all())


def centre(picture: Picture, height: int, width: int) -> Picture:
    """The part about the centre, at most `height` x `width` pixels."""
    top = max(0, (picture.shape[1] - height) // 2)
    left = max(0, (picture.shape[2] - width) // 2)
    return np.ascontiguousarray(picture[:, top : top + height, left : left + width])


def stored(path: Path) -> Picture:
    """Read a PNG that `prepare` wrote: uint8, (C, H, W).

    Raises:
        UserError: if the file is missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return _planes(np.asarray(image))
    except FileNotFoundError:
        raise UserError.of(path, "there is no such image", FRESH) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError.of(path, "is a damaged PNG file", FRESH) from error


def encode(picture: Picture) -> bytes:
    """A picture as a PNG file; equal pictures give equal bytes with the same Pillow."""
    from PIL import Image

    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def to_unit(picture: Picture) -> NDArray[np.float32]:
    """uint8 to float32 in [0, 1], same shape."""
    return picture.astype(np.float32) / np.float32(255)


def _to_array(path: Path, image: Image) -> NDArray[Any]:
    """(H, W) or (H, W, 3), uint8, turned as the camera was held."""
    from PIL import Image, ImageOps

    image.load()
    with suppress(Exception):  # a damaged EXIF block is no reason to lose the photograph
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bits(path, np.asarray(image))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    return np.asarray(image)


def _to_8_bits(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    """16-bit integers to 8 bits, and floats in [0, 1]; other ranges have no agreed meaning."""
    low, high, kind = values.min(), values.max(), values.dtype.kind
    if values.dtype == np.uint8:
        scale = 1.0
    elif kind == "f" and low >= 0 and high <= 1:
        scale = 255.0
    elif kind in "iu" and low >= 0 and high <= 65535:
        scale = 1 / 257
    else:
        cause = f"has values from {low} to {high}, neither 8 nor 16 bits"
        raise UserError.of(path, cause, "convert it to PNG")
    scaled: NDArray[np.uint8] = np.rint(values * scale).astype(np.uint8)
    return scaled


def _planes(array: NDArray[Any]) -> Picture:
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


def _is_misread(image: Image) -> bool:
    """Pillow 13 takes the two bytes of a sample for two pixels where colours lie in planes."""
    tags = getattr(image, "tag_v2", {})
    bits, planes = tags.get(258, (8,)), tags.get(284, 1)
    return bool(planes == 2 and max(bits) > 8)


def _other_tiff(path: Path) -> Picture:
    """A TIFF that Pillow cannot read, by way of tifffile."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, shape = series.axes, series.shape
            if axes not in ("YX", "YXS", "SYX"):
                raise UserError.of(path, f"has axes {axes}, not one picture", "convert it to PNG")
            _refuse_huge(path, shape[axes.index("Y")], shape[axes.index("X")])
            array = series.asarray()
    except UserError:
        raise
    except tifffile.TiffFileError:
        raise UserError.of(path, "is no picture, or damaged", _DAMAGED) from None
    except Exception as error:
        raise UserError.of(path, f"is damaged, {_reason(error)}", _DAMAGED) from error
    if axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    array = _to_8_bits(path, array)
    if array.ndim == 2:
        return _planes(array)
    # One sample is grey, two are grey with alpha, three colours, four colours with alpha.
    return _planes(array[..., 0] if array.shape[2] < 3 else array[..., :3])


def _refuse_huge(path: Path, height: int, width: int) -> None:
    if height * width > LARGEST:
        raise _huge(path, f"{width}x{height} pixels")


def _huge(path: Path, size: str) -> UserError:
    return UserError.of(
        path, f"is too large, {size}", f"at most {LARGEST:,} pixels are read; make it smaller"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
