"""`challenge train`: learn or tune a method, into a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared.options import WORKSPACE, Overrides, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace

if TYPE_CHECKING:
    from challenge.submissions.layout import Run
    from challenge.submissions.runs.session import RunSession


@dataclass(frozen=True)
class Where:
    """What the options say of a training, beside its config."""

    workspace: Path
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    force: bool = False


def train(
    config: Annotated[
        str,
        typer.Argument(help="An entry's config: a YAML file, a name such as `tv`, or a run."),
    ],
    overrides: Overrides = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=A,B,...",
            help="Train once for each value, for all combinations where given several times.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped, exactly.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Throw an existing run of this name away.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where to train: auto, cpu or cuda.", metavar="DEVICE")
    ] = "auto",
    processes: Annotated[
        int,
        typer.Option(help="Share every batch among so many GPUs, or processes on a CPU.", min=1),
    ] = 1,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Train or tune a method on the train split; the result is a run.

    Example: challenge train configs/network.yaml train.minutes=12
    """
    from challenge.configs.errors import UserError

    if resume and force:
        raise UserError.of("--resume and --force", "contradict each other", "give one of them")
    given = Path(config)
    if given.is_dir():
        # A run names its own config; only its workspace has to be found.
        workspace = find_workspace(workspace, given)
        config = str(given / "config.yaml")
    where = Where(workspace, _device(device), processes, resume, force)
    if sweep:
        from challenge.cli.sweep import run_all

        run_all(config, overrides or [], sweep, where)
        return
    made, finished = train_one(config, overrides or [], where)
    if not finished:
        raise typer.Exit(130)
    if made is not None:
        from challenge.cli.shared.console import show

        show(f"next: challenge infer {made.path}")


def train_one(config: str, overrides: Sequence[str], where: Where) -> tuple[Run | None, bool]:
    """Train one entry's config: its run, None in a process that only helps, and whether it
    reached the end; else the user stopped it."""
    from challenge.cli.shared.console import progress, say, show
    from challenge.configs.errors import UserError
    from challenge.configs.loader import load_entry
    from challenge.data.atomic import remove_tree
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.methods import registry

    entry, source = load_entry(config, overrides, registry.mistakes)
    place = Workspace(where.workspace)
    challenge = open_challenge(place.public(entry.challenge).path)

    import torch

    from challenge.methods.training.guards import Diverged
    from challenge.submissions import layout, machine
    from challenge.submissions.reports import training_pictures
    from challenge.submissions.runs import storage
    from challenge.submissions.runs.session import RunSession

    torch.manual_seed(entry.seed)
    # Built before the run is made: what the constructor refuses leaves nothing behind.
    base = source.path.parent
    method = registry.build(entry.method, base)
    run = layout.run(place, challenge.config.name, entry.name)
    machine.forget_peak_memory()
    with progress() as report:
        session = RunSession(
            run,
            seed=entry.seed,
            device=where.device,
            processes=where.processes,
            precision=entry.train.precision,
            resume=where.resume,
            progress=lambda step, total, values: report(
                f"train {entry.name}", step, total, _values(values)
            ),
        )
        # The other processes are launched before anything is written, and the first one writes.
        session.first_alone(
            lambda: storage.create(
                place, challenge, entry, base, force=where.force, resume=where.resume
            )
        )
        try:
            with _interrupts(session):
                method.fit(challenge.problem, challenge.train, entry.train, session)
        except UserError as error:
            if not session.writes:
                raise SystemExit(0) from None  # the first process says it
            session.abandon()
            if isinstance(error, Diverged) and run.checkpoint.exists():
                storage.finish(run, method, session.seconds, fault=str(error))
            elif not where.resume and not run.checkpoint.exists():
                # There is nothing to keep yet: the corrected command may follow.
                remove_tree(run.path)
            raise
        except BaseException:
            session.abandon()
            raise
    finished = not session.should_stop()
    session.close()
    if not session.writes:
        return None, True
    seconds = session.seconds
    if not finished:
        storage.pause(run, seconds)
        say(f"stopped; continue exactly with: challenge train {run.path} --resume")
        return run, False
    storage.finish(run, method, seconds)
    show(f"trained {entry.name} in {seconds:.0f} s -> {run.path}")
    for path in training_pictures.draw(run, method, challenge):
        show(f"look at {path}")
    return run, True


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
    shown = {"loss": ".5f", "psnr": ".2f", "ssim": ".3f", "weight": ".4g", "images_per_s": ".0f"}
    words = {"psnr": "PSNR", "ssim": "SSIM", "images_per_s": "images/s"}
    return "  ".join(
        f"{words.get(name, name)} {values[name]:{form}}"
        for name, form in shown.items()
        if name in values
    )


@contextmanager
def _interrupts(session: RunSession) -> Iterator[None]:
    """The first Ctrl-C finishes the step and saves; the second one interrupts at once."""
    from challenge.cli.shared.console import say

    def stop(number: int, frame: object) -> None:
        if session.stop_requested:
            raise KeyboardInterrupt
        session.request_stop()
        if session.writes:
            say("stopping after this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
