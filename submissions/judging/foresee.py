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
from challenge.submissions.scoring.foreseen import Foreseen
from challenge.submissions.scoring.ranking import FEWEST, resolution

METHODS = ("wiener", "tv")
SECONDS = 10.0
"""Of computing, after which no further image is begun; waiting for other programs is not counted,
so that what is said does not depend on them."""
ENOUGH = 8
"""Images whose spread is worth saying: it is known to about a quarter then."""

Progress = Callable[[str, int, int], None]


def foresee(challenge: Challenge, hidden: Hidden, progress: Progress) -> Foreseen | None:
    """Compare the two baselines on the test images, on as many as there is time for.

    None where nothing would be called different anyway, where a baseline does not take the
    operator, or where there was time for too few images.

    Args:
        hidden: the challenge's.
        progress: called after each image with (what, done, total).
    """
    public, count = Public(challenge.path), challenge.test.count
    if count < FEWEST or not all(_takes(name, challenge) for name in METHODS):
        return None
    import torch

    from challenge.data.physics.problem import tensors

    methods = [registry.build({"name": name}).eval() for name in METHODS]
    published = challenge.config.rules.test_measurements == "published"
    differences, begun = list[float](), time.process_time()
    for number, identity in enumerate(identities := hidden.ids(), 1):
        path = public.measurement("test", identity) if published else hidden.measurement(identity)
        truth = codec.to_unit(codec.stored(hidden.image(identity)))
        scores = []
        for method in methods:
            # Anew for each, for operators keep state.
            y, physics = tensors(measurements.read(path))
            with torch.no_grad():
                estimate = method(y, physics)[0].numpy()
            scores.append(metrics.psnr(estimate=estimate, truth=truth, crop=challenge.crop))
        differences.append(scores[0] - scores[1])
        progress("resolution", number, len(identities))
        if time.process_time() - begun > SECONDS:
            break
    if len(differences) < ENOUGH:
        return None
    spread = float(np.std(differences, ddof=1))
    return Foreseen(
        methods=METHODS,
        images=len(differences),
        spread=spread,
        resolution=resolution(spread, count),
    )


def _takes(name: str, challenge: Challenge) -> bool:
    taken = from_source.operators(name)
    return taken is None or challenge.config.operator.kind in taken
