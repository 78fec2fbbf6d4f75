"""The command line in this process, and a small prepared challenge to try it on."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SMALL = ["images.train=8", "images.val=2", "images.test=3", "images.size=64"]
"""Overrides that make a challenge quick to prepare and judge."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Challenge = Callable[..., Done]


def run(folder: Path, *arguments: str) -> Done:
    """Run `challenge ARGUMENTS` in `folder` as the console script would."""
    from challenge.cli.main import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["challenge", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.chdir(before)
        sys.argv = argv
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def story(tmp_path_factory) -> Path:
    """A folder with a prepared `deblur` and a trained, inferred, scored and packed `tv`."""
    folder = tmp_path_factory.mktemp("story")
    for command in (
        ["prepare", "deblur", *SMALL],
        ["train", "tv", "method.iterations=20"],
        ["infer", "workspace/runs/deblur/tv"],
        ["score", "workspace/runs/deblur/tv"],
        ["pack", "workspace/runs/deblur/tv", "--team", "alpha"],
        ["score", "workspace/entries/alpha-tv.zip", "--hidden", "workspace/hidden/deblur"],
    ):
        done = run(folder, *command)
        assert done.code == 0, f"{command}: {done.err}{done.out}"
    return folder


@pytest.fixture(scope="session")
def call() -> Challenge:
    """Call the command line in a folder."""
    return run


@pytest.fixture
def challenge(story) -> Challenge:
    """Call the command line in the story's folder."""
    return lambda *arguments: run(story, *arguments)


@pytest.fixture
def elsewhere(tmp_path) -> Challenge:
    """Call the command line in an empty folder."""
    return lambda *arguments: run(tmp_path, *arguments)
