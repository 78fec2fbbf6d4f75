"""A team's dry run: the judge's own code on the public val split, for a run or a packed entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Public, Split
from challenge.submissions import scratch
from challenge.submissions.entries import archive, pack
from challenge.submissions.inference import repeat, supervisor
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail import levels
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import choose
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage
from challenge.submissions.scoring import pictures
from challenge.submissions.scoring.scores import Pair, Scores, score_images

OnStep = Callable[[Step], None]
OnScore = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """What came of a dry run; scores only where the outcome is `ok`."""

    inference: Inference
    scores: Scores | None
    level: Level = levels.LEVELS[0]
    """Of isolation, at which it ran."""


def infer_run(
    run: Run,
    challenge: Challenge,
    *,
    split: Split = "val",
    level: Level | None = None,
    progress: OnStep | None = None,
) -> Inference:
    """Reconstruct a split with a finished run, as the judge would.

    Reconstructions, pictures and what was measured go to the run's folder; older ones go away.
    The limit is meant for the test set: `Step.projected` is for as many images as that has.

    Args:
        level: of isolation; the strongest that holds here by default.

    Raises:
        UserError: the run is not finished, or of another challenge.
    """
    storage.finished(run, challenge)
    jail = _jail(challenge, level)
    with atomic.new_tree(run.reconstructions(split)) as output, scratch.folder("entry") as folder:
        pack.copy_entry_files(run, folder)
        inference = _infer(folder, output, challenge, split, jail, progress)
        if inference.outcome == "ok":
            public = Public(challenge.path)
            images = [
                (
                    identity,
                    public.measurement(split, identity),
                    None if split == "test" else public.image(split, identity),
                )
                for identity in challenge.ids(split)
            ]
            pictures.draw_all(output, images, crop=challenge.crop, title=split)
    atomic.write_json(run.inference(split), {"format": 1, **asdict(inference)})
    return inference


def score_run(run: Run, challenge: Challenge, *, progress: OnScore | None = None) -> Scores:
    """Score a run's reconstructions of val, and draw them anew with their scores.

    Raises:
        UserError: there are no reconstructions yet, or not all.
    """
    storage.finished(run, challenge)
    folder = run.reconstructions("val")
    scores = _score(folder, challenge, progress)
    if scores.failure:
        raise UserError.of(
            folder / f"{scores.failure.id}.npy",
            scores.failure.cause,
            f"reconstruct with `challenge infer {run.path}`",
        )
    atomic.write_json(run.score("val"), {"format": 1, **scores.to_json()})
    public = Public(challenge.path)
    images = [
        (identity, public.measurement("val", identity), public.image("val", identity))
        for identity in challenge.ids("val")
    ]
    pictures.draw_all(folder, images, scores, crop=challenge.crop)
    return scores


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
    jail = _jail(challenge, level)
    with scratch.folder("entry") as folder, scratch.folder("val") as output:
        archive.extract(entry, folder)
        contract: dict[str, Any] = {
            "channels": challenge.channels,
            "boundary": challenge.config.operator.boundary,
        }
        inference = _infer(folder, output, challenge, "val", jail, progress, contract)
        if inference.outcome == "ok":
            sources = _sources(challenge, "val")
            second = repeat.reconstruct_again(
                folder, sources, output, challenge.config.limits, jail
            )
            if second.cause:
                inference = replace(
                    inference, outcome="nondeterministic", cause=second.cause, log=second.log
                )
        if inference.outcome != "ok":
            return Trial(inference, None, jail.level)
        return Trial(inference, _score(output, challenge, None), jail.level)


def _jail(challenge: Challenge, level: Level | None) -> Jail:
    """As the judge's, with what this machine can do."""
    chosen = choose.choose() if level is None else level
    return choose.jail(chosen, supervisor.RUNNER, challenge.path.resolve().parents[1])


def _sources(challenge: Challenge, split: Split) -> list[Path]:
    public = Public(challenge.path)
    return [public.measurement(split, identity) for identity in challenge.ids(split)]


def _infer(
    folder: Path,
    output: Path,
    challenge: Challenge,
    split: Split,
    jail: Jail,
    progress: OnStep | None,
    contract: dict[str, Any] | None = None,
) -> Inference:
    return supervisor.infer(
        folder,
        _sources(challenge, split),
        output,
        challenge.config.limits,
        jail,
        planned=len(challenge.ids("test")),
        progress=progress,
        contract=contract,
    )


def _score(folder: Path, challenge: Challenge, progress: OnScore | None) -> Scores:
    public = Public(challenge.path)
    pairs = [
        Pair(identity, str(public.image("val", identity)), str(folder / f"{identity}.npy"))
        for identity in challenge.ids("val")
    ]
    return score_images(pairs, challenge.crop, progress=progress)
