"""Prepare a challenge: train and val for the teams, test for the organiser.

The folders appear complete or not at all (`staging`); what is in them, `writer` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.loader import Source
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import (
    BuiltinImages,
    PhantomImages,
    SliceImages,
    channels_of,
)
from challenge.data import atomic, layout, locks, noise
from challenge.data.challenges import needs, staging
from challenge.data.challenges.writer import Writer
from challenge.data.images import slices, splits
from challenge.data.images.photographs import Notice, Progress
from challenge.data.layout import Hidden, Public, Split, Workspace
from challenge.data.physics import families
from challenge.data.physics.family import Arrays

_PREPARED = "is being prepared by"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made."""

    public: Public
    hidden: Hidden
    counts: dict[Split, int]
    """Images per split."""
    seal: str
    """64 hex digits."""
    duplicates: list[tuple[str, str]]
    """(file left out, file with the same pixels that is kept)."""
    shrunk: str
    """Over how many pixels photographs were averaged; empty where none was."""
    proposal: str
    """Settings that would leave more photographs to train on; empty where most of them do."""


def prepare(
    config: ChallengeConfig,
    source: Source,
    workspace: Workspace,
    *,
    force: bool = False,
    progress: Progress,
    notice: Notice,
) -> Prepared:
    """Make the public and the hidden folder of a challenge.

    Args:
        config: the challenge; a `metric.crop` of None is resolved here.
        source: the YAML file it came from; files it names are searched beside it first.
        workspace: gets `public/<name>` and `hidden/<name>`.
        force: replace a prepared challenge, which invalidates its entries.
        progress: called with (what, done, total).
        notice: called with what was changed or left out, in one line.

    Raises:
        UserError: what is wrong with the images, the kernel or the disk; or somebody else prepares
            or uses the challenge; nothing is changed then.
    """
    public, hidden = workspace.public(config.name), workspace.hidden(config.name)
    with atomic.disk_errors(workspace.path), _alone(workspace, config.name, force):
        if recovered := staging.recover(public, hidden):
            notice(f"{public.path}: {recovered}")
        if not force:
            _refuse_existing(public.path, hidden.path)
        needs.check_channels(config, source)
        arrays = _arrays(config, source, notice)
        config = _resolve(config, arrays)
        smallest = needs.smallest(config, arrays, source)
        needs.check_size(config, arrays, source)
        needs.check_range(config, arrays, source)
        key = noise.secret_key()
        duplicates: list[tuple[str, str]] = []
        proposal = ""
        if isinstance(config.images, BuiltinImages):
            plan = splits.plan_builtin(config.images, config.seed, key)
        elif isinstance(config.images, PhantomImages):
            plan = splits.plan_phantoms(config.images, config.seed, key)
        elif isinstance(config.images, SliceImages):
            seen = slices.plan(config.images, source, config.seed, key, progress, notice)
            plan, duplicates = seen.plan, seen.duplicates
        else:
            found = splits.plan_folder(
                config.images, source, config.seed, key, smallest, progress, notice
            )
            plan, duplicates, proposal = found.plan, found.duplicates, found.proposal
        with staging.replacing(public, hidden) as (new_public, new_hidden):
            writer = Writer(config, arrays, key, new_public, new_hidden, progress, notice)
            published = writer.write(plan, duplicates)
    counts = {split: len(plan[split]) for split in layout.SPLITS}
    shrunk = splits.shrunk([item for items in plan.values() for item in items])
    return Prepared(public, hidden, counts, published, duplicates, shrunk, proposal)


@contextmanager
def _alone(workspace: Workspace, name: str, force: bool) -> Iterator[None]:
    """Nobody else prepares the challenge or uses it meanwhile."""
    public, hidden = workspace.public(name), workspace.hidden(name)
    with ExitStack() as held:
        try:
            held.enter_context(locks.alone(workspace.lock(name), public.path, _PREPARED))
        except locks.Taken:
            if not force:
                _refuse_existing(public.path, hidden.path)
            raise
        yield


def _refuse_existing(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            raise UserError.of(
                folder,
                "exists already",
                "`--force` replaces it; a new secret key then makes all its entries invalid",
            )


def _arrays(config: ChallengeConfig, source: Source, notice: Notice) -> Arrays:
    family = families.of(config.operator)
    channels, size = channels_of(config.images), config.images.size
    return family.load(config.operator, (channels, size, size), source.path, notice)


def _resolve(config: ChallengeConfig, arrays: Arrays) -> ChallengeConfig:
    """Write out what null stood for: what the operator sees in part does not count."""
    if config.metric.crop is not None:
        return config
    crop = families.of(config.operator).border(config.operator, arrays)
    metric = config.metric.model_copy(update={"crop": crop})
    return config.model_copy(update={"metric": metric})
