"""Every hostile zip is refused, in words, at once, and nothing of it is unpacked or run."""

import os
import time

import psutil
import pytest

from challenge.submissions.entries.check import check
from challenge.submissions.entries.violations import outcome_of

from .intake import INTAKE, entry, packed


@pytest.mark.parametrize("each", INTAKE, ids=lambda each: each.name.replace(" ", "-"))
def test_intake(each, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "alpha-mine.zip"
    each.write(path)
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    problems = check(path)
    assert time.monotonic() - began < 5
    assert psutil.Process().memory_info().rss - before < 150_000_000
    assert any(each.told in str(problem.mistake) for problem in problems), problems
    assert outcome_of(problems) == each.outcome
    for problem in problems:
        assert "\n" not in str(problem.mistake)
        assert "\x1b" not in str(problem.mistake)
    assert os.listdir(tmp_path) == ["alpha-mine.zip"]


def test_the_entry_that_they_are_made_of_is_none_of_them(tmp_path):
    path = tmp_path / "alpha-mine.zip"
    packed(path, entry())
    assert check(path) == []
