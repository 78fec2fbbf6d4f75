"""The board as a function: what ranks, what counts, what says why it does not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries.teams import Teams
from challenge.submissions.judging.board import Row, remarks, rows
from challenge.submissions.judging.result import Result

DEADLINE = "2026-12-04T17:00:00Z"


def result(
    entry: str,
    psnr: float | None = 25.0,
    *,
    team: str = "alpha",
    name: str = "tv",
    ssim: float = 0.8,
    at: str = "2026-12-01T10:00:00+00:00",
    level: str = "landlock",
    judge: str = "j",
    **fields: Any,
) -> Result:
    unknown = {"low": None, "high": None}
    scores = {"psnr": {"mean": psnr, **unknown}, "ssim": {"mean": ssim, **unknown}}
    record = {
        "entry": {"hash": entry * 64, "team": team, "name": name, "uses": {}},
        "challenge": {"name": "deblur", "hash": "c", "practice": False},
        "judge": {"hash": judge * 64, "isolation": {"level": level}},
        "outcome": "ok" if psnr is not None else "timeout",
        "received": at,
        "judged_at": at,
        "images": [],
        **(scores if psnr is not None else {"psnr": None, "ssim": None}),
        **fields,
    }
    return Result.model_validate(record)


def brief(found: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.rank, row.team, row.name, row.psnr) for row in found]


def test_ranks_by_psnr_then_ssim() -> None:
    found = rows(
        [
            result("a", 25.0, team="alpha"),
            result("b", 26.0, team="beta"),
            result("c", 25.0, team="gamma", ssim=0.9),
            result("d", 24.0, team="alpha", name="net"),
        ],
        Rules(),
    )
    assert brief(found) == [
        (1, "beta", "tv", 26.0),
        (2, "gamma", "tv", 25.0),
        (3, "alpha", "tv", 25.0),
        (4, "alpha", "net", 24.0),
    ]


def test_ties_share_a_rank() -> None:
    found = rows(
        [
            result("a", 25.0, team="alpha", seconds={"total": 9.0}),
            result("b", 25.0, team="beta", seconds={"total": 3.0}),
            result("c", 24.0, team="gamma"),
            result("d", 27.0, team="delta"),
        ],
        Rules(),
    )
    assert [(row.rank, row.team) for row in found] == [
        (1, "delta"), (2, "beta"), (2, "alpha"), (4, "gamma"),
    ]  # fmt: skip


def test_the_latest_counts_unless_the_rules_say_best() -> None:
    found = [
        result("a", 26.0, at="2026-12-01T10:00:00+00:00"),
        result("b", 25.0, at="2026-12-02T10:00:00+00:00"),
    ]
    (latest,) = rows(found, Rules())
    (best,) = rows(found, Rules(counts="best"))
    assert (latest.psnr, latest.entries, best.psnr) == (25.0, 2, 26.0)


def test_a_failed_entry_never_ranks() -> None:
    found = rows(
        [
            result("a", 20.0, team="beta"),
            result("b", None, team="alpha"),
            result("c", None, team="beta", at="2026-12-02T10:00:00+00:00"),
        ],
        Rules(),
    )
    assert [(row.rank, row.team, row.outcome) for row in found] == [
        (1, "beta", "ok"),
        (None, "alpha", "timeout"),
    ]
    assert found[0].note == "a later entry did not count (failed: timeout)"


def test_after_the_deadline() -> None:
    rules = Rules(deadline=DEADLINE)
    on_time = result("a", 20.0, at="2026-12-04T17:00:00+00:00")
    late = result("b", 30.0, at="2026-12-04T17:00:01+00:00")
    (row,) = rows([on_time, late], rules)
    assert (row.psnr, row.rank) == (20.0, 1)
    assert row.note == "a later entry did not count (after the deadline)"
    (row,) = rows([late], rules)
    assert (row.rank, row.note, row.psnr) == (None, "after the deadline", 30.0)


def test_entries_per_day_count_per_team_and_utc_day() -> None:
    rules = Rules(entries_per_day=2)
    found = rows(
        [
            result("a", 20.0, name="one", at="2026-12-01T23:00:00+00:00"),
            result("0", None, name="failed", at="2026-12-01T23:00:30+00:00"),
            result("b", 21.0, name="two", at="2026-12-01T23:01:00+00:00"),
            result("c", 22.0, name="three", at="2026-12-01T23:59:59+00:00"),
            result("d", 23.0, name="four", at="2026-12-02T01:00:00+01:00"),
            result("e", 19.0, name="one", team="beta", at="2026-12-01T23:30:00+00:00"),
        ],
        rules,
    )
    notes = {(row.team, row.name): row.note for row in found if row.rank is None}
    assert notes == {
        ("alpha", "failed"): "",
        ("alpha", "three"): "more than 2 entries that day",
    }
    assert [row.name for row in found if row.rank] == ["four", "two", "one", "one"]


def test_unknown_teams_and_other_preparations() -> None:
    teams = Teams.model_validate({"teams": {"alpha": {}}})
    other = result("c", 40.0, challenge={"name": "deblur", "hash": "old"})
    found = rows([result("a"), result("b", 30.0, team="beta"), other], Rules(), teams, "c")
    assert [(row.rank, row.team, row.note) for row in found] == [
        (1, "alpha", ""),
        (None, "beta", "not in the list of teams"),
    ]


def test_a_second_verdict_on_an_entry_replaces_the_first() -> None:
    first = result("a", 25.0)
    second = result("a", 25.5, judged_at="2026-12-05T00:00:00+00:00")
    (row,) = rows([second, first], Rules(entries_per_day=1))
    assert (row.psnr, row.entries, row.rank) == (25.5, 1, 1)


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(
        st.tuples(
            st.sampled_from(["alpha", "beta"]),
            st.sampled_from(["tv", "net"]),
            st.one_of(st.none(), st.sampled_from([24.0, 25.0])),
        ),
        max_size=8,
    ),
    data=st.data(),
)
def test_order_does_not_matter_and_ranks_are_competition_ranks(scores: Any, data: Any) -> None:
    found = [
        result("0123456789"[n], psnr, team=team, name=name, at=f"2026-12-01T1{n}:00:00+00:00")
        for n, (team, name, psnr) in enumerate(scores)
    ]
    board = rows(found, Rules())
    assert rows(data.draw(st.permutations(found)), Rules()) == board
    assert len(board) == len({(team, name) for team, name, _ in scores})
    ranked = [row for row in board if row.rank]
    for row in ranked:
        better = sum((other.psnr, other.ssim) > (row.psnr, row.ssim) for other in ranked)
        assert row.rank == better + 1
    assert all(row.outcome == "ok" for row in ranked)


def test_the_board_is_free_of_torch_and_numpy() -> None:
    code = (
        "import sys; from challenge.submissions.judging import board, result_files;"
        "from challenge.submissions.entries import teams;"
        "found = {'torch', 'numpy', 'deepinv', 'skimage'} & set(sys.modules);"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("outcome", ["oversize", "crash"])
def test_a_row_says_what_happened(outcome: str) -> None:
    (row,) = rows([result("a", None, outcome=outcome)], Rules())
    assert (row.outcome, row.psnr, row.rank, row.practice) == (outcome, None, None, False)


def test_the_board_says_how_its_rows_were_judged() -> None:
    jailed = result("a", team="alpha")
    assert remarks(rows([jailed, result("b", team="beta")], Rules())) == []
    plain = result("b", team="beta", level="process", judge="k")
    first, second = remarks(rows([jailed, plain], Rules()))
    assert "without isolation (1 of 2)" in first
    assert "not all rows were judged alike" in second
    (only,) = remarks(rows([plain], Rules()))
    assert "without isolation (all)" in only
    # What does not rank was not compared with anything.
    failed = result("c", None, team="gamma", level="process", judge="k")
    assert remarks(rows([jailed, failed], Rules())) == []
