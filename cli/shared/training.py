"""One training as a person watches it: progress, the wish to stop, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.submissions.runs.train import TrainedRun


@dataclass(frozen=True)
class Where:
    """What the options say of a training, beside its config."""

    workspace: Path
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    force: bool = False


def train_and_show(config: str, overrides: Sequence[str], where: Where) -> TrainedRun:
    """Train one entry's config, showing its progress and its pictures at the end.

    Raises:
        UserError: what `runs.train` refuses.
    """
    from challenge.cli.shared.console import progress, say, show
    from challenge.submissions.runs.train import train

    label = ["train"]
    with progress() as report:
        done = train(
            config,
            overrides,
            workspace=where.workspace,
            device=where.device,
            processes=where.processes,
            resume=where.resume,
            force=where.force,
            progress=lambda step, total, values: report(
                " ".join(label), step, total, _values(values)
            ),
            on_start=lambda run: label.append(run.path.name),
            catch_interrupts=True,
            on_stop=lambda: say("stopping after this step; press Ctrl-C again to stop at once"),
        )
    if not done.finished:
        say(f"stopped; continue exactly with: challenge train {done.run.path} --resume")
        return done
    show(f"trained {done.run.path.name} in {done.seconds:.0f} s -> {done.run.path}")

    from challenge.submissions.reports import training_pictures

    for path in training_pictures.draw(done.run, done.method, done.challenge):
        show(f"look at {path}")
    return done


def _values(values: Mapping[str, float]) -> str:
    """The numbers a person watches, in a fixed order."""
    shown = {"loss": ".5f", "psnr": ".2f", "ssim": ".3f", "weight": ".4g", "images_per_s": ".0f"}
    words = {"psnr": "PSNR", "ssim": "SSIM", "images_per_s": "images/s"}
    return "  ".join(
        f"{words.get(name, name)} {values[name]:{form}}"
        for name, form in shown.items()
        if name in values
    )
