"""A neural ordinary differential equation: reconstruction as the flow of a learned field.

Training is an optimal control problem. The state is the image, the control the weights theta,

    x' = v(x, t, theta) = D_t(G_t(x)) - x,   x(0) = x_0,   0 <= t <= T,   x_hat = x(T),
    min_theta  E l(x(T)),

and with the costate a = dl/dx(t) (Pontryagin),

    a' = -(dv/dx)^T a,   a(T) = dl/dx(T),   dl/dtheta = int_0^T (dv/dtheta)^T a dt.

The field contains the data term: G_t is the step of `hqs` or `pgd` towards the measurement
(`data_step.py`), D_t(z) = z + N([z, x_0, sigma, t / T]), and x_0 the Wiener estimate, where both
rest before training, so that then x_hat = x_0. Euler's method with steps of length h is a residual
network of T / h blocks with the weights of one,

    x_{k+1} = x_k + h v(x_k, k h),

and with h = 1 it is `unrolled` with `tied` steps that are told their number. Other methods of
Runge and Kutta take fewer or longer steps for the same flow; `dopri5` takes what its tolerance
asks for, of every image by itself.

Gradients: by `backprop` through the steps, with memory that grows with them, exact for the
discrete network; or by the `adjoint` state, integrated backwards, with the memory of one step and
the error of the integration (`solvers/adjoint_state.py`). Through Euler's method that error is as
large as the step, and not offered.

Of complex images (`phase`), D_t(z) = p (1 + N)(z conj(p), x_0 conj(p), ...), p the smooth phase of
x_0 (`transforms/smooth_phase.py`).

With `start`, D_t is a denoiser at a level that falls from 49/255 to sigma, G_t has no W, and the
flow begins as plug-and-play with infinitely short steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.end_to_end.data_step import Algorithm, DataStep
from challenge.methods.end_to_end.dynamics import Dynamics, check_tolerance
from challenge.methods.networks.architectures import Net
from challenge.methods.parts import Start
from challenge.methods.plug_and_play.denoisers import Denoiser
from challenge.methods.solvers.adjoint_state import Way, flow_with_adjoint
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.ode import Field, Flow, Rule, Solver, integrate
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.guards import BIGGEST
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision, share_precision
from challenge.methods.transforms import smooth_phase

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

STEPS, TOLERANCE = 4, 1e-3
"""Where the knobs say nothing."""
CONJUGATE_GRADIENTS = 20
"""Of a data step without a closed form, at most."""
FIRST_LEVEL = 49 / 255
"""At which a denoiser is called first (DPIR)."""
REMEDY = (
    "give a larger `method.tolerance` or a shorter `method.horizon`, or train with a smaller "
    "`train.lr`"
)


class NeuralODE(Method):
    """Reconstruction as the flow of a learned vector field that contains the data term.

        x' = D_t(G_t(x)) - x,   x(0) = the Wiener estimate,   x_hat = x(T)

    By Euler's method it is a residual network; also `heun`, `rk4` and `dopri5`, whose steps follow
    a tolerance. Trained by backpropagation or by the adjoint state. The operator is the one given
    at inference. E 2017; Haber, Ruthotto 2017; Chen, Rubanova, Bettencourt, Duvenaud, Neural
    Ordinary Differential Equations, 2018; Kobler, Klatzer, Hammernik, Pock, Variational Networks,
    2017 (unrolled gradient flows).
    """

    reads = READS
    variants: ClassVar[Mapping[str, Sequence[str]]] = {"algorithm": ("pgd", "hqs")}

    def __init__(
        self,
        *,
        algorithm: Algorithm = "hqs",
        solver: Solver = "heun",
        steps: Annotated[int, Ge(1), Le(10000)] | None = None,
        tolerance: Annotated[float, Gt(0), Lt(1)] | None = None,
        horizon: Annotated[float, Gt(0), Le(1000)] = 4.0,
        gradient: Literal["backprop", "adjoint"] | None = None,
        net: Net = Net(),
        start: Start = None,
        channels: Literal[1, 2, 3] = 3,
        phase: bool | None = None,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            algorithm: whose data step is in the field.
            solver: the method of Runge and Kutta; `dopri5` chooses its steps, the others take
                `steps` of equal length.
            steps: of `euler`, `heun` and `rk4`; 4 where null.
            tolerance: of a step of `dopri5`, relative to the norm of x; 1e-3 where null.
            horizon: T, the length of time; Euler's method with T steps is `unrolled` with as many.
            gradient: the way back, `backprop` through the steps or the `adjoint` state; null: the
                latter for `dopri5`, else the former.
            net: the network N.
            start: what D_t is at first, in place of a network `net`: a denoiser's run, such as
                `runs/denoising/drunet`, or an entry.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            phase: the network sees complex images turned by their smooth phase; null: where images
                are complex.
            precision: of the network at inference; see `challenge methods network`. That of
                `dopri5` is float32, since its steps would follow the rounding.

        Raises:
            UserError: a knob that the solver does not have, that nothing reads beside `start`, or
                that images without a phase do not have.
        """
        super().__init__()
        adaptive = solver == "dopri5"
        _check_knobs(solver, steps, tolerance, gradient, precision, net, start)
        # In a list: its weights are copied, and not learned beside the copy.
        self._start = [start] if start is not None else []
        self.channels, self.horizon, self.design = channels, horizon, net
        self.tolerance = (tolerance or TOLERANCE) if adaptive else None
        self.rule = Rule(solver, steps or STEPS, self.tolerance)
        self.adjoint = adaptive if gradient is None else gradient == "adjoint"
        self.turned = smooth_phase.seen(phase, channels)
        self.wiener = WienerFilter()
        self.net = self._build()
        self.data_step = DataStep(algorithm, ends=2, plain=start is not None)
        self.compute = InferencePrecision("float32" if adaptive else precision)
        if start is not None:
            share_precision(self.net, self.compute)
            self.log_level = nn.Parameter(torch.tensor([math.log(FIRST_LEVEL), 0.0]))
            self.slope = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.way = Way()
        self.made: dict[str, float] = {}

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """Steps that follow a tolerance, and two ways that must meet, are trained in float32."""
        if knobs["solver"] != "dopri5" and knobs["gradient"] != "adjoint":
            return cls.reads
        return tuple(key for key in cls.reads if key != "precision")

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, a flow that is too stiff or leaves the range of
                images, a tolerance that cannot be met.
        """
        return self.solve(y, physics).x

    def solve(self, y: Tensor, physics: LinearPhysics) -> Flow:
        """The flow, attached to the graph of the weights, and what it took."""
        check_measurement(self.channels, y)
        if self.tolerance is not None:
            check_tolerance(self.tolerance, y.dtype)
        with self._exact(y.device):
            v, x_0, _ = self._field(y, physics)
            begin = x_0.new_zeros(len(x_0))
            end = torch.full_like(begin, self.horizon)
            if self.adjoint and torch.is_grad_enabled():
                self.way = Way()
                learned = [each for each in self.parameters() if each.requires_grad]
                flow = flow_with_adjoint(
                    v, x_0, begin, end, self.rule, learned, way=self.way, remedy=REMEDY
                )
            else:
                flow = integrate(v, x_0, begin, end, self.rule, remedy=REMEDY)
        self.made = {"flow_steps": flow.steps, "flow_evaluations": flow.evaluations}
        if not self.training:
            _check_range(flow.x, self.tolerance)
        return flow

    def dynamics(self, y: Tensor, physics: LinearPhysics) -> Dynamics:
        """The field and how it is integrated; see `dynamics.HasDynamics`."""
        v, x_0, data = self._field(y, physics)
        denoise = self._denoiser(x_0, data)

        def at(z: Tensor, share: float) -> Tensor:
            return denoise(z, x_0.new_full((1, 1, 1, 1), share))

        return Dynamics(v, at, x_0, self.horizon, self.rule, float(data.sigma.mean()))

    def denoise(self, z: Tensor, x_0: Tensor, data: DataTerm, share: Tensor) -> Tensor:
        """D_t(z), shape (B, C, H, W), of images as the network sees them: turned, where that is so.

        Args:
            z: what the data step made, shape (B, C, H, W).
            x_0: the Wiener estimate, of that shape.
            data: whose noise level D is told.
            share: t / T, shape (1 | B, 1, 1, 1).
        """
        if self._start:
            denoiser: Denoiser = self.net  # type: ignore[assignment]
            return denoiser.denoise(z, self.level(data, share))
        maps = [each.expand(len(z), 1, *z.shape[-2:]) for each in (data.sigma, share)]
        found: Tensor = self.compute(self.net, torch.cat([z, x_0, *maps], dim=1))
        return z + found

    def level(self, data: DataTerm, share: Tensor) -> Tensor:
        """l_t, at which a denoiser is called, shape (1 | B, 1, 1, 1)."""
        ends = self.log_level[:, None, None, None, None] + (
            self.slope[:, None, None, None, None] * data.sigma.log()
        )
        return (ends[0] + share * (ends[1] - ends[0])).exp()

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
        """Steps of both ways of the last training step, for the log."""
        back = {"adjoint_evaluations": self.way.evaluations} if self.adjoint else {}
        return {**self.made, **back}

    def _exact(self, device: torch.device) -> AbstractContextManager[object]:
        """Steps that follow a tolerance, and two ways that must meet, are in float32."""
        if self.tolerance is None and not self.adjoint:
            return nullcontext()
        return torch.autocast(device.type, enabled=False)

    def _field(self, y: Tensor, physics: LinearPhysics) -> tuple[Field, Tensor, DataTerm]:
        """v, x_0 and the data term."""
        data = DataTerm(y, physics, iterations=CONJUGATE_GRADIENTS)
        with torch.no_grad():
            x_0 = self.wiener(data)[0]

        denoise = self._denoiser(x_0, data)

        def field(x: Tensor, t: Tensor) -> Tensor:
            share = (t / self.horizon).reshape(-1, 1, 1, 1)
            level = self.level(data, share) if self._start else None
            z = self.data_step(x, data, self.wiener.log_spectrum, level=level, share=share)
            return denoise(z, share) - x

        return field, x_0, data

    def _denoiser(self, x_0: Tensor, data: DataTerm) -> Callable[[Tensor, Tensor], Tensor]:
        """D_t of z and t / T, for images turned by the phase of x_0 where that is so."""

        def denoise(z: Tensor, x_0: Tensor, share: Tensor) -> Tensor:
            return self.denoise(z, x_0, data, share)

        return smooth_phase.seen_by(denoise, x_0, self.turned)

    def _build(self) -> nn.Module:
        if self._start:
            return smooth_phase.plain(self._start[0])
        return self.design.build(2 * self.channels + 2, self.channels)


def _check_range(x: Tensor, tolerance: float | None) -> None:
    """Raise `UserError` where a flow has left the range of images."""
    biggest = float(x.detach().abs().amax())
    if not biggest <= BIGGEST:
        raise UserError.of(
            "the flow",
            f"its end reaches `{biggest:.3g}`, images live in [0, 1]: it diverges"
            + ("" if tolerance else ", or its steps are too long"),
            "train with a smaller `train.lr`"
            if tolerance
            else "give more `method.steps`, or train with a smaller `train.lr`",
        )


def _check_knobs(
    solver: Solver,
    steps: int | None,
    tolerance: float | None,
    gradient: str | None,
    precision: Precision,
    net: Net,
    start: Method | None,
) -> None:
    """Raise `UserError` for knobs that nothing reads, or that give no gradient."""
    adaptive = solver == "dopri5"
    idle = {
        "steps": adaptive and steps is not None,
        "tolerance": not adaptive and tolerance is not None,
        "precision": adaptive and precision == "bf16",
    }
    other = "`heun` or `rk4`" if adaptive else "`dopri5`"
    for knob, given in idle.items():
        if given:
            raise UserError.of(
                f"`method.{knob}`",
                f"is not a knob of `solver: {solver}`, "
                + ("which chooses its steps by its tolerance" if adaptive else "of equal steps"),
                f"take it out, or choose {other}",
            )
    if gradient == "adjoint" and solver == "euler":
        raise UserError.of(
            "`method.gradient`",
            "is `adjoint`, whose error through Euler's method is that of a step, O(h)",
            "choose `backprop`, which is exact for it, or another `method.solver`",
        )
    if adaptive or gradient == "adjoint":
        changing = {"dropout": net.dropout > 0, "normalisation": net.normalisation == "batch"}
        for knob, given in changing.items():
            if given:
                raise UserError.of(
                    f"`method.net.{knob}`",
                    f"is `{getattr(net, knob)}`, by which the field is another one at every call",
                    "leave it out, or choose steps of equal length and `gradient: backprop`",
                )
    if start is None:
        return
    if not isinstance(start, Denoiser):
        raise UserError.of(
            "`method.start`",
            f"`{type(start).__name__}` is not told the noise level at every time",
            "give a denoiser with a `denoise(x, sigma)`, such as the run of a `drunet`",
        )
    if net != Net():
        raise UserError.of(
            "`method.net`",
            "is not read with `method.start`, whose denoiser is the field's network",
            "take one of the two out",
        )
