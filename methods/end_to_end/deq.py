"""Deep equilibrium: the fixed point of one learned step, found to a tolerance in place of a depth.

    x* = T(x*),   T(x) = D(G(q x + (1 - q) x_0)),   D(z) = z + N([z, x_0, sigma])

G is the data step of `hqs` or `pgd` (their equations open `data_step.py`), x_0 the Wiener estimate,
from which the iteration starts. N is 0 before training, and then x* = x_0. What N changes in a step
comes back in the next one, and x* moves by up to 1 / (1 - q) of it: without the share 1 - q of x_0
that were up to 80, at frequencies that a blur takes away, and nothing could be learned.

Forward, x <- T(x) is iterated, by Anderson acceleration or plainly, until of every image

    ||T(x) - x|| <= tolerance ||x||.

Backward, the implicit function theorem: for a loss l with gradient v at x*,

    p = (dT/dx)^T p + v,   dl/dtheta = (dT/dtheta)^T p        (`implicit`)
    p = v                                                      (`jacobian_free`)

one linear system in place of the way back through all iterations, of which nothing is kept: memory
is that of one step. Its solution is that of the system only as far as x* is a fixed point; the
residuals of both ways are in the log.

q is learned with the rest, and nothing makes T contract, unless `contraction` does: it fixes q and
makes D nonexpansive, and then, where G is so,

    ||T(x) - T(z)|| <= q ||x - z||:

there is one fixed point, and ||x_k - x*|| <= q^k / (1 - q) ||x_1 - x_0|| (Banach). G is so where it
has a closed form: of circular blurs and of denoising, and of `hqs` downsampled and of `mri`. Else
it is solved by at most 20 conjugate gradients, or its step rests on a norm that is known from
below, and T contracts up to that error: nothing is certified then, nor in bfloat16.

Of complex images (`phase`), D(z) = p (1 + N)(z conj(p), x_0 conj(p)), p the smooth phase of x_0:
x* turns with all phases of a measurement (`transforms/smooth_phase.py`).

With `start`, D begins as a denoiser, called at the level l = a sigma^b with learned a and b, q is
1, G has no W, and x* begins as that of plug-and-play with a fixed level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.end_to_end.data_step import Algorithm, DataStep
from challenge.methods.end_to_end.dynamics import Equilibrium, check_found, check_tolerance
from challenge.methods.networks import lipschitz
from challenge.methods.networks.architectures import Net
from challenge.methods.parts import Start
from challenge.methods.plug_and_play.denoisers import Denoiser
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.fixed_point import fixed_point
from challenge.methods.solvers.implicit import Adjoint, Mode, Report, fixed
from challenge.methods.solvers.solution import Solution
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision, share_precision
from challenge.methods.transforms import smooth_phase

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

MEMORY = {"anderson": 5, "plain": 1}
"""Iterates that the next one is made of."""
DAMPING = 1e-6
"""Of Anderson's least squares: in float32, less lets rounding decide."""
CONJUGATE_GRADIENTS = 20
"""Of a data step without a closed form, at most."""
ADJOINT_TOLERANCE, ADJOINT_ITERATIONS = 1e-2, 30
"""Where the knobs say nothing."""
FIRST_LEVEL = {"hqs": 3.0, "pgd": math.sqrt(0.5)}
"""l / sigma before training, where the step of pgd is 1; those of `pnp`."""
SHARE = 0.8
"""q before training."""
WIDTH, BLOCKS, SHUFFLE = 32, 5, 2
"""Of a nonexpansive network, where `net` says nothing else."""


class DEQ(Method):
    """Deep equilibrium reconstruction: the fixed point of a learned proximal step.

        x* = D(G(q x* + (1 - q) x_0)),   G(x) = (A^T A + W + r)^-1 (A^T y + r x)   (hqs)

    Also `pgd`; its equation opens `data_step.py`. x_0 is the Wiener estimate. As many steps as an
    image needs, trained by implicit differentiation with the memory of one. The operator is the
    one given at inference. Bai, Kolter, Koltun, Deep Equilibrium Models, 2019; Gilton, Ongie,
    Willett, Deep Equilibrium Architectures for Inverse Problems in Imaging, 2021; Fung, Heaton, Li,
    McKenzie, Osher, Yin, JFB, 2022 (`jacobian_free`).
    """

    reads = tuple(key for key in READS if key != "precision")
    """The fixed point and its gradient are in float32."""
    variants: ClassVar[Mapping[str, Sequence[str]]] = {"algorithm": ("pgd", "hqs")}

    def __init__(
        self,
        *,
        algorithm: Algorithm = "hqs",
        solver: Literal["anderson", "plain"] = "anderson",
        tolerance: Annotated[float, Gt(0), Lt(1)] = 1e-3,
        iterations: Annotated[int, Ge(1), Le(10000)] = 50,
        anytime: bool = True,
        gradient: Mode = "implicit",
        adjoint_tolerance: Annotated[float, Gt(0), Lt(1)] | None = None,
        adjoint_iterations: Annotated[int, Ge(1), Le(10000)] | None = None,
        contraction: Annotated[float, Gt(0), Lt(1)] | None = None,
        phase: bool | None = None,
        net: Net = Net(),
        start: Start = None,
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "float32",
    ) -> None:
        """Build the network.

        Args:
            algorithm: whose step is learned.
            solver: how the fixed point is found, by Anderson acceleration or by the plain
                iteration.
            tolerance: an image is finished when a step changes it by less, relative to its norm.
            iterations: of the way forward, at most.
            anytime: where the tolerance is not reached by then, the estimate of the least residual
                is taken; else that is an error.
            gradient: `implicit` solves the adjoint system; `jacobian_free` takes the derivative of
                the last step alone, which costs a third and is biased.
            adjoint_tolerance: relative residual of the adjoint system (implicit); 1e-2 where null.
            adjoint_iterations: of that system, at most (implicit); 30 where null.
            contraction: a number q below 1 by which every step contracts, with a nonexpansive D of
                `net.width`, `net.depth` and `net.shuffle`; certified where the data step has a
                closed form; null: nothing makes it contract.
            phase: the network sees complex images turned by their smooth phase; null: where images
                are complex.
            net: the network N.
            start: what D begins as, in place of a network `net`: a denoiser's run, such as
                `runs/denoising/drunet`, or an entry.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of the network at inference; a step that is rounded to bf16 is repeated up to
                about 4e-3 only.

        Raises:
            UserError: knobs of which one is not read beside the others, or a step that would be
                another map at every call.
        """
        super().__init__()
        _check_knobs(start, net, contraction)
        _check_gradient(gradient, adjoint_tolerance, adjoint_iterations)
        self.turned = smooth_phase.seen(phase, channels)
        # In a list: its weights are copied, and not learned beside the copy.
        self._start = [start] if start is not None else []
        self.algorithm: Algorithm = algorithm
        self.memory, self.tolerance, self.iterations = MEMORY[solver], tolerance, iterations
        self.anytime, self.contraction, self.channels = anytime, contraction, channels
        self.design = net
        self.adjoint = Adjoint(
            gradient,
            adjoint_tolerance or ADJOINT_TOLERANCE,
            adjoint_iterations or ADJOINT_ITERATIONS,
            strict=False,
        )
        self.wiener = WienerFilter()
        self.net = self._build()
        self.data_step = DataStep(algorithm, plain=start is not None)
        self.compute = InferencePrecision(precision)
        if start is None and contraction is None:
            self.share = nn.Parameter(torch.tensor(SHARE).logit())
        if start is not None:
            share_precision(self.net, self.compute)
            self.log_level = nn.Parameter(torch.tensor(math.log(FIRST_LEVEL[algorithm])))
            self.slope = nn.Parameter(torch.ones(()))
        self.report = Report()
        self.found: dict[str, float] = {}

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, no fixed point, a tolerance that was not met
                (unless `anytime`) or cannot be.
        """
        return self.solve(y, physics).x

    def solve(self, y: Tensor, physics: LinearPhysics, start: Tensor | None = None) -> Solution:
        """The fixed point, attached to the graph of the weights, and how well it was found.

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            start: where the iteration begins, shape (B, C, H, W); by default x_0.

        Raises:
            UserError: see `forward`.
        """
        check_measurement(self.channels, y)
        check_tolerance(self.tolerance, y.dtype)
        # In bfloat16 a step is rounded by more than any tolerance is worth.
        with torch.autocast(y.device.type, enabled=False), lipschitz.held_kernels(self.net):
            step, x_0, _ = self._step(y, physics)
            with torch.no_grad():
                found = fixed_point(
                    step,
                    x_0 if start is None else start,
                    tolerance=self.tolerance,
                    iterations=self.iterations,
                    memory=self.memory,
                    regularisation=DAMPING if y.dtype == torch.float32 else 1e-12,
                )
            check_found(
                found,
                self.tolerance,
                anytime=self.anytime or self.training,
                remedy=self._remedy(),
            )
            if not torch.is_grad_enabled():
                return found
            self.report = Report()
            self.found = {
                "forward_residual": float(found.residual.max()),
                "forward_steps": found.iterations,
            }
            x = fixed(step, found.x, self.adjoint, memory=self.memory, report=self.report)
            return found._replace(x=x)

    def estimates(self, y: Tensor, physics: LinearPhysics) -> Iterator[Tensor]:
        """Yield x_0, T(x_0), T(T(x_0)), ... without end, each of shape (B, C, H, W)."""
        check_measurement(self.channels, y)
        step, x, _ = self._step(y, physics)
        while True:
            yield x
            x = step(x)

    def equilibrium(self, y: Tensor, physics: LinearPhysics) -> Equilibrium:
        """T and its parts; see `dynamics.HasEquilibrium`."""
        step, x_0, data = self._step(y, physics)
        level = data.sigma if not self._start else self.level(data)
        certified = self.data_step.is_closed(data) and not self.compute.rounds(y.device)
        return Equilibrium(
            f"deq {self.algorithm}",
            step,
            self._denoiser(x_0, data),
            float(level.mean()),
            x_0,
            self.contraction if certified else None,
        )

    def denoise(self, z: Tensor, x_0: Tensor, data: DataTerm) -> Tensor:
        """D(z), shape (B, C, H, W), of images as the network sees them: turned, where that is so.

        Args:
            z: what the data step made, shape (B, C, H, W).
            x_0: the Wiener estimate, of that shape.
            data: whose noise level D is told.
        """
        if self._start:
            denoiser: Denoiser = self.net  # type: ignore[assignment]
            return denoiser.denoise(z, self.level(data))
        if self.contraction is not None:
            with self.compute.context(z.device):
                found: Tensor = self.net(z, data.sigma)
            return found.to(z.dtype)
        sigma = data.sigma.expand(len(z), 1, *z.shape[-2:])
        change: Tensor = self.compute(self.net, torch.cat([z, x_0, sigma], dim=1))
        return z + change

    def level(self, data: DataTerm) -> Tensor:
        """l, at which a denoiser is called, shape (1 | B, 1, 1, 1)."""
        level = (self.log_level + self.slope * data.sigma.log()).exp()
        return level if self.algorithm == "hqs" else level * data.curvature.rsqrt()

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then everything else from its seeded start."""
        check_problem(self.channels, problem)
        self.wiener.learn(images)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.net,
            build=self._build,
            precision=self.compute,
            observe=self.observe,
        )

    def observe(self) -> dict[str, float]:
        """Residuals and iterations of both ways of the last training step, for the log."""
        if self.report.residual is None:
            return self.found
        residual = float(self.report.residual.max())
        back = {"backward_residual": residual, "backward_steps": self.report.iterations}
        return {**self.found, **back}

    def _step(
        self, y: Tensor, physics: LinearPhysics
    ) -> tuple[Callable[[Tensor], Tensor], Tensor, DataTerm]:
        """T, x_0 and the data term."""
        data = DataTerm(y, physics, iterations=CONJUGATE_GRADIENTS)
        with torch.no_grad():
            x_0 = self.wiener(data)[0]
        denoise = self._denoiser(x_0, data)
        level = self.level(data) if self._start else None
        q = self._share()

        def step(x: Tensor) -> Tensor:
            at = x if self._start else q * x + (1 - q) * x_0
            z = self.data_step(at, data, self.wiener.log_spectrum, level=level)
            return denoise(z)

        return step, x_0, data

    def _denoiser(self, x_0: Tensor, data: DataTerm) -> Callable[[Tensor], Tensor]:
        """D, for images turned by the phase of x_0 where that is so."""

        def denoise(z: Tensor, x_0: Tensor) -> Tensor:
            return self.denoise(z, x_0, data)

        return smooth_phase.seen_by(denoise, x_0, self.turned)

    def _remedy(self) -> str:
        """What helps where there is no fixed point; it can be followed with these knobs."""
        more = "give more `method.iterations`, or train with"
        if self.contraction is not None:
            return f"{more} a smaller `method.contraction`"
        contracting = "`method.contraction=0.95`"
        if self._start:
            return f"{more} a smaller `train.lr`, or with {contracting} in place of `method.start`"
        beside = _beside(self.design)
        but = f" and without {' and '.join(f'`method.net.{each}`' for each in beside)}"
        return f"{more} a smaller `train.lr`, or with {contracting}{but if beside else ''}"

    def _share(self) -> Tensor | float:
        """q."""
        if self._start:
            return 1.0
        return self.share.sigmoid() if self.contraction is None else self.contraction

    def _build(self) -> nn.Module:
        if self._start:
            return smooth_phase.plain(self._start[0])
        if self.contraction is None:
            return self.design.build(2 * self.channels + 1, self.channels)
        return lipschitz.Nonexpansive(
            self.channels,
            width=self.design.width or WIDTH,
            blocks=self.design.depth or BLOCKS,
            shuffle=self.design.shuffle or SHUFFLE,
        )


def _beside(net: Net) -> list[str]:
    """The knobs of a network that a nonexpansive one does not have."""
    values, none = dict(net), dict(Net())
    return [
        knob
        for knob in values
        if values[knob] != none[knob] and knob not in ("width", "depth", "shuffle")
    ]


def _check_gradient(gradient: Mode, tolerance: float | None, iterations: int | None) -> None:
    """Raise `UserError` for knobs of a linear system that is not solved."""
    asked = {"adjoint_tolerance": tolerance, "adjoint_iterations": iterations}
    for knob, value in asked.items():
        if gradient == "jacobian_free" and value is not None:
            raise UserError.of(
                f"`method.{knob}`",
                "is not read with `gradient: jacobian_free`, which solves no adjoint system",
                "take it out, or choose `gradient: implicit`",
            )


def _check_knobs(start: Method | None, net: Net, contraction: float | None) -> None:
    """Raise `UserError` for knobs that nothing reads, and for a step that is no map."""
    changing = {"dropout": net.dropout > 0, "normalisation": net.normalisation == "batch"}
    for knob, given in changing.items():
        if given:
            raise UserError.of(
                f"`method.net.{knob}`",
                f"is `{getattr(net, knob)}`, by which a step is another map at every call",
                "leave it out: there would be no fixed point to find",
            )
    if start is not None and not isinstance(start, Denoiser):
        raise UserError.of(
            "`method.start`",
            f"`{type(start).__name__}` is not told the noise level of a step",
            "give a denoiser with a `denoise(x, sigma)`, such as the run of a `drunet`",
        )
    if start is not None:
        for knob, given in (("net", net != Net()), ("contraction", contraction is not None)):
            if given:
                raise UserError.of(
                    f"`method.{knob}`",
                    "is not read with `method.start`, whose denoiser is the step's network",
                    "take one of the two out",
                )
    if contraction is None:
        return
    if _beside(net):
        raise UserError.of(
            "`method.net`",
            "has knobs beside width, depth and shuffle, which a nonexpansive network has not",
            "take them or `method.contraction` out",
        )
