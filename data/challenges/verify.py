"""Whether a published challenge is what was prepared: its files, and that y follows from x.

    every file of the public folder has the hash of the manifest, none is missing or new
    y = A x + noise, recomputed from the stored truth, the published operator and the key

The seal covers what stays hidden; this covers what was published with it. Measurements are
recomputed with torch, which is imported then and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from challenge.configs.errors import Mistake, UserError
from challenge.data import noise
from challenge.data.challenges.challenge import PUBLISHING, Challenge, open_challenge
from challenge.data.images import codec
from challenge.data.layout import Hidden, Public, Split
from challenge.data.physics import measurements, noise_models
from challenge.data.physics.measurements import Measurement

TOLERANCE = 1e-4
"""How much of a pixel another processor or another torch may compute differently; noise of 0.01
is a hundred times as much."""
_OWN = "the folder is not the one that was prepared; restore it from a copy"
_COUNTS = (
    "photon counts are drawn otherwise where the last digit of a rate differs: verify on a "
    "machine like the one that prepared it"
)


@dataclass(frozen=True)
class Verified:
    """What was verified beside the seal."""

    files: int
    """Of the public folder."""
    measurements: int
    """That were recomputed, of val and of test."""
    difference: float
    """The largest in a pixel of a measurement; 0 where all are the same bit for bit."""


def verify(
    public: Public, hidden: Hidden, progress: Callable[[str, int, int], None] | None = None
) -> Verified:
    """Verify a public folder, and that the measurements follow from truth, operator and key.

    Args:
        public: of the challenge.
        hidden: its hidden folder, whose seal was verified.
        progress: called with ("verify", done, total) after each measurement.

    Raises:
        UserError: names every file that was changed, is missing or new, and every measurement
            that does not follow.
    """
    challenge = open_challenge(public.path, verify=True)
    mistakes = list(_new_files(public, challenge))
    pairs = list(_pairs(public, hidden, challenge))
    largest = 0.0
    for number, (split, truth, stored) in enumerate(pairs, 1):
        wrong = _difference(challenge, hidden, split, truth, stored)
        if isinstance(wrong, Mistake):
            mistakes.append(wrong)
        else:
            largest = max(largest, wrong)
        if progress is not None:
            progress("verify", number, len(pairs))
    if mistakes:
        raise UserError(*mistakes)
    return Verified(len(list(_files(public.path))), len(pairs), largest)


def _files(folder: Path) -> Iterator[Path]:
    """What lies in a folder, but for what starts with a dot, as systems leave it."""
    for path in sorted(folder.rglob("*")):
        left = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not left and (path.is_symlink() or not path.is_dir()):
            yield path


def _new_files(public: Public, challenge: Challenge) -> Iterator[Mistake]:
    known = challenge.files | {public.manifest.name, public.rules.name, public.resolution.name}
    for path in _files(public.path):
        if path.relative_to(public.path).as_posix() not in known:
            yield Mistake(str(path), "does not belong to the challenge", "remove it")


def _pairs(
    public: Public, hidden: Hidden, challenge: Challenge
) -> Iterator[tuple[Split, Path, Path]]:
    """Truth and measurement of every image that has both."""
    for identity in challenge.ids("val"):
        yield "val", public.image("val", identity), public.measurement("val", identity)
    for identity in hidden.ids():
        old = challenge.format == PUBLISHING
        place = public.measurement("test", identity) if old else hidden.measurement(identity)
        yield "test", hidden.image(identity), place


def _difference(
    challenge: Challenge, hidden: Hidden, split: Split, truth: Path, stored: Path
) -> float | Mistake:
    """The largest of a pixel between the stored and the recomputed measurement."""
    config = challenge.config
    public_key = noise.public_key(config.seed, config.name, split)
    key = hidden.key.read_bytes() if split == "test" else public_key
    found = measurements.read(stored)
    x = codec.to_unit(codec.stored(truth))
    if found.identity != stored.stem:
        return Mistake(str(stored), f"is the measurement of `{found.identity}`", _OWN)
    if found.shape != x.shape:
        cause = f"is of an image of shape {found.shape}, the truth has {x.shape}"
        return Mistake(str(stored), cause, _OWN)
    made = challenge.problem.measure_stored(x, found.identity, key)
    if wrong := _parameters(found, made):
        cause = f"has another {wrong} than the challenge's operator, noise and key give"
        return Mistake(str(stored), cause, _OWN)
    difference = float(np.abs(found.y - made.y).max())
    if difference <= TOLERANCE:
        return difference
    counts = "gain" in noise_models.NAMES[config.noise.kind]
    cause = f"does not follow from truth, operator and key: a pixel differs by {difference:.2g}"
    return Mistake(str(stored), cause, f"{_OWN}; {_COUNTS}" if counts else _OWN)


def _parameters(found: Measurement, made: Measurement) -> str:
    """The parameter in which two measurements differ; "" if in none."""
    for section in ("operator", "noise"):
        here, there = getattr(found, section), getattr(made, section)
        for name in sorted({*here, *there}):
            if name not in here or name not in there or not _equal(here[name], there[name]):
                return f"`{section}.{name}`"
    return "" if found.y.shape == made.y.shape else "shape"


def _equal(here: Any, there: Any) -> bool:
    if isinstance(here, str) or isinstance(there, str):
        return bool(here == there)
    a, b = np.asarray(here), np.asarray(there)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-7))
