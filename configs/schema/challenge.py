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
    weights_mb: Annotated[Number, Field(gt=0)] = 100
    """All payload of an entry together, in units of 1,000,000 bytes."""
    minutes: Annotated[Number, Field(gt=0)] = 20
    """Wall clock for the whole test set, imports included."""
    threads: Annotated[Whole, Field(ge=1, le=256)] = 2
    memory_gb: Annotated[Number, Field(gt=0)] = 8
    """Resident memory of the inference process with its children, in units of 1e9 bytes."""


class AmendableRules(Section):
    """What an organiser may change when the challenge is published, by `challenge amend`."""

    pretrained: Literal["allowed", "forbidden"] = "allowed"
    external_data: Literal["allowed", "forbidden"] = "allowed"
    entries_per_day: Annotated[Whole, Field(ge=1)] = 5
    """Valid entries of a team that count; days turn at midnight UTC."""
    deadline: Moment | None = None
    counts: Literal["latest", "best"] = "latest"
    """Which of a team's valid entries stands on the board."""
    packages: tuple[str, ...] = ()
    """Installed packages that entries may use beside the toolkit's own dependencies; names as
    `pip list` shows them."""

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
    test_measurements: Literal["hidden", "published"] = "hidden"
    """Published ones let teams look at what is judged, and carry what they computed for it."""


class Terms(Section):
    """What `rules.yaml` of a published challenge says: rules and limits that may change.

    Neither decides what was measured or how it is scored.
    """

    rules: AmendableRules = AmendableRules()
    limits: Limits = Limits()


class Metric(Section):
    """PSNR and SSIM as `challenge.submissions.scoring.metrics` defines them."""

    crop: Annotated[Whole, Field(ge=0)] | None = None
    """Pixels left out at every side; null: what the operator sees in part."""


class ChallengeConfig(Section):
    """A challenge: a forward problem, images, splits, limits, rules, metric."""

    name: Annotated[Name, Field(examples=["deblur"])]
    images: Annotated[Images, Field(examples=[{"source": "builtin"}])]
    operator: Annotated[Operator, Field(examples=[{"kernel": {"kind": "gaussian", "std": 1.6}}])]
    noise: Annotated[Noise, Field(examples=[{"sigma": 0.03}])]
    limits: Limits = Limits()
    rules: Rules = Rules()
    metric: Metric = Metric()
    seed: Seed = 0
    """Public: the splits and the noise of train and val follow from it, that of test does not."""

    @property
    def terms(self) -> Terms:
        """Rules and limits, as far as they may change."""
        fixed = {"test_measurements"}
        return Terms(
            rules=AmendableRules(**self.rules.model_dump(exclude=fixed)), limits=self.limits
        )

    def under(self, terms: Terms) -> ChallengeConfig:
        """The same challenge with other rules and limits."""
        fixed = self.rules.test_measurements
        rules = Rules(**terms.rules.model_dump(), test_measurements=fixed)
        return self.model_copy(update={"rules": rules, "limits": terms.limits})
