"""`images:` of a challenge: where they come from, and how many each split has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Whole, refusal


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


Images = Annotated[BuiltinImages | FolderImages, Field(discriminator="source")]
