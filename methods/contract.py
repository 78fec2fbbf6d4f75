"""The contract of a method: what it gets, what it returns, what it may not do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from deepinv.models import Reconstructor
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from lightning_fabric import Fabric

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class TimeLimit(NamedTuple):
    """What the judge leaves an image of the test set."""

    seconds: float
    """Wall clock for an image of the mean size, start-up included."""
    pixels: float
    """Of an image of the mean size, height times width."""
    threads: int
    """Of the processor."""


Pictures = Mapping[str, Sequence[Sequence[tuple[str, Tensor]]]]
"""Pages by name; a page has rows, a row has captions with images of shape (C, H, W) in [0, 1]."""


class Session(Protocol):
    """What `fit` may ask of its surroundings; implemented by `submissions.runs.session`."""

    @property
    def fabric(self) -> Fabric:
        """Device, precision and processes, set up by the command line."""

    @property
    def seed(self) -> int:
        """The entry's seed; every random choice of `fit` follows from it."""

    @property
    def time_limit(self) -> TimeLimit | None:
        """The judge's time for an image of the challenge; None where nothing says how much.

        For a method that is slower the more it is given, such as a sampler; what it makes of it
        has to be stored, since the judge's own clock decides nothing.
        """

    def log(self, step: int, total: int | None, **values: float) -> None:
        """Report progress after `step` of `total` steps (None: not known yet).

        Values are scalars by name (`loss`, `lr`, `psnr`, ...); they go to the run's log and to
        the progress display.
        """

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, atomically: named tensors, and JSON-serialisable state.

        Tensors named `best.<weight>` are shown in `samples.png`. With the steps done as
        `state["step"]`, `--finish` calls `fit` with so many `train.steps`.
        """

    def restore(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint when this run is being resumed, else None."""

    def should_stop(self) -> bool:
        """True once the user asked to stop: save and return."""

    def load_weights(self, module: nn.Module, file: str, *, partly: bool = False) -> None:
        """Put weights that were made elsewhere into a module of the method, to begin with.

        The config declares them by `uses: {pretrained: true}`. The file is copied into the run
        and is no part of an entry; where it is not at hand, as in the contract test, this does
        nothing.

        Args:
            module: such as `self.net`.
            file: safetensors, beside the method or from the config's folder; a knob of the
                constructor names it.
            partly: take those that fit by name and shape; else all must.
        """


@runtime_checkable
class HasDeviation(Protocol):
    """A method that knows how far it may be wrong, at every pixel."""

    def with_deviation(self, y: Tensor, physics: LinearPhysics) -> tuple[Tensor, Tensor | None]:
        """x_hat as `forward` gives it, and the standard deviation of the truth about it.

        The judge calls this in place of `forward`, and the score says how often the truth lies
        within one and two standard deviations. No rank depends on it.

        Args:
            y: as in `Method.forward`.
            physics: likewise.

        Returns:
            Two tensors of the shape of x_hat, the second one float32, finite and not negative;
            None in its place where these knobs give none.
        """


class Method(Reconstructor, ABC):  # type: ignore[misc]
    """A reconstruction method: a `deepinv.models.Reconstructor` that may learn.

    Concrete methods are final: share code through functions or by wrapping, not by subclassing
    a concrete method. The constructor lists every knob as an annotated parameter, by name;
    it is the schema of the config's `method:` section. It does no input or output. A method
    without knobs needs none.
    """

    def __init__(self) -> None:
        # Not deepinv's, which would make a knob of its `device`.
        super().__init__()

    reads: ClassVar[Sequence[str]] = ()
    """The keys of the config's `train:` section that `fit` reads; any other is refused."""

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """The keys that `fit` reads where the knobs have these values; all of `reads` by default.

        A method that learns in one way or another, as its knobs say, names the keys of that way.
        """
        return cls.reads

    operators: ClassVar[Sequence[str] | None] = None
    """The operator families that the method takes, such as `("blur",)`; None: all linear ones."""

    takes_grey: bool = False
    """Whether a method with `channels: 3` takes grey images too."""

    variants: ClassVar[Mapping[str, Sequence[str]]] = {}
    """One knob whose choices are compared by `facts` where methods are listed, such as
    `{"architecture": ("cnn", "unet")}`."""

    @abstractmethod
    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct images from measurements.

        Args:
            y: measurements, float32, shape `(B, C, H', W')`.
            physics: the forward operator of this batch, fresh at every call. Its parameters
                have leading size 1 or B. `physics.noise_model.sigma` is the level of Gaussian
                noise, `challenge.methods.noise_level(y, physics)` that of any.

        Returns:
            `x_hat` with the shape of `physics.A_adjoint(y)`, `(B, C, H, W)`; images live in
            [0, 1], the estimate need not be clipped.
        """

    # Not abstract: a method with nothing to learn is complete without it.
    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn from the training images and leave the result in `self`.

        What is learned or tuned is a parameter or a registered buffer, so that it travels with
        the weights. The default has nothing to learn.
        """

    def advance(self, step: int, total: int | None) -> None:
        """Called by `supervised` before each step, for methods that change while they learn.

        A function of what is stored in the method and of the step alone, so that a resumed
        training is the uninterrupted one.

        Args:
            step: from 0.
            total: steps in all; None as long as minutes are not turned into steps.
        """

    def effort(self, step: int, total: int | None) -> float:
        """The time of a training step beside that of the dearest, in (0, 1].

        By it `supervised` foresees how many steps `train.minutes` are worth. Arguments as for
        `advance`; steps of a method that does not change while it learns cost the same.
        """
        return 1.0

    def advice(self, problem: Problem, images: Images) -> str | None:
        """What a person should know of these knobs on this problem, in a sentence; mostly None.

        Called by `challenge train` when the method is there.

        Args:
            problem: as in `fit`.
            images: as in `fit`.
        """
        return None

    def pictures(self, images: Sequence[Tensor]) -> Pictures:
        """What there is to see of this method beside reconstructions; mostly nothing.

        Drawn into the run by `challenge train`: a page `prior` becomes `prior.png`.

        Args:
            images: some of val, each (C, H, W) in [0, 1].
        """
        return {}

    def facts(self) -> dict[str, int | None]:
        """Numbers that a person compares methods by; the number of parameters by default."""
        return {"parameters": sum(parameter.numel() for parameter in self.parameters())}
