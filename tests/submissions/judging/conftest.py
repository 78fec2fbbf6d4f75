"""What tests of the judge share."""

import shutil
from pathlib import Path

import pytest

from challenge.data.layout import Workspace


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the workspace, for tests that write results."""
    shutil.copytree(workspace.path, tmp_path / "organiser")
    return Workspace(tmp_path / "organiser")
