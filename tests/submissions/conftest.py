"""A tiny prepared challenge, and runs and entries of tiny methods, made once for all tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from challenge.configs.loader import load_challenge
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Hidden, Workspace
from challenge.submissions import layout
from challenge.submissions.entries.pack import pack
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage

TINY = """
name: tiny
images: {source: builtin, size: 64, train: 4, val: 2, test: 3}
operator: {kind: blur, kernel: {kind: gaussian, std: 1.0}, boundary: circular}
noise: {kind: gaussian, sigma: 0.03}
limits: {weights_mb: 1, minutes: 1, threads: 1, memory_gb: 4}
"""

MINE = """
import torch
from challenge.methods.contract import Method
from .blocks import shift

class Mine(Method):
    '''x_hat = gain A^T y'''

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.register_buffer("flag", torch.zeros(2, dtype=torch.uint8))

    def forward(self, y, physics):
        return self.gain * physics.A_adjoint(y) + shift
"""


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the challenge `tiny`: 2 val and 3 test images of 3x64x64."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "tiny.yaml").write_text(TINY)
    config, source = load_challenge(str(folder / "tiny.yaml"))
    place = Workspace(folder)
    prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
    return place


@pytest.fixture(scope="session")
def challenge(workspace: Workspace) -> Challenge:
    return open_challenge(workspace.public("tiny").path)


@pytest.fixture(scope="session")
def hidden(workspace: Workspace) -> Hidden:
    return workspace.hidden("tiny")


@pytest.fixture
def mine() -> str:
    """The source of a method with a sibling import, a parameter and a buffer."""
    return MINE


@pytest.fixture
def make_run(workspace: Workspace, challenge: Challenge, tmp_path: Path) -> Callable[..., Run]:
    """Make a finished run in a workspace of the test's own, from a method's source text."""

    def make(source: str = MINE, name: str = "mine", **fields: object) -> Run:
        folder = tmp_path / "team"
        folder.mkdir(exist_ok=True)
        (folder / "method.py").write_text(textwrap.dedent(source))
        (folder / "blocks.py").write_text("shift = 0.0\n")
        settings = {"method": {"name": "method.py:Mine"}, **fields}
        config = EntryConfig(challenge="tiny", name=name, **settings)  # type: ignore[arg-type]
        from challenge.methods import registry

        run = storage.create(
            Workspace(tmp_path / "workspace"), challenge, config, folder, force=True
        )
        storage.finish(run, registry.build(config.method, folder), 1.0)
        return run

    return make


@pytest.fixture
def make_entry(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> Callable[..., Path]:
    """Make a packed entry from a method's source text."""

    def make(source: str = MINE, name: str = "mine", team: str = "alpha", **fields: object) -> Path:
        target = layout.entry(Workspace(tmp_path / "workspace"), team, name)
        pack(make_run(source, name, **fields), team, target, challenge, None)
        return target

    return make
