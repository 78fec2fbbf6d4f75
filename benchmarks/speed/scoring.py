"""Scoring a folder of reconstructions against scikit-image's own two calls, shared by the cores."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.speed.timing import Result, paired
from challenge.submissions.scoring.scores import Pair, score_images

SIDE = 512
DISTINCT = 10
"""Different pictures; the others repeat them under other names."""


def run(quick: bool = False) -> list[Result]:
    """One result: our whole command, processes, files and intervals included, over their calls."""
    count, cores = (10 if quick else 100), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        pairs, arrays = _images(Path(folder), count)

        def ours() -> None:
            score_images(pairs, 0)

        def theirs() -> None:
            for number in range(count):
                x, x_hat = arrays[number % DISTINCT]
                peak_signal_noise_ratio(x, x_hat, data_range=1)
                structural_similarity(
                    x,
                    x_hat,
                    data_range=1,
                    channel_axis=0,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )

        ratio, own, peer = paired(ours, theirs, pairs=1 if quick else 3, warm_up=0)
    return [
        {
            "what": f"scoring {count} images 3x{SIDE}x{SIDE}, beside scikit-image / {cores} cores",
            "measured": ratio * cores,
            "target": 1.2,
            "better": "lower",
            "unit": "x",
            "detail": f"{own:.1f} s and {peer:.1f} s on one core",
        }
    ]


def _images(folder: Path, count: int) -> tuple[list[Pair], list[tuple[np.ndarray, np.ndarray]]]:
    """Random pictures with noisy reconstructions, as files and as float64 arrays."""
    rng = np.random.default_rng(0)
    arrays = []
    for number in range(DISTINCT):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        x = pixels.transpose(2, 0, 1) / 255
        x_hat = (x + 0.03 * rng.standard_normal(x.shape)).astype(np.float32)
        np.save(folder / f"{number}.npy", x_hat)
        arrays.append((x, np.clip(x_hat.astype(np.float64), 0, 1)))
    files = [(str(folder / f"{n}.png"), str(folder / f"{n}.npy")) for n in range(DISTINCT)]
    return [Pair(f"{n:04}", *files[n % DISTINCT]) for n in range(count)], arrays
