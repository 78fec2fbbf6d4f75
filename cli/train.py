"""`challenge train`: learn or tune a method, into a run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.machines import Machines
from challenge.cli.shared.options import WORKSPACE, Overrides, TlsOption, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="An entry's config: a YAML file, a name such as `tv`, or a run.",
            autocompletion=completion.configs,
        ),
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
        bool,
        typer.Option(
            "--resume",
            help="Continue a run that was stopped, exactly; with another `train.steps=N` or "
            "`train.minutes=N`, extend it, also when it is finished.",
        ),
    ] = False,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Make a finished run of one that was stopped, with the best weights so far.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Throw an existing run of this name away.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            help="Where to train: auto, cpu or cuda.",
            metavar="DEVICE",
            autocompletion=completion.devices,
        ),
    ] = "auto",
    processes: Annotated[
        int,
        typer.Option(help="Share every batch among so many GPUs, or processes on a CPU.", min=1),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Train the runs of a sweep on the workers of a Dask scheduler; `local`: on one of "
            "this machine's own, `slurm`: on jobs of SLURM.",
        ),
    ] = None,
    tls: TlsOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of `--scheduler local`: runs at a time; a core has one. Of `slurm`: jobs; 4.",
        ),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Train or tune a method on the train split; the result is a run.

    Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU finish the step and save. An extended
    run goes on with the learning rate that the schedule of the new length has at the step it
    reached.

    Example: challenge train configs/network.yaml train.minutes=12
    """
    from challenge.cli.shared.console import show
    from challenge.cli.shared.kinds import expect
    from challenge.cli.shared.training import Where, exit_code, train_and_show
    from challenge.configs.errors import UserError
    from challenge.configs.paths import find
    from challenge.submissions.layout import Run
    from challenge.submissions.runs.torchrun import one_voice

    with one_voice():
        wishes = {"--resume": resume, "--finish": finish, "--force": force}
        chosen = [option for option, given in wishes.items() if given]
        if len(chosen) > 1:
            raise UserError.of(" and ".join(chosen), "contradict each other", "give one of them")
        if finish and sweep:
            raise UserError.of(
                "--finish", "is for one run", "finish the runs of a sweep one by one"
            )
        if (scheduler or tls or workers) and not (sweep and scheduler):
            raise UserError.of(
                "--scheduler, --tls and --workers",
                "are for a sweep on a Dask scheduler",
                "give `--sweep KEY=A,B` and `--scheduler`, or leave them out",
            )
        given = Path(config)
        if given.is_dir() and not Run(given).config.is_file():
            with suppress(UserError):  # a folder that has the name of a config
                config = str(find(config, "methods"))
                given = Path(config)
        if given.exists() or _beside_runs(given):
            expect([given], "config", "run", also=("yaml",))
        if given.is_dir():
            workspace = find_workspace(workspace, given)
            config = str(Run(given).config)
        # That of the workers is theirs to see.
        device = device if scheduler else _device(device)
        where = Where(workspace, device, processes, resume, force, finish)
        if sweep:
            from challenge.cli.sweep import run_all

            run_all(config, overrides or [], sweep, where, Machines(scheduler, tls, workers))
            return
        done = train_and_show(config, overrides or [], where)
        if not done.finished:
            raise typer.Exit(exit_code(done))
        show(f"next: challenge infer {done.run.path}")


def _beside_runs(path: Path) -> bool:
    """Whether a path lies where runs do."""
    from challenge.submissions.layout import Run

    if len(path.parts) < 2 or not path.parent.is_dir():
        return False
    return any(Run(each).facts.is_file() for each in path.parent.iterdir())


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
