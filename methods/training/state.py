"""Where a training run stands: counters, the best so far, the time that was spent."""

from __future__ import annotations

from dataclasses import dataclass, field

from challenge.configs.schema.training import TrainConfig


@dataclass
class State:
    """Where a training run stands."""

    step: int = 0
    """Steps done."""
    total: int | None = None
    """Steps in all; None until `minutes` are turned into steps."""
    steps: int | None = None
    minutes: float | None = None
    """The budget that the total follows from; neither: an older checkpoint does not say."""
    best: float = float("-inf")
    """Highest PSNR on the tune part, in dB."""
    best_step: int = 0
    since_best: int = 0
    """Evaluations since then."""
    drops: int = 0
    """How often the plateau schedule lowered the learning rate."""
    since_drop: int = 0
    """Evaluations since the last drop or the best one, whichever is later."""
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last line of the log, which has their mean."""
    norm: float = 0.0
    """Running mean of the gradient's norm."""
    seconds: float = 0.0
    """Wall clock spent so far, `timed_seconds` of it in `timed_steps` timed steps."""
    timed_seconds: float = 0.0
    timed_steps: float = 0.0
    """Each counts as much as its `Method.effort`."""
    evaluation_seconds: float = 0.0
    """Wall clock of the last evaluation."""

    def extend(self, train: TrainConfig) -> bool:
        """Take the budget of the settings; whether it is another one than before.

        Then the total is counted anew, and the patience begins anew.
        """
        before, self.steps, self.minutes = (self.steps, self.minutes), train.steps, train.minutes
        if before == (None, None):
            same = train.steps is not None and train.steps == self.total
        else:
            same = before == (train.steps, train.minutes)
        if same:
            return False
        self.total, self.since_best = train.steps, 0
        return True

    def compare(self, psnr: float) -> bool:
        """Count an evaluation; whether it is the best so far."""
        self.since_best += 1
        self.since_drop += 1
        if psnr <= self.best:
            return False
        self.best, self.best_step = psnr, self.step
        self.since_best = self.since_drop = 0
        return True

    def adapt(self, train: TrainConfig) -> None:
        """What follows from evaluations that were no better: a lower learning rate, the end."""
        if train.schedule == "plateau" and self.since_drop >= train.wait:
            self.drops, self.since_drop = self.drops + 1, 0
        if train.patience is not None and self.since_best >= train.patience:
            self.total = self.step
