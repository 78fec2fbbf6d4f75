"""`challenge prepare`: images and measurements, public and hidden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, Overrides, WorkspaceOption

if TYPE_CHECKING:
    from challenge.data.challenges.prepare import Prepared


def prepare(
    challenge: Annotated[
        str,
        typer.Argument(
            help="A challenge: a YAML file, or a name such as `deblur`.",
            autocompletion=completion.challenges,
        ),
    ],
    overrides: Overrides = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a prepared challenge; its entries become invalid."),
    ] = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Prepare a challenge: public images, hidden test set, seal.

    Example: challenge prepare deblur images.test=20
    """
    import shlex
    from contextlib import suppress

    from challenge.cli.shared.console import progress, say, show, warn
    from challenge.cli.shared.kinds import expect
    from challenge.cli.shared.workspace import tell_format
    from challenge.configs.errors import UserError
    from challenge.configs.loader import load_challenge
    from challenge.configs.paths import find
    from challenge.data.layout import Workspace

    path = Path(challenge)
    if path.is_dir():
        with suppress(UserError):  # a folder that has the name of a challenge
            path = find(challenge, "challenges")
    if path.exists():
        expect([path], "challenge", also=("yaml",))
    config, source = load_challenge(challenge, overrides or [])
    # After it, for it takes seconds: a mistake of the file is told at once.
    from challenge.data.challenges.prepare import prepare as prepare_challenge

    place = Workspace(workspace)
    if not force:
        with suppress(UserError):  # there is none, or it is damaged
            tell_format(place.public(config.name))
    with progress() as report:
        done = prepare_challenge(config, source, place, force=force, progress=report, notice=say)
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    show(f"prepared {config.name}: {counts}")
    also = ", measurements of test" if config.rules.test_measurements == "published" else ""
    show(f"public   {done.public.path}   for teams: train, val{also}")
    show(f"hidden   {done.hidden.path}   for you alone: test")
    show(f"seal     {done.seal}")
    show(f"look at  {done.public.sheet('val')}")
    if config.images.source == "folder":
        size = config.images.size
        shrunk = f"{done.shrunk} (images.shrink); " if done.shrunk else ""
        show(f"images   {shrunk}val and test cut to {size}x{size}")
    if config.images.source in ("phantoms", "slices"):
        values = config.images.values
        unit = f" {values.unit}" if values.unit else ""
        black, white = values.window or (values.low, values.high)
        show(
            f"images   0 to 1 is {values.low:g} to {values.high:g}{unit}, the range of scores; "
            f"pictures show {black:g} to {white:g}{unit}"
        )
    if done.proposal:
        changed = done.proposal.split()
        keys = tuple(setting.split("=")[0] + "=" for setting in changed)
        kept = [setting for setting in overrides or [] if not setting.startswith(keys)]
        given = [challenge, *kept, *changed, "--force"]
        if workspace != WORKSPACE:
            given += ["--workspace", str(workspace)]
        warn(f"fewer than half of the {sum(done.counts.values())} photographs train; more do with")
        say(f"  challenge prepare {shlex.join(given)}")
    from challenge.submissions.judging import originals

    for line in originals.warnings(done.hidden):
        warn(line)
    _tell_resolution(done)


def _tell_resolution(done: Prepared) -> None:
    """What differences the test set can show, which two baselines tell; kept for `rules`.

    What they reach is kept for the board, in the hidden folder.
    """
    from challenge.cli.shared.console import progress, show, warn
    from challenge.cli.shared.workspace import open_prepared
    from challenge.submissions.judging.foresee import foresee, measure
    from challenge.submissions.scoring import foreseen, references

    opened = open_prepared(done.public)
    with progress() as report:
        reached = measure(opened, done.hidden, report)
    references.write(done.hidden, reached)
    found = foresee(opened, reached)
    if found is not None:
        foreseen.write(done.public, found)
    for line in foreseen.lines(opened.test.count, found, opened.config.rules.final_share):
        if line.startswith(("Resolution: ", "Parts: ")):
            show(line)
        else:
            warn(line)
