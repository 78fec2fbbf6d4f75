"""`images:` of a challenge: where they come from, and how many each split has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Number, Whole, refusal

CHANNELS = {"grey": 1, "complex": 2, "colour": 3}
"""Of an image by `images.mode`; complex ones have a real and an imaginary part."""


def _no_word(value: Any) -> Any:
    if isinstance(value, str):
        raise refusal("must be a whole number or `auto`")
    return value


class BuiltinImages(Section):
    """Practice images that need no network.

    `train` counts procedural dead-leaves images; val and test are crops of scikit-image's
    packaged photographs, split by source photograph.
    """

    source: Literal["builtin"]
    mode: Literal["colour", "grey"] = "colour"
    """Three channels, or one."""
    size: Annotated[Whole, Field(ge=32, le=2048)] = 256
    """Side of the square images in pixels."""
    train: Annotated[Whole, Field(ge=4)] = 120
    """Procedural images to train on."""
    val: Annotated[Whole, Field(ge=1)] = 6
    """Photographs whose truth the teams have, to report on."""
    test: Annotated[Whole, Field(ge=1)] = 12
    """Photographs that the judge scores on; their truth is hidden."""


def _window(window: tuple[float, float]) -> tuple[float, float]:
    if not window[0] < window[1]:
        raise refusal("must be written [black, white], the lower value first")
    return window


class Values(Section):
    """What the values of images mean: `low` is stored as 0 and `high` as 1.

    The data range of the metric is high - low, so 1 of what is stored; what lies outside of it is
    cut off.
    """

    unit: Annotated[str, Field(max_length=40, examples=["HU"])] = ""
    """In words, for a person."""
    low: Number = 0.0
    """The value that becomes 0: of computed tomography that of air."""
    high: Number = 1.0
    """The value that becomes 1."""
    window: (
        Annotated[tuple[Number, Number], AfterValidator(_window), Field(examples=[[-160, 240]])]
        | None
    ) = None
    """[black, white] of pictures, in the same unit; null: low and high. No score depends on it."""
    pixel_mm: Annotated[Number, Field(gt=0)] | None = None
    """Side of a pixel in millimetres, where it is known."""

    @model_validator(mode="after")
    def _ordered(self) -> Values:
        if not self.low < self.high:
            raise refusal(f"must have `low` below `high` (they are {self.low:g}, {self.high:g})")
        return self

    @property
    def shown(self) -> tuple[float, float]:
        """Black and white of pictures as stored, where low is 0 and high is 1."""
        black, white = self.window or (self.low, self.high)
        width = self.high - self.low
        return (black - self.low) / width, (white - self.low) / width

    @property
    def described(self) -> str:
        """The window in words; empty where pictures show the whole range of images in [0, 1]."""
        black, white = self.window or (self.low, self.high)
        if not self.unit and (black, white) == (0, 1):
            return ""
        return f"window {black:g} to {white:g} {self.unit}".rstrip()


class PhantomImages(Section):
    """Ellipses of random sizes and contrasts, drawn by the project, on any number of images.

    Image i of a split depends on nothing but `seed` and i; those of test on the secret key in its
    place. Stored as floats.
    """

    source: Literal["phantoms"]
    mode: Literal["grey", "complex"] = "grey"
    """Real values, or complex ones with a smooth random phase."""
    size: Annotated[Whole, Field(ge=32, le=1024)] = 128
    """Side of the square images in pixels."""
    train: Annotated[Whole, Field(ge=4)] = 1000
    """Images to train on."""
    val: Annotated[Whole, Field(ge=1)] = 10
    """Images whose truth the teams have, to report on."""
    test: Annotated[Whole, Field(ge=1)] = 20
    """Images that the judge scores on; their truth is hidden."""
    values: Values = Values()
    """What the values mean; `pixel_mm` is for slices, drawings have no size."""

    @model_validator(mode="after")
    def _without_size(self) -> PhantomImages:
        if self.values.pixel_mm is not None:
            cause = "must have no `values.pixel_mm`: phantoms are drawings, without a size"
            raise refusal(cause, "leave it out")
        return self


class FolderPaths(Section):
    """Folders of their own for the splits; a split without one is taken out of `train`."""

    train: Annotated[str, Field(examples=["photographs/train"])]
    """Folder of the photographs to train on."""
    val: str | None = None
    """Folder of val; null: photographs of `train` are taken."""
    test: str | None = None
    """Folder of test; null: photographs of `train` are taken."""


class FolderImages(Section):
    """The user's own photographs, searched with all sub-folders.

    `val` and `test` count photographs that are drawn (seeded) for these splits; all others
    train. A split that has a folder of its own in `path` uses at most that many of it. Photographs
    are first shrunk, then those of val and test are cropped about the centre to at most `size`
    pixels a side.
    """

    source: Literal["folder"]
    path: Annotated[
        Annotated[str, Tag("folder")] | Annotated[FolderPaths, Tag("folders")],
        Discriminator(lambda value: "folder" if isinstance(value, str) else "folders"),
        Field(examples=["photographs"]),
    ]
    """One folder with all photographs, or `{train: FOLDER, val: FOLDER, test: FOLDER}`."""
    mode: Literal["colour", "grey"] = "colour"
    """Three channels, or one: into which every photograph is converted."""
    size: Annotated[Whole, Field(ge=32, le=4096)] = 256
    """Longest side of val and test images in pixels."""
    val: Annotated[Whole, Field(ge=1)] = 10
    """Photographs whose truth the teams have, to report on."""
    test: Annotated[Whole, Field(ge=1)] = 20
    """Photographs that the judge scores on; their truth is hidden."""
    shrink: Annotated[
        Annotated[Literal["auto"], Tag("auto")]
        | Annotated[Whole, Field(ge=1, le=64), BeforeValidator(_no_word), Tag("factor")],
        Discriminator(lambda value: "auto" if value == "auto" else "factor"),
    ] = "auto"
    """The mean over so many by so many pixels; 1 keeps them, auto goes to about 1 megapixel."""
    strict: bool = False
    """Whether a photograph that cannot be read ends `prepare`, rather than being left out."""


class SliceImages(Section):
    """Slices of scanners: grey PNG of 8 or 16 bits, `.npy`, `.npz` and DICOM, with sub-folders.

    Every image is a square of `size` pixels about the centre, filled up where a slice is smaller,
    and stored as floats; ids say nothing of the files. `val` and `test` count slices that are drawn
    (seeded) for these splits, all others train; a split may have a folder of its own.
    """

    source: Literal["slices"]
    path: Annotated[
        Annotated[str, Tag("folder")] | Annotated[FolderPaths, Tag("folders")],
        Discriminator(lambda value: "folder" if isinstance(value, str) else "folders"),
        Field(examples=["slices"]),
    ]
    """One folder with all slices, or `{train: FOLDER, val: FOLDER, test: FOLDER}`."""
    mode: Literal["grey", "complex"] = "grey"
    """Real values, or complex ones: real slices get a smooth random phase then."""
    size: Annotated[Whole, Field(ge=32, le=1024)] = 256
    """Side of the square images in pixels."""
    shrink: Annotated[Whole, Field(ge=1, le=64)] = 1
    """The mean over so many by so many pixels; 1 keeps them."""
    patients: Literal["auto", "file", "folder"] = "auto"
    """What is one patient's, and in one split only: each file; the files that lie in one folder; or
    all that is below one sub-folder of the path, where it has some (auto)."""
    val: Annotated[Whole, Field(ge=1)] = 10
    """Slices whose truth the teams have, to report on."""
    test: Annotated[Whole, Field(ge=1)] = 20
    """Slices that the judge scores on; their truth is hidden."""
    values: Values = Values()
    """What the values mean: those of PNG are from 0 to 1, those of other files as they are."""
    strict: bool = False
    """Whether a slice that cannot be read ends `prepare`, rather than being left out."""

    @model_validator(mode="after")
    def _from_zero(self) -> SliceImages:
        if self.mode == "complex" and self.values.low != 0:
            cause = "must have `values.low` 0 where images are complex"
            raise refusal(cause, "magnitudes begin there")
        return self


Source = BuiltinImages | FolderImages | PhantomImages | SliceImages
Images = Annotated[Source, Field(discriminator="source")]


def channels_of(images: Source) -> int:
    """1 in a grey challenge, 2 in one of complex images, 3 in a colour one."""
    return CHANNELS[images.mode]


def values_of(images: Source) -> Values:
    """What the values of images mean; photographs live in [0, 1]."""
    return getattr(images, "values", Values())
