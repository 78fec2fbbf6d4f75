"""One training loop for every supervised method.

    min_theta  E loss(x_hat_theta(y), x),   y = A x + sigma n,   x a random patch

Adam (Kingma, Ba 2015) with a linear warm-up and a cosine decay (Loshchilov, Hutter 2017). Data
and learning rate are functions of the step alone: no loader and no scheduler has a state of its
own, so that a resumed run is the uninterrupted one, bit for bit on the same machine.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema import TrainConfig
from challenge.data.problem import Images, Problem, split_tune
from challenge.methods import checkpoints, patches
from challenge.methods.checkpoints import State
from challenge.methods.contract import Method, Session

READS = ("steps", "minutes", "batch", "patch", "lr", "tune", "evaluate", "precision")
"""The keys of the `train:` section that `supervised` reads, for `Method.reads`."""

WARM_UP = 50
"""Steps of rising learning rate. `minutes` become steps at their end, from their timing."""
UNTIMED = 5
"""First steps of a process, which are not timed: they allocate and choose kernels."""
LOG_EVERY = 10
BETAS = (0.9, 0.99)
"""Adam's. A memory of 100 steps, for runs that have a few hundred."""
CLIP, MEMORY = 2.0, 0.02
"""Gradients are clipped at CLIP times their running mean norm, whose memory is 1 / MEMORY steps."""

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error, a scalar: what PSNR measures."""
    return (x_hat - x).square().mean()


def supervised(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    loss: Loss = squared_error,
) -> None:
    """Train the parameters of `method` on simulated measurements of random patches.

    A `tune` part is held out of the images, and the weights left in `method` are the best by
    its PSNR, not the last. Asked to stop, the loop finishes the step, saves and returns with
    the last weights.

    Args:
        method: trained in place, moved to the session's device.
        problem: simulates the measurements.
        images: training images, two or more.
        train: budget, batch, learning rate.
        session: device and precision, log, checkpoints.
        loss: a scalar of (x_hat, x), both (B, C, H, W) without the border of a valid blur.

    Raises:
        UserError: too few images, patches below the kernel's size, a loss that is not finite.
    """
    _check(problem, images, train)
    _Loop(method, problem, images, train, session, loss).run()


def learning_rate(step: int, total: int | None, peak: float, warm_up: int) -> float:
    """The learning rate of step 0, 1, ..., total - 1.

    peak (step + 1) / warm_up during the warm-up, when `total` need not be known; afterwards
    peak (1 + cos(pi t)) / 2 with t from 0 to 1 at `total`.
    """
    if step < warm_up or total is None:
        return peak * min(1.0, (step + 1) / warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up)))


class _Loop:
    """One run of `supervised`; what changes is `state`, `best`, the weights and Adam."""

    def __init__(
        self,
        method: Method,
        problem: Problem,
        images: Images,
        train: TrainConfig,
        session: Session,
        loss: Loss,
    ) -> None:
        self.method, self.problem, self.settings = method, problem, train
        self.session, self.loss = session, loss
        self.images, self.tune = split_tune(images, train.tune, session.seed)
        self.border = patches.border(problem)
        self.warm_up = WARM_UP if train.steps is None else min(WARM_UP, -(-train.steps // 10))
        self.device = session.fabric.device
        # Fused: one pass over the weights in place of one per operation.
        fused = self.device.type in ("cpu", "cuda")
        self.adam = torch.optim.Adam(method.parameters(), lr=train.lr, betas=BETAS, fused=fused)
        self.model, self.optimiser = session.fabric.setup(method, self.adam)
        self.state = State(total=train.steps)
        self.best: dict[str, Tensor] = {}

    def run(self) -> None:
        stored = self.session.restore()
        if stored is None:
            _seed(self.session.seed)
            self.session.log(0, self.state.total, psnr=self.evaluate())
        else:
            self.state, self.best = checkpoints.unpack(*stored, self.method, self.adam)
        state, every = self.state, self.settings.evaluate
        untimed = state.step + UNTIMED
        steps, seconds = 0, 0.0
        while state.step != state.total:
            if self.session.should_stop():
                self.save()
                return
            began = time.perf_counter()
            values = self.step()
            took = time.perf_counter() - began
            state.seconds += took
            steps, seconds = steps + 1, seconds + took
            if state.total is None:
                self.budget(took, timed=state.step > untimed)
            due = state.step % every == 0 or state.step == state.total
            if due:
                values["psnr"] = self.evaluate()
            if due or state.step % LOG_EVERY == 0:
                values["images_per_s"] = steps * self.settings.batch / seconds
                self.session.log(state.step, state.total, **values)
                steps, seconds = 0, 0.0
            if due:
                self.save()
        self.method.load_state_dict(self.best)
        self.method.eval()

    def step(self) -> dict[str, float]:
        """One step of Adam; what to log of it."""
        step = self.state.step
        lr = learning_rate(step, self.state.total, self.settings.lr, self.warm_up)
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.method.train()
        x, y, physics = patches.batch(
            self.images, self.problem, self.settings, step, self.session.seed, self.device
        )
        x_hat = self.model(y, physics)
        error = self.loss(patches.inside(x_hat, self.border), patches.inside(x, self.border))
        value = error.item()
        self.must_be_finite("loss", value)
        self.session.fabric.backward(error)
        self.clip()
        self.optimiser.step()
        self.adam.zero_grad()
        self.state.step += 1
        return {"loss": value, "lr": lr}

    def clip(self) -> None:
        """Shorten a gradient that is much longer than usual, of which one can undo a run."""
        state = self.state
        limit = CLIP * state.norm if state.step else math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.method.parameters(), limit).item()
        self.must_be_finite("gradient", norm)
        norm = min(norm, limit)
        state.norm += (norm - state.norm) * (MEMORY if state.step else 1.0)

    def budget(self, took: float, *, timed: bool) -> None:
        """Turn minutes into steps at the end of the warm-up, or as soon as they are over."""
        state, whole = self.state, 60 * (self.settings.minutes or 0)
        if timed:
            state.timed_steps += 1
            state.timed_seconds += took
        if state.step < WARM_UP and state.seconds < whole:
            return
        step = state.timed_seconds / state.timed_steps if state.timed_steps else took
        step += state.evaluation_seconds / self.settings.evaluate
        left = whole - state.seconds - state.evaluation_seconds
        state.total = state.step + max(0, int(left / step))

    @torch.no_grad()
    def evaluate(self) -> float:
        """Mean PSNR over the tune part in dB; the method runs as in the judge, one by one."""
        began = time.perf_counter()
        self.method.eval()
        total = 0.0
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            for index in range(len(self.tune)):
                x, y, physics = patches.tune_batch(self.tune, self.problem, index, self.device)
                torch.manual_seed(0)
                x_hat = self.method(y, physics).clamp(0, 1)
                error = patches.inside(x_hat, self.border) - patches.inside(x, self.border)
                mse = error.double().square().mean().item()
                self.must_be_finite("tune error", mse)
                total += -10 * math.log10(max(mse, 1e-10))
        psnr, state = total / len(self.tune), self.state
        if psnr > state.best:
            state.best, state.best_step = psnr, state.step
            self.best = {name: value.clone() for name, value in self.method.state_dict().items()}
        state.evaluation_seconds = time.perf_counter() - began
        state.seconds += state.evaluation_seconds
        return psnr

    def save(self) -> None:
        self.session.save(*checkpoints.pack(self.state, self.method, self.best, self.adam))

    def must_be_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            lr = self.adam.param_groups[0]["lr"]
            raise UserError.of(
                f"step {self.state.step}",
                f"the {what} is `{value}` at learning rate `{lr:.3g}`; the last checkpoint is kept",
                f"train again with a smaller one, such as `train.lr={self.settings.lr / 3:.1g}`",
            )


def _seed(seed: int) -> None:
    """Seed what a method may draw from while it trains, such as dropout."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _check(problem: Problem, images: Images, train: TrainConfig) -> None:
    if train.steps is None and train.minutes is None:
        raise UserError.of(
            "`train:`", "says neither `steps` nor `minutes`", "add one, such as `train.minutes=10`"
        )
    if len(images) < 2:
        raise UserError.of(
            "training images",
            f"there is {len(images)}, and one is held out",
            "prepare the challenge with two or more",
        )
    side = problem.kernels.shape[-1]
    if problem.boundary != "valid" and train.patch < side:
        raise UserError.of(
            "`train.patch`",
            f"patches of `{train.patch}` pixels are smaller than the kernel of `{side}`",
            f"give `train.patch={max(2 * side, 64)}` or more",
        )
