"""`challenge train`: learn or tune a method, into a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.options import WORKSPACE, Overrides, WorkspaceOption

if TYPE_CHECKING:
    pass


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="An entry's config: a YAML file, a name such as `tv`, or a run folder."
        ),
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
    run_training(config, overrides or [], resume, force, device, workspace)
