"""The reveal: noted once, and what comes after it does not count."""

from datetime import UTC, datetime, timedelta

import pytest

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import ChallengeConfig, Rules
from challenge.data.layout import Hidden
from challenge.submissions.judging import reveal
from challenge.submissions.judging.board import rows
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result

NOON = datetime(2026, 12, 4, 12, 0, 0, 123, UTC)


def result(team, received):
    mean = {"mean": 25.0, "low": None, "high": None}
    return Result.model_validate(
        {
            "entry": {"hash": team[0] * 64, "team": team, "name": "tv"},
            "challenge": {"name": "deblur", "hash": "c"}, "judge": {"hash": "j" * 64},
            "outcome": "ok", "psnr": mean, "ssim": mean, "received": received.isoformat(),
            "judged_at": NOON.isoformat(),
            "images": [{"id": "0000", "psnr": 25.0, "ssim": 0.7, "seconds": 0.1}],
        }
    )  # fmt: skip


def test_the_first_moment_stays(tmp_path):
    hidden = Hidden(tmp_path)
    assert reveal.read(hidden) is None
    first = reveal.unlock(hidden, "s" * 64, NOON)
    assert first.at == NOON.replace(microsecond=0)
    later = reveal.unlock(hidden, "s" * 64, NOON + timedelta(days=1))
    assert later == first == reveal.read(hidden)
    assert hidden.revealed.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 2}', b"\xff"])
def test_a_damaged_record_is_a_mistake(tmp_path, damage):
    hidden = Hidden(tmp_path)
    hidden.revealed.write_bytes(damage)
    with pytest.raises(UserError, match="is damaged"):
        reveal.read(hidden)


def test_a_final_part_is_not_opened_before_a_deadline(tmp_path):
    hidden = Hidden(tmp_path)

    def due(at=NOON, **rules):
        config = ChallengeConfig.model_validate(
            {"name": "tiny", "images": {"source": "builtin"}, "noise": {"sigma": 0.03},
             "operator": {"kernel": {"kind": "gaussian", "std": 1.6}}, "rules": rules}
        )  # fmt: skip
        reveal.expect_due(config, hidden, at)

    early = {"deadline": NOON + timedelta(seconds=1)}
    for rules in (early, early | {"final_share": 0.5}):
        with pytest.raises(UserError, match="is before the deadline"):
            due(**rules)
        due(NOON + timedelta(seconds=1), **rules)
    with pytest.raises(UserError, match="no deadline; set one: `challenge amend tiny rules.dead"):
        due(final_share=0.5)
    due()
    reveal.unlock(hidden, "s" * 64, NOON)
    due(final_share=0.5)  # the same page again


def sight(entry, *, received, seen):
    text = {"received": received.isoformat(), "modified": received.isoformat()}
    of = {"entry": entry.entry.hash, "file": "a.zip", "team": entry.entry.team, "name": "tv"}
    return Sight.model_validate({**of, **text, "seen": seen.isoformat()})


def test_a_file_that_is_dated_back_is_late_by_the_look_at_it():
    at = NOON.replace(microsecond=0)
    early = at - timedelta(days=1)
    entry = result("alpha", early)
    sights = {
        when: {entry.entry.hash: sight(entry, received=early, seen=when)}
        for when in (at - timedelta(hours=1), at + timedelta(minutes=1))
    }
    for when, each in sights.items():
        (row,) = rows([entry], Rules(), revealed=at, sights=each)
        assert row.counts == (when < at)


def test_what_is_received_after_it_does_not_count():
    at = NOON.replace(microsecond=0)
    times = {"alpha": at - timedelta(hours=1), "beta": at, "gamma": at + timedelta(seconds=1)}
    results = [result(team, when) for team, when in times.items()]
    found = {row.team: (row.counts, row.note) for row in rows(results, Rules(), revealed=at)}
    assert found == {
        "alpha": (True, ""), "beta": (True, ""), "gamma": (False, "after the reveal"),
    }  # fmt: skip
    assert all(row.counts for row in rows(results, Rules()))
    # An earlier entry of the team counts in its place; the organiser's baselines always do.
    both = [*results, result("gamma", times["beta"]).model_copy()]
    both[-1] = both[-1].model_copy(
        update={"entry": both[-1].entry.model_copy(update={"hash": "d" * 64})}
    )
    (row,) = [row for row in rows(both, Rules(), revealed=at) if row.team == "gamma"]
    assert row.counts
    assert row.note == "a later entry did not count (after the reveal)"
    late = result("baseline", times["gamma"])
    assert [row.counts for row in rows([late], Rules(), revealed=at)] == [True]
