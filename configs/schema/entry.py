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
    external_data: bool = False


class EntryConfig(Section):
    """An entry's config. `method` stays raw here; `challenge.methods` validates it."""

    challenge: Annotated[str, Field(examples=["deblur"])]
    name: Name
    """The run's name; the file's stem where the file gives none."""
    method: Annotated[dict[str, Any], Field(examples=[{"name": "tv"}])]
    train: TrainConfig = TrainConfig()
    uses: Uses = Uses()
    seed: Seed = 0
