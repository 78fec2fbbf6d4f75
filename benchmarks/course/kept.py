"""Measured qualities are kept in the workspace, so that a table can be stopped and continued.

They lie in `workspace/measured/`, by the method's name, its weights and what it was measured on;
remove them to measure anew, as after a change of a method's code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from benchmarks.course.tuesday import Case, measure
from challenge.data.layout import Workspace
from challenge.methods.contract import Method

TIMED = 3
"""Images whose time is taken: it is not kept, for machines differ."""


class Kept:
    """Mean PSNR in dB and mean SSIM of methods, measured once."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.path / "measured"
        self.folder.mkdir(exist_ok=True)
        self._digests = WeakKeyDictionary[Method, str]()

    def quality(
        self, name: str, method: Method, column: str, cases: Callable[[], Iterator[Case]]
    ) -> tuple[float, float]:
        """PSNR and SSIM on all cases; `column` says which they are."""
        psnr, ssim = self.kept(name, method, column, lambda: measure(method, cases())[:2])
        return psnr, ssim

    def kept(self, name: str, method: Method, column: str, found: Callable[[], Any]) -> Any:
        """What `found` returns, or returned for a method of this name with these weights."""
        file = self.file(name, method, column)
        if not file.exists():
            file.write_text(json.dumps(found()))
        return json.loads(file.read_text())

    def file(self, name: str, method: Method, column: str) -> Path:
        """Where it is kept, or will be: weights do not change while they are measured."""
        if method not in self._digests:
            self._digests[method] = digest(method)[:16]
        label = re.sub(r"[^\w.]+", "-", f"{name} {column} {self._digests[method]}")
        return self.folder / f"{label}.json"


def seconds(method: Method, cases: Iterator[Case]) -> float:
    """Seconds an image, of the first ones."""
    return measure(method, islice(cases, TIMED))[2]


def digest(method: Method) -> str:
    """Of the weights."""
    found = hashlib.sha256()
    for name, value in sorted(method.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()
