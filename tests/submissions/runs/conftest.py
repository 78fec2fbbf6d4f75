"""A workspace in which a test may train."""

from __future__ import annotations

from pathlib import Path

import pytest

from challenge.data.layout import Workspace


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path) -> Path:
    """A workspace of the test's own, with the prepared challenge `tiny`."""
    (tmp_path / "public").symlink_to(workspace.path / "public")
    return tmp_path
