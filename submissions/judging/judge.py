"""The organiser's verdict on packed entries: check, judge on the hidden test set, write.

A verdict is written only when it is the entry's own: a fault of ours raises and leaves nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from challenge.configs.errors import UserError
from challenge.configs.schema.images import values_of
from challenge.data import atomic
from challenge.data.challenges import rules, seal
from challenge.data.challenges.challenge import PUBLISHING, Challenge
from challenge.data.hashing import digest_json
from challenge.data.layout import Hidden, Public, Workspace
from challenge.submissions import machine, scratch
from challenge.submissions.entries import intake, packages
from challenge.submissions.entries.check import check
from challenge.submissions.entries.intake import Taken
from challenge.submissions.entries.teams import Teams
from challenge.submissions.entries.violations import Violation
from challenge.submissions.inference import repeat, supervisor
from challenge.submissions.inference.supervisor import Step
from challenge.submissions.jail import levels, stage
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import choose
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging import originals, received, result_files, verdict
from challenge.submissions.judging.load import Meter
from challenge.submissions.judging.result import (
    Checked,
    JudgedBy,
    JudgedChallenge,
    JudgedEntry,
    Repeated,
    Result,
)
from challenge.submissions.judging.run import Order, Runs, run_here
from challenge.submissions.scoring import metrics, pictures
from challenge.submissions.scoring.scores import OnScore, Pair, Scores, score_images
from challenge.submissions.text import one_line

OnStep = Callable[[Step], None]
Rejudge = Literal["none", "timeouts", "all"]
"""Which verdicts that stand are made anew."""


@dataclass(frozen=True)
class Judge:
    """What is the same for all entries: challenge, hidden truth, list of teams, judge."""

    workspace: Workspace
    challenge: Challenge
    hidden: Hidden
    """The truth of test, and its measurements."""
    teams: Teams | None
    crop: int
    jail: Jail
    repeats: bool
    """Whether some images are reconstructed a second time, in a fresh process."""
    parts: dict[str, Any]
    """What the judge's hash is made of."""
    runs: Runs = run_here
    """Runs an entry over the hidden measurements, on this machine or another one."""
    scores: Callable[..., Scores] = score_images
    """Scores reconstructions, as `score_images`."""

    @property
    def judge_hash(self) -> str:
        return digest_json(self.parts)


def open_judge(
    workspace: Workspace,
    challenge: Challenge,
    hidden: Hidden,
    teams: Teams | None,
    *,
    level: Level,
    repeats: bool = False,
    runner: Path = supervisor.RUNNER,
) -> Judge:
    """Prepare to judge.

    Args:
        workspace: where results go.
        challenge: whose limits and rules hold.
        hidden: the truth of test, and its measurements.
        teams: the organiser's list, None where there is none.
        level: of isolation.
        repeats: whether some images are reconstructed again, in another order.
        runner: the program that runs an entry.

    Raises:
        UserError: public and hidden folder do not belong together (the seal is verified), or the
            rules are not the newest.
    """
    seal.verify(Public(challenge.path), hidden)
    rules.compare(Public(challenge.path), hidden.rules, challenge.standing)
    crop = challenge.crop
    may_read = packages.readable(challenge.config.rules)
    closed = [workspace.path, hidden.path, *originals.closed(hidden, may_read)]
    jail = choose.jail(level, runner, *closed, permitted=may_read)
    parts = result_files.judge_parts(
        {**metrics.DEFINITION, "crop": crop},
        {**machine.versions(), **machine.metric_versions(), "sources": stage.digest()},
        levels.promises(level, sys.platform),
        challenge.config.limits,
        {"share": repeat.SHARE, "tolerance": repeat.TOLERANCE} if repeats else None,
    )
    return Judge(workspace, challenge, hidden, teams, crop, jail, repeats, parts)


def judge_entry(
    judge: Judge,
    entry: Path,
    *,
    rejudge: Rejudge = "none",
    progress: OnStep | None = None,
    scored: OnScore | None = None,
) -> tuple[Result, bool]:
    """Judge one entry, or find the verdict that stands.

    Args:
        entry: the zip.
        rejudge: judge it even where a verdict stands, which goes into the history: any, or one
            that is in doubt because it failed by the clock on a busy machine.
        progress: called after each reconstruction.
        scored: called after each scored image with ("score", done, total).

    Returns:
        The result, and whether it was judged now (False: the verdict stood already).

    Raises:
        UserError: there is no such file.
        JudgeFault: our own part failed; nothing is written.
    """
    with scratch.folder("intake") as folder:
        taken = intake.take(entry, folder, judge.challenge.config.limits)
        return _verdict(judge, entry, taken, rejudge, progress, scored)


def _verdict(
    judge: Judge,
    entry: Path,
    taken: Taken,
    rejudge: Rejudge,
    progress: OnStep | None,
    scored: OnScore | None,
) -> tuple[Result, bool]:
    """The verdict on a copy of an entry, which is told of by its own name."""
    meter = Meter(judge.challenge.config.limits.threads)
    copy, entry_hash = taken.path, taken.hash
    with result_files.locked(judge.workspace, entry_hash):
        # The check is made anew: what it depends on, the list of teams, may have changed.
        name = one_line(entry.name)
        problems = check(copy, judge.challenge, judge.teams, shown=name)
        if taken.too_large and not problems:
            # It was made smaller meanwhile, and is no copy that nobody else can write to.
            raise UserError.of(entry, "was changed while it was read", "score it again")
        known = result_files.find(
            judge.workspace, entry_hash, judge.challenge.hash, judge.judge_hash
        )
        sight = received.see(
            judge.workspace,
            entry,
            prepared=judge.challenge.standing.prepared,
            entry_hash=entry_hash,
        )
        checked = Checked.by(judge.challenge.config.rules)
        if known is not None and not _anew(known, rejudge, problems):
            if known.rules != checked:
                known = known.model_copy(update={"rules": checked})
                result_files.renew(judge.workspace, known)
            return known, False
        begun = result_files.timestamp(time.time())
        about = verdict.entry_facts(copy, name, entry_hash, sound=not problems)
        before = None if problems else meter.so_far()
        found = (
            {
                **verdict.refused(problems),
                "machine": machine.describe(),
                "versions": machine.versions(),
            }
            if problems
            else _judged(judge, copy, about, before, progress, scored)
        )
        result = Result(
            format=1,
            entry=about,
            challenge=JudgedChallenge(
                name=judge.challenge.config.name,
                hash=judge.challenge.hash,
                practice=judge.challenge.practice,
            ),
            judge=JudgedBy(hash=judge.judge_hash, **judge.parts),
            received=sight.received,
            judged_at=begun,
            rules=checked,
            **found,
        )
        result_files.save(judge.workspace, result)
    return result, True


def _anew(known: Result, rejudge: Rejudge, problems: list[Violation]) -> bool:
    """Whether an entry is judged once more."""
    if rejudge == "all" or known.problems != verdict.listed(problems):
        return True
    unknown = known.failed_by_the_clock and known.load is None  # an older toolkit did not look
    return rejudge == "timeouts" and (known.in_doubt or unknown)


def _judged(
    judge: Judge,
    entry: Path,
    about: JudgedEntry,
    before: float | None,
    progress: OnStep | None,
    scored: OnScore | None,
) -> dict[str, Any]:
    """What a result says of an entry that was run on the hidden test set."""
    challenge, ids = judge.challenge, judge.hidden.ids()
    output = judge.hidden.judged(about.label)
    scores = None
    # Whoever was killed while it judged this entry, which is locked, left these.
    atomic.remove_leftovers(output)
    order = Order(
        entry=entry,
        name=about.title,
        measurements=tuple(_measurement(judge, identity) for identity in ids),
        limits=challenge.config.limits,
        jail=judge.jail,
        repeats=judge.repeats,
    )
    with atomic.new_tree(output) as made:
        ran = judge.runs(order, made, progress)
        inference = ran.inference
        if inference.outcome == "ok":
            pairs = [Pair.of(each, judge.hidden.image(each), made) for each in ids]
            scores = judge.scores(pairs, judge.crop, progress=scored)
            if scores.failure:
                # Every answer was checked when it came in: what fails now is not the team's.
                raise supervisor.JudgeFault(f"image {scores.failure.id}: {scores.failure.cause}")
            shown = [(each, _measurement(judge, each), judge.hidden.image(each)) for each in ids]
            values = values_of(judge.challenge.config.images)
            title = about.title
            pictures.draw_all(made, shown, scores, crop=judge.crop, title=title, values=values)
    # What this machine was busy with says nothing of another one.
    load = ran.load if ran.where else ran.load.model_copy(update={"before": before})
    found = {"where": ran.where} if ran.where else {}
    return {
        **verdict.judged(inference, scores, load),
        "repeat": Repeated(**ran.second.to_json()) if ran.second else None,
        "machine": ran.machine,
        "versions": ran.versions,
        **found,
    }


def _measurement(judge: Judge, identity: str) -> Path:
    """Where it is stored: in the hidden folder, but for what an older toolkit prepared."""
    if judge.challenge.format == PUBLISHING:
        return Public(judge.challenge.path).measurement("test", identity)
    return judge.hidden.measurement(identity)
