"""A run's facts, `run.json`: what it was made from and with, and what came of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from challenge.configs.errors import UserError
from challenge.configs.loader import load_entry
from challenge.configs.schema.entry import EntryConfig
from challenge.configs.schema.section import Section
from challenge.data import atomic, reading
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.layout import Run


class MadeFor(Section):
    """The preparation of a challenge that a run was trained for."""

    name: str
    hash: str


class Machine(Section):
    """Where it was trained, in words; memory in bytes."""

    processor: str
    cores: int
    memory: int
    system: str
    python: str
    gpu: str | None = None

    def __str__(self) -> str:
        words = self.processor, f"{self.cores} cores", self.gpu, self.system
        return ", ".join(word for word in words if word)


class TrainImages(Section):
    """The images it was trained on."""

    source: str
    """`builtin` or `folder`."""
    train: int
    """How many."""


class PartFacts(Section):
    """A method that another one holds, and where its weights came from."""

    method: str
    """Its name: `drunet`."""
    source: str
    """In words: `run denoising/drunet`."""
    sha256: str
    """Of the file of its weights."""
    licence: str | None = None
    """Of published weights."""
    size: int | None = None
    """Of their file, in bytes."""

    def __str__(self) -> str:
        size = self.size and f"{self.size / 1e6:.1f} MB"
        licence = self.licence and f"licence {self.licence}"
        words = f"{self.method} of {self.source}", size, licence, f"sha256 {self.sha256[:16]}"
        return ", ".join(word for word in words if word)


class RunFacts(Section):
    format: Literal[1] = 1
    state: Literal["started", "finished"]
    challenge: MadeFor
    versions: dict[str, str]
    """Of toolkit, torch and deepinv."""
    machine: Machine | None = None
    images: TrainImages | None = None
    started: str | None = None
    """ISO 8601, UTC."""
    seconds: float = Field(ge=0)
    """Of training, all together."""
    peak_memory: int | None = None
    """Bytes of the process."""
    peak_gpu_memory: int | None = None
    """Bytes on a GPU."""
    parts: dict[str, PartFacts] = {}
    """Methods that knobs of the method are, such as `denoiser`."""
    method: dict[str, Any] = {}
    """Parameters and, of a network, multiplications per pixel and receptive field."""
    fault: str | None = None
    """Why it ended before its time, if it did."""
    early: str | None = None
    """At which step it was finished on request, and with which weights, if it was."""

    @property
    def parameters(self) -> int:
        """Numbers that were learned; 0 where the method does not say."""
        return self.method.get("parameters") or 0


def read_facts(run: Run) -> RunFacts:
    """What `run.json` says; raises `UserError` if the folder is not a run, or is damaged."""
    if not run.facts.is_file():
        raise UserError.of(run.path, "is not a run", "give a folder made by `challenge train`")
    try:
        return RunFacts.model_validate_json(reading.bounded(run.facts))
    except (OSError, ValueError):
        raise UserError.of(run.facts, "is damaged", "train the run again") from None


def read_config(run: Run) -> EntryConfig:
    """The resolved config that was saved before work began."""
    return load_entry(str(run.config))[0]


def check_challenge(run: Run, record: RunFacts, challenge: Challenge) -> None:
    """Raise `UserError` where a run was not trained for this very preparation of a challenge."""
    made_for, wanted = record.challenge, challenge.config.name
    if made_for.name != wanted:
        cause = f"was trained for `{made_for.name}`, this is `{wanted}`"
        raise UserError.of(run.path, cause, "train it for this challenge")
    if made_for.hash != challenge.hash:
        cause = f"was trained for another preparation of `{wanted}`"
        raise UserError.of(run.path, cause, "train it again on the current public folder")


def write_facts(run: Run, facts: RunFacts) -> None:
    """Write `run.json`, with the keys that were set."""
    atomic.write_json(run.facts, {"format": 1, **facts.model_dump(mode="json", exclude_unset=True)})
