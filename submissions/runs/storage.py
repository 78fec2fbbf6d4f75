"""Runs: made before work begins, finished with weights and facts, opened again by everybody else.

`run.json` says what the run was made from and with:

    {"format": 1, "state": "started" | "finished", "challenge": {"name", "hash"},
     "versions": {...}, "machine": {...}, "started": UTC, "seconds": training time,
     "images": {"source", "train": how many},
     "peak_memory": bytes of the process, "peak_gpu_memory": bytes on a GPU,
     "fault": why it ended before its time, if it did,
     "method": parameters and, of a network, multiplications per pixel and receptive field}
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.layout import PLUGIN, Run

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.methods.contract import Method

FORMAT = 1
METADATA = {"format": "pt"}
"""At most one key: the library writes several in a random order."""
MOST_SOURCES = 500
"""Python files beside a method; more is a folder that holds something else as well."""


def create(
    workspace: Workspace,
    challenge: Challenge,
    config: EntryConfig,
    base: Path,
    *,
    force: bool = False,
    resume: bool = False,
) -> Run:
    """Make the folder of a run, complete with its resolved config, or reopen it.

    A team's own method is copied into the run with the Python files beside it, and the config
    names the copy.

    Args:
        base: the folder in which the config's files are looked up.
        force: replace a run of this name.
        resume: continue the run of this name; config and files must be those it began with.

    Raises:
        UserError: there is such a run and neither flag was given, or it cannot be resumed.
    """
    run = layout.run(workspace, challenge.config.name, config.name)
    if resume and not run.path.exists():
        raise UserError.of(run.path, "there is no such run to resume", "leave `--resume` out")
    if run.path.exists() and not (force or resume):
        remedy = "give `--resume`, `--force`, or another name with `name=NAME`"
        raise UserError.of(run.path, "exists already", remedy)
    run.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.disk_errors(run.path), _folder_beside(run.path) as made:
        _fill(Run(made), challenge, config, base)
        if resume:
            _same(run, Run(made), challenge)
        else:
            atomic.remove_tree(run.path)
            made.rename(run.path)
    return run


def finish(run: Run, method: Method, seconds: float, *, fault: str | None = None) -> None:
    """Save the weights and close the run; `seconds` of training, all together.

    `fault` says why the training ended before its time, if it did.

    A float32 tensor whose values are all float16's is stored as that: the same values, half the
    bytes.
    """
    from safetensors.torch import save

    learned = method.facts()
    # Clones: a view, or a tensor that two names share, is refused by the format.
    state = {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}
    state = {name: _short(value).contiguous() for name, value in state.items()}
    atomic.write_bytes(run.weights, save(state, METADATA))
    record = _spent(run, seconds) | {"state": "finished", "method": learned}
    atomic.write_json(run.facts, record | ({"fault": fault} if fault else {}))


def pause(run: Run, seconds: float) -> None:
    """Note `seconds` of training, all together, of a run that was stopped and may be resumed."""
    atomic.write_json(run.facts, _spent(run, seconds))


def _spent(run: Run, seconds: float) -> dict[str, Any]:
    """The facts with the time and the peak memory in bytes."""
    record = facts(run)
    record["seconds"] = seconds
    for name, value in machine.peak_memory().items():
        record[name] = max(value, record.get(name, 0))
    if "peak_gpu_memory" in record:
        record["machine"]["gpu"] = machine.gpu()
    return record


def _short(tensor: Tensor) -> Tensor:
    import torch

    if tensor.dtype != torch.float32 or tensor.ndim == 0:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def facts(run: Run) -> dict[str, Any]:
    """What `run.json` says; raises `UserError` if the folder is not a run, or is damaged."""
    if not run.facts.is_file():
        raise UserError.of(run.path, "is not a run", "give a folder made by `challenge train`")
    try:
        record: dict[str, Any] = json.loads(run.facts.read_text(encoding="utf-8"))
        kinds = {"state": str, "challenge": dict, "versions": dict, "seconds": float}
        if record["format"] != FORMAT:
            raise ValueError
        if not all(isinstance(record[key], kind) for key, kind in kinds.items()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError.of(run.facts, "is damaged", "train the run again") from None
    return record


def read_config(run: Run) -> EntryConfig:
    """The resolved config that was saved before work began."""
    from challenge.configs.loader import load_entry

    return load_entry(str(run.config))[0]


def finished(run: Run, challenge: Challenge) -> dict[str, Any]:
    """The facts of a run that is finished and belongs to this very challenge.

    Raises:
        UserError: it is not finished, or was trained for another challenge.
    """
    record = facts(run)
    _belongs(run, record, challenge)
    if record["state"] != "finished" or not run.weights.is_file():
        remedy = f"finish it with `challenge train {run.path} --resume`"
        raise UserError.of(run.path, "is not finished", remedy)
    return record


def _fill(run: Run, challenge: Challenge, config: EntryConfig, base: Path) -> None:
    """Write everything that a run has before work begins."""
    from challenge.configs.loader import dump
    from challenge.methods import plugin

    method = dict(config.method)
    name = str(method.get("name", ""))
    if plugin.is_plugin(name):
        source, class_name = plugin.locate(name, base)
        copied = f"{PLUGIN}/{_copy_plugin(source, run.plugin)}"
        method["name"] = f"{copied}:{class_name}" if class_name else copied
    resolved = config.model_copy(update={"method": method, "challenge": challenge.config.name})
    atomic.write_text(run.config, dump(resolved))
    record = {
        "format": FORMAT,
        "state": "started",
        "challenge": {"name": challenge.config.name, "hash": challenge.hash},
        "versions": machine.versions(),
        "machine": machine.describe(),
        "images": {
            "source": challenge.config.images.source,
            "train": len(challenge.ids("train")),
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
    }
    atomic.write_json(run.facts, record)


def _copy_plugin(source: Path, target: Path) -> str:
    """Copy a method's file with the Python files beside it; the file's name in the copy."""
    from challenge.methods import plugin

    names = plugin.files(source.parent)
    if len(names) > MOST_SOURCES:
        cause = f"there are {len(names)} Python files beside the method"
        raise UserError.of(source, cause, "put the method into a folder of its own")
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / name, target / name)
    return source.name


def _same(run: Run, wanted: Run, challenge: Challenge) -> None:
    """A run continues only as what it began as."""
    record = facts(run)
    _belongs(run, record, challenge)
    if record["state"] == "finished":
        raise UserError.of(run.path, "is finished already", "train anew with `--force`")
    if run.config.read_bytes() != wanted.config.read_bytes():
        remedy = f"continue with its own config: `challenge train {run.path} --resume`"
        raise UserError.of(run.config, "differs from the config that was given", remedy)
    if _sources(run) != _sources(wanted):
        remedy = "a changed method begins anew: give `--force` or another name"
        raise UserError.of(run.plugin, "differs from the method's files", remedy)


def _sources(run: Run) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.plugin)): path.read_bytes() for path in run.plugin.rglob("*.py")
    }


def _belongs(run: Run, record: dict[str, Any], challenge: Challenge) -> None:
    made_for = record["challenge"]
    if made_for.get("name") != challenge.config.name:
        cause = f"was trained for `{made_for.get('name')}`, this is `{challenge.config.name}`"
        raise UserError.of(run.path, cause, "train it for this challenge")
    if made_for.get("hash") != challenge.hash:
        cause = f"was trained for another preparation of `{challenge.config.name}`"
        raise UserError.of(run.path, cause, "train it again on the current public folder")


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder that may be renamed to `path`; what is left of it is removed."""
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
