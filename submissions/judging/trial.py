"""A team's dry run: the judge's own code on the public val split, for a run or a packed entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from challenge.configs.errors import UserError
from challenge.configs.schema.images import values_of
from challenge.data import atomic, locks
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Public, Split
from challenge.submissions import layout, scratch
from challenge.submissions.entries import archive, pack, packages
from challenge.submissions.inference import repeat, supervisor
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail import levels
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import choose
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage
from challenge.submissions.runs.facts import read_facts
from challenge.submissions.scoring import pictures
from challenge.submissions.scoring.hints import Example
from challenge.submissions.scoring.hints import hints as find_hints
from challenge.submissions.scoring.scores import OnScore, Pair, Scores, score_images

LOOKED_AT = 4
"""Images of val that are looked at for hints."""
OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Trial:
    """What came of a dry run; scores only where the outcome is `ok`."""

    inference: Inference
    scores: Scores | None
    level: Level = levels.LEVELS[0]
    """Of isolation, at which it ran."""
    hints: tuple[str, ...] = ()
    """What is suspicious about its estimates."""


def infer(
    run: Run | Path | str,
    challenge: Challenge | None = None,
    *,
    split: Split = "val",
    level: Level | None = None,
    progress: OnStep | None = None,
) -> Inference:
    """Reconstruct a split with a finished run, as the judge would.

    Reconstructions, pictures and what was measured go to the run's folder; older ones go away.
    The limit is meant for the test set: `Step.projected` is for as many images as that has.

    Args:
        run: or its folder.
        challenge: that it was trained for; by default looked up in the run's workspace.
        split: `val`, whose truth is known, or `test` where its measurements are published.
        level: of isolation; the strongest that holds here by default.
        progress: called after each reconstruction.

    Raises:
        UserError: the run is not finished, or of another challenge; the split is hidden; somebody
            else works on the run.
    """
    run, challenge = _opened(run, challenge)
    jail = jail_of(challenge, level)
    with (
        locks.alone(run.lock, run.path, "is being reconstructed by"),
        atomic.new_tree(run.reconstructions(split)) as output,
        scratch.folder("entry") as folder,
    ):
        pack.copy_entry_files(run, folder)
        inference = infer_folder(folder, output, challenge, jail, split=split, progress=progress)
        if inference.outcome == "ok":
            images = _images(challenge, split)
            values = values_of(challenge.config.images)
            pictures.draw_all(output, images, crop=challenge.crop, title=split, values=values)
    atomic.write_json(run.inference(split), {"format": 1, **asdict(inference)})
    return inference


def score(
    run: Run | Path | str,
    challenge: Challenge | None = None,
    *,
    progress: OnScore | None = None,
) -> Scores:
    """Score what `infer` reconstructed of val, and draw it anew with the scores.

    Args:
        run: or its folder.
        challenge: that it was trained for; by default looked up in the run's workspace.
        progress: called after each scored image with ("score", done, total).

    Raises:
        UserError: there are no reconstructions yet, or not all.
    """
    run, challenge = _opened(run, challenge)
    folder = run.reconstructions("val")
    scores = score_val(folder, challenge, progress=progress)
    check_scores(scores, folder, run.path)
    atomic.write_json(run.score("val"), {"format": 1, **scores.to_json()})
    values = values_of(challenge.config.images)
    images = _images(challenge, "val")
    pictures.draw_all(folder, images, scores, crop=challenge.crop, values=values)
    return scores


def _opened(run: Run | Path | str, challenge: Challenge | None) -> tuple[Run, Challenge]:
    """A finished run and its challenge."""
    run = layout.open_run(run)
    if challenge is None:
        name = read_facts(run).challenge.name
        place = layout.workspace_of(run.path)
        if place is None:
            remedy = "keep it in `WORKSPACE/runs/CHALLENGE/NAME`, or hand its challenge over"
            raise UserError.of(run.path, "lies in no workspace", remedy)
        challenge = open_challenge(place.public(name).path)
    storage.finished(run, challenge)
    return run, challenge


def try_entry(
    entry: Path,
    challenge: Challenge,
    *,
    level: Level | None = None,
    progress: OnStep | None = None,
) -> Trial:
    """The judge's verdict on a packed entry that passed the check, on val in place of test.

    Everything that the judge does: inference in a jail, some images again in another order, the
    scores. Then the contract test, which tells a team what may go wrong elsewhere.

    Args:
        level: of isolation; the strongest that holds here by default.
    """
    jail = jail_of(challenge, level)
    with scratch.folder("entry") as folder, scratch.folder("val") as output:
        archive.extract(entry, folder)
        contract: dict[str, Any] = {
            "channels": challenge.channels,
            "boundary": getattr(challenge.config.operator, "boundary", None),
            "operator": challenge.config.operator.kind,
            "noise": challenge.config.noise.model_dump(),
        }
        inference = infer_folder(
            folder, output, challenge, jail, progress=progress, contract=contract
        )
        if inference.outcome == "ok":
            sources = _sources(challenge, "val")
            second = repeat.repeat_images(folder, sources, output, challenge.config.limits, jail)
            inference = second.applied_to(inference)
        if inference.outcome != "ok":
            return Trial(inference, None, jail.level)
        scores, found = score_val(output, challenge), hints(output, challenge)
        return Trial(inference, scores, jail.level, tuple(found))


def jail_of(challenge: Challenge, level: Level | None = None) -> Jail:
    """The judge's jail, with what this machine can do; the workspace stays closed.

    Args:
        level: of isolation; the strongest that holds here by default.
    """
    chosen = choose.choose() if level is None else level
    may_read = packages.readable(challenge.config.rules)
    return choose.jail(chosen, supervisor.RUNNER, challenge.workspace.path, permitted=may_read)


def infer_folder(
    folder: Path,
    output: Path,
    challenge: Challenge,
    jail: Jail,
    *,
    split: Split = "val",
    progress: OnStep | None = None,
    contract: dict[str, Any] | None = None,
) -> Inference:
    """Reconstruct a split with an unpacked entry, within the limits of the test set.

    Args:
        output: folder for the reconstructions, `<id>.npy`.
        contract: what `supervisor.infer` needs to test the method contract as well.
    """
    return supervisor.infer(
        folder,
        _sources(challenge, split),
        output,
        challenge.config.limits,
        jail,
        planned=challenge.test.count,
        progress=progress,
        contract=contract,
    )


def score_val(folder: Path, challenge: Challenge, *, progress: OnScore | None = None) -> Scores:
    """Score a folder's reconstructions of val."""
    public = Public(challenge.path)
    pairs = [
        Pair.of(identity, public.image("val", identity), folder)
        for identity in challenge.ids("val")
    ]
    return score_images(pairs, challenge.crop, progress=progress)


def hints(folder: Path, challenge: Challenge) -> list[str]:
    """What is suspicious about a folder's reconstructions of val, in sentences; see there."""
    examples = []
    for identity in challenge.ids("val")[:LOOKED_AT]:
        try:
            x_hat = np.load(folder / f"{identity}.npy", allow_pickle=False)
        except (OSError, ValueError):
            return []
        truth, measured = challenge.truth(identity), challenge.measurement("val", identity).picture
        if x_hat.shape != truth.shape:
            return []
        same = measured.shape == truth.shape
        examples.append(Example(x_hat, truth, measured if same else None))
    return find_hints(examples, challenge.crop)


def check_scores(scores: Scores, folder: Path, made_with: Path) -> None:
    """Raise `UserError` where an image has no score; `made_with` is the run or entry."""
    if scores.failure:
        raise UserError.of(
            folder / f"{scores.failure.id}.npy",
            scores.failure.cause,
            f"reconstruct with `challenge infer {made_with}`",
        )


def _sources(challenge: Challenge, split: Split) -> list[Path]:
    public = Public(challenge.path)
    return [public.measurement(split, identity) for identity in challenge.ids(split)]


def _images(challenge: Challenge, split: Split) -> list[tuple[str, Path, Path | None]]:
    """Ids with measurement and truth, which is not there for test."""
    public = Public(challenge.path)
    return [
        (
            identity,
            public.measurement(split, identity),
            None if split == "test" else public.image(split, identity),
        )
        for identity in challenge.ids(split)
    ]
