"""What cannot be trained is said, with the remedy: settings that do not fit, memory used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Session
from challenge.methods.training.patches import margin

BIGGEST = 1e3
"""An estimate beyond this, in units of the image range, has left every image behind."""


class Diverged(UserError):
    """A loss, gradient or PSNR is not finite.

    The method was left with its best weights so far, if there was a checkpoint before.
    """

    @classmethod
    def at(
        cls, step: int, what: str, value: float, lr: float, peak: float, kept: int | None
    ) -> UserError:
        """The mistake, with a smaller learning rate as the remedy.

        Args:
            step: after which it was seen.
            what: is not finite.
            value: of it.
            lr: learning rate of the step.
            peak: `train.lr`.
            kept: the step whose weights are kept; None if none are.
        """
        weights = "" if kept is None else f"; the best weights, of step {kept}, are kept"
        return cls.of(
            f"step {step}",
            f"the {what} is `{value}` at learning rate `{lr:.3g}`{weights}",
            f"train again with a smaller one, such as `train.lr={peak / 3:.1g}`",
        )


def check_range(x: Tensor, place: str, knob: str = "method.steps") -> None:
    """Raise `UserError` where the estimates of an unrolled net have left the range of images.

    Args:
        x: estimates, any shape.
        place: what made them, such as `step 3 of the unrolled algorithm`.
        knob: how many of these there are.
    """
    biggest = float(x.detach().abs().amax())
    if not biggest <= BIGGEST:
        raise UserError.of(
            place,
            f"its estimate reaches `{biggest:.3g}`, images live in [0, 1]: it diverges",
            f"give fewer `{knob}`, or train again with a smaller `train.lr`",
        )


@contextmanager
def enough_memory(train: TrainConfig) -> Iterator[None]:
    """Say what to reduce where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if "shared memory" in text:  # torch's own words, of a process that made batches
            raise UserError.of(
                "shared memory",
                "is used up by the processes that make batches",
                "give the container more, such as `--shm-size=4g`, or a smaller `train.batch`",
            ) from None
        if not known and not any(each in text for each in ("allocate memory", "ALLOC_FAILED")):
            raise
        remedy = "give a smaller `train.patch` or network"
        if train.batch > 1:
            remedy = f"give `train.batch={train.batch // 2}`, a smaller `train.patch` or network"
        said = (text.splitlines() or [type(error).__name__])[0][:120]
        raise UserError.of("memory", f"is used up ({said})", remedy) from None


def check(
    method: Method, problem: Problem, images: Images, train: TrainConfig, session: Session
) -> None:
    """Raise `UserError` where budget, method, images, patches or processes allow no training."""
    if train.steps is None and train.minutes is None:
        raise UserError.of(
            "`train:`", "says neither `steps` nor `minutes`", "add one, such as `train.minutes=10`"
        )
    if not any(parameter.requires_grad for parameter in method.parameters()):
        raise UserError.of(
            f"`{type(method).__name__}`",
            "has no parameter to train",
            "register what it learns in the constructor: a `torch.nn` module, a `ModuleList` of "
            "several, or a `torch.nn.Parameter`",
        )
    if len(images) < 2:
        raise UserError.of(
            "training images",
            f"there is {len(images)}, and one is held out",
            "prepare the challenge with two or more",
        )
    side = train.patch + 2 * margin(problem)
    if side < problem.smallest:
        raise UserError.of(
            "`train.patch`",
            f"patches of `{train.patch}` pixels are smaller than the operator's reach, of "
            f"`{problem.smallest}`",
            f"give `train.patch={max(2 * problem.smallest, 64)}` or more",
        )
    if problem.fitting(side) != side:
        raise UserError.of(
            "`train.patch`",
            f"patches of `{train.patch}` pixels cannot be downsampled by the operator",
            f"give `train.patch={train.patch - (side - problem.fitting(side))}`",
        )
    _check_processes(method, train, session)


def _check_processes(method: Method, train: TrainConfig, session: Session) -> None:
    fabric = session.fabric
    if fabric.world_size == 1:
        return
    if train.batch % fabric.world_size:
        raise UserError.of(
            "`train.batch`",
            f"`{train.batch}` patches are no equal shares for {fabric.world_size} processes",
            f"give a multiple of {fabric.world_size}",
        )
    batch_norm = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in method.modules())
    if batch_norm and fabric.device.type == "cpu":
        raise UserError.of(
            "batch normalisation",
            "sees only its own process's share of the batch on a CPU",
            "give `method.net.normalisation=group`, or train with one process",
        )
