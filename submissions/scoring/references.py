"""PSNR of what everybody has on the test images, the measurements and two baselines: hidden.

Lines on a board by which its rows are judged: what is below the measurement has done harm, what is
below total variation has learned nothing. Made by `prepare`, which has them for the resolution.
"""

from __future__ import annotations

from collections.abc import Collection
from statistics import fmean
from typing import Literal

from pydantic import ValidationError

from challenge.configs.schema.section import Section
from challenge.data import atomic, reading
from challenge.data.layout import Hidden

MEASURED, TV = "measured", "tv"


class References(Section):
    """By what it is, `measured`, `wiener`, `tv`, and by image, in dB."""

    format: Literal[1] = 1
    psnr: dict[str, dict[str, float]] = {}
    """Of large test sets there was time for a part, and of some operators a part can be had."""

    def mean(self, name: str, images: Collection[str]) -> float | None:
        """Over these images; None where it is not known of each of them."""
        known = self.psnr.get(name, {})
        if not images or not set(images) <= known.keys():
            return None
        return fmean(known[each] for each in sorted(images))


def read(hidden: Hidden) -> References:
    """What is known of a hidden folder; nothing where it has no such file, or a damaged one."""
    try:
        return References.model_validate_json(reading.bounded(hidden.references))
    except (OSError, ValueError, ValidationError):
        return References()


def write(hidden: Hidden, found: References) -> None:
    """Put it into the hidden folder."""
    atomic.write_json(hidden.references, found.model_dump(mode="json"), 0o600)
