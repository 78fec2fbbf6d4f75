"""Weights that a method begins with: a safetensors file beside it, which its `fit` loads.

The file is copied into the run, so that the run continues without the team's folder. It is no part
of an entry: what the method keeps of it is among its own weights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.data import atomic
from challenge.submissions.layout import Run

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 3
"""Names of tensors that are listed."""


def finder(
    run: Run,
    config: EntryConfig,
    rules: Rules,
    folders: Sequence[Path],
    *,
    keep: Callable[[], bool],
) -> Callable[[str], Path]:
    """What finds a file of weights by its name, and keeps a copy in the run.

    Args:
        run: its own copy is taken first.
        config: must declare such weights.
        rules: of the challenge, must allow them.
        folders: in which the file is looked up.
        keep: whether this process makes the copy.
    """

    def find(name: str) -> Path:
        if rules.pretrained == "forbidden":
            cause = f"`{config.challenge}` forbids weights that were made elsewhere"
            raise UserError.of(f"`{name}`", cause, "train from the beginning")
        if not config.uses.pretrained:
            remedy = (
                "say so in the config, `uses: {pretrained: true}`, or as `uses.pretrained=true`"
            )
            raise UserError.of(f"`{name}`", "holds weights that were made elsewhere", remedy)
        copy = run.pretrained / re.sub(r"[^\w.-]", "_", name)
        if copy.is_file():
            return copy
        tried = dict.fromkeys(folder / name for folder in folders)
        found = next((path for path in tried if path.is_file()), None)
        if found is None:
            places = " or ".join(f"`{path}`" for path in tried)
            remedy = "put the file beside the method, and give its name"
            raise UserError.of(f"`{name}`", f"there is no file {places}", remedy)
        if keep():
            atomic.write_with(copy, lambda path: _copy(found, path))
        return found

    return find


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def load(module: nn.Module, path: Path, *, partly: bool) -> None:
    """Put the weights of a file into a module.

    Args:
        partly: take those that fit by name and shape, one at least; else all must, and be all.

    Raises:
        UserError: it is no safetensors file, or does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        given: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError.of(
            path,
            f"is no safetensors file ({error})",
            "convert it once: `save_file(torch.load(OLD, weights_only=True), NEW)` of "
            "`safetensors.torch`",
        ) from None
    own = module.state_dict()
    fits = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    if not fits or (not partly and not len(fits) == len(given) == len(own)):
        raise UserError.of(
            path,
            f"does not fit `{type(module).__name__}`: {difference(given, own)}",
            "give the module it was saved from" + ("" if partly else ", or `partly=True`"),
        )
    module.load_state_dict(fits, strict=not partly)


def difference(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What a file has or lacks beside a module's weights, in words."""
    shapes = [name for name in given if name in own and own[name].shape != given[name].shape]
    parts = (
        ("lacks", [name for name in own if name not in given]),
        ("has beside them", [name for name in given if name not in own]),
        ("has in another shape", shapes),
    )
    said = []
    for words, names in parts:
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            said.append(f"{words} {', '.join(f'`{name}`' for name in names[:SHOWN])}{more}")
    return "; it ".join(["it " + said[0], *said[1:]]) if said else "it is empty"
