"""The schema of an entry's config."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from challenge.configs.schema.section import Section
from challenge.configs.schema.training import TrainConfig
from challenge.configs.schema.values import Name, Seed


class Uses(Section):
    """What the team declares about its method; `challenge check` holds it against the rules."""

    pretrained: bool = False
    """Whether the method began from weights that were learned elsewhere."""
    external_data: bool = False
    """Whether the method learned from other images than the challenge's own."""


class EntryConfig(Section):
    """An entry's config: a method with its knobs, and how it learns."""

    challenge: Annotated[str, Field(examples=["deblur"])]
    """The name of the prepared challenge that the method is for."""
    name: Annotated[Name, Field(examples=["mine"])]
    """The run's name; the file's stem where the file gives none."""
    # It stays raw here: `challenge.methods` validates it.
    method: Annotated[dict[str, Any], Field(examples=[{"name": "tv"}])]
    """The method's `name` and its knobs, which `challenge methods NAME` explains."""
    train: TrainConfig = TrainConfig()
    uses: Uses = Uses()
    seed: Seed = 0
    """Every random choice of the training follows from it."""
