"""Ask the scorer, which is a process of its own, for the scores of a folder of reconstructions."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from challenge.configs.errors import Mistake, UserError
from challenge.submissions import machine
from challenge.submissions.outcomes import Outcome
from challenge.submissions.scoring import calibration
from challenge.submissions.scoring.calibration import Calibration

OnScore = Callable[[str, int, int], None]
"""Called after each image with ("score", done, total)."""


@dataclass(frozen=True)
class Pair:
    """One image to score: its true image, PNG or floats, and its reconstruction, an `.npy` file."""

    id: str
    truth: str
    estimate: str
    deviation: str = ""
    """Its standard deviation, an `.npy` file of the same shape; "" where the method gives none."""

    @classmethod
    def of(cls, identity: str, truth: Path, folder: Path) -> Pair:
        """An image of a folder of reconstructions, with its standard deviation if it is there."""
        deviation = calibration.path_of(folder, identity)
        known = str(deviation) if os.path.lexists(deviation) else ""
        return cls(identity, str(truth), str(folder / f"{identity}.npy"), known)


@dataclass(frozen=True)
class Score:
    """The score of one image; where it has none, `outcome` and `cause` say why."""

    id: str
    psnr: float | None = None
    ssim: float | None = None
    outcome: Outcome = "ok"
    cause: str = ""
    calibration: Calibration | None = None
    """How often its standard deviation is right; None where the method gives none."""
    nmse: float | None = None
    """Of images stored as floats."""


@dataclass(frozen=True)
class Interval:
    """A mean over images with its 95 % bootstrap-t interval; None for up to three images."""

    mean: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """Scores of all images; the means exist where every image has a score."""

    images: tuple[Score, ...]
    psnr: Interval | None
    ssim: Interval | None
    calibration: Calibration | None = None
    """The mean over the images, where every image has one."""
    nmse: Interval | None = None
    """Of images stored as floats."""

    @property
    def failure(self) -> Score | None:
        """The first image without a score."""
        return next((image for image in self.images if image.outcome != "ok"), None)

    def psnr_by_image(self) -> dict[str, float]:
        """PSNR in dB by the images' ids; raises ValueError where an image has none."""
        found = {}
        for image in self.images:
            if image.psnr is None:
                raise ValueError(f"image `{image.id}` has no score")
            found[image.id] = image.psnr
        return found

    def to_json(self) -> dict[str, Any]:
        """Without NMSE and calibration where there is none."""
        found = asdict(self)
        for each in (found, *found["images"]):
            for key in ("nmse", "calibration"):
                if each[key] is None:
                    del each[key]
        return found


def score_images(
    pairs: Sequence[Pair],
    crop: int,
    *,
    threads: int | None = None,
    progress: OnScore | None = None,
) -> Scores:
    """Score reconstructions in the scorer's process.

    Args:
        pairs: the images, in the order of the answer.
        crop: pixels left out at every side.
        threads: images scored at a time; by default all cores that this process may use.
        progress: called after each image with ("score", done, total).

    Raises:
        UserError: an image is too small, or a true image is missing or damaged.
        RuntimeError: the scorer failed; a fault of ours.
    """
    with Scorers(1) as scorers:
        return scorers.score_images(pairs, crop, threads=threads, progress=progress)


class Scorers:
    """Scorer's processes that stay for the next entry: each takes a second to start.

    Threads may share them; as many score at a time as the processor has cores.
    """

    def __init__(self, most: int | None = None) -> None:
        """Start none yet.

        Args:
            most: at a time; by default the cores that this process may use.
        """
        self._turn = threading.Semaphore(most or machine.cores())
        self._guard = threading.Lock()
        self._idle: list[_Scorer] = []
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End those that are idle; one that scores ends when it is through."""
        with self._guard:
            self._over = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def score_images(
        self,
        pairs: Sequence[Pair],
        crop: int,
        *,
        threads: int | None = None,
        progress: OnScore | None = None,
    ) -> Scores:
        """As the function of this name."""
        with self._turn:
            with self._guard:
                scorer = self._idle.pop() if self._idle else None
            if scorer is None:
                scorer = _Scorer()
            try:
                found = scorer.score(pairs, crop, threads or machine.cores(), progress)
            except BaseException:
                scorer.close()
                raise
            with self._guard:
                over = self._over
                if not over:
                    self._idle.append(scorer)
            if over:
                scorer.close()
            return found


class _Scorer:
    """The scorer's process, which answers one request after the other."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-I", "-m", "challenge.submissions.scoring.scorer"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def score(
        self, pairs: Sequence[Pair], crop: int, threads: int, progress: OnScore | None
    ) -> Scores:
        """As `score_images`; the process is of no more use where this raises."""
        images: list[Score] = []
        means: dict[str, dict[str, Any]] = {}
        shares: dict[str, float] | None = None
        for answer in self._answers(
            {"crop": crop, "threads": threads, "pairs": [asdict(pair) for pair in pairs]}
        ):
            if "id" in answer:
                if found := answer.pop("calibration", None):
                    answer["calibration"] = Calibration(**found)
                images.append(Score(**answer))
                if progress is not None:
                    progress("score", len(images), len(pairs))
            else:
                shares = answer.get("calibration", shares)
            means = answer.get("means", means)
        return Scores(
            images=tuple(images),
            psnr=Interval(**means["psnr"]) if means else None,
            ssim=Interval(**means["ssim"]) if means else None,
            nmse=Interval(**means["nmse"]) if "nmse" in means else None,
            calibration=Calibration(**shares) if shares else None,
        )

    def _answers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        question, out = self._process.stdin, self._process.stdout
        assert question is not None and out is not None
        with contextlib.suppress(OSError):
            question.write(json.dumps(request) + "\n")
            question.flush()
        for line in out:
            answer: dict[str, Any] = json.loads(line)
            if "refused" in answer:
                raise UserError(*(Mistake(*each) for each in answer["refused"]))
            if "end" in answer:
                return
            yield answer
        self._errors.seek(0)
        raise RuntimeError(f"the scorer failed:\n{self._errors.read()}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for each in (self._process.stdin, self._process.stdout, self._errors):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.close()
