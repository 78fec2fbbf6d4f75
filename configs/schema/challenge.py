"""The schema of a challenge: a forward problem, images, limits, rules and metric."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from challenge.configs.schema.images import Images
from challenge.configs.schema.physics import Noise, Operator
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Moment, Name, Number, Seed, Whole, refusal


class Limits(Section):
    """What an entry may use when it is judged."""

    weights_mb: Annotated[Number, Field(gt=0)] = 100
    """All files of an entry together, in units of 1,000,000 bytes."""
    minutes: Annotated[Number, Field(gt=0)] = 20
    """Wall clock for the whole test set, imports included."""
    threads: Annotated[Whole, Field(ge=1, le=256)] = 2
    """CPU threads of the inference process."""
    memory_gb: Annotated[Number, Field(gt=0)] = 8
    """Resident memory of the inference process with its children, in units of 1e9 bytes."""


class AmendableRules(Section):
    """What an organiser may change when the challenge is published, by `challenge amend`."""

    pretrained: Literal["allowed", "forbidden"] = "allowed"
    """Whether a method may begin from weights that were learned elsewhere."""
    external_data: Literal["allowed", "forbidden"] = "allowed"
    """Whether a method may learn from other images than the challenge's own."""
    entries_per_day: Annotated[Whole, Field(ge=1)] = 5
    """How many valid entries of a team count on one day; days turn at midnight UTC."""
    deadline: Moment | None = None
    """Entries received later do not count; null: none."""
    counts: Literal["latest", "best"] = "latest"
    """Which of a team's valid entries stands on the board: the `latest`, or the one with the `best`
    score."""
    packages: tuple[str, ...] = ()
    """Installed packages that entries may use beside the toolkit's own dependencies; names as
    `pip list` shows them."""

    judges: Literal["any_machine", "same_machine_kind"] = "any_machine"
    """On which machines entries are run where several judge (`score --scheduler`): on those whose
    processor is of the same kind as the organiser's alone, or on `any_machine`; the board then
    marks what ran on another kind."""

    @field_validator("packages")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", name):
                raise refusal(
                    "must be names of packages", "as `pip list` shows them, without versions"
                )
        return names


class Rules(AmendableRules):
    """What teams may do, and which of their entries count."""

    test_measurements: Literal["hidden", "published"] = "hidden"
    """Whether teams get the measurements of the test set. Published ones let teams look at what is
    judged, and carry what they computed for it."""
    final_share: Annotated[Number, Field(gt=0, lt=1, examples=[0.5])] | None = None
    """The share of the test images that the board leaves out until the last day, when `board
    --final` ranks by them alone; null: the board is about all of them."""


class Terms(Section):
    """What `rules.yaml` of a published challenge says: rules and limits that may change.

    Neither decides what was measured or how it is scored.
    """

    rules: AmendableRules = AmendableRules()
    limits: Limits = Limits()


class Metric(Section):
    """What of an image is scored, by PSNR and SSIM (`challenge.submissions.scoring.metrics`)."""

    crop: Annotated[Whole, Field(ge=0)] | None = None
    """Pixels left out at every side; null: what the operator sees in part."""


class ChallengeConfig(Section):
    """A challenge: a forward problem, images, splits, limits, rules, metric."""

    name: Annotated[Name, Field(examples=["deblur"])]
    """Of the challenge; its folders are called so."""
    images: Annotated[Images, Field(examples=[{"source": "builtin"}])]
    """Where the images come from, and how many each split has."""
    operator: Annotated[Operator, Field(examples=[{"kernel": {"kind": "gaussian", "std": 1.6}}])]
    """The linear operator A of the forward problem."""
    noise: Annotated[Noise, Field(examples=[{"sigma": 0.03}])]
    """What is added to A x, anew for every image."""
    limits: Limits = Limits()
    rules: Rules = Rules()
    metric: Metric = Metric()
    seed: Seed = 0
    """Public: the splits and the noise of train and val follow from it, that of test does not."""

    @property
    def terms(self) -> Terms:
        """Rules and limits, as far as they may change."""
        fixed = Rules.model_fields.keys() - AmendableRules.model_fields.keys()
        return Terms(
            rules=AmendableRules(**self.rules.model_dump(exclude=set(fixed))), limits=self.limits
        )

    def under(self, terms: Terms) -> ChallengeConfig:
        """The same challenge with other rules and limits."""
        fixed = self.rules.model_dump(exclude=set(AmendableRules.model_fields))
        rules = Rules(**terms.rules.model_dump(), **fixed)
        return self.model_copy(update={"rules": rules, "limits": terms.limits})
