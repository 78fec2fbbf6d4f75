"""One training as a person watches it: progress, the wish to stop, what came of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.submissions.layout import Run
    from challenge.submissions.runs.train import TrainedRun


@dataclass(frozen=True)
class Where:
    """What the options say of a training, beside its config."""

    workspace: Path
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    force: bool = False
    finish: bool = False


def train_and_show(config: str, overrides: Sequence[str], where: Where) -> TrainedRun:
    """Train one entry's config, showing its progress and its pictures.

    Raises:
        UserError: what `runs.train` refuses.
    """
    from challenge.cli.shared.console import progress, say, show
    from challenge.submissions.entries.load import unpacked
    from challenge.submissions.reports import training_pictures
    from challenge.submissions.runs import checkpoint
    from challenge.submissions.runs.facts import read_facts
    from challenge.submissions.runs.train import train

    label = ["train"]
    _use(config, overrides, where.workspace)
    look = _leaving_closed_terminal()
    with progress() as report:

        def stopping(number: int) -> None:
            look()
            again = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
            say(f"stopping after this step{again}")

        def started(run: Run) -> None:
            label.append(run.path.name)
            for knob, part in read_facts(run).parts.items():
                say(f"{knob}: {part}")
            _tell_patches(run, where.workspace)

        done = train(
            config,
            overrides,
            workspace=where.workspace,
            device=where.device,
            processes=where.processes,
            resume=where.resume,
            force=where.force,
            finish=where.finish,
            progress=lambda step, total, found: report(" ".join(label), step, total, values(found)),
            on_start=started,
            catch_interrupts=True,
            on_stop=stopping,
            draw=training_pictures.draw,
            on_failed_drawing=_not_drawn,
            open_entry=unpacked,
        )
    if not done.finished:
        say(f"stopped; continue exactly with: challenge train {done.run.path} --resume")
        if checkpoint.trained(done.run):
            say(f"or take the best weights so far:  challenge train {done.run.path} --finish")
        return done
    show(f"trained {done.run.path.name} in {done.seconds:.0f} s -> {done.run.path}")
    _remark(done)
    try:
        for path in training_pictures.draw(done.run, done.method, done.challenge):
            show(f"look at {path}")
    except Exception as error:  # a picture is no reason to fail
        _not_drawn(error)
    return done


def exit_code(stopped: TrainedRun) -> int:
    """Of a training that was stopped: 128 and the signal's number, as shells count."""
    return 128 + (stopped.signal or signal.SIGINT)


def _leaving_closed_terminal() -> Callable[[], None]:
    """A function that sends output to nowhere if the terminal that is here now is closed then."""
    there = [number for number in (1, 2) if os.isatty(number)]

    def look() -> None:
        for number in there:
            if not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

    return look


def _not_drawn(error: Exception) -> None:
    from challenge.cli.shared.console import warn

    said = " ".join(str(error).split())[:300]
    warn(
        f"pictures of the training could not be drawn, nothing else is lost: "
        f"{type(error).__name__}: {said}"
    )


def _tell_patches(run: Run, workspace: Path) -> None:
    """Say so where patches are other scans than the images: an operator that sees all at once."""
    from challenge.cli.shared.console import warn
    from challenge.configs.loader import load_entry
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.data.physics.families import FAMILIES
    from challenge.methods import registry

    entry, source = load_entry(str(run.config))
    challenge = open_challenge(Workspace(workspace).public(entry.challenge).path)
    kind, size = challenge.config.operator.kind, challenge.config.images.size
    method = registry.resolve(str(entry.method["name"]), source.path.parent)
    if FAMILIES[kind].whole and entry.train.patch < size and "patch" in method.reads:
        warn(
            f"patches of {entry.train.patch} pixels are smaller scans than the images of {size}, "
            f"which `{kind}` sees as a whole: better give `train.patch={size}`"
        )


def _remark(done: TrainedRun) -> None:
    """What is worth knowing of a run that was trained."""
    from challenge.cli.shared.console import say, warn
    from challenge.submissions.runs import log
    from challenge.submissions.runs.facts import read_facts

    if advice := done.method.advice(done.challenge.problem, done.challenge.train):
        warn(advice)
    best = log.best(done.run)
    if early := read_facts(done.run).early:
        quality = f", with the weights of step {best['step']}: {best['psnr']:.2f} dB on tune"
        say(f"finished {early}{quality if best else ''}")
    steps, _ = log.curve(done.run, "psnr")
    if steps and steps[-1] > 0 and best["step"] == 0:
        warn(
            f"no weights were better on the tune part than those of step 0, "
            f"{best['psnr']:.2f} dB, so these were kept: nothing was learned; train longer, or "
            "with another `train.lr`"
        )


def _use(config: str, overrides: Sequence[str], workspace: Path) -> None:
    """Keep others from replacing the challenge while it is trained on."""
    from challenge.cli.shared.workspace import use
    from challenge.configs.errors import UserError
    from challenge.configs.loader import load_entry
    from challenge.data.layout import Workspace

    try:
        entry, _ = load_entry(config, overrides)
    except UserError:
        return  # told by who trains, with the mistakes of the method
    use(Workspace(workspace).public(entry.challenge))


def values(found: Mapping[str, float]) -> str:
    """The numbers a person watches, in a fixed order."""
    shown = {"loss": ".5f", "psnr": ".2f", "ssim": ".3f", "weight": ".4g", "images_per_s": ".0f"}
    words = {"psnr": "PSNR", "ssim": "SSIM", "images_per_s": "images/s"}
    return "  ".join(
        f"{words.get(name, name)} {found[name]:{form}}"
        for name, form in shown.items()
        if found.get(name) is not None
    )
