"""A run goes on only as what it began as; its budget alone may change, to extend it.

An extended run goes on at the step that it reached, as if it had been planned as long from the
start: its learning rate is that of the new schedule at this step.
"""

from __future__ import annotations

import shutil
from typing import Any

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.layout import Run
from challenge.submissions.runs import checkpoint
from challenge.submissions.runs.facts import (
    RunFacts,
    check_challenge,
    read_config,
    read_facts,
    write_facts,
)

BUDGET = ("steps", "minutes")
"""The keys of `train:` that may change."""


def reopen(run: Run, wanted: Run, challenge: Challenge) -> None:
    """Let a run go on, in its own folder, with the budget of another config.

    What was reconstructed and scored with a finished run's weights goes away with them.

    Args:
        run: that was stopped, or is finished and to be extended.
        wanted: a folder as the config that was given would make it.
        challenge: the run must belong to it.

    Raises:
        UserError: it differs in more than the budget, or has spent that already.
    """
    record = read_facts(run)
    check_challenge(run, record, challenge)
    config = read_config(wanted)
    extends = _check_config(run, config)
    if _sources(run) != _sources(wanted):
        remedy = "a changed method begins anew: give `--force` or another name"
        raise UserError.of(run.plugin, "differs from the method's files", remedy)
    if record.state == "finished" and not (extends or record.early):
        remedy = "extend it with `train.steps=N`, or train anew with `--force`"
        raise UserError.of(run.path, "is finished already", remedy)
    if extends:
        _check_budget(run, record, config)
    if record.state == "finished":
        write_facts(run, record.model_copy(update={"state": "started", **_NOTHING}))
        forget_results(run)
    if extends:
        atomic.write_bytes(run.config, wanted.config.read_bytes())


_NOTHING: dict[str, Any] = {"early": None, "fault": None}


def forget_results(run: Run) -> None:
    """Remove what was made with weights that the run will not keep."""
    shutil.rmtree(run.reconstructions("val").parent, ignore_errors=True)
    run.score("val").unlink(missing_ok=True)


def _check_config(run: Run, config: EntryConfig) -> bool:
    """Whether the budget differs; anything else that does is refused."""
    stored = read_config(run)
    before, after = stored.model_dump(mode="json"), config.model_dump(mode="json")
    changed = sorted({*_differing(before, after)})
    budget = {f"train.{key}" for key in BUDGET}
    if others := [f"`{key}`" for key in changed if key not in budget]:
        remedy = (
            f"of a run only `train.steps` and `train.minutes` may change; continue with its own "
            f"config, `challenge train {run.path} --resume`, or give another name"
        )
        cause = f"differs from the config that was given: {', '.join(others[:5])}"
        raise UserError.of(run.config, cause, remedy)
    return bool(changed)


def _differing(before: Any, after: Any, place: str = "") -> list[str]:
    """The keys, with dots, whose values differ."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [place]
    inside = f"{place}." if place else ""
    keys = {*before, *after}
    found = [_differing(before.get(key), after.get(key), f"{inside}{key}") for key in keys]
    return [each for keys_inside in found for each in keys_inside]


def _check_budget(run: Run, record: RunFacts, config: EntryConfig) -> None:
    """More than was trained already, of a training that can go on."""
    reached = checkpoint.progress(run)
    if reached is None:
        if record.state == "finished":
            remedy = "train it under another name"
            raise UserError.of(run.path, "has no checkpoint to be extended from", remedy)
        return
    steps, minutes = config.train.steps, config.train.minutes
    more = "give more"
    if record.state != "finished" and checkpoint.trained(run):
        more += f", or take the best weights with `challenge train {run.path} --finish`"
    if steps is not None and steps <= reached.step:
        raise UserError.of("`train.steps`", f"is {steps}, {reached.step} are done already", more)
    if minutes is not None and minutes * 60 <= reached.seconds:
        spent = f"is {minutes:g}, {reached.seconds / 60:.1f} are spent already"
        raise UserError.of("`train.minutes`", spent, more)


def _sources(run: Run) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.plugin)): path.read_bytes() for path in run.plugin.rglob("*.py")
    }
