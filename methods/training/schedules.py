"""Learning-rate schedules: the factor of the peak learning rate, from the step alone.

    constant       1
    step           drop^j,  j = floor((drops + 1) t)                        t = step / total
    cosine         (1 + cos(pi t)) / 2                                      Loshchilov, Hutter 2017
    warmup_cosine  (step + 1) / warm, then the cosine over what is left     Goyal et al. 2017
    plateau        drop^j,  j = times that `wait` evaluations were no better
    one_cycle      cosine from 1/25 up to 1 in the first `warm_up` share,   Smith, Topin 2019
                   then down to 1/250,000

Where `minutes` are not yet turned into steps, a schedule waits at its beginning. Nothing is
remembered but plateau's count, which is part of a run's state: a resumed run is the
uninterrupted one. All but plateau equal torch.optim.lr_scheduler's, where it has them.
"""

from __future__ import annotations

import math

from challenge.configs.schema.training import TrainConfig

WARM_UP = 50
"""Steps of rising learning rate, at most a tenth of all. `minutes` become steps at their end."""
ONE_CYCLE = 0.3
"""Share of the steps in which one_cycle rises."""
START, END = 1 / 25, 1 / 250_000
"""The factors that one_cycle starts from and ends at."""


def factor(train: TrainConfig, step: int, total: int | None, drops: int = 0) -> float:
    """The factor of `train.lr` at step 0, 1, ..., total - 1.

    Args:
        train: names the schedule and its settings.
        step: steps done before.
        total: steps in all; None while `minutes` are not yet turned into steps.
        drops: how often plateau has lowered the learning rate.
    """
    match train.schedule:
        case "constant":
            return 1.0
        case "plateau":
            return train.drop**drops
        case "warmup_cosine" if total is not None or train.warm_up is None:
            warm = _warm(train, total)
            if step < warm or total is None:
                return min(1.0, (step + 1) / max(warm, 1))
            return _down((step - warm) / max(total - warm, 1))
        case "step" | "cosine" if total is None:
            return 1.0
        case _ if total is None:
            return START
        case "step":
            return float(train.drop ** ((train.drops + 1) * step // total))
        case "cosine":
            return _down(step / total)
        case "one_cycle":
            return _one_cycle(train, step, total)
    raise AssertionError(train.schedule)


def _warm(train: TrainConfig, total: int | None) -> int:
    """Steps of warm-up; those of `minutes` are the same before and after their total is known."""
    if train.warm_up is not None and total is not None:
        return round(train.warm_up * total)
    return WARM_UP if train.steps is None else min(WARM_UP, -(-train.steps // 10))


def _one_cycle(train: TrainConfig, step: int, total: int) -> float:
    rise = (ONE_CYCLE if train.warm_up is None else train.warm_up) * total - 1
    if step <= rise:
        return START + (1 - START) * (1 - _down(step / rise if rise > 0 else 1.0))
    return END + (1 - END) * _down((step - rise) / max(total - 1 - rise, 1))


def _down(share: float) -> float:
    """A half cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
