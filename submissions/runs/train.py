"""Trains or tunes a method into a run: what the command, a sweep and a notebook call."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.configs.loader import load_entry
from challenge.data.atomic import remove_tree
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.methods import registry
from challenge.submissions import layout, machine
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage
from challenge.submissions.runs.session import Progress, RunSession

if TYPE_CHECKING:
    from challenge.methods.contract import Method


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


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    workspace: str | Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    catch_interrupts: bool = False,
    on_start: Callable[[Run], None] | None = None,
    on_stop: Callable[[], None] | None = None,
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
            the same command, and leave this function by `SystemExit(0)` only.
        resume: continue a run that was stopped, exactly.
        force: throw an existing run of this name away.
        progress: called with step, total (None: not known yet) and the values logged there.
        catch_interrupts: the first Ctrl-C finishes the step and saves, the second one interrupts.
            Python allows that in the main thread only. Without it Ctrl-C interrupts at once, and
            a run continues from its last checkpoint.
        on_start: called with the run when its folder is there.
        on_stop: called at the first Ctrl-C, in the process that writes.

    Raises:
        UserError: config, workspace or images do not allow the training, or it diverged. A run
            that has nothing to keep is removed.
    """
    found = None
    if isinstance(config, str | Path):
        if Path(config).is_dir():
            found, config = layout.workspace_of(Path(config)), Run(Path(config)).config
        config = str(config)
    entry, source = load_entry(config, overrides, registry.mistakes)
    place = Workspace(Path(workspace)) if workspace else found or Workspace(Path("workspace"))
    challenge = open_challenge(place.public(entry.challenge).path)

    import torch

    torch.manual_seed(entry.seed)
    # Built before the run is made: what the constructor refuses leaves nothing behind.
    base = source.path.parent
    method = registry.build(entry.method, base)
    name, kind = str(entry.method["name"]), challenge.config.operator.kind
    registry.check_operator(method, name, challenge.config.name, kind)
    run = layout.run(place, challenge.config.name, entry.name)
    machine.forget_peak_memory()
    session = RunSession(
        run,
        seed=entry.seed,
        device=device,
        processes=processes,
        precision=entry.train.precision,
        resume=resume,
        progress=progress,
    )
    # Launched before anything is written: each of the processes comes to this line by itself.
    session.launch()
    session.first_alone(
        lambda: storage.create(place, challenge, entry, base, force=force, resume=resume)
    )
    if on_start is not None:
        on_start(run)
    try:
        with _interrupts(session, on_stop) if catch_interrupts else nullcontext():
            method.fit(challenge.problem, challenge.train, entry.train, session)
    except UserError as error:
        if not session.writes:
            raise SystemExit(0) from None  # the first process says it
        session.abandon()
        _keep_or_remove(run, method, session.seconds, error, resume)
        raise
    except BaseException:
        session.abandon()
        raise
    finished = not session.should_stop()
    session.close()
    if not session.writes:
        raise SystemExit(0)
    seconds = session.seconds
    if finished:
        storage.finish(run, method, seconds)
    else:
        storage.pause(run, seconds)
    return TrainedRun(run, method, challenge, seconds, finished)


def _keep_or_remove(
    run: Run, method: Method, seconds: float, error: UserError, resume: bool
) -> None:
    """Finish a run that diverged with its best weights; remove one that has none to keep."""
    from challenge.methods.training.guards import Diverged

    if isinstance(error, Diverged) and run.checkpoint.exists():
        storage.finish(run, method, seconds, fault=str(error))
    elif not resume and not run.checkpoint.exists():
        # The corrected command may follow.
        remove_tree(run.path)


@contextmanager
def _interrupts(session: RunSession, on_stop: Callable[[], None] | None) -> Iterator[None]:
    """The first Ctrl-C finishes the step and saves; the second one interrupts at once."""

    def stop(number: int, frame: object) -> None:
        if session.stop_requested:
            raise KeyboardInterrupt
        session.request_stop()
        if session.writes and on_stop is not None:
            on_stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
