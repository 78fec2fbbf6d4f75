"""A verdict on an entry, with all that it depends on: what a file in `results/` holds.

Keys that do not apply to an outcome are absent from the file: an entry that the check refuses has
no scores, times and log.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from challenge.configs.schema.challenge import AmendableRules, Limits
from challenge.configs.schema.entry import Uses
from challenge.configs.schema.section import Section
from challenge.submissions.entries.likeness import Likeness
from challenge.submissions.entries.summary import Summary
from challenge.submissions.judging.load import Load
from challenge.submissions.outcomes import SLOWER, Outcome
from challenge.submissions.scoring.calibration import Calibration
from challenge.submissions.scoring.scores import Interval


class JudgedEntry(Section):
    """The entry as its manifest describes it; without a readable one, named by its file."""

    hash: str
    file: str = ""
    """The zip's name, harmless to print."""
    bytes: int = 0
    team: str
    name: str
    uses: Uses = Uses()
    versions: dict[str, str] = {}
    likeness: Likeness = Likeness()
    """To be compared with other entries; of what the check refuses, nothing."""
    summary: Summary | None = None
    """To be told of; of what the check refuses, and of what an older toolkit judged, nothing."""

    @property
    def label(self) -> str:
        """Names the folder of its reconstructions: no two entries share it."""
        return f"{self.team}-{self.name}-{self.hash}"

    @property
    def title(self) -> str:
        """The same for a person."""
        return f"{self.team}-{self.name}-{self.hash[:8]}"


class JudgedChallenge(Section):
    name: str
    hash: str
    practice: bool = False
    """Its images are public: the scores prove nothing."""


class JudgedBy(Section):
    """The judge: all that a verdict depends on besides entry and challenge, and its hash."""

    hash: str
    metric: dict[str, Any] = {}
    toolkit: dict[str, str] = {}
    isolation: dict[str, str] = {}
    """What `jail.levels.promises` says."""
    limits: dict[str, Any] = {}
    repeat: dict[str, float] | None = None
    """The share of images that are reconstructed again, and the tolerance."""

    @property
    def level(self) -> str:
        """Of isolation."""
        return self.isolation.get("level", "process")


class Refusal(Section):
    """What the check found in the entry: an outcome with place, cause and remedy."""

    outcome: Outcome
    place: str
    cause: str
    remedy: str


class Seconds(Section):
    start_up: float = 0.0
    """From spawn to the method being ready."""
    total: float
    """Wall clock of the whole test set."""
    cpu: float = 0.0


class JudgedImage(Section):
    id: str
    psnr: float | None = None
    ssim: float | None = None
    nmse: float | None = None
    """Of images stored as floats."""
    seconds: float
    calibration: Calibration | None = None
    """How often the standard deviation that the method gives is right."""


class Checked(Section):
    """The rules that the check goes by, as they were when it was made."""

    pretrained: str
    external_data: str
    packages: tuple[str, ...]

    @classmethod
    def by(cls, rules: AmendableRules) -> Checked:
        return cls(**rules.model_dump(include=set(cls.model_fields)))


class Repeated(Section):
    """What came of reconstructing some images once more; see `inference.repeat`."""

    differences: dict[str, float]
    tolerance: float
    seconds: float
    failure: str
    log: str


class Where(Section):
    """The machine that an entry ran on, where others than the organiser's judge too."""

    host: str
    reference: bool
    """Whether it is the organiser's machine, which the limits are meant for."""
    same_kind: bool = True
    """Whether its processor is of the same kind: name and vector instructions."""
    projected: tuple[float, float, float] | None = None
    """Seconds on the organiser's machine, by the speeds of both: expected, at least, at most."""


def slowed(cause: str) -> bool:
    """Whether an entry is `nondeterministic` because it was slower the second time."""
    return "timeout:" in cause or SLOWER in cause


class Result(Section):
    format: Literal[1] = 1
    entry: JudgedEntry
    challenge: JudgedChallenge
    judge: JudgedBy
    machine: dict[str, Any] = {}
    """Of the judge, as `machine.describe` says it."""
    versions: dict[str, str] = {}
    where: Where | None = None
    """None: on the organiser's machine, which judged alone."""
    received: str
    """When the entry arrived: ISO 8601, UTC."""
    judged_at: str
    outcome: Outcome
    cause: str = ""
    problems: tuple[Refusal, ...] = ()
    psnr: Interval | None = None
    ssim: Interval | None = None
    nmse: Interval | None = None
    """Of images stored as floats."""
    calibration: Calibration | None = None
    """The mean over the images, where the method gives a standard deviation of every pixel."""
    seconds: Seconds | None = None
    memory: int | None = None
    """Peak resident bytes."""
    images: tuple[JudgedImage, ...]
    log: str = ""
    """What the entry printed, shortened and harmless."""
    repeat: Repeated | None = None
    rules: Checked | None = None
    load: Load | None = None
    """What other programs took of the cores while it was judged; None where it was not run."""

    @property
    def in_doubt(self) -> bool:
        """Whether it failed by the clock while other programs took of its time."""
        return self.failed_by_the_clock and self.load is not None and self.load.busy

    @property
    def failed_by_the_clock(self) -> bool:
        """Whether a quiet machine might have judged otherwise."""
        return self.outcome == "timeout" or (
            self.outcome == "nondeterministic" and slowed(self.cause)
        )

    def outdated(self, limits: Limits, rules: AmendableRules) -> str:
        """What holds now and was other then: `limits`, `rules of the check`; else empty."""
        if self.judge.limits and self.judge.limits != limits.model_dump(mode="json"):
            return "limits"
        if self.rules is not None and self.rules != Checked.by(rules):
            return "rules of the check"
        return ""

    @model_validator(mode="after")
    def _has_scores(self) -> Self:
        if self.outcome == "ok" and (self.psnr is None or self.ssim is None):
            raise ValueError("an entry that went well has scores")
        return self

    def to_json(self) -> dict[str, Any]:
        """The keys that were set, and `format`."""
        return {"format": self.format, **self.model_dump(mode="json", exclude_unset=True)}
