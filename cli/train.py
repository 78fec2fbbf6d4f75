"""`challenge train`: learn or tune a method, into a run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.options import WORKSPACE, Overrides, WorkspaceOption, find_workspace

if TYPE_CHECKING:
    from challenge.submissions.session import RunSession


def train(
    config: Annotated[
        str,
        typer.Argument(help="An entry's config: a YAML file, a name such as `tv`, or a run."),
    ],
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped, exactly.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Throw an existing run of this name away.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where to train: auto, cpu or cuda.", metavar="DEVICE")
    ] = "auto",
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Train or tune a method on the train split; the result is a run.

    Example: challenge train configs/network.yaml train.minutes=12
    """
    from challenge.cli.console import progress, say, show
    from challenge.configs.errors import UserError
    from challenge.configs.loader import load_entry
    from challenge.data.atomic import remove_tree
    from challenge.data.challenge import open_challenge
    from challenge.data.layout import Workspace

    if resume and force:
        raise UserError.of("--resume and --force", "contradict each other", "give one of them")
    given = Path(config)
    if given.is_dir():
        # A run names its own config; only its workspace has to be found.
        workspace = find_workspace(given, None if workspace == WORKSPACE else workspace)
        config = str(given / "config.yaml")
    chosen = _device(device)

    from challenge.methods import registry

    entry, source = load_entry(config, overrides or [], registry.mistakes)
    place = Workspace(workspace)
    challenge = open_challenge(place.public(entry.challenge).path)

    import torch

    from challenge.submissions import runs
    from challenge.submissions.session import RunSession

    torch.manual_seed(entry.seed)
    # Built before the run is made: what the constructor refuses leaves nothing behind.
    method = registry.build(entry.method, source.path.parent)
    run = runs.create(place, challenge, entry, source.path.parent, force=force, resume=resume)
    started = time.monotonic()
    with progress() as report:
        session = RunSession(
            run,
            seed=entry.seed,
            device=chosen,
            precision=entry.train.precision,
            resume=resume,
            progress=lambda step, total, values: report(
                f"train {entry.name}", step, total, _values(values)
            ),
        )
        try:
            with _interrupts(session):
                method.fit(challenge.problem, challenge.train, entry.train, session)
        except UserError:
            # Refused before there was anything to keep: the corrected command may follow.
            if not resume and not run.checkpoint.exists():
                remove_tree(run.path)
            raise
    if session.should_stop():
        runs.pause(run, time.monotonic() - started)
        say(f"stopped; continue exactly with: challenge train {run.path} --resume")
        raise typer.Exit(130)
    runs.finish(run, method, time.monotonic() - started)
    show(f"trained {entry.name} in {time.monotonic() - started:.0f} s -> {run.path}")
    show(f"next: challenge infer {run.path}")


def _device(name: str) -> str:
    """The accelerator to train on; the only place that picks one."""
    from challenge.configs.errors import UserError

    if name not in ("auto", "cpu", "cuda"):
        raise UserError.of("--device", f"is `{name}`", "give auto, cpu or cuda")
    if name == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError.of("--device", "`cuda` is not there", "give cpu, or leave it out")
    return "cpu"


def _values(values: Mapping[str, float]) -> str:
    """The numbers a person watches, in a fixed order."""
    shown = {"loss": ".5f", "psnr": ".2f", "weight": ".4g", "images_per_s": ".0f"}
    words = {"psnr": "PSNR", "images_per_s": "images/s"}
    return "  ".join(
        f"{words.get(name, name)} {values[name]:{form}}"
        for name, form in shown.items()
        if name in values
    )


@contextmanager
def _interrupts(session: RunSession) -> Iterator[None]:
    """The first Ctrl-C finishes the step and saves; the second one interrupts at once."""
    from challenge.cli.console import say

    def stop(number: int, frame: object) -> None:
        if session.should_stop():
            raise KeyboardInterrupt
        session.request_stop()
        say("stopping after this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
