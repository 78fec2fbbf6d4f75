"""Lets a test say: this file gives these lines."""

from pathlib import Path

import pytest

from challenge.configs.errors import UserError


@pytest.fixture
def said(tmp_path, monkeypatch):
    """The lines a user reads when `load` refuses a file with this content."""
    monkeypatch.chdir(tmp_path)

    def lines(load, content, *overrides, name="bad.yaml", **more):
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError) as caught:
            load(name, overrides, **more)
        return str(caught.value).splitlines()

    return lines
