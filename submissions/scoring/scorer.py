"""The scorer: a process that sees truth and arrays, and imports no team's code.

    python -I -m challenge.submissions.scoring.scorer  < requests  > answers, a JSON object a line

It reads true images (PNG, or floats) and reconstructions (`.npy`), scores them on all the threads
it is given, and answers per image in the order of the request, then with the means, then `end`.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.images import codec
from challenge.submissions.machine import keep_memory
from challenge.submissions.scoring import calibration, metrics
from challenge.submissions.scoring.calibration import Calibration
from challenge.submissions.scoring.metrics import BadShape, MetricError, NonFinite, TooSmall
from challenge.submissions.scoring.statistics import interval

HEADER = 4096
"""More bytes than the header of an `.npy` file of three dimensions ever has."""


class Missing(MetricError):
    def __init__(self, cause: str) -> None:
        super().__init__("missing_output", cause)


def load_estimate(
    path: Path, shape: tuple[int, ...], what: str = "reconstruction"
) -> NDArray[np.float32]:
    """Read a reconstruction without trusting it: a regular float32 file of exactly this shape.

    Args:
        path: the file.
        shape: of the image.
        what: is in the file, for the complaint.

    Raises:
        Missing, BadShape, NonFinite: what is wrong with it.
    """
    expected = 4 * int(np.prod(shape))
    try:
        facts = path.lstat()
    except OSError:
        raise Missing(f"there is no {what}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise Missing(f"the {what} is not a regular file")
    if not expected < facts.st_size <= expected + HEADER:
        raise BadShape(f"the {what} has {facts.st_size} bytes, an image of {shape} has {expected}")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise BadShape(f"the {what} is no float32 array ({type(error).__name__})") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        raise BadShape(f"the {what} is not a float32 array of shape {shape}")
    if not np.isfinite(array).all():
        raise NonFinite(f"the {what} has values that are not finite")
    return array


def score_one(
    truth: Path, estimate: Path, crop: int, deviation: Path | None = None
) -> dict[str, Any]:
    """PSNR and SSIM of one image, of floats NMSE too, or `outcome` and `cause` where it has none.

    With the standard deviation of its pixels, also how often that is right, `calibration`.
    """
    x = codec.to_unit(codec.stored(truth))
    try:
        x_hat = load_estimate(estimate, x.shape)
        ssim = metrics.ssim(estimate=x_hat, truth=x, crop=crop)
        answer = {"psnr": metrics.psnr(estimate=x_hat, truth=x, crop=crop), "ssim": ssim}
        if truth.suffix == codec.FLOATS_SUFFIX:
            answer["nmse"] = metrics.nmse(estimate=x_hat, truth=x, crop=crop)
        if deviation is None:
            return answer
        s = load_estimate(deviation, x.shape, "standard deviation")
        shares = calibration.calibration(estimate=x_hat, deviation=s, truth=x, crop=crop)
        return {**answer, "calibration": asdict(shares)}
    except MetricError as error:
        return {"outcome": error.outcome, "cause": str(error)}
    except TooSmall as error:
        raise UserError.of(truth, str(error), "take larger images or a smaller crop") from None


def answers(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answers to a request, image by image, then the means where every image has a score."""
    pairs, crop, threads = request["pairs"], request["crop"], request["threads"]
    psnr: list[float] = []
    ssim: list[float] = []
    nmse: list[float] = []
    shares: list[Calibration] = []
    with ThreadPoolExecutor(threads) as pool:
        jobs = (
            (
                pair["id"],
                pool.submit(
                    score_one,
                    Path(pair["truth"]),
                    Path(pair["estimate"]),
                    crop,
                    Path(pair["deviation"]) if pair["deviation"] else None,
                ),
            )
            for pair in pairs
        )
        for identity, job in _ahead(jobs, 2 * threads):
            answer = job.result()
            yield {"id": identity, **answer}
            if "psnr" in answer:
                psnr.append(answer["psnr"])
                ssim.append(answer["ssim"])
            if "nmse" in answer:
                nmse.append(answer["nmse"])
            if "calibration" in answer:
                shares.append(Calibration(**answer["calibration"]))
    if pairs and len(psnr) == len(pairs):
        means = {"psnr": interval(psnr).to_json(), "ssim": interval(ssim).to_json()}
        if nmse:
            means["nmse"] = interval(nmse).to_json()
        yield {"means": means}
    if pairs and len(shares) == len(pairs):
        yield {"calibration": asdict(calibration.mean(shares))}


Job = tuple[str, Future[dict[str, Any]]]


def _ahead(jobs: Iterable[Job], count: int) -> Iterator[Job]:
    """Keep at most `count` jobs under way, so that memory does not grow with the images."""
    waiting: list[Job] = []
    for job in jobs:
        waiting.append(job)
        if len(waiting) >= count:
            yield waiting.pop(0)
    yield from waiting


def main() -> None:
    keep_memory()
    # Before there are threads: two that import parts of scipy at once find them half made.
    metrics.import_skimage()
    for line in sys.stdin:
        try:
            for answer in answers(json.loads(line)):
                print(json.dumps(answer, allow_nan=False), flush=True)
        except UserError as error:
            refused = [astuple(mistake) for mistake in error.mistakes]
            print(json.dumps({"refused": refused}), flush=True)
        else:
            print(json.dumps({"end": True}), flush=True)


if __name__ == "__main__":
    main()
