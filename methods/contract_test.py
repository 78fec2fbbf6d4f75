"""The contract test: what every method must hold to, the table's and a team's own.

`check(make, problem=...)` is run by the test suite over every name, by `challenge check --run`
over an entry inside the judge's inference process, and by a team in its own test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from challenge.configs.schema import physics as schema
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.data.noise import normal
from challenge.data.physics import families
from challenge.data.physics.problem import Problem
from challenge.methods.contract import HasDeviation, Method, TimeLimit
from challenge.methods.training.precision import InferencePrecision
from challenge.methods.transforms.image_range import middle

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from lightning_fabric import Fabric

SIDE = 48
"""Pixels of a side of a toy image, at most."""
COLOURED = tuple(kind for kind, each in families.FAMILIES.items() if 3 in each.channels)
"""Operator families whose toy problem has colour images."""
TOLERANCE = {False: 1e-5, True: 1e-2}
"""Largest difference between batch 1 and batch n: float32, and a method that uses bfloat16."""


@dataclass(frozen=True)
class Failure:
    """One rule of the contract that a method breaks."""

    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


def toy_problem(
    channels: int | None = None,
    boundary: str | None = None,
    operator: str = "blur",
    noise: Mapping[str, Any] | None = None,
) -> Problem:
    """A small forward problem, for tests.

    Args:
        channels: 3 for colour, 2 for complex, 1 for grey images; by default the most that the
            operator takes.
        boundary: of the operator, where its family has several rules.
        operator: name of the family; a blur has two kernels.
        noise: the section `noise:`; Gaussian, with a range of levels, by default.
    """
    family = families.FAMILIES[operator]
    channels = channels or max(family.channels)
    section = {**family.example, **({"boundary": boundary} if boundary else {})}
    config = TypeAdapter(schema.Operator).validate_python(section)
    arrays = dict(family.load(config, (channels, SIDE, SIDE), None, lambda _: None))
    if operator == "blur":
        kernels = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(7)) + 0.1
        arrays["kernels"] = (kernels / kernels.sum((-2, -1), keepdim=True)).numpy()
    level = TypeAdapter(schema.Noise).validate_python(noise or {"sigma": (0.02, 0.04)})
    crop = family.border(config, arrays)
    return Problem("toy", channels, config, arrays, level, b"toy", crop)


def toy_images(count: int = 4, channels: int = 3, side: int = SIDE) -> Images:
    """Random smooth images with edges, for tests; the parts of complex ones are about 0."""
    rows, columns = torch.meshgrid(
        torch.linspace(0, 3, side), torch.linspace(0, 3, side), indexing="ij"
    )
    pictures = {}
    for index in range(count):
        noise = torch.from_numpy(normal(b"toy", f"image {index}", 0, (channels, 3)))
        waves = torch.sin(
            noise[:, 0, None, None] * 3 * rows + noise[:, 1, None, None] * 3 * columns
        )
        edges = (rows + noise[:, 2, None, None] * columns > 1.5).float()
        pictures[f"{index:04}"] = middle(channels) + 0.2 * waves + 0.25 * (edges - 0.5)
    return Images.of(pictures)


def check(
    make: Callable[[], Method],
    *,
    problem: Problem | None = None,
    images: Images | None = None,
    steps: int | None = 1,
) -> list[Failure]:
    """Every rule of the contract that the method breaks; empty when it holds to all.

    Args:
        make: builds the method, ready for inference (with its weights, where it has any).
        problem: a small forward problem; the toy one of a blur by default.
        images: four or more training images, for one step of `fit`.
        steps: training steps of the `fit` check; None leaves the check out.
    """
    problem = problem or toy_problem()
    images = images or toy_images(channels=problem.channels)
    torch.manual_seed(1)
    method = make().eval()
    failures: list[Failure] = []
    for rule in (_shape, _deviation, _batch, _repeat, _order, _untouched, _sizes, _weights):
        failures += _guard(rule.__name__, rule(method, make, problem))
    if steps is not None:
        failures += _guard("fit", _fit(make, problem, images, steps))
    return failures


def _guard(rule: str, details: Iterator[tuple[str, str]]) -> list[Failure]:
    """Collect what a rule says; an exception inside it is a failure of that rule."""
    found: list[Failure] = []
    try:
        found.extend(Failure(*each) for each in details)
    except Exception as error:  # a method may fail in any way; each is its own
        found.append(Failure(rule.strip("_"), f"raised {type(error).__name__}: {error}"))
    return found


def _measure(problem: Problem, samples: Sequence[int], height: int = 40, width: int = 40) -> Any:
    height, width = map(problem.fitting, (height, width))
    side = max(height, width)
    images = toy_images(max(samples) + 1, problem.channels, side)
    x = torch.stack([images[n][:, :height, :width] for n in samples])
    return problem.measure(x, samples)


@torch.no_grad()
def _run(method: Method, y: Tensor, physics: LinearPhysics) -> Tensor:
    torch.manual_seed(0)
    x_hat: Tensor = method(y, physics)
    return x_hat


Details = Iterator[tuple[str, str]]


def _shape(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    y, physics = _measure(problem, [0, 1])
    x_hat, expected = _run(method, y, physics), physics.A_adjoint(y).shape
    if not isinstance(x_hat, Tensor):
        yield "shape", f"returns a {type(x_hat).__name__}, not a tensor"
        return
    if x_hat.shape != expected:
        yield "shape", f"x_hat has shape {tuple(x_hat.shape)}, the image has {tuple(expected)}"
    if x_hat.dtype != torch.float32:
        yield "dtype", f"x_hat is {x_hat.dtype}, not torch.float32"
    if not torch.isfinite(x_hat).all():
        yield "finite", "x_hat has values that are not finite"
    if x_hat.requires_grad:
        yield "grad", "x_hat requires a gradient under torch.no_grad()"


def _deviation(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    if not isinstance(method, HasDeviation):
        return
    y, physics = _measure(problem, [0, 1])
    torch.manual_seed(0)
    with torch.no_grad():
        x_hat, deviation = method.with_deviation(y, physics)
    again = _run(method, *_measure(problem, [0, 1]))
    yield from _close("with_deviation = forward", x_hat, again, 0.0)
    if deviation is None:
        return
    if deviation.shape != x_hat.shape or deviation.dtype != torch.float32:
        got = f"{deviation.dtype} of shape {tuple(deviation.shape)}"
        yield "deviation", f"it is {got}, x_hat has shape {tuple(x_hat.shape)}"
    if not bool((torch.isfinite(deviation) & (deviation >= 0)).all()):
        yield "deviation", "it has values that are negative or not finite"


def _batch(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    y, physics = _measure(problem, [0, 1, 2])
    together = _run(method, y, physics)
    single = torch.cat([_run(method, *_measure(problem, [n])) for n in range(3)])
    yield from _close("batch 1 = batch n", together, single, TOLERANCE[_uses_bf16(method)])


def _repeat(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    first, second = (_run(method, *_measure(problem, [0])) for _ in range(2))
    yield from _close("same twice", first, second, 0.0)


def _order(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    forward = [_run(method, *_measure(problem, [n])) for n in (0, 1)]
    backward = [_run(method, *_measure(problem, [n])) for n in (1, 0)][::-1]
    yield from _close("order of images", torch.cat(forward), torch.cat(backward), 0.0)


def _untouched(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    y, physics = _measure(problem, [0, 1])
    before = y.clone()
    state = {name: value.clone() for name, value in physics.state_dict().items()}
    _run(method, y, physics)
    if not torch.equal(y, before):
        yield "y untouched", "forward changed the measurement in place"
    for name, value in physics.state_dict().items():
        if name in state and not torch.equal(value, state[name]):
            yield "physics untouched", f"forward changed `physics.{name}`"


def _sizes(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    for sides in ((32, 48), (45, 37)):
        height, width = map(problem.fitting, sides)
        y, physics = _measure(problem, [0], height, width)
        got, expected = tuple(_run(method, y, physics).shape), (1, problem.channels, height, width)
        if got != expected:
            yield "two image sizes", f"x_hat has shape {got} for an image of {expected}"


def _weights(method: Method, make: Callable[[], Method], problem: Problem) -> Details:
    state = {name: value.clone() for name, value in method.state_dict().items()}
    # Another seed: what is drawn in the constructor and not stored would differ.
    torch.manual_seed(2)
    other = make().eval()
    other.load_state_dict(state)
    y, physics = _measure(problem, [0])
    first = _run(method, y, physics)
    second = _run(other, *_measure(problem, [0]))
    yield from _close("save -> load -> same output", first, second, 0.0)


def _fit(make: Callable[[], Method], problem: Problem, images: Images, steps: int) -> Details:
    method = make()
    keys: Mapping[str, Any] = {"steps": steps, "batch": 2, "patch": 24, "tune": 1, "evaluate": 1}
    train = TrainConfig(**{key: value for key, value in keys.items() if key in method.reads})
    before = copy.deepcopy(method.state_dict())
    method.fit(problem, images, train, ToySession())
    after = method.state_dict()
    if set(after) != set(before):
        yield "fit", "changed the names of the weights: register every buffer in the constructor"
    for name, value in after.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            yield "fit", f"left values that are not finite in `{name}`"
    method.eval()
    yield from ((f"after fit, {rule}", text) for rule, text in _shape(method, make, problem))


def _close(rule: str, first: Tensor, second: Tensor, tolerance: float) -> Details:
    if first.shape != second.shape:
        yield rule, f"shapes {tuple(first.shape)} and {tuple(second.shape)}"
        return
    difference = float((first - second).abs().max())
    if not difference <= tolerance:
        yield rule, f"differs by {difference:.2g}, more than {tolerance:g}"


def _uses_bf16(method: Method) -> bool:
    """Whether the method may compute in bfloat16: by its parameters or their precision."""
    if any(value.dtype == torch.bfloat16 for value in method.state_dict().values()):
        return True
    held = (each for each in method.modules() if isinstance(each, InferencePrecision))
    return any(each.wanted != "float32" for each in held)


class ToySession:
    """A session without a run folder: float32 on the CPU, nothing is kept."""

    def __init__(self, seed: int = 0) -> None:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import LightningEnvironment

        # Named, since Lightning warns where it finds SLURM installed.
        self.fabric: Fabric = Fabric(
            accelerator="cpu", devices=1, precision="32-true", plugins=[LightningEnvironment()]
        )
        self.seed = seed
        self.time_limit: TimeLimit | None = None
        self.lines: list[dict[str, float]] = []

    def log(self, step: int, total: int | None, **values: float) -> None:
        self.lines.append({"step": step, **values})

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def restore(self) -> None:
        return None

    def should_stop(self) -> bool:
        return False

    def load_weights(self, module: nn.Module, file: str, *, partly: bool = False) -> None:
        """The file is not at hand."""
