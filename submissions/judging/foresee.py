"""The resolution of a test set before anybody submits, from the difference of two baselines.

    d_i = PSNR of one baseline on image i - PSNR of the other

Its standard deviation over the test images stands for that of two entries. Both baselines have
nothing to learn, so this takes seconds. Only the organiser can do it: it needs the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from challenge.data.challenges.challenge import Challenge
from challenge.data.images import codec
from challenge.data.layout import Hidden, Public
from challenge.data.physics import measurements
from challenge.methods import from_source, registry
from challenge.submissions.scoring import metrics
from challenge.submissions.scoring.foreseen import Foreseen, ranked
from challenge.submissions.scoring.ranking import FEWEST, resolution
from challenge.submissions.scoring.references import MEASURED, References

METHODS = ("wiener", "tv")
SECONDS = 10.0
"""Of computing, after which no further image is begun; waiting for other programs is not counted,
so that what is said does not depend on them."""
ENOUGH = 8
"""Images whose spread is worth saying: it is known to about a quarter then."""

Progress = Callable[[str, int, int], None]


def foresee(challenge: Challenge, found: References) -> Foreseen | None:
    """What the difference of the two baselines says of the test set.

    None where nothing would be called different anyway, where a baseline does not take the
    operator, or where it is known of too few images.
    """
    count = _ranked(challenge)
    first, second = (found.psnr.get(name, {}) for name in METHODS)
    images = sorted(first.keys() & second.keys())
    if count < FEWEST or len(images) < ENOUGH:
        return None
    spread = float(np.std([first[each] - second[each] for each in images], ddof=1))
    return Foreseen(
        methods=METHODS,
        images=len(images),
        spread=spread,
        resolution=resolution(spread, count),
    )


def measure(challenge: Challenge, hidden: Hidden, progress: Progress) -> References:
    """PSNR of measurements and baselines on the test images, on as many as there is time for.

    Measurements have one where they are of the image's shape, baselines where they take the
    operator and the test set is large enough that anything is called different.

    Args:
        hidden: the challenge's.
        progress: called after each image with (what, done, total).
    """
    import torch

    from challenge.data.physics.problem import tensors

    public = Public(challenge.path)
    enough = _ranked(challenge) >= FEWEST
    names = [name for name in METHODS if enough and _takes(name, challenge)]
    methods = {name: registry.build({"name": name}).eval() for name in names}
    published = challenge.config.rules.test_measurements == "published"
    found: dict[str, dict[str, float]] = {name: {} for name in (MEASURED, *methods)}
    begun = time.process_time()
    for number, identity in enumerate(identities := hidden.ids(), 1):
        path = public.measurement("test", identity) if published else hidden.measurement(identity)
        truth = codec.to_unit(codec.stored(hidden.image(identity)))
        measured = measurements.read(path)
        images = {MEASURED: measured.picture}
        for name, method in methods.items():
            # Anew for each, for operators keep state.
            y, physics = tensors(measured)
            with torch.no_grad():
                images[name] = method(y, physics)[0].numpy()
        for name, image in images.items():
            if image.shape == truth.shape:
                score = metrics.psnr(estimate=image, truth=truth, crop=challenge.crop)
                found[name][identity] = float(score)
        progress("references", number, len(identities))
        if time.process_time() - begun > SECONDS:
            break
    return References(psnr={name: scores for name, scores in found.items() if scores})


def _ranked(challenge: Challenge) -> int:
    return ranked(challenge.test.count, challenge.config.rules.final_share)


def _takes(name: str, challenge: Challenge) -> bool:
    taken = from_source.operators(name)
    return taken is None or challenge.config.operator.kind in taken
