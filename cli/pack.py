"""`challenge pack`: a run becomes an entry, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.dry_run import watch_each
from challenge.cli.shared.options import WORKSPACE, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace, open_prepared, tell_rules

NOTICED = 0.01
"""dB: what rounding may change without a warning."""

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.manifest import Half, Manifest, Rounded
    from challenge.submissions.layout import Run


def pack(
    run: Annotated[
        Path,
        typer.Argument(
            help="A finished run, an entry, or a baseline's name.",
            autocompletion=completion.comparable,
        ),
    ],
    team: Annotated[
        str, typer.Option(help="The name of your team.", autocompletion=completion.teams)
    ],
    challenge: Annotated[
        str | None,
        typer.Option(
            help="Pack an entry for this challenge; by default the one it names.",
            autocompletion=completion.prepared,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Round the weights to float16 or bfloat16: about half the bytes.",
            autocompletion=completion.halves,
        ),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Pack a run as an entry: one zip, checked first.

    With `--dtype`, val is reconstructed before and after rounding, by the judge's own code, and
    the manifest states both PSNR. Scalars and short vectors are not rounded.

    An entry, or a baseline that comes with the toolkit such as `unet`, is packed anew for the
    challenge as it is prepared here; it then declares that it was trained before.

    Example: challenge pack workspace/runs/deblur/tv --team alpha
    """
    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import say, show
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions import layout
    from challenge.submissions.entries import teams
    from challenge.submissions.entries.check import check, read_manifest
    from challenge.submissions.entries.pack import as_run, repack, target_of
    from challenge.submissions.entries.pack import pack as pack_run
    from challenge.submissions.entries.violations import refusal
    from challenge.submissions.runs.facts import read_config, read_facts

    half = None if dtype is None else _half(dtype)
    changed: Rounded | None = None
    baselines = layout.baselines()
    if not run.exists() and str(run) in baselines:
        run = baselines[str(run)]
        challenge = challenge or _challenge_of(run, Workspace(workspace))
    elif not run.exists():
        known = ", ".join(f"`{name}`" for name in baselines)
        remedy = f"give a run, an entry, or a baseline: {known}"
        raise UserError.of(run, "does not exist", remedy)
    kinds.expect([run], "run", "entry", also=kinds.ZIPS)
    made: layout.Run | None = None
    if run.is_file():
        manifest = read_manifest(run)
        if manifest is None:
            raise refusal(check(run)[:1])
        place = Workspace(workspace)
        opened = open_prepared(place.public(challenge or manifest.challenge.name))
        name = manifest.name
        target = target_of(place, team, name, opened.config.name)
        if half is None:
            repack(run, team, target, opened, teams.load(place))
        else:
            with as_run(run, opened) as (unpacked, facts):
                changed = _round(unpacked, half, team, target, opened, place, facts)
    else:
        place = Workspace(find_workspace(workspace, run))
        made = layout.Run(run)
        trained_for, config = read_facts(made).challenge, read_config(made)
        if challenge not in (None, trained_for.name):
            remedy = "pack the run first, then the entry for the other challenge"
            raise UserError.of("--challenge", "is for entries", remedy)
        opened = open_prepared(place.public(trained_for.name))
        name = config.name
        target = target_of(place, team, name, trained_for.name)
        if half is None:
            pack_run(made, team, target, opened, teams.load(place))
        else:
            changed = _round(made, half, team, target, opened, place)
    size, limit = target.stat().st_size, opened.config.limits.weights_mb
    if target.name != (usual := f"{team}-{name}.zip"):
        say(f"{usual} is another entry, and stays")
    show(f"packed {target}: {size / 1e6:.2f} MB of {limit:g} MB")
    if half is not None:
        _tell(half, changed)
    tell_rules(opened)
    if made is not None:
        _foresee(made, place, opened)
    show(f"next: challenge check {target} --run")


def _challenge_of(baseline: Path, place: Workspace) -> str:
    """The challenge that a baseline is packed for where none is named.

    The one that it was trained on, where it is prepared here; else the only one that is.

    Raises:
        UserError: there is none, or there are several.
    """
    from challenge.configs.errors import UserError
    from challenge.data.challenges.challenge import prepared
    from challenge.submissions.entries.check import read_manifest

    known, facts = prepared(place), read_manifest(baseline)
    if facts is not None and facts.challenge.name in known:
        return facts.challenge.name
    if len(known) == 1:
        return known[0]
    if not known:
        cause = "no challenge is prepared here"
        raise UserError.of(place.path, cause, "make one, `challenge prepare deblur`")
    remedy = f"name one, `--challenge NAME`: {', '.join(known)}"
    raise UserError.of(baseline.stem, "may be packed for any challenge", remedy)


def _half(name: str) -> Half:
    """The type that `--dtype` means.

    Raises:
        UserError: it is another word.
    """
    from typing import get_args

    from challenge.configs.errors import UserError
    from challenge.submissions.entries.manifest import Half

    for each in get_args(Half):
        if name == each:
            return each  # type: ignore[no-any-return]
    raise UserError.of("--dtype", f"is `{name}`", "give float16 or bfloat16, or leave it out")


def _round(
    run: Run,
    dtype: Half,
    team: str,
    target: Path,
    challenge: Challenge,
    place: Workspace,
    facts: Manifest | None = None,
) -> Rounded | None:
    """Pack with rounded weights, and show how far val is; `facts` of an entry packed before."""
    from challenge.cli.shared.console import progress
    from challenge.submissions.entries import teams
    from challenge.submissions.judging.rounding import pack_rounded

    with progress() as report:
        return pack_rounded(
            run,
            dtype,
            team,
            target,
            challenge,
            teams.load(place),
            training=facts.training if facts else None,
            rounded=facts.rounded if facts else None,
            progress=watch_each(report, challenge.config.limits.minutes),
        )


def _tell(dtype: Half, found: Rounded | None) -> None:
    """What rounding changed on val."""
    from challenge.cli.shared.console import say, show, warn
    from challenge.cli.shared.format import rounding

    if found is None:
        say(f"--dtype {dtype}: the weights are in half precision already, nothing was rounded")
        return
    show(rounding(found))
    if abs(found.change) > NOTICED:
        other = "without `--dtype` nothing changes"
        if dtype == "bfloat16":
            other = "float16 has steps an eighth as large"
        warn(f"{dtype} changes PSNR on val by {found.change:+.3f} dB; {other}")


def _foresee(run: Run, place: Workspace, challenge: Challenge) -> None:
    """The time on the judge's machine, by what `infer` measured with these weights."""
    from challenge.cli.shared.console import warn
    from challenge.cli.shared.dry_run import Ahead
    from challenge.submissions.inference.forecast import failure, measured

    if failed := failure(run):
        warn(f"`challenge infer` ended with {failed}: the judge's verdict will be the same")
    if (found := measured(run)) is not None:
        ahead = Ahead(place, challenge)
        forecast = ahead.forecast(*found)
        ahead.show(forecast)
        ahead.warn(forecast)
