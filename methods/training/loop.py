"""One training loop for every supervised method.

    min_theta  E loss(x_hat_theta(y), x),   y = A x + noise,   x a random patch

Data, learning rate and random numbers are functions of the step alone: no loader, scheduler or
generator has a state of its own, so that a resumed run is the uninterrupted one, bit for bit on
the same machine. Several processes share each batch; their gradients are averaged, which is
the gradient of the whole batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing

from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Session
from challenge.methods.training import (
    budget,
    checkpoints,
    evaluation,
    guards,
    optimisers,
    outputs,
    patches,
    schedules,
)
from challenge.methods.training.evaluation import Estimate
from challenge.methods.training.guards import Diverged
from challenge.methods.training.losses import LOSSES
from challenge.methods.training.objective import Loss, Objective, Output
from challenge.methods.training.processes import Processes
from challenge.methods.training.state import State

READS = tuple(TrainConfig.model_fields)
"""The keys of the `train:` section that `supervised` reads, for `Method.reads`."""

LOG_EVERY = 10
Observe = Callable[[], dict[str, float]]


def supervised(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    loss: Loss | None = None,
    output: Output | None = None,
    observe: Observe | None = None,
    estimate: Estimate | None = None,
) -> int:
    """Train the parameters of `method` on simulated measurements of random patches.

    A `tune` part is held out of the images, and the weights left in `method` are the best by
    its PSNR, not the last. Asked to stop, the loop finishes the step, saves and returns with
    the last weights. A checkpoint may be continued with another budget: the steps that are done
    are part of it, and the learning rate is what the schedule of the new length has next.

    Args:
        method: trained in place, moved to the session's device.
        problem: simulates the measurements.
        images: training images, two or more.
        train: budget, batch, loss, optimiser, schedule.
        session: device, precision and processes, log, checkpoints.
        loss: a scalar of (output, x), both without the pixels that the metric leaves out; by
            default the one that `train.loss` names.
        output: what of the method the loss is given, of (y, physics), in place of x_hat.
        observe: called after each step, what else to log of it.
        estimate: what of the method is evaluated on the tune part, of (method, y, physics), in
            place of its `forward`.

    Returns:
        The steps done, those before a resumption included.

    Raises:
        UserError: too few images, patches below the kernel's size, shares that are not equal,
            no memory left, nothing to train, a `forward` that gives no images.
        Diverged: a loss that is not finite.
    """
    if output is None and loss is None and train.loss == "cross_entropy":
        raise UserError.of(
            "`train.loss`", "`cross_entropy` needs logits, which this method has not", "give `l1`"
        )
    guards.check(method, problem, images, train, session)
    with guards.enough_memory(train):
        loss = loss or LOSSES[train.loss]
        observe = observe or dict
        loop = _Loop(method, problem, images, train, session, loss, output, observe, estimate)
        loop.run()
        return loop.state.step


class _Loop:
    """One run of `supervised`; what changes is `state`, `best`, the weights and the optimiser."""

    def __init__(
        self,
        method: Method,
        problem: Problem,
        images: Images,
        train: TrainConfig,
        session: Session,
        loss: Loss,
        output: Output | None,
        observe: Observe,
        estimate: Estimate | None,
    ) -> None:
        self.method, self.problem, self.settings, self.session = method, problem, train, session
        self.observe, self.estimate = observe, estimate
        self.images, self.tune = split_tune(images, train.tune, session.seed)
        fabric = self.fabric = session.fabric
        self.device, self.processes = fabric.device, Processes(fabric)
        self.share = patches.Share(
            self.images, problem, train, session.seed, self.processes.rank, self.processes.count
        )
        objective: nn.Module = Objective(method, loss, output, problem)
        if self.processes.count > 1 and self.device.type == "cuda":
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
        method.to(self.device)
        # Gradients, as in fp16: by the session, since not every method reads `train.precision`.
        self.scaled = getattr(session.fabric.strategy.precision, "scaler", None) is not None
        self.optimiser = optimisers.build(method, train, scaled=self.scaled)
        self.model, self.stepper = fabric.setup(objective, self.optimiser)
        self.mean = optimisers.running_mean(method, train.ema) if train.ema else None
        self.state = State(total=train.steps, steps=train.steps, minutes=train.minutes)
        self.saved = False
        self.best: dict[str, Tensor] = {}

    @property
    def kept(self) -> Method:
        """The method that is evaluated and kept: with the running mean of the weights, if any."""
        if self.mean is None:
            return self.method
        averaged: Method = self.mean.module  # type: ignore[assignment]
        return averaged

    def run(self) -> None:
        # Before the first timed step: later ones find their images decoded.
        self.images.load()
        stored = self.session.restore()
        if stored is None:
            self.session.log(0, self.state.total, **self.evaluate())
        else:
            self.state, self.best = checkpoints.unpack(
                *stored, self.method, self.mean, self.optimiser, self.fabric
            )
            self.saved = True
            if self.state.extend(self.settings):
                self.extended()
        workers = patches.workers(self.device, self.processes.here)
        with closing(patches.Ahead(self.share, self.device, workers)) as ahead:
            done = self.steps(ahead)
        if done:
            self.method.load_state_dict(self.best)
            self.method.eval()

    def extended(self) -> None:
        """Begin another budget than that of the checkpoint."""
        state = self.state
        if state.total is None and state.timed_steps and budget.due(state, self.settings):
            self.budget(0.0, timed=False)
        # It ends here: the last weights may be the best.
        if state.step == state.total and state.step % self.settings.evaluate:
            self.session.log(state.step, state.total, **self.evaluate())

    def steps(self, ahead: patches.Ahead) -> bool:
        """Step until the end; whether it was reached."""
        state, every = self.state, self.settings.evaluate
        untimed = state.step + budget.UNTIMED
        count, seconds, waited = 0, 0.0, 0.0
        while state.total is None or state.step < state.total:
            if self.session.should_stop():
                self.save()
                return False
            began = time.perf_counter()
            batch = ahead.get(state.step)
            waited += time.perf_counter() - began
            values = self.step(batch)
            took = time.perf_counter() - began
            state.seconds += took
            count, seconds = count + 1, seconds + took
            if state.total is None:
                self.budget(took, timed=state.step > untimed)
            due = state.step % every == 0 or state.step == state.total
            if due:
                values |= self.evaluate()
                state.adapt(self.settings)
            if due or state.step % LOG_EVERY == 0:
                values["loss"] = sum(state.losses) / len(state.losses)
                values["images_per_s"] = count * self.settings.batch / seconds
                values["utilisation"] = 1 - waited / seconds
                self.session.log(state.step, state.total, **values)
                count, seconds, waited = 0, 0.0, 0.0
                state.losses = []
            if due:
                self.save()
        return True

    def step(self, batch: patches.Batch) -> dict[str, float]:
        """One step of the optimiser; what to log of it."""
        state, settings = self.state, self.settings
        lr = settings.lr * schedules.factor(settings, state.step, state.total, state.drops)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.processes.seed(self.session.seed, state.step)
        for each in {self.method, self.kept}:
            each.advance(state.step, state.total)
        self.method.train()
        error = self.model(*batch)
        if not error.requires_grad:
            raise UserError.of(
                outputs.place(self.method),
                "its estimate does not depend on the parameters by autograd",
                "leave `detach`, `torch.no_grad` and numpy out of it",
            )
        # A copy: the processes' mean is taken in place, and backward may need the loss.
        value = self.processes.mean(error.detach().clone()).item()
        self.must_be_finite("loss", value)
        state.losses.append(value)
        self.fabric.backward(error)
        optimisers.fill_gradients(self.method)
        norm = optimisers.clip(self.fabric, self.model, self.stepper, state, settings)
        if not self.scaled:  # whose scaler leaves this step out and lowers its scale
            self.must_be_finite("gradient", norm)
        self.stepper.step()
        self.optimiser.zero_grad()
        state.step += 1
        if self.mean is not None:
            self.mean.update_parameters(self.method)
        return {"lr": lr, "gradient": norm, **self.observe()}

    def budget(self, took: float, *, timed: bool) -> None:
        """Turn minutes into steps as soon as it is due."""
        if timed:
            budget.note(self.state, self.method.effort, took)
        if self.processes.any(budget.due(self.state, self.settings)):
            total = budget.steps(self.state, self.settings, self.method.effort, took)
            self.state.total = self.fabric.broadcast(total)

    def evaluate(self) -> dict[str, float]:
        """Mean PSNR in dB and SSIM over the tune part, one by one as in the judge."""
        began = time.perf_counter()
        state, kept = self.state, self.kept
        kept.eval()
        mine = range(self.processes.rank, len(self.tune), self.processes.count)
        total = evaluation.sums(kept, self.tune, self.problem, self.device, mine, self.estimate)
        psnr, ssim = (self.processes.mean(total) * self.processes.count / len(self.tune)).tolist()
        self.must_be_finite("tune PSNR", psnr)
        if state.compare(psnr):
            self.best = {name: value.clone() for name, value in kept.state_dict().items()}
        state.evaluation_seconds = time.perf_counter() - began
        state.seconds += state.evaluation_seconds
        return {"psnr": psnr, "ssim": ssim}

    def save(self) -> None:
        self.saved = True
        packed = checkpoints.pack(
            self.state, self.method, self.mean, self.best, self.optimiser, self.fabric
        )
        self.session.save(*packed)

    def must_be_finite(self, what: str, value: float) -> None:
        """Raise `Diverged` where it is not, with the best weights in the method."""
        if math.isfinite(value):
            return
        if self.saved:
            self.method.load_state_dict(self.best)
        kept = self.state.best_step if self.saved else None
        lr = self.optimiser.param_groups[0]["lr"]
        raise Diverged.at(self.state.step, what, value, lr, self.settings.lr, kept)
