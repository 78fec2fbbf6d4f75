"""Trains or tunes a method into a run: what the command, a sweep and a notebook call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import load_entry
from challenge.configs.schema.entry import EntryConfig
from challenge.configs.schema.training import TrainConfig
from challenge.data import atomic, hashing, locks
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.methods import from_source, registry
from challenge.submissions import layout, machine
from challenge.submissions.layout import Run
from challenge.submissions.runs import (
    alike,
    checkpoint,
    parts,
    pretrained,
    reading,
    storage,
    torchrun,
    verify,
)
from challenge.submissions.runs.facts import read_config, read_facts
from challenge.submissions.runs.parts import OpenEntry, Taken
from challenge.submissions.runs.renewal import Renewal
from challenge.submissions.runs.session import Progress, RunSession, of_another
from challenge.submissions.runs.signals import OnStop, stop_on_signals

if TYPE_CHECKING:
    from challenge.configs.loader import Source
    from challenge.methods.contract import Method, TimeLimit


@dataclass(frozen=True)
class TrainedRun:
    """What came of a training."""

    run: Run
    method: Method
    """With what it learned so far."""
    challenge: Challenge
    seconds: float
    """Of training, with those before a resume."""
    finished: bool
    """False: it was stopped, has a checkpoint and no weights yet, and `resume` continues it."""
    signal: int | None = None
    """The number of the signal that stopped it, if one did."""


@torchrun.one_voice()
def train(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    workspace: str | Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    resume: bool = False,
    force: bool = False,
    finish: bool = False,
    progress: Progress | None = None,
    catch_interrupts: bool = False,
    on_start: Callable[[Run], None] | None = None,
    on_stop: OnStop | None = None,
    draw: Callable[[Run, Method, Challenge], object] | None = None,
    on_failed_drawing: Callable[[Exception], None] | None = None,
    open_entry: OpenEntry | None = None,
) -> TrainedRun:
    """Train or tune one entry's config on the train split of its challenge.

    Prints nothing. Seeds torch with the entry's seed.

    Args:
        config: a YAML file, the name of one such as `tv`, the folder of a run, or the keys of
            such a file: `{"challenge": "deblur", "method": "tv"}`.
        overrides: `key=value`, on top of it.
        workspace: where the challenge lives and the run goes; by default that of the run whose
            folder is given, else `workspace`.
        device: torch's name of a device: `cpu`, `cuda`, `cuda:1`.
        processes: so many share every batch. The others are started as this process was, with
            the same command, and leave this function by `SystemExit(0)` only. Where `torchrun`
            started this process, they are those that it started, on one machine or several.
        resume: continue a run that was stopped, exactly; with another `train.steps` or
            `train.minutes`, one that is finished as well, for so long.
        force: throw an existing run of this name away.
        finish: make a finished run of one that was stopped, with the best weights so far.
        progress: called with step, total (None: not known yet) and the values logged there.
        catch_interrupts: the first Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU finishes
            the step and saves, a second Ctrl-C or SIGTERM interrupts. Python allows that in the
            main thread only. Without it Ctrl-C interrupts at once, and a run continues from its
            last checkpoint.
        on_start: called with the run when its folder is there, in the process that writes.
        on_stop: called with the signal's number at the first one, in the process that writes.
        draw: called at evaluations with the run and the method as it would be kept; seldom enough
            to take a hundredth of the time, which counts in no budget.
        on_failed_drawing: called once with what `draw` raised, after which it is not called again.
        open_entry: unpacks a packed entry that a knob names, such as `denoiser`.

    Raises:
        UserError: config, workspace or images do not allow the training, or it diverged; somebody
            else trains the run; the method does not hold to its contract. A run that has nothing
            to keep is removed.
    """
    launched = torchrun.seat()
    if launched and processes > 1:
        raise UserError.of(
            "--processes",
            f"is for one machine; `torchrun` started {launched.count} already",
            "leave it out",
        )
    if finish and launched and launched.count > 1:
        raise UserError.of("--finish", "needs one process", "leave `torchrun` out")
    if finish and (overrides or processes > 1):
        raise UserError.of("--finish", "takes a run as it is", "leave all other settings out")
    found = None
    if isinstance(config, str | Path):
        if Path(config).is_dir():
            found, config = layout.workspace_of(Path(config)), Run(Path(config)).config
        config = str(config)
    entry, source = load_entry(config, overrides, _mistakes)
    place = Workspace(Path(workspace)) if workspace else found or Workspace(Path("workspace"))
    challenge = open_challenge(place.public(entry.challenge).path)

    import torch

    name, base = str(entry.method["name"]), source.path.parent
    run = layout.run(place, challenge.config.name, entry.name)
    stored = run if resume or finish else Run(base)
    entry = fitted_to(entry, challenge)
    entry, taken = parts.take(entry, base, challenge, place, stored, open_entry)
    torch.manual_seed(entry.seed)
    # Built before the run is made: what the constructor refuses leaves nothing behind.
    method, folders = _build(entry, base, taken)
    registry.check_operator(method, name, challenge.config.name, challenge.config.operator.kind)
    machine.forget_peak_memory()
    session = RunSession(
        run,
        seed=entry.seed,
        device=device,
        processes=processes,
        precision=entry.train.precision,
        resume=resume or finish,
        progress=progress,
        on_save=draw
        and Renewal(method, lambda kept: draw(run, kept, challenge), on_failed_drawing),
        find_weights=pretrained.finder(
            run, entry, challenge.config.rules, folders, keep=lambda: session.writes
        ),
        time_limit=time_limit(challenge),
    )
    team = name not in registry.METHODS
    with ExitStack() as until_the_end:

        def begin() -> None:
            until_the_end.enter_context(locks.alone(run.lock, run.path, "is being trained by"))
            atomic.remove_leftovers(run.path)
            if finish:
                _check_stopped(run)
            elif team and not resume:
                verify.before(method, challenge, device)
            storage.create(
                place, challenge, entry, base, taken, force=force, resume=resume or finish
            )

        # Launched before anything is written: each of the processes comes to this line by itself.
        session.launch(_facts(entry, challenge, run if resume or finish else None))
        session.first_alone(begin)
        if on_start is not None and session.writes:
            on_start(run)
        settings, early = entry.train, None
        if finish:
            settings, early = _as_long_as_it_is(run, settings)
        try:
            told = on_stop if session.writes else None
            with stop_on_signals(session, told) if catch_interrupts else nullcontext():
                method.fit(challenge.problem, challenge.train, settings, session)
            finished = not session.should_stop()
            session.close()
            if session.writes and finished and team:
                verify.after(method, challenge, lambda: _rebuilt(run))
        except BaseException as error:
            _give_up(session, run, method, error, resume or finish)
            raise
        if not session.writes:
            raise SystemExit(0)
        seconds = session.seconds
        if finished:
            storage.finish(run, method, seconds, early=early)
        else:
            storage.pause(run, seconds)
    return TrainedRun(run, method, challenge, seconds, finished, session.stopped_by)


def _facts(entry: EntryConfig, challenge: Challenge, stored: Run | None) -> dict[str, str]:
    """What every process of a training has to see alike.

    Args:
        stored: the run that is continued, if one is.
    """
    reached = stored and checkpoint.progress(stored)
    return {
        **alike.seen(challenge),
        "config": hashing.digest_json(entry.model_dump(mode="json"))[:12],
        "checkpoint": f"step {reached.step}" if reached else "none",
    }


def time_limit(challenge: Challenge) -> TimeLimit | None:
    """The judge's time for an image of test; None where there is none."""
    from challenge.methods.contract import TimeLimit

    limits, test = challenge.config.limits, challenge.test
    if not test.count:
        return None
    pixels = sum(each.count * each.image[1] * each.image[2] for each in test.shapes) / test.count
    return TimeLimit(60 * limits.minutes / test.count, pixels, limits.threads)


def fitted_to(entry: EntryConfig, challenge: Challenge) -> EntryConfig:
    """The config of a method of the table, with the challenge's channels where it says none.

    A team's own method knows best what its knobs mean.
    """
    name, section = str(entry.method["name"]), entry.method
    if name not in registry.METHODS or "channels" in section:
        return entry
    if from_source.channels(section) in (None, challenge.channels):
        return entry
    return entry.model_copy(update={"method": section | {"channels": challenge.channels}})


def _mistakes(source: Source, section: dict[str, Any]) -> list[Mistake]:
    """Those of a `method:` section; a team's file is imported for them."""
    with reading.watched(str(section.get("name")), source.path.parent):
        return registry.mistakes(source, section)


def _build(entry: EntryConfig, base: Path, taken: Mapping[str, Taken]) -> tuple[Method, list[Path]]:
    """The method of a config, and the folders in which it may have files of its own."""
    name = str(entry.method["name"])
    built = {knob: found.method for knob, found in taken.items()}
    with reading.watched(name, base) as beside:
        return registry.build(entry.method, base, built), [*beside, base, Path()]


def _rebuilt(run: Run) -> Method:
    """The method of a run, built as it will be for inference; without weights."""
    return registry.build(read_config(run).method, run.path)


def _check_stopped(run: Run) -> None:
    """Raise `UserError` where there is nothing to finish."""
    if read_facts(run).state == "finished":
        remedy = "extend it with `--resume train.steps=N`"
        raise UserError.of(run.path, "is finished already", remedy)
    if not checkpoint.trained(run):
        raise UserError.of(
            run.path,
            "has no checkpoint with weights that were trained",
            f"continue it with `challenge train {run.path} --resume`",
        )


def _as_long_as_it_is(run: Run, settings: TrainConfig) -> tuple[TrainConfig, str]:
    """Settings by which a training ends where it stands, and what the run says of that."""
    reached = checkpoint.progress(run)
    assert reached is not None
    planned = f" of {reached.total}" if reached.total else ""
    ended = settings.model_copy(update={"steps": reached.step, "minutes": None})
    return ended, f"on request, at step {reached.step}{planned}"


def _give_up(
    session: RunSession, run: Run, method: Method, error: BaseException, resume: bool
) -> None:
    """End the other processes, and keep of the run what can be kept.

    Raises:
        UserError: the mistake of another process, which this one's error follows from.
        SystemExit: this is not the first process, which says what was wrong.
    """
    cause = session.abandon(error)
    if cause is not None:
        raise cause from None
    if not session.writes:
        if isinstance(error, UserError | KeyboardInterrupt) or of_another(error):
            raise SystemExit(1) from None
        return
    if isinstance(error, Exception):
        _keep_or_remove(run, method, session.seconds, error, resume)


def _keep_or_remove(
    run: Run, method: Method, seconds: float, error: Exception, resume: bool
) -> None:
    """Finish a run that diverged with its best weights; remove one that has none to keep."""
    from challenge.methods.training.guards import Diverged

    if isinstance(error, Diverged) and run.checkpoint.exists():
        storage.finish(run, method, seconds, fault=str(error))
    elif not resume and not run.checkpoint.exists():
        # The corrected command may follow.
        atomic.remove_tree(run.path)
