"""The weights of any method, adapted to the one measurement that it is given.

    theta_0 = the trained weights,   theta_{t+1} = theta_t - lr Adam(grad L(theta_t))
    x_hat = F(y; theta_s),   s = argmin_t  D_t + margin SE(D_t),   D_0 = 0
    D_t = ||A F(y_1; theta_t) - y_2||^2 - ||A F(y_1; theta_0) - y_2||^2   (means over numbers)

y_1 and y_2 are independent measurements made of y (`training/recorruption.py`). Everything that is
descended on is made of y_1, so D_t is an unbiased estimate of the difference of the squared errors
of A F(y_1), with a standard error SE that follows from the noise; theta_0 stays unless another one
is better by `margin` of them. The loss is

    recorruption    ||A F(y_11; theta) - y_12||^2,   y_11 and y_12 made of y_1, anew in every step
    sure            Stein's unbiased estimate of ||A F(y_1; theta) - A x||^2   (`training/sure.py`)

Of an `ensemble` the method inside is adapted, in one position, and x_hat is the mean over all
positions with the weights that were chosen.

No truth and no other image enter, and the next measurement finds theta_0 again. Pang, Zheng, Quan,
Ji 2021 (recorruption); Soltanayev, Chun 2018 (SURE as a loss); Mohan, Vincent, Manzorro, Crozier,
Simoncelli, Fernandez-Granda 2021 (adapting a trained network); Oliveira, Lei, Tibshirani 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.func import functional_call

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.end_to_end.ensemble import Ensemble
from challenge.methods.parts import Wrapped
from challenge.methods.training.allowance import Seconds, allowed, seconds_a_pass
from challenge.methods.training.chosen_weights import Which, chosen
from challenge.methods.training.recorruption import A2, levels, noise_variance, noisier, split
from challenge.methods.training.sure import sure
from challenge.methods.transforms.structure import alone, measured_share

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

EVERY = 3
"""Steps between two looks at D_t, the last one included."""
Parameters = dict[str, Tensor]


class Adapt(Method):
    """A method whose weights are adapted to the one measurement, where that is sure to be a gain.

        x_hat = F(y; theta_s),   s = argmin_t D_t + margin SE(D_t),   D_0 = 0

    theta_t are the weights after t steps down a loss of the measurement alone, D_t is the estimated
    difference of squared errors on data that were not descended on. Pang, Zheng, Quan, Ji,
    Recorrupted-to-Recorrupted, 2021; Soltanayev, Chun, Training deep learning based denoisers
    without ground truth data, 2018; Mohan et al., Adaptive denoising via GainTuning, 2021.
    """

    steps_found: Tensor

    def __init__(
        self,
        *,
        of: Wrapped,
        loss: Literal["recorruption", "sure"] = "recorruption",
        weights: Which = "all",
        steps: Annotated[int, Ge(0), Le(1000)] = 15,
        lr: Annotated[float, Gt(0), Le(1)] = 1e-4,
        directions: Annotated[int, Ge(1), Le(100)] = 1,
        average: Annotated[float, Ge(0), Lt(1)] = 0.0,
        margin: Annotated[float, Ge(0), Le(100)] = 3.0,
        seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0,
        seconds: Seconds = "auto",
    ) -> None:
        """Take the method and the knobs.

        Args:
            of: the method that is adapted, a run, an entry or `baseline/unrolled`; its weights
                become part of this method's. Of an `ensemble`, the method that it averages.
            loss: what is descended on: measurements with more noise against the rest of the
                noise, or Stein's estimate of the error, for two passes a step in place of one.
            weights: which of them are adapted: all, the numbers outside of layers (step sizes,
                noise levels), the biases and those numbers, or the last layer of every network.
            steps: of Adam on an image, at most; 0: the method as it is.
            lr: of Adam.
            directions: random numbers whose losses are averaged in a step, each at the cost of one.
            average: decay of the mean of the weights over the steps, which is what is looked at; 0:
                the weights themselves.
            margin: standard errors by which the estimated error must have fallen.
            seed: of the random numbers; it, step and image shape alone decide them.
            seconds: that an image may take, by a timed step; auto: 40 % of what the judge leaves
                it, or all `steps` where nothing says how much.

        Raises:
            UserError: the method has no such weights.
        """
        super().__init__()
        self.of = of.requires_grad_(False)
        self.prefix = "of." if isinstance(of, Ensemble) else ""
        self.loss, self.weights, self.steps, self.lr = loss, weights, steps, lr
        self.directions, self.average, self.margin = directions, average, margin
        self.seed, self.seconds = seed, seconds
        self.chosen = chosen(self.inner, weights)
        if not self.chosen:
            kind, learns = type(self.inner).__name__, "give `method.of` one that learns"
            if weights == "all":
                raise UserError.of("`method.of`", f"`{kind}` has no weights to adapt", learns)
            raise UserError.of(
                "`method.weights`",
                f"is `{weights}`, and `{kind}` has none",
                f"{learns}, or `method.weights=all`",
            )
        self.takes_grey = of.takes_grey
        if hasattr(of, "channels"):
            self.channels = of.channels
        self.register_buffer("steps_found", torch.tensor(steps))

    @property
    def inner(self) -> Method:
        """The method whose weights are adapted."""
        inner: Method = self.of.of if isinstance(self.of, Ensemble) else self.of
        return inner

    def train(self, mode: bool = True) -> Adapt:
        """As of every module, but the method computes as at inference."""
        super().train(mode)
        self.of.eval()
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: the method cannot be differentiated.
        """
        if not int(self.steps_found):
            plain: Tensor = self.of(y, physics)
            return plain
        # One by one: what is learned of one image must not enter another.
        found = [
            self._one(y[index : index + 1], alone(physics, index, len(y)))
            for index in range(len(y))
        ]
        return torch.cat(found)

    def _one(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        theta, _ = self.adapted(y, physics)
        weights = {f"{self.prefix}{name}": value for name, value in (theta or {}).items()}
        found: Tensor = functional_call(self.of, weights, (y, physics)).detach()
        return found

    def adapted(self, y: Tensor, physics: LinearPhysics) -> tuple[Parameters | None, list[Look]]:
        """The weights for one measurement, None where they stay, and every look that was taken.

        Args:
            y: of one image, shape (1, C, H', W').
            physics: the operator of this image.
        """
        best, bound, looks = None, 0.0, list[Look]()
        for each, theta in self.path(y, physics):
            looks.append(each)
            if each.above(self.margin) < bound:
                best, bound = theta, each.above(self.margin)
        return best, looks

    def path(self, y: Tensor, physics: LinearPhysics) -> Iterator[tuple[Look, Parameters]]:
        """Yield D_t and a copy of theta_t wherever there is a look, t = 0 first.

        Args:
            y: of one image, shape (1, C, H', W').
            physics: the operator of this image.
        """
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            clean = physics.A(self._call(None, y, physics))
        y_1, y_2 = split(y, physics, clean, generator)
        noise_1 = noisier(physics)
        seen_2 = _seen(y_2, physics)
        variance = (1 + 1 / A2) * _seen(noise_variance(physics.noise_model, clean), physics)
        theta = {
            name: self.inner.get_parameter(name).detach().clone().requires_grad_(True)
            for name in self.chosen
        }
        mean = {name: value.detach().clone() for name, value in theta.items()}
        descent = torch.optim.Adam(theta.values(), lr=self.lr)
        first = None
        total = int(self.steps_found)
        for step in range(total + 1):
            try:
                if step % EVERY == 0 or step == total:
                    made = self._made(mean, y_1, noise_1)
                    first = made if first is None else first
                    copy = {name: value.clone() for name, value in mean.items()}
                    yield look(step, made, first, seen_2, variance), copy
                if step < total:
                    self._descend(theta, descent, y_1, noise_1, clean, generator)
            except UserError:
                if not step:
                    raise
                break  # these weights diverge; the best until then do not
            for name, value in mean.items():
                value.lerp_(theta[name].detach(), 1 - self.average)

    @torch.no_grad()
    def _made(self, theta: Parameters, y_1: Tensor, noise_1: LinearPhysics) -> Tensor:
        """A F(y_1; theta), the numbers that are measured, float64."""
        return _seen(noise_1.A(self._call(theta, y_1, noise_1)), noise_1)

    def _descend(
        self,
        theta: Parameters,
        descent: torch.optim.Optimizer,
        y_1: Tensor,
        noise_1: LinearPhysics,
        clean: Tensor,
        generator: torch.Generator,
    ) -> None:
        """One step."""
        descent.zero_grad()
        for _ in range(self.directions):
            with torch.enable_grad():
                if self.loss == "sure":
                    loss = self._sure(theta, y_1, noise_1, generator)
                else:
                    loss = self._recorrupted(theta, y_1, noise_1, clean, generator)
                if not loss.requires_grad:
                    raise UserError.of(
                        "`method.of`",
                        f"`{type(self.inner).__name__}` cannot be differentiated in these weights",
                        "give one that is a network, such as `baseline/unrolled`",
                    )
                (loss / self.directions).backward()  # type: ignore[no-untyped-call]
        descent.step()

    def _recorrupted(
        self,
        theta: Parameters,
        y_1: Tensor,
        noise_1: LinearPhysics,
        clean: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """The loss `recorruption`."""
        y_11, y_12 = split(y_1, noise_1, clean, generator)
        noise_11 = noisier(noise_1)
        away: Tensor = noise_11.A(self._call(theta, y_11, noise_11)) - y_12
        return away.square().mean()

    def _sure(
        self,
        theta: Parameters,
        y_1: Tensor,
        noise_1: LinearPhysics,
        generator: torch.Generator,
    ) -> Tensor:
        """The loss `sure`."""
        signs = torch.randint(2, y_1.shape, generator=generator).to(y_1) * 2 - 1
        signs = signs * measured_share(noise_1)
        gain, sigma = levels(noise_1.noise_model, y_1)

        def f(y: Tensor) -> Tensor:
            found: Tensor = noise_1.A(self._call(theta, y, noise_1))
            return found

        return sure(f, y_1, gain, sigma, signs).sum()

    def _call(self, theta: Parameters | None, y: Tensor, physics: LinearPhysics) -> Tensor:
        """F(y; theta). Its own weights stand in the module again afterwards, whatever happens."""
        if theta is None:
            found: Tensor = self.inner(y, physics)
        else:
            found = functional_call(self.inner, theta, (y, physics))
        return found

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn how many steps the time suffices for.

        Raises:
            UserError: not even for one.
        """
        self.steps_found.fill_(self.steps)
        seconds = allowed(self.seconds, session.time_limit)
        if seconds is None or not self.steps:
            return
        self.eval()
        own = {name: self.inner.get_parameter(name).detach().clone() for name in self.chosen}

        def step(y: Tensor, physics: LinearPhysics) -> Callable[[], object]:
            theta = {name: value.clone().requires_grad_(True) for name, value in own.items()}
            descent = torch.optim.Adam(theta.values(), lr=0.0)
            generator = torch.Generator().manual_seed(self.seed)
            clean = y
            return lambda: self._descend(theta, descent, y, physics, clean, generator)

        def a_pass(y: Tensor, physics: LinearPhysics) -> Callable[[], object]:
            return lambda: self.inner(y, physics)

        def last(y: Tensor, physics: LinearPhysics) -> Callable[[], object]:
            return lambda: self.of(y, physics)

        limit = session.time_limit
        one_step, one_pass, the_last = (
            seconds_a_pass(each, problem, images, limit) for each in (step, a_pass, last)
        )
        found = steps_within(seconds, one_step, one_pass, the_last)
        self.steps_found.fill_(min(self.steps, found))
        session.log(0, 0, steps=int(self.steps_found), seconds_a_step=one_step)


class Look(NamedTuple):
    """D_t of one set of weights."""

    step: int
    difference: float
    error: float
    """Its standard deviation: that of the noise of y_2, nothing else being random."""

    def above(self, margin: float) -> float:
        """What the difference is below, with some standard errors to spare."""
        return self.difference + margin * self.error


def look(step: int, f: Tensor, first: Tensor, y_2: Tensor, variance: Tensor) -> Look:
    """D_t = mean (f - y_2)^2 - (f_0 - y_2)^2, whose noise is that of -2 <f - f_0, y_2> / n.

    Args:
        step: t.
        f: A F(y_1; theta_t), the n numbers that are measured.
        first: the same of theta_0.
        y_2: the independent measurement.
        variance: of its noise.
    """
    away, change = f - y_2, f - first
    difference = (change * (2 * away - change)).mean()
    error = 2 * (variance * change.square()).sum().sqrt() / len(change)
    return Look(step, float(difference), float(error))


def _seen(values: Tensor, physics: LinearPhysics) -> Tensor:
    """Those of the numbers (1, C, H', W') that are measured, in a row, float64."""
    share = torch.as_tensor(measured_share(physics), device=values.device)
    return values[share.expand_as(values) > 0].double()


def steps_within(seconds: float, a_step: float, a_pass: float, last: float) -> int:
    """How many steps take at most so many seconds, with the first estimate, the last and the looks.

    Args:
        seconds: that an image may take.
        a_step: seconds of a step.
        a_pass: seconds of an estimate.
        last: seconds of the last estimate, which is that of an `ensemble` where there is one.

    Raises:
        UserError: not even one.
    """
    left = seconds - 3 * a_pass - last
    found = int(left / (a_step + a_pass / EVERY) + 1e-6)
    if found < 1:
        raise UserError.of(
            "`method.of`",
            f"takes {last:.3g} s an image and {a_step:.3g} s a step, and there are {seconds:.3g} s",
            "pack it by itself, make it smaller, or adapt fewer `method.directions`",
        )
    return found
