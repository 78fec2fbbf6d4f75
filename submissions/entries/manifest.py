"""The manifest of an entry: who packed what, for which challenge, with which versions."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from challenge.configs.schema.entry import Uses
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text on one line")
    return text


Words = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
"""Free text: what results and tables repeat of it."""
Version = Annotated[str, Field(max_length=60), AfterValidator(_printable)]
Half = Literal["float16", "bfloat16"]
"""Types to which weights may be rounded."""
FILES = 2000
"""More files than any entry has."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LARGEST = 1_000_000
"""Bytes of the largest manifest that is read: an entry has at most 2,000 files."""


MOST = 10**15
"""Of anything that is counted: images, seconds, bytes. Pages and tables must have room for it."""
Count = Annotated[int, Field(ge=0, le=MOST)]
Decibels = Annotated[float, Field(ge=-1e6, le=1e6)]


class ForChallenge(Section):
    """The challenge an entry was made for."""

    name: Name
    hash: Digest


class Member(Section):
    """One file of the entry."""

    sha256: Digest
    size: Count


class Training(Section):
    """How the weights came about, as the run says."""

    source: Words
    """Of the training images: `builtin` or `folder`."""
    images: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    seconds: Annotated[float, Field(ge=0, le=MOST)]
    peak_memory: Count | None = None
    """Bytes."""
    machine: Words


class PartOrigin(Section):
    """A method that a knob is, and where its weights came from."""

    method: Words
    source: Words
    """In words: `run denoising/drunet`."""
    sha256: Digest
    """Of the file of its weights, which the entry holds among its own."""
    licence: Words | None = None
    """Of published weights."""
    size: Count | None = None
    """Of their file, in bytes."""


class Rounded(Section):
    """Weights that were rounded when the entry was packed, and the PSNR on val with both."""

    dtype: Half
    images: Annotated[Count, Field(ge=1)]
    """Of val."""
    psnr_before: Decibels
    """dB, mean over the images."""
    psnr_after: Decibels

    @property
    def change(self) -> float:
        """dB, below 0 where rounding costs quality."""
        return self.psnr_after - self.psnr_before


class Manifest(Section):
    format: Literal[1]
    team: Name
    name: Name
    challenge: ForChallenge
    versions: Annotated[dict[Version, Version], Field(max_length=20)]
    """Of toolkit, torch and deepinv when the run was made."""
    uses: Uses
    training: Training | None = None
    parts: Annotated[dict[Words, PartOrigin], Field(max_length=20)] = {}
    """By knob, such as `denoiser`."""
    rounded: Rounded | None = None
    """As who packed the entry measured it."""
    files: Annotated[dict[Words, Member], Field(max_length=FILES)]
    """Every other file of the entry."""


def dump(manifest: Manifest) -> bytes:
    """The manifest's bytes: the same manifest gives the same bytes."""
    content = manifest.model_dump(mode="json")
    # An entry without them is the bytes that older toolkits make of it.
    for key in ("parts", "rounded"):
        if not content[key]:
            del content[key]
    return (json.dumps(content, indent=2) + "\n").encode()


def parse(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: it is not one; the text says where, in one line.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:80]
        raise ValueError(f"`{key}`: {first['msg']}" if key else first["msg"]) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None
