"""Runs: made before work begins, finished with weights and facts, read by everybody else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data import atomic, locks
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.layout import PLUGIN, Run
from challenge.submissions.runs import checkpoint, parts, team_files
from challenge.submissions.runs import resume as resuming
from challenge.submissions.runs.facts import (
    Machine,
    MadeFor,
    RunFacts,
    TrainImages,
    check_challenge,
    read_facts,
    write_facts,
)
from challenge.submissions.runs.parts import Taken

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.methods.contract import Method

METADATA = {"format": "pt"}
"""At most one key: the library writes several in a random order."""


def create(
    workspace: Workspace,
    challenge: Challenge,
    config: EntryConfig,
    base: Path,
    taken: Mapping[str, Taken] | None = None,
    *,
    force: bool = False,
    resume: bool = False,
) -> Run:
    """Make the folder of a run, complete with its resolved config, or reopen it.

    A team's own method is copied into the run with the Python files beside it, and the config
    names the copy.

    Args:
        base: the folder in which the config's files are looked up.
        taken: the methods that knobs of the config's method are.
        force: replace a run of this name.
        resume: continue the run of this name; config and files must be those it began with, but
            for its budget.

    Raises:
        UserError: there is such a run and neither flag was given, or it cannot be resumed.
    """
    run = layout.run(workspace, challenge.config.name, config.name)
    if resume and not run.path.exists():
        raise UserError.of(run.path, "there is no such run to resume", "leave `--resume` out")
    if run.path.exists() and not (force or resume):
        remedy = "give `--resume`, `--force`, or another name with `name=NAME`"
        raise UserError.of(run.path, "exists already", remedy)
    with atomic.disk_errors(run.path):
        run.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.disk_errors(run.path), _folder_beside(run.path) as made:
        _fill(Run(made), challenge, config, base, taken or {})
        if resume:
            resuming.reopen(run, Run(made), challenge)
        else:
            atomic.remove_tree(run.path)
            made.rename(run.path)
    return run


def finish(
    run: Run, method: Method, seconds: float, *, fault: str | None = None, early: str | None = None
) -> None:
    """Save the weights and close the run; `seconds` of training, all together.

    `fault` says why the training ended before its time, if it did, `early` that it was finished
    on request.

    A float32 tensor whose values are all float16's is stored as that: the same values, half the
    bytes.
    """
    from safetensors.torch import save

    learned = method.facts()
    # Clones: a view, or a tensor that two names share, is refused by the format.
    state = {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}
    state = {name: _as_float16(value).contiguous() for name, value in state.items()}
    atomic.write_bytes(run.weights, save(state, METADATA))
    ended = {key: why for key, why in (("fault", fault), ("early", early)) if why}
    write_facts(run, _with_costs(run, seconds, state="finished", method=learned, **ended))


def pause(run: Run, seconds: float) -> None:
    """Note `seconds` of training, all together, of a run that was stopped and may be resumed."""
    write_facts(run, _with_costs(run, seconds))


def _with_costs(run: Run, seconds: float, **more: Any) -> RunFacts:
    """The facts with the time and the peak memory in bytes, and `more`."""
    record = read_facts(run)
    peaks = machine.peak_memory()
    changes: dict[str, Any] = {
        name: max(value, getattr(record, name) or 0) for name, value in peaks.items()
    }
    # Finished on a machine without one, a run still was trained on the GPU that is noted.
    if record.machine and "peak_gpu_memory" in peaks:
        changes["machine"] = record.machine.model_copy(update={"gpu": machine.gpu()})
    return record.model_copy(update={"seconds": seconds, **changes, **more})


def _as_float16(tensor: Tensor) -> Tensor:
    import torch

    if tensor.dtype != torch.float32 or tensor.ndim == 0:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def finished(run: Run, challenge: Challenge) -> RunFacts:
    """The facts of a run that is finished and belongs to this very challenge.

    Raises:
        UserError: it is not finished, or was trained for another challenge.
    """
    record = read_facts(run)
    check_challenge(run, record, challenge)
    if record.state != "finished" or not run.weights.is_file():
        if who := locks.holder(run.lock):
            raise UserError.of(run.path, who, "wait for its end, or stop it there")
        remedy = f"finish it with `challenge train {run.path} --resume`"
        if checkpoint.trained(run):
            remedy += ", or with `--finish` in its place, which takes the best weights so far"
        raise UserError.of(run.path, "is not finished", remedy)
    return record


def _fill(
    run: Run,
    challenge: Challenge,
    config: EntryConfig,
    base: Path,
    taken: Mapping[str, Taken],
) -> None:
    """Write everything that a run has before work begins."""
    from challenge.configs.loader import dump
    from challenge.methods import plugin

    method = dict(config.method)
    name = str(method.get("name", ""))
    if plugin.is_plugin(name):
        source, class_name = plugin.locate(name, base)
        copied = f"{PLUGIN}/{team_files.copy(source, run.plugin)}"
        method["name"] = f"{copied}:{class_name}" if class_name else copied
    if Run(base).pretrained.is_dir() and Run(base).facts.is_file():
        # Made of another run, or of this one anew: with the weights that it began with.
        shutil.copytree(Run(base).pretrained, run.pretrained)
    parts.keep(taken, run)
    resolved = config.model_copy(update={"method": method, "challenge": challenge.config.name})
    atomic.write_text(run.config, dump(resolved))
    made = RunFacts(
        state="started",
        challenge=MadeFor(name=challenge.config.name, hash=challenge.hash),
        versions=machine.versions(),
        machine=Machine(**machine.describe()),
        images=TrainImages(
            source=challenge.config.images.source, train=len(challenge.ids("train"))
        ),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
    )
    if origins := parts.origins(taken):
        made = made.model_copy(update={"parts": origins})
    write_facts(run, made)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder that may be renamed to `path`; what is left of it is removed."""
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
