"""Slices of scanners: files whose values mean something, read as floats.

| file | values |
|---|---|
| `.png`, grey | of 8 or 16 bits, divided by 255 or 65535 |
| `.npy`, `.npz` with one array | as they are; real or complex, (H, W) or (1, H, W) |
| DICOM, by its content | stored values times the rescale slope plus the intercept; needs pydicom |

Of a DICOM file the pixels are read, the rescale, the spacing of pixels and what makes them
unreadable or tells whose they are: no other tag is read, so no name, date or number of a patient or
a scanner goes anywhere. The rescale and the spacing may be in the functional groups of enhanced
files (PS3.3 C.7.6.16), which are dropped once these are taken out.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data import reading
from challenge.data.images import formats, limits
from challenge.data.images.decode import DAMAGED

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset((".png", ".npy", ".npz", ".dcm", ".dicom", ".ima"))
"""Of slices; a file without a suffix is one where it begins as DICOM does."""
READ = "PNG of 8 or 16 bits, `.npy`, `.npz` and DICOM are read"
PYDICOM = "DICOM is read once pydicom is installed (`pip install 'challenge[dicom]'`)"
_APART = "store each slice in a file of its own"
_PREAMBLE = 128
_NOT_PLANAR = ("PALETTE COLOR", "RGB", "YBR")
_TELLING = {
    "BurnedInAnnotation": "text in its pixels, maybe a name",
    "RecognizableVisualFeatures": "a patient who can be recognised",
}
"""Tags by which a file may say YES, and what it says then."""
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Where enhanced files describe their frames; what the later one says holds."""
_MACROS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "PixelMeasuresSequence": ("PixelSpacing",),
}
"""What is taken out of them: sequences of one item, and the tags in it."""
_TAGS = (
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "Rows", "Columns", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "Modality"),
    *("PixelSpacing", *_TELLING, *_GROUPS),
)
"""All that is read of a DICOM file."""
INTERCEPT = "rescale intercept"
"""What a slice lacks whose numbers may be as the scanner stored them."""
_UNSPECIFIED = "US"
"""The rescale type that says no unit."""


@dataclass(frozen=True)
class Slice:
    """What a file holds."""

    values: NDArray[Any]
    """(H, W), float64 or complex128, in the unit of the file."""
    unit: str = ""
    """That the file says, such as HU; empty where it says none."""
    pixel_mm: tuple[float, float] | None = None
    """Height and width of a pixel, where the file says it."""
    lacks: str = ""
    """The tag, in words, for want of which the unit of a DICOM file is not known."""


def is_slice(path: Path) -> bool:
    """Whether a file may be a slice, by its suffix, or without one by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        return _is_dicom(path)
    except OSError:
        return False


def read(path: Path) -> Slice:
    """Read a slice.

    Raises:
        UserError: it is damaged, has several slices, colours, values that are not finite, or is
            DICOM and pydicom is not installed.
    """
    try:
        reading.check(path)
        if _is_dicom(path):
            found = _dicom(path)
        elif path.suffix.lower() in (".npy", ".npz"):
            found = Slice(_array(path))
        else:
            found = Slice(_png(path))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
        raise UserError.of(path, f"is damaged or no slice, {reason}", DAMAGED) from error
    if not np.isfinite(found.values).all():
        count = int((~np.isfinite(found.values)).sum())
        raise UserError.of(path, f"has {count} values that are not finite", DAMAGED)
    return found


def _is_dicom(path: Path) -> bool:
    with reading.opened(path) as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"


def _png(path: Path) -> NDArray[np.float64]:
    from PIL import Image

    if formats.of(path) != "PNG":
        raise UserError.of(path, "is no PNG, `.npy`, `.npz` or DICOM file", READ)
    with Image.open(path, formats=["PNG"]) as image:
        limits.refuse_huge(path, image.height, image.width)
        values = np.asarray(image)
        if image.mode not in ("L", "I;16", "I;16B", "I", "1"):
            remedy = "slices are grey: convert it, or use `images.source=folder`"
            raise UserError.of(path, f"has colours or transparency ({image.mode})", remedy)
        largest = {"L": 255.0, "1": 1.0}.get(image.mode, 65535.0)
    return values.astype(np.float64) / largest


def _array(path: Path) -> NDArray[Any]:
    stored = np.load(path, allow_pickle=False)
    if isinstance(stored, np.lib.npyio.NpzFile):
        with stored:
            if len(stored.files) != 1:
                raise UserError.of(path, f"has {len(stored.files)} arrays", _APART)
            stored = stored[stored.files[0]]
    if stored.dtype.kind not in "buifc":
        raise UserError.of(path, f"holds {stored.dtype}", "slices are numbers")
    shape = stored.shape
    if stored.ndim == 3 and shape[0] == 1:
        stored = stored[0]
    if stored.ndim != 2:
        cause = f"has shape {shape}, a slice has (H, W)"
        raise UserError.of(path, cause, _APART if stored.ndim == 3 else "store a slice")
    limits.refuse_huge(path, *stored.shape)
    wide = np.complex128 if stored.dtype.kind == "c" else np.float64
    found: NDArray[Any] = stored.astype(wide)
    return found


def _dicom(path: Path) -> Slice:
    try:
        import pydicom
    except ModuleNotFoundError:
        raise UserError.of(path, "is a DICOM file", PYDICOM) from None
    try:
        file = pydicom.dcmread(path, specific_tags=list(_TAGS))
        for tag, found in _TELLING.items():
            if str(file.get(tag) or "").strip().upper() == "YES":
                raise UserError.of(path, f"has {found} ({tag} YES)", "take it out of the folder")
        if (frames := int(file.get("NumberOfFrames") or 1)) > 1:
            raise UserError.of(path, f"has {frames} frames", _APART)
        _take_from_groups(file)
        kind = str(file.get("PhotometricInterpretation", ""))
        if int(file.get("SamplesPerPixel", 1)) != 1 or kind.startswith(_NOT_PLANAR):
            raise UserError.of(path, f"has colours ({kind})", "take it out of the folder")
        if kind == "MONOCHROME1":
            cause = "counts from white to black (MONOCHROME1), as radiographs do"
            raise UserError.of(path, cause, "take it out of the folder, or store it inverted")
        if "ModalityLUTSequence" in file:
            cause = "has a table of values in place of a rescale slope"
            raise UserError.of(path, cause, "convert it to `.npy` in its unit")
        limits.refuse_huge(path, int(file.Rows), int(file.Columns))
        slope, intercept = (
            1.0 if file.get(name) is None and name == "RescaleSlope" else float(file.get(name) or 0)
            for name in ("RescaleSlope", "RescaleIntercept")
        )
        if slope == 0:
            raise UserError.of(path, "has a rescale slope of 0", DAMAGED)
        values = file.pixel_array.astype(np.float64) * slope + intercept
        spacing = [float(each) for each in file.get("PixelSpacing") or ()]
        if spacing and (len(spacing) != 2 or min(spacing) <= 0):
            raise UserError.of(path, f"has a pixel spacing of {spacing}", DAMAGED)
    except UserError:
        raise
    except Exception as error:  # pydicom and its decoders raise what they like
        reason = " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
        raise UserError.of(path, f"is a DICOM file that is not read, {reason}", DAMAGED) from error
    unit, lacks = _unit(file)
    return Slice(values, unit, (spacing[0], spacing[1]) if spacing else None, lacks)


def _take_from_groups(file: Dataset) -> None:
    """Put what the functional groups say of the one frame in place of what the file says.

    Each macro is taken as a whole, so that no slope goes with the intercept of another place.
    """
    for groups in _GROUPS:
        for frame in list(file.get(groups) or ())[:1]:
            for macro, names in _MACROS.items():
                for inner in list(frame.get(macro) or ())[:1]:
                    said = [name for name in names if inner.get(name) is not None]
                    for name in names if said else ():
                        file.pop(name, None)
                    for name in said:
                        file.add(inner[name])
        file.pop(groups, None)


def _unit(file: Dataset) -> tuple[str, str]:
    """The unit of the rescaled values, and what the file lacks for it to be known."""
    kind = str(file.get("RescaleType") or "")
    if kind not in ("", _UNSPECIFIED):
        return kind, ""
    if file.get("RescaleIntercept") is None:
        return "", INTERCEPT
    if kind == _UNSPECIFIED:
        return "", f"unit in its rescale type ({kind})"
    if str(file.get("Modality", "")) == "CT":
        return "HU", ""  # what the standard says of CT without a type
    return "", "rescale type"
