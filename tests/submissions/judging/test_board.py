"""The board as a function: what ranks, what counts, what says why it does not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.schema.challenge import Limits, Rules
from challenge.submissions.entries.teams import Teams
from challenge.submissions.judging.board import Row, rows
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.remarks import remarks, rule
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
    judge_of: dict[str, Any] | None = None,
    **fields: Any,
) -> Result:
    unknown = {"low": None, "high": None}
    scores = {"psnr": {"mean": psnr, **unknown}, "ssim": {"mean": ssim, **unknown}}
    record = {
        "entry": {"hash": entry * 64, "team": team, "name": name, "uses": {}},
        "challenge": {"name": "deblur", "hash": "c", "practice": False},
        "judge": judge_of or {"hash": judge * 64, "isolation": {"level": level}},
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


def test_nmse_stands_beside_the_scores_and_ranks_nothing() -> None:
    """Of floats; a result of photographs has none."""
    nmse = {"mean": 0.5, "low": None, "high": None}
    found = rows([result("a", 26.0, nmse=nmse), result("b", 25.0, team="beta")], Rules())
    assert [(row.team, row.nmse) for row in found] == [("alpha", 0.5), ("beta", None)]


def test_ranks_by_psnr_then_ssim() -> None:
    found = rows(
        [
            result("a", 25.0, team="alpha"),
            result("b", 26.0, team="beta"),
            result("c", 25.0, team="gamma", ssim=0.9),
            result("d", 24.0, team="delta", name="net"),
        ],
        Rules(),
    )
    assert brief(found) == [
        (1, "beta", "tv", 26.0),
        (2, "gamma", "tv", 25.0),
        (3, "alpha", "tv", 25.0),
        (4, "delta", "net", 24.0),
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


@pytest.mark.parametrize(
    ("counts", "shown", "why"),
    [("latest", "last", "a later entry counts"), ("best", "good", "a better entry counts")],
)
def test_a_team_has_one_row_whatever_its_methods_are_called(
    counts: str, shown: str, why: str
) -> None:
    """The rule says which; all others are there on demand, each with why it is not it."""
    found = [
        result("a", 24.0, name="first", at="2026-12-01T10:00:00+00:00"),
        result("b", 26.0, name="good", at="2026-12-02T10:00:00+00:00"),
        result("c", 25.0, name="last", at="2026-12-03T10:00:00+00:00"),
        result("d", None, name="failed", at="2026-12-04T10:00:00+00:00"),
        result("e", 30.0, name="late", at="2026-12-06T10:00:00+00:00"),
    ]
    rules = Rules.model_validate({"counts": counts, "deadline": DEADLINE})
    (row,) = rows(found, rules)
    assert (row.rank, row.name, row.entries) == (1, shown, 5)
    assert row.note == "a later entry did not count (after the deadline)"
    every = rows(found, rules, everything=True)
    assert every[0] == row
    assert [each.name for each in every if each.main] == [shown]
    notes = {each.name: each.note for each in every[1:]}
    expected = dict.fromkeys(["first", "good", "last"], why)
    del expected[shown]
    expected |= {"failed": "failed: timeout", "late": "after the deadline"}
    assert notes == expected
    assert not any(each.rank or each.counts for each in every[1:])


def test_entries_without_a_readable_team_are_not_taken_for_one_team() -> None:
    broken = {"team": "", "outcome": "invalid_entry"}
    found = rows(
        [result("a", None, name="one", **broken), result("b", None, name="two", **broken)], Rules()
    )
    assert {(row.name, row.main, row.entries, row.rank) for row in found} == {
        ("one", True, 1, None),
        ("two", True, 1, None),
    }


def test_the_rule_is_said_in_one_line() -> None:
    rules = Rules.model_validate({"counts": "best", "entries_per_day": 3, "deadline": DEADLINE})
    assert rule(rules) == (
        "of each team its best valid entry counts (`rules.counts`), of at most 3 a day, days in "
        "UTC; deadline 2026-12-04 17:00 UTC"
    )
    # In parts the best one is chosen on the images of the week, on the last day too.
    for counts, said in (
        ("best", "best valid entry on the public part"),
        ("latest", "latest valid entry"),
    ):
        assert f"its {said} counts" in rule(Rules(counts=counts, final_share=0.5))


def test_baselines_are_shown_where_they_belong_and_not_ranked() -> None:
    """One row each; no list of teams, no deadline and no daily number is for them."""
    late = "2026-12-09T10:00:00+00:00"
    found = [
        result("a", 25.0),
        result("b", 27.0, team="beta"),
        *(
            result(each, 24.5 + number, team="baseline", name=f"base{number}", at=late)
            for number, each in enumerate("cdef")
        ),
        result("0", None, team="baseline", name="broken", at=late),
    ]
    teams = Teams.model_validate({"teams": {"alpha": {}, "beta": {}}})
    rules = Rules.model_validate({"entries_per_day": 1, "deadline": DEADLINE})
    board = rows(found, rules, teams)
    assert [(row.rank, row.name, row.baseline, row.counts) for row in board] == [
        (None, "base3", True, True),
        (1, "tv", False, True),
        (None, "base2", True, True),
        (None, "base1", True, True),
        (2, "tv", False, True),
        (None, "base0", True, True),
        (None, "broken", True, False),
    ]


def test_a_verdict_by_the_limits_that_hold_goes_before_a_later_one() -> None:
    """They were changed and changed back: the first verdict holds again."""
    now, other = Limits(), Limits(minutes=1)
    judges = [{"hash": "j" * 64, "limits": each.model_dump(mode="json")} for each in (now, other)]
    first = result("a", 25.0, judge_of=judges[0], at="2026-12-01T10:00:00+00:00")
    second = result("a", 24.0, judge_of=judges[1], at="2026-12-02T10:00:00+00:00")
    (row,) = rows([first, second], Rules(), limits=now)
    assert (row.psnr, row.outdated) == (25.0, "")
    (row,) = rows([second], Rules(), limits=now)
    assert row.outdated == "limits"
    assert "judged by other limits than hold now (all): score these entries again" in remarks([row])


@pytest.mark.parametrize(
    "change",
    [{"packages": ("einops",)}, {"pretrained": "forbidden"}, {"external_data": "forbidden"}],
)
def test_a_verdict_says_when_the_check_has_other_rules_now(change: dict[str, Any]) -> None:
    """And only then: another deadline changes what counts, not what was judged."""
    checked = {"pretrained": "allowed", "external_data": "allowed", "packages": ()}
    found = [result("a", 25.0, rules=checked)]
    for rules in (Rules(), Rules.model_validate({"deadline": DEADLINE, "counts": "best"})):
        assert remarks(rows(found, rules, limits=Limits())) == []
    (said,) = remarks(rows(found, Rules(**change), limits=Limits()))
    assert said.startswith("judged by other rules of the check than hold now")


def sight(entry: str, team: str, seen: str, received: str = "", **fields: Any) -> Sight:
    return Sight(
        entry=entry * 64, file="x.zip", team=team, name="tv", seen=seen, modified=seen,
        received=received or seen, **fields,
    )  # fmt: skip


def test_the_register_says_when_an_entry_came() -> None:
    """Not the verdict, whose file may have been touched."""
    rules = Rules.model_validate({"deadline": DEADLINE})
    found = [result("a", 25.0, at="2026-12-04T10:00:00+00:00")]
    late = {"a" * 64: sight("a", "alpha", "2026-12-05T10:00:00+00:00")}
    (row,) = rows(found, rules, sights=late)
    assert (row.counts, row.note) == (False, "after the deadline")
    on_time = "2026-12-04T16:00:00+00:00"
    doubtful = {"a" * 64: sight("a", "alpha", "2026-12-05T10:00:00+00:00", on_time)}
    (row,) = rows(found, rules, sights=doubtful)
    assert row.counts
    assert row.doubts == ("on time by its file's date alone: seen first 2026-12-05 10:00 UTC",)


def test_what_failed_by_the_clock_on_a_busy_machine_is_in_doubt() -> None:
    busy, quiet = ({"cores": 2, "foreign": share, "stolen": 0.0} for share in (0.4, 0.02))
    by_clock = [
        {"outcome": "timeout"},
        {"outcome": "nondeterministic", "cause": "it took over 10 times as long (on image `1`)"},
        {"outcome": "nondeterministic", "cause": "the second time it failed: timeout: the limit"},
    ]
    others = [{"outcome": "nondeterministic", "cause": "x_hat differs by 1"}, {"outcome": "crash"}]
    for fields in (*by_clock, *others):
        expected = fields in by_clock
        assert result("a", None, load=busy, **fields).in_doubt == expected
        assert not result("a", None, load=quiet, **fields).in_doubt
        assert not result("a", None, **fields).in_doubt
        (row,) = rows([result("a", None, load=busy, **fields)], Rules())
        assert any("other programs took 40%" in each for each in row.doubts) == expected


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
    # The same moment, wherever the deadline and the judge's clock are.
    zoned = Rules.model_validate({"deadline": "2026-12-04T18:00:00+01:00"})
    assert [each.counts for each in rows([on_time], zoned)] == [True]
    assert [each.counts for each in rows([late], zoned)] == [False]


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
        everything=True,
    )
    notes = {(row.team, row.name): row.note for row in found if not row.counts}
    assert notes == {
        ("alpha", "failed"): "failed: timeout",
        ("alpha", "three"): "more than 2 entries that day (UTC)",
        ("alpha", "one"): "a later entry counts",
        ("alpha", "two"): "a later entry counts",
    }
    assert [row.name for row in found if row.rank] == ["four", "one"]


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
    assert len(board) == len({team for team, _, _ in scores})
    assert len(rows(found, Rules(), everything=True)) == len(found)
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
