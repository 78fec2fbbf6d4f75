"""The problem: operator, noise, what is measured of one image, and which frequencies are seen.

    g(f)^2 = |<F n, F A^T A n>|(f) / |F n|^2(f),   n white noise

g is the gain of A at the spatial frequency f, averaged over noise images: of a circular blur it is
|F k| exactly, of a mask of frequencies the mask, of any other operator the diagonal of F A^T A F*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.challenge import Challenge
from challenge.data.images.contact_sheet import to_picture
from challenge.data.images.magnitude import COMPLEX
from challenge.data.physics.measurements import Measurement
from challenge.submissions.entries.rules_sheet import described
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import COLOURS, Drawing
from challenge.submissions.reports.pages.images import photo
from challenge.submissions.reports.presentation.items import (
    Figure,
    Item,
    Number,
    Numbers,
    Pictures,
    Section,
    Shown,
    Words,
)

DRAWS = 4
"""Noise images over which the gain is averaged."""
SIDE = 128
"""Pixels of a side on which the gain is measured, at most."""
PORTRAIT = 160
"""Pixels of a kernel, enlarged by a whole factor."""

Array = NDArray[np.float64]


def section(challenge: Challenge) -> Section:
    """The chapter."""
    identity = challenge.ids("val")[0]
    measurement, truth = challenge.measurement("val", identity), challenge.truth(identity)
    return Section(
        "problem",
        "Problem",
        (
            Words("Reconstruct x from y = A x + noise", tuple(_words(challenge))),
            Numbers("The challenge in numbers", tuple(_numbers(challenge))),
            _example(challenge, measurement, truth),
            Figure("What the operator lets through", _gain(challenge, identity)),
        ),
    )


def _words(challenge: Challenge) -> Iterator[str]:
    config = challenge.config
    yield f"Operator A ({config.operator.kind}): {described(config.operator)}."
    for number, part in enumerate(getattr(config.operator, "operators", None) or (), 1):
        yield f"A_{number} ({part.kind}): {described(part)}."
    yield f"Noise ({config.noise.kind}): {described(config.noise)}."
    if challenge.practice:
        yield "Practice: the images are built in, so everybody has the truth."


def _numbers(challenge: Challenge) -> Iterator[Number]:
    config = challenge.config
    colours = {1: "grey", 2: "complex", 3: "colour"}[challenge.channels]
    yield Number("training images", f"{len(challenge.ids('train'))}", colours)
    yield Number("validation images", f"{len(challenge.ids('val'))}", "scores of this report")
    yield Number("hidden test images", f"{challenge.test.count}", "scores of the board")
    yield Number("time limit", f"{config.limits.minutes:g} min", "for all test images")
    yield Number("size limit", f"{config.limits.weights_mb:g} MB", "of an entry")
    yield Number("threads", f"{config.limits.threads}", "of a processor")


def _example(challenge: Challenge, measurement: Measurement, truth: NDArray[np.float32]) -> Item:
    window, seen = challenge.window, measurement.picture
    shown = [Shown(photo(to_picture(truth, window), "The true image."), "truth x")]
    if measurement.portrait is not None:
        picture, caption = measurement.portrait
        small = to_picture(picture[None].astype(np.float32))
        times = max(1, PORTRAIT // max(small.shape))
        large = small.repeat(times, axis=1).repeat(times, axis=2)
        alt = f"What the operator looks like: {caption}."
        shown.append(Shown(photo(large, alt), caption))
    word = measurement.seen_as
    name = "measured y" if word == "measured" else f"{word} of y"
    alt = f"The measurement, {measurement.level}."
    shown.append(Shown(photo(to_picture(seen, window), alt), name, (measurement.level,)))
    note = f"Image {measurement.identity} of val."
    return Pictures("An example", tuple(shown), note, lens=False)


def _gain(challenge: Challenge, identity: str) -> Drawing:
    gain = gain_of(challenge, identity)
    radius, profile = radial(gain)
    seen = float(np.mean(gain > 0.1 * gain.max()))

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        shown = np.fft.fftshift(gain)
        extent = (-0.5, 0.5, -0.5, 0.5)
        drawn = left.imshow(shown, cmap="cividis", extent=extent, vmin=0, interpolation="nearest")
        left.set_title("gain of A at every frequency")
        left.set_xlabel("cycles a pixel")
        left.grid(False)
        bar = figure.colorbar(drawn, ax=left, shrink=0.8)
        bar.outline.set_visible(False)
        right.plot(radius, profile, color=COLOURS[0], linewidth=2)
        right.set_xlim(0, 0.5)
        right.set_ylim(bottom=0)
        right.set_title("its mean over directions")
        right.set_xlabel("frequency (cycles a pixel)")
        right.set_ylabel("gain")

    low, high = profile[1], profile[-1]
    alt = (
        f"Gain of the operator over spatial frequency: {low:.2f} at low frequencies, {high:.2f} at "
        f"the highest; above a tenth of its maximum on {seen:.0%} of the frequencies."
    )
    caption = (
        "Where the gain is small, noise is all that is measured: what is there has to come from "
        "the prior. Measured with white noise, as |<F n, F A'A n>| / |F n|^2, the root of it."
    )
    return figures.draw("spectrum", alt, paint, caption=caption, size=(8.4, 3.4))


def gain_of(challenge: Challenge, identity: str) -> Array:
    """The gain at every frequency of `numpy.fft.fft2`, shape (side, side), of one operator.

    On the centre of an image, or all of it where it is small.
    """
    import torch

    from challenge.data.physics.problem import tensors

    problem, truth = challenge.problem, challenge.truth(identity)
    side = problem.fitting(min(SIDE, *truth.shape[1:]))
    blank = np.full((challenge.channels, side, side), 0.5, np.float32)
    _, physics = tensors(problem.measure_stored(blank, identity, problem.key))
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((DRAWS, *blank.shape)).astype(np.float32)
    with torch.no_grad():
        images = [torch.from_numpy(each)[None] for each in noise]
        back = np.concatenate([physics.A_adjoint(physics.A(each)).numpy() for each in images])
    first, second = (_spectrum(each) for each in (noise, back))
    power = np.square(np.abs(first)).sum(axis=(0, 1))
    gain = np.abs((first.conj() * second).sum(axis=(0, 1))) / power
    found: Array = np.sqrt(gain)
    return found


def _spectrum(x: NDArray[np.float32]) -> NDArray[np.complex128]:
    whole = x[:, :1] + 1j * x[:, 1:] if x.shape[1] == COMPLEX else x
    found: NDArray[np.complex128] = np.fft.fft2(whole, norm="ortho")
    return found


def radial(gain: Array) -> tuple[Array, Array]:
    """Frequencies up to 0.5, and the root mean square of the gain at each of them."""
    side = len(gain)
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    rings = np.rint(np.hypot(rows, columns) * side).astype(int)
    inside = rings <= side // 2
    counts = np.bincount(rings[inside])
    sums = np.bincount(rings[inside], np.square(gain)[inside])
    return np.arange(len(counts)) / side, np.sqrt(sums / counts)
