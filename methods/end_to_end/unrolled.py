"""A proximal algorithm cut off after a few steps, its prox a network, trained from end to end.

With f(x) = 1/2 ||A x - y||^2 and D_k = a network in place of the prox of a regulariser, step k is

    pgd     x <- D_k(x - s_k grad f(x))
    hqs     x <- D_k(prox_{f, R_k}(x))
    admm    v = prox_{f, R_k}(x - u),   x <- D_k(v + u),   u <- u + v - x
    pdhg    q <- (q + s_k (A w - y)) / (1 + s_k),   x+ = D_k(x - t_k A^T q),   w = 2 x+ - x

where prox_{f, R}(v) = (A^T A + R)^-1 (A^T y + R v): by FFT for a circular boundary, else by
conjugate gradients. x starts at the Wiener estimate, and D_k(v) = v + N_k([v, sigma, l_k]) with
N_k = 0 before training: then the method is its algorithm without a regulariser.

R_k is right where sigma^2 / R_k is the variance of the error of x, so that R_k = sigma^2 / E_k(f)
with a learned error spectrum E_k, a constant (`metric: white`) or a function of the radial
frequency, one for luminance and one for differences of colours (`metric: spectral`). Steps,
spectra and the level l_k, which tells a network that serves all steps which one it is in, are
learned as logarithms and hence stay positive.

Training begins with one step, and a new one begins as a copy of the one before (`grow`): early
passes over the data cost one network each, and late steps start from what early ones learned.

Of complex images (`phase`), a network sees x conj(p), p the smooth phase of the Wiener estimate,
which is nearly real, and D_k(v) = p (1 + N_k)(v conj(p)): the method commutes with a turn of all
phases (`transforms/smooth_phase.py`).

With `start`, every D_k begins as a denoiser D instead, called at a level that falls from step to
step, and hqs begins as plug-and-play with the schedule of DPIR (Zhang et al. 2021):

    D_k(v) = D(v, l_k),   log l_k = a_k + b_k log sigma,   E_k(f) = l_k^2 e_k(f)

a_k, b_k and e_k are learned with the networks; l_k begins at l_1 = 49/255 and ends at sigma, spaced
evenly in the logarithm, and e_k at 1 / 0.23.

Networks for colours take grey images too, in colours between which noise is added
(`transforms/grey.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks.architectures import Net
from challenge.methods.networks.layers import recompute
from challenge.methods.parts import Start
from challenge.methods.plug_and_play.denoisers import Denoiser
from challenge.methods.solvers import proximal
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.guards import check_range
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision, share_precision
from challenge.methods.transforms import grey, smooth_phase, spectrum
from challenge.methods.transforms.cosine import CHROMINANCE, from_opponent, to_opponent
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.transforms.structure import treats_colours_alike

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

Algorithm = Literal["pgd", "hqs", "admm", "pdhg"]
FIRST_LEVEL = 49 / 255
"""The noise level l_1 at which a denoiser is called first (DPIR)."""
PENALTY = 0.23
"""R_k l_k^2 / sigma^2 of plug-and-play (DPIR's lambda), where 1 / e_k starts."""
LEVEL = 0.05
"""The error of a Wiener estimate, about, in units of the image range: where l_k starts."""
STEPS = {"pgd": 1.0, "pdhg": 0.5}
"""Where s_k (pgd) and s_k = t_k (pdhg) start; blurs have a norm of at most 1."""


class Unrolled(Method):
    """A few steps of a proximal algorithm whose prox is a network, trained from end to end.

        x <- D_k(prox_{f,R_k}(x)),   f = 1/2 ||A x - y||^2,   D_k = 1 + N_k   (hqs)

    Also `pgd`, `admm`, `pdhg`; their equations open this file. The operator is the one given at
    inference, so that every image may have another kernel. Gregor, LeCun 2010 (unrolling);
    Aggarwal, Mani, Jacob 2019, MoDL (hqs); Yang, Sun, Li, Xu 2016, ADMM-Net; Adler, Oktem 2018
    (pdhg); Zhang, Van Gool, Timofte 2020, USRNet (trained for many kernels).
    """

    reads = READS
    takes_grey = True
    variants: ClassVar[Mapping[str, Sequence[str]]] = {
        "algorithm": ("pgd", "hqs", "admm", "pdhg"),
    }

    def __init__(
        self,
        *,
        algorithm: Algorithm = "hqs",
        steps: Annotated[int, Ge(1), Le(64)] = 4,
        tied: bool = False,
        metric: Literal["white", "spectral"] | None = None,
        grow: Annotated[float, Ge(0), Le(1)] | None = None,
        memory: Annotated[int, Ge(0), Le(64)] = 0,
        phase: bool | None = None,
        net: Net = Net(),
        start: Start = None,
        channels: Literal[1, 2, 3] = 3,
        checkpoint: bool = False,
        precision: Precision = "auto",
    ) -> None:
        """Build the networks.

        Args:
            algorithm: which one is unrolled.
            steps: how many of its steps, each with one pass of a network.
            tied: one network for all steps; else each has its own.
            metric: of the data step of hqs and admm, `spectral` by default.
            grow: share of the training in which the number of steps grows from 1 to `steps`; a new
                one begins as a copy of the one before. 0: all from the start; null: 0.5, or 0 with
                `start`.
            memory: features that a network hands to that of the next step, beside the estimate.
            phase: networks see complex images turned by their smooth phase; null: where images are
                complex.
            net: the networks N_k.
            start: what every step begins as, in place of a network `net`: a denoiser's run, such as
                `runs/denoising/drunet`, or an entry.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none. Trained for colours, it reconstructs
                grey images too.
            checkpoint: in training, keep the steps' estimates only and compute the rest again on
                the way back, so that memory hardly grows with the number of steps.
            precision: of the networks at inference; see `challenge methods network`.

        Raises:
            UserError: a knob that the algorithm does not have.
        """
        super().__init__()
        if metric is not None and algorithm not in ("hqs", "admm"):
            raise UserError.of(
                "`method.metric`",
                f"is not a knob of `algorithm: {algorithm}`, whose data step has a length",
                "take it out, or choose `hqs` or `admm`",
            )
        if start is not None:
            _check_start(start, grow=grow, memory=memory, net=net)
        # In a list: its weights are those of the steps, and not learned beside them.
        self._start = [start] if start is not None else []
        self.algorithm: Algorithm = algorithm
        self.steps, self.tied, self.memory, self.channels = steps, tied, memory, channels
        self.spectral = metric != "white"
        self.turned = smooth_phase.seen(phase, channels)
        self.grow = (0.0 if start else 0.5) if grow is None else grow
        self.design, self.checkpoint = net, checkpoint
        self.wiener = WienerFilter()
        self.nets = self._build()
        self.compute = InferencePrecision(precision)
        self.log_level = nn.Parameter(torch.full((steps,), LEVEL).log())
        if start is not None:
            share_precision(self.nets, self.compute)
            share = torch.linspace(0, 1, steps) if steps > 1 else torch.ones(1)
            self.log_level = nn.Parameter((1 - share) * math.log(FIRST_LEVEL))
            self.slope = nn.Parameter(share)
        if algorithm in STEPS:
            lengths = torch.full((2 if algorithm == "pdhg" else 1, steps), STEPS[algorithm])
            self.log_step = nn.Parameter(lengths.log())
        else:
            typical = _typical_error(channels) if self.spectral else torch.tensor(LEVEL**2).log()
            if start is not None:
                typical = torch.full_like(typical, -math.log(PENALTY))
            self.log_error = nn.Parameter(typical.repeat(steps, *[1] * typical.dim()))
        self.active: Tensor
        self.register_buffer("active", torch.tensor(float(steps)))

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: another number of channels, or steps that diverge.
        """
        *_, x_hat = self.estimates(y, physics)
        return x_hat

    def estimates(
        self, y: Tensor, physics: LinearPhysics, count: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the estimate after every step, each of shape (B, C, H, W).

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            count: so many steps instead of all; beyond the last one, it is repeated.
        """
        level = noise_level(y, physics)
        seen_grey = self.channels == grey.COLOURS and y.shape[1] == 1
        if seen_grey:
            y, physics, level = grey.in_colours(y, physics, level)
        check_measurement(self.channels, y)
        # Most operators treat all colours alike: the data step may take them in another basis.
        opponent = (
            self.channels == 3
            and self.algorithm not in STEPS
            and self.spectral
            and treats_colours_alike(physics)
        )
        data = DataTerm(to_opponent(y) if opponent else y, physics, level)
        x = self.wiener(data)[0]
        phase = smooth_phase.smooth_phase(x) if self.turned else None
        active = int(self.active)
        state = proximal.start(x, data, self.algorithm)
        memory = x.new_zeros(len(x), self.memory, *x.shape[-2:])
        for place in range(active if count is None else count):
            k = min(place, active - 1)
            state, memory = recompute(
                self.checkpoint, self._step, k, data, state, memory, opponent, phase
            )
            if not self.training:
                check_range(state.x, f"step {place + 1} of the unrolled algorithm")
            x = from_opponent(state.x) if opponent else state.x
            yield grey.in_grey(x) if seen_grey else x

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then everything else from its seeded start."""
        check_problem(self.channels, problem)
        self.wiener.learn(images)
        self.active.fill_(1 if self.grow else self.steps)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.nets,
            build=self._build,
            precision=self.compute,
        )

    @torch.no_grad()
    def advance(self, step: int, total: int | None) -> None:
        """Let the number of steps grow with the training; see `grow`."""
        wanted = self._wanted(step, total)
        for k in range(int(self.active), wanted):
            if not self.tied:
                self.nets[k].load_state_dict(self.nets[k - 1].state_dict())
            self.log_level[k] = self.log_level[k - 1]
            if self.algorithm in STEPS:
                self.log_step[:, k] = self.log_step[:, k - 1]
            else:
                self.log_error[k] = self.log_error[k - 1]
        self.active.fill_(max(wanted, int(self.active)))

    def effort(self, step: int, total: int | None) -> float:
        """The share of the networks that take part."""
        return self._wanted(step, total) / self.steps

    def _wanted(self, step: int, total: int | None) -> int:
        if not self.grow:
            return self.steps
        if total is None:
            return 1
        return min(self.steps, 1 + int((self.steps - 1) * step / (self.grow * total)))

    def denoise(self, k: int, v: Tensor, sigma: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """D_k and the next memory.

        Args:
            k: step, from 0.
            v: what the data step made, shape (B, C, H, W); turned, where that is so.
            sigma: noise level, shape (1 | B, 1, 1, 1).
            memory: of the step before, shape (B, memory, H, W).
        """
        level = self.level(k, sigma)
        net = self.nets[0 if self.tied else k]
        if self._start:
            return cast("Denoiser", net).denoise(v, level), memory
        maps = [each.expand(len(v), 1, *v.shape[-2:]) for each in (sigma, level)]
        found: Tensor = self.compute(net, torch.cat([v, *maps, memory], dim=1))
        return v + found[:, : self.channels], found[:, self.channels :]

    def denoiser(self, k: int, data: DataTerm) -> Callable[[Tensor], Tensor]:
        """D_k of images (B, C, H, W) as step k calls it, with no features of the step before."""
        phase = smooth_phase.smooth_phase(self.wiener(data)[0]) if self.turned else None

        def denoise(v: Tensor) -> Tensor:
            memory = v.new_zeros(len(v), self.memory, *v.shape[-2:])
            return self._denoise_turned(k, v, data.sigma, memory, phase)[0]

        return denoise

    def _denoise_turned(
        self, k: int, v: Tensor, sigma: Tensor, memory: Tensor, phase: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """D_k, of an image turned by a phase where there is one."""
        if phase is None:
            return self.denoise(k, v, sigma, memory)
        x, kept = self.denoise(k, smooth_phase.turn_back(v, phase), sigma, memory)
        return smooth_phase.turn(x, phase), kept

    def level(self, k: int, sigma: Tensor) -> Tensor:
        """l_k, of which a network is told, shape (1 | B, 1, 1, 1).

        Args:
            k: step, from 0.
            sigma: noise level of the measurement, shape (1 | B, 1, 1, 1).
        """
        logarithm = self.log_level[k] * sigma.new_ones(1, 1, 1, 1)
        if self._start:
            logarithm = logarithm + self.slope[k] * sigma.log()
        return logarithm.exp()

    def _step(
        self,
        k: int,
        data: DataTerm,
        state: proximal.State,
        memory: Tensor,
        opponent: bool,
        phase: Tensor | None,
    ) -> tuple[proximal.State, Tensor]:
        """Step k of the algorithm, and the network's memory for the next one."""
        kept = memory

        def prox(v: Tensor) -> Tensor:
            nonlocal kept
            seen = from_opponent(v) if opponent else v
            x, kept = self._denoise_turned(k, seen, data.sigma, memory, phase)
            return to_opponent(x) if opponent else x

        if self.algorithm == "pgd":
            state = proximal.pgd(state, data, prox, self.log_step[0, k].exp())
        elif self.algorithm == "pdhg":
            state = proximal.pdhg(state, data, prox, *self.log_step[:, k].exp())
        elif self.algorithm == "hqs":
            state = proximal.hqs(state, data, prox, self.weight(k, data))
        else:
            state = proximal.admm(state, data, prox, self.weight(k, data))
        return state, kept

    def weight(self, k: int, data: DataTerm) -> Tensor:
        """R_k = sigma^2 / E_k, shape (1 | B, 1, 1, 1) or (1 | B, C, H, W // 2 + 1)."""
        # Of the denoiser's level, so that a noisier measurement is trusted less from the start.
        scale = data.sigma.square()
        if self._start:
            scale = scale / self.level(k, data.sigma).square()
        if not self.spectral:
            return scale / self.log_error[k].exp()
        parts = [spectrum.penalty(each, *data.size, mean=True) for each in self.log_error[k]]
        # Both differences of colours have one spectrum.
        return scale * torch.stack([*parts, *parts[1:]])[None]

    def _build(self) -> nn.ModuleList:
        if self._start:
            count = 1 if self.tied else self.steps
            return nn.ModuleList(smooth_phase.plain(self._start[0]) for _ in range(count))
        inside, outside = self.channels + 2 + self.memory, self.channels + self.memory
        return nn.ModuleList(
            self.design.build(inside, outside) for _ in range(1 if self.tied else self.steps)
        )


def _check_start(start: Method, *, grow: float | None, memory: int, net: Net) -> None:
    """Raise `UserError` where networks cannot begin as this denoiser, or for idle knobs."""
    if not isinstance(start, Denoiser):
        raise UserError.of(
            "`method.start`",
            f"`{type(start).__name__}` is not told the noise level of each step",
            "give a denoiser with a `denoise(x, sigma)`, such as the run of a `drunet`",
        )
    idle = {"grow": bool(grow), "memory": memory > 0, "net": net != Net()}
    for knob, given in idle.items():
        if given:
            raise UserError.of(
                f"`method.{knob}`",
                "is not read with `method.start`, whose steps are denoisers from the beginning",
                "take one of the two out",
            )


def _typical_error(channels: int) -> Tensor:
    """Where log E starts, shape (1 | 2, BINS): sqrt(S)-shaped, of a Wiener estimate's level."""
    half = 0.5 * spectrum.typical()
    luminance = half - half.mean() + 2 * math.log(LEVEL)
    if channels != 3:  # the parts of a complex image are alike
        return luminance[None]
    return torch.stack([luminance, luminance - math.log(CHROMINANCE)])
