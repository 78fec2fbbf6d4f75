"""The precision in which a denoiser computes as a part of an iteration.

What bfloat16 costs a denoiser by itself says nothing of what it costs an iteration, which rounds in
every pass. So the iteration has a cost of its own, measured on its own task, for weights that were
trained and for published ones alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.methods.contract import Method, Session
from challenge.methods.plug_and_play.safeguard import Diverges
from challenge.methods.training.evaluation import quality
from challenge.methods.training.precision import InferencePrecision, Precision, share_precision

if TYPE_CHECKING:
    from challenge.data.physics.problem import Problem

EXACT = frozenset(
    [
        "bilevel", "bm3d", "deq", "fbp", "gsdrunet", "huber", "lipschitz", "tv", "wavelet",
        "wiener", "zero_filled",
    ]
)  # fmt: skip
"""Methods of the table that compute in float32 unless their config says otherwise: those without a
network, and those that rounding would rob of what they are for."""
COST = "compute.bf16_cost"
"""The measured cost, in the state of an iteration; below `denoiser.`, in that of its denoiser."""


def precision_of(denoiser: Method, wanted: Precision) -> InferencePrecision:
    """The precision of an iteration, in which its denoiser computes from now on.

    Args:
        denoiser: of the iteration; what bfloat16 costs it by itself is forgotten.
        wanted: the iteration's knob; `auto` leaves it to the denoiser's.

    Raises:
        UserError: bf16, for a denoiser that has no network.
    """
    parts = (getattr(each, "compute", None) for each in denoiser.modules())
    own = [each for each in parts if isinstance(each, InferencePrecision)]
    if not own:
        if wanted == "bf16":
            raise UserError.of(
                "`method.precision`",
                f"is `bf16`, and `{type(denoiser).__name__}` has no network to compute in it",
                "leave it out, or give `method.denoiser` a network such as `drunet`",
            )
        return InferencePrecision("float32")
    shared = InferencePrecision(own[0].wanted if wanted == "auto" else wanted)
    share_precision(denoiser, shared)
    return shared


def is_measured(knobs: Mapping[str, Any]) -> bool:
    """Whether `measure` reads the tune images, as far as an iteration's knobs tell."""
    denoiser = knobs["denoiser"] or {}
    default = "float32" if denoiser.get("name") in EXACT else "auto"
    return bool(knobs["precision"] == denoiser.get("precision", default) == "auto")


def measure(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    steps: int = 1,
) -> None:
    """Measure on the tune part what bfloat16 costs an iteration, where that decides.

    Where the iteration diverges, it stays unknown, and float32 is what it computes in.

    Args:
        method: the iteration, with its precision as `compute`, when it has learned everything
            else and is on the session's device; left in eval mode.
        problem: as in `fit`.
        images: as in `fit`.
        train: as in `fit`.
        session: as in `fit`.
        steps: of the training, for the log.
    """
    compute: InferencePrecision = method.compute
    compute.forget()
    if compute.wanted != "auto" or session.should_stop():
        return
    _, tune = split_tune(images, train.tune, session.seed)
    method.eval()
    try:
        cost = compute.measure(lambda: quality(method, tune, problem, session.fabric.device).psnr)
    except Diverges:
        return
    session.log(steps, steps, bf16_cost=cost)


def from_before(method: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Complete the state of an iteration that was stored without a cost of its own.

    It goes on to compute as its denoiser did; a hook before `load_state_dict`.
    """
    if prefix + COST not in state:
        compute = method.compute
        assert isinstance(compute, InferencePrecision)
        unknown = InferencePrecision().bf16_cost
        state[prefix + COST] = state.get(f"{prefix}denoiser.{COST}", unknown)
