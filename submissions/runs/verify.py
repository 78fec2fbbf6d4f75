"""Whether the method of a run is what its weights will make of it again, tried on one image.

What goes wrong here would be found by `infer`, or by the judge, with a run of hours behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from challenge.methods.contract import Method

CLOSE = 1e-4
"""Largest difference of an estimate after the weights were stored; of rounding, about."""


def before(method: Method, challenge: Challenge, device: str) -> None:
    """Refuse a method whose estimate is no image, before it trains for hours.

    A method that cannot reconstruct before it has learned may say so by any error.

    Raises:
        UserError: its `forward` gives something else.
    """
    from challenge.methods.training import outputs

    try:
        found = _estimate(method, challenge, device)
    except Exception:
        return
    with _as_it_was(method):
        outputs.check(*found, method)


def after(method: Method, challenge: Challenge, rebuild: Callable[[], Method]) -> None:
    """Refuse a method that is another one after its weights are stored.

    Args:
        method: that has learned.
        challenge: one of whose images is taken.
        rebuild: makes the method from its config alone, as the judge does.

    Raises:
        UserError: weights are not finite; have names that the constructor does not make; or are
            not all there is of what was learned.
    """
    import torch

    from challenge.methods.training import outputs

    state = {name: value.detach().clone() for name, value in method.state_dict().items()}
    name = f"`{type(method).__name__}`"
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError.of(f"{name}.fit", f"left values that are not finite in `{key}`")
    other = rebuild()
    missing = sorted(other.state_dict().keys() ^ state.keys())
    if missing:
        cause = f"changed the names of the weights: `{missing[0]}`"
        remedy = "register every parameter and buffer in the constructor"
        raise UserError.of(f"{name}.fit", cause, remedy)
    device = _device(method)
    first = outputs.check(*_estimate(method, challenge, device), method)
    other.load_state_dict(state)
    second, *_ = _estimate(other.to(device), challenge, device)
    if not _same(first, second):
        plain = _unregistered(method)
        which = f", such as {', '.join(f'`{each}`' for each in plain[:3])}" if plain else ""
        raise UserError.of(
            name,
            f"gives another estimate once its weights are stored and loaded{which}",
            "register what it learns in the constructor, by `torch.nn.Parameter` or "
            "`register_buffer`, and draw nothing at random without a seed",
        )


def _same(first: Tensor, second: object) -> bool:
    import torch

    if not isinstance(second, torch.Tensor) or first.shape != second.shape:
        return False
    # As the judge reads them: whatever class they have, and however they keep their values.
    with torch._C.DisableTorchFunctionSubclass():
        first, second = (
            each if each.layout == torch.strided else each.to_dense() for each in (first, second)
        )
        close = bool(((first - second).abs() <= CLOSE).all())
        return close or bool(torch.isnan(first).any())


def _estimate(
    method: Method, challenge: Challenge, device: torch.device | str
) -> tuple[object, Tensor, tuple[int, ...]]:
    """What `forward` gives for a training image, its measurement, and the image's shape."""
    import torch

    from challenge.methods.training import patches

    where = torch.device(device)
    x, y, physics = patches.tune_batch(challenge.train, challenge.problem, 0, where)
    with _as_it_was(method), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return method.to(where).eval()(y, physics), y, tuple(x.shape)


@contextmanager
def _as_it_was(method: Method) -> Iterator[None]:
    """Leave the method in the mode in which it was."""
    training = method.training
    try:
        yield
    finally:
        method.train(training)


def _device(method: Method) -> torch.device | str:
    return next((each.device for each in method.state_dict().values()), "cpu")


def _unregistered(method: Method) -> list[str]:
    """Tensors that a method has as plain attributes, which are not among its weights."""
    import torch

    return [
        f"self.{'.'.join(filter(None, (name, key)))}"
        for name, module in method.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]
