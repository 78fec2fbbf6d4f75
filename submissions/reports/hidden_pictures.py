"""The hidden images of the last day: all teams on one of them, and which ones show most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.challenge import PUBLISHING
from challenge.data.images import codec
from challenge.data.images.contact_sheet import to_picture
from challenge.data.layout import Hidden, Public
from challenge.data.physics import measurements
from challenge.submissions.judging.board import Row
from challenge.submissions.reports.pages.images import Photo, photo
from challenge.submissions.reports.standing import Standing, title
from challenge.submissions.scoring import metrics
from challenge.submissions.scoring.pictures import framed

LEAST = 256
"""Pixels of a picture's side on the page: smaller ones are shown with larger pixels."""


@dataclass(frozen=True)
class Shown:
    """A picture with the lines below it."""

    name: str
    photo: Photo
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """One hidden image: measured, every entry, truth."""

    title: str
    pictures: tuple[Shown, ...]
    missing: tuple[str, ...]
    """Entries whose reconstruction is not here."""


def telling(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """At most three images, each with the reason why it is shown; ties go to the first id.

    The one on which the entries differ most as they do on average, the one on which they differ
    most, and the one that is hardest for all.
    """
    names = list(rows[0].images) if rows else []
    if not names:
        return []
    scores = np.array([[row.images[name] for row in rows] for name in names])
    apart = scores - scores.mean(axis=1, keepdims=True)
    unlike = np.square(apart - apart.mean(axis=0)).sum(axis=1)
    chosen = [
        (int(unlike.argmin()), "the entries differ as they do on average"),
        (int(scores.std(axis=1).argmax()), "the entries differ most"),
        (int(scores.mean(axis=1).argmin()), "the hardest one for all"),
    ]
    found: dict[str, str] = {}
    for number, reason in chosen:
        found.setdefault(names[number], reason)
    return [*found.items()]


class Gallery:
    """Reads what was judged: truth, measurements, reconstructions of a revealed challenge."""

    def __init__(self, board: Standing, hidden: Hidden, labels: dict[str, str]) -> None:
        """Open it.

        Args:
            board: of the revealed images.
            hidden: with reconstructions in `judged/`.
            labels: of the folders of these, by `Row.entry`.
        """
        self._board, self._hidden, self._labels = board, hidden, labels
        self._challenge = board.challenge

    def scene(self, identity: str, reason: str, rows: Sequence[Row]) -> Scene:
        """All entries on one image."""
        shown, missing = [self._measured(identity)], list[str]()
        for row in rows:
            picture = self.estimate(row, identity)
            if picture is None:
                missing.append(title(row))
            else:
                shown.append(picture)
        truth = self._picture(self._truth(identity))
        shown.append(Shown("truth", _photo(truth, f"Truth of image {identity}")))
        return Scene(f"Image {identity}: {reason}", tuple(shown), tuple(missing))

    def estimate(self, row: Row, identity: str, note: str = "") -> Shown | None:
        """An entry's reconstruction; None where it is not kept, or is of another size."""
        path = self._file(row, identity)
        if path is None or not path.is_file():
            return None
        x_hat = np.load(path, allow_pickle=False)
        if x_hat.shape != self._truth(identity).shape:
            return None
        psnr = f"{row.images[identity]:.2f} dB"
        words = f"{title(row)}, image {identity}, {psnr}"
        lines = (psnr, note) if note else (psnr,)
        return Shown(title(row), _photo(self._picture(x_hat), words), lines)

    def _measured(self, identity: str) -> Shown:
        place = self._hidden.measurement(identity)
        if self._challenge.format == PUBLISHING:
            place = Public(self._challenge.path).measurement("test", identity)
        measurement, x = measurements.read(place), self._truth(identity)
        y = measurement.picture
        lines: tuple[str, ...] = ()
        if y.shape == x.shape:
            psnr = metrics.psnr(estimate=y, truth=codec.to_unit(x), crop=self._challenge.crop)
            lines = (f"{psnr:.2f} dB",)
        whole = self._picture(framed(y, x.shape) if y.shape[0] == x.shape[0] else y)
        return Shown(measurement.seen_as, _photo(whole, f"Measurement of image {identity}"), lines)

    def _truth(self, identity: str) -> NDArray[np.float32] | NDArray[np.uint8]:
        found: NDArray[np.float32] | NDArray[np.uint8] = codec.stored(self._hidden.image(identity))
        return found

    def _picture(self, image: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        return to_picture(image, self._challenge.window)

    def _file(self, row: Row, identity: str) -> Path | None:
        label = self._labels.get(row.entry)
        return self._hidden.judged(label) / f"{identity}.npy" if label else None


def _photo(picture: NDArray[np.uint8], words: str) -> Photo:
    times = max(1, -(-LEAST // max(picture.shape[1:])))
    return photo(picture, words, times=times)
