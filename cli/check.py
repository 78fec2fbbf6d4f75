"""`challenge check`: every problem of an entry at once; with `--run`, the judge's dry run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.dry_run import Ahead, timing, watch, went_well
from challenge.cli.shared.format import rounding
from challenge.cli.shared.intake import look_at
from challenge.cli.shared.options import WORKSPACE, IsolationOption, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace, open_prepared, tell_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Public, Workspace
    from challenge.submissions.jail.levels import Level


def check(
    entries: Annotated[
        list[Path], typer.Argument(help="Packed entries.", autocompletion=completion.entries)
    ],
    run: Annotated[
        bool,
        typer.Option(
            "--run", help="Then judge it on val, and test the method contract. Runs its code."
        ),
    ] = False,
    level: IsolationOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Check entries as the judge will, all problems at once.

    Without `--run` nothing of the entry is imported or run. With it, the judge's own code judges
    the entry on val: in a jail, within the limits, some images a second time.

    Example: challenge check workspace/entries/alpha-tv.zip --run
    """
    from functools import cache

    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import fail, show
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries import check as checking
    from challenge.submissions.entries import teams
    from challenge.submissions.entries.violations import outcome_of, refusal
    from challenge.submissions.jail.probe import choose

    chosen = choose.choose(level) if run else None
    open_once = cache(open_prepared)  # which speaks of an older one
    told: list[Challenge] = []
    bad = failed = 0
    for entry in entries:
        if (kind := kinds.kind_of(entry)) not in ("entry", *kinds.ZIPS):
            # The others are checked all the same.
            bad += 1
            fail(UserError(kinds.mistake(entry, kind, "entry")))
            continue
        place = Workspace(find_workspace(workspace, entry))
        challenge = _challenge(entry, place, open_once)
        listed = teams.load(place)
        problems = checking.check(entry, challenge, listed)
        if challenge is not None and place.hidden(challenge.config.name).key.is_file():
            look_at([entry], place, challenge, listed)
        if challenge is not None and challenge not in told:
            told.append(challenge)
            tell_rules(challenge)
        if problems:
            bad += 1
            fail(refusal(problems))
            show(f"{entry}: {outcome_of(problems)}, {len(problems)} to mend")
            continue
        against = f"{challenge.config.name} allows it" if challenge else "no challenge at hand"
        show(f"{entry}: ok ({against})")
        facts = checking.read_manifest(entry)
        if facts is not None and facts.rounded is not None:
            show(f"as packed {rounding(facts.rounded)}")
        if chosen is not None and not _dry_run(entry, challenge, place, chosen):
            failed += 1
    if bad or failed:
        raise typer.Exit(2 if bad else 1)


def _challenge(
    entry: Path, place: Workspace, open_public: Callable[[Public], Challenge]
) -> Challenge | None:
    """The prepared challenge that an entry names; None where it is not at hand."""
    from challenge.submissions.entries.check import read_manifest

    facts = read_manifest(entry)
    if facts is None or not place.public(facts.challenge.name).manifest.is_file():
        return None
    return open_public(place.public(facts.challenge.name))


def _dry_run(entry: Path, challenge: Challenge | None, place: Workspace, level: Level) -> bool:
    """Judge an entry on val and test its contract; whether all went well."""
    from challenge.cli.shared.console import progress, say, show, warn
    from challenge.cli.shared.format import mean
    from challenge.configs.errors import UserError
    from challenge.submissions.jail import levels
    from challenge.submissions.judging.trial import try_entry

    if challenge is None:
        raise UserError.of(
            entry, "its challenge is not prepared here", "give `--workspace` of the challenge"
        )
    minutes = challenge.config.limits.minutes
    ahead = Ahead(place, challenge)
    with progress() as report:
        step = watch(report, "dry run", minutes)
        found = try_entry(entry, challenge, level=level, progress=ahead.watch(step))
    show(f"isolation {levels.SUMMARY[level]}")
    if not went_well(found.inference):
        return False
    assert found.scores and found.scores.psnr and found.scores.ssim
    show(timing(found.inference, challenge.test.count, minutes))
    forecast = ahead.forecast_of(found.inference)
    ahead.show(forecast)
    ahead.warn(forecast)
    show(f"on val    PSNR {mean(found.scores.psnr, 2)} dB, SSIM {mean(found.scores.ssim, 4)}")
    for hint in found.hints:
        warn(hint)
    for rule in found.inference.broken:
        say(f"breaks the method contract: {rule}")
    if not found.inference.broken:
        show("contract  every rule holds")
    return not found.inference.broken
