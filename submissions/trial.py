"""A team's dry run: the judge's own code on the public val split, for a run or a packed entry."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.data.challenge import Challenge
from challenge.data.layout import Public, Split
from challenge.submissions import archive, judge, pack, pictures, runs, scoring
from challenge.submissions.judge import Inference, Step
from challenge.submissions.layout import Run
from challenge.submissions.scoring import Pair, Scores

OnStep = Callable[[Step], None]
OnScore = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """What came of a dry run; scores only where the outcome is `ok`."""

    inference: Inference
    scores: Scores | None


def infer_run(
    run: Run, challenge: Challenge, *, split: Split = "val", progress: OnStep | None = None
) -> Inference:
    """Reconstruct a split with a finished run, as the judge would.

    Reconstructions, pictures and what was measured go to the run's folder; older ones go away.
    The limit is meant for the test set: `Step.projected` is for as many images as that has.

    Raises:
        UserError: the run is not finished, or of another challenge.
    """
    runs.finished(run, challenge)
    with (
        atomic.new_tree(run.reconstructions(split)) as output,
        tempfile.TemporaryDirectory(prefix="challenge-entry-") as folder,
    ):
        pack.unpack_run(run, Path(folder))
        inference = _infer(Path(folder), output, challenge, split, progress)
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
            pictures.draw_all(output, images, title=split)
    atomic.write_json(run.inference(split), {"format": 1, **asdict(inference)})
    return inference


def score_run(run: Run, challenge: Challenge, *, progress: OnScore | None = None) -> Scores:
    """Score a run's reconstructions of val, and draw them anew with their scores.

    Raises:
        UserError: there are no reconstructions yet, or not all.
    """
    runs.finished(run, challenge)
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
    pictures.draw_all(folder, images, scores)
    return scores


def try_entry(entry: Path, challenge: Challenge, *, progress: OnStep | None = None) -> Trial:
    """The dry run of a packed entry that passed the check: val, scores, and the contract test."""
    with (
        tempfile.TemporaryDirectory(prefix="challenge-entry-") as folder,
        tempfile.TemporaryDirectory(prefix="challenge-val-") as output,
    ):
        archive.extract(entry, Path(folder))
        contract: dict[str, Any] = {
            "channels": challenge.channels,
            "boundary": challenge.config.operator.boundary,
        }
        inference = _infer(Path(folder), Path(output), challenge, "val", progress, contract)
        if inference.outcome != "ok":
            return Trial(inference, None)
        return Trial(inference, _score(Path(output), challenge, None))


def _infer(
    folder: Path,
    output: Path,
    challenge: Challenge,
    split: Split,
    progress: OnStep | None,
    contract: dict[str, Any] | None = None,
) -> Inference:
    public = Public(challenge.path)
    return judge.infer(
        folder,
        [public.measurement(split, identity) for identity in challenge.ids(split)],
        output,
        challenge.config.limits,
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
    return scoring.score(pairs, scoring.crop_of(challenge), progress=progress)
