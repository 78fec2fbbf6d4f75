"""What the board says of its differences, and that nothing about the entries' order changes it."""

import csv
import hashlib
import io
import random

import numpy as np
import pytest

from challenge.configs.schema.challenge import Rules
from challenge.submissions.judging import board_csv, evidence
from challenge.submissions.judging.board import rows
from challenge.submissions.judging.result import Result
from challenge.submissions.scoring.statistics import interval
from tests.clock import least

AT = "2026-12-01T10:00:00+00:00"
HOSTILE = {
    "formula": '=HYPERLINK("http://x","y")',
    "plus": "+1+1",
    "minus": "-2+3",
    "at": "@SUM(A1)",
    "wide": "＝1+1",
    "behind a space": " =1+1",
    "behind a quote": '"=1+1',
    "behind a separator": "a;=1+1",
    "tab": "\t=1+1",
    "new line": "a\n=1+1",
    "carriage return": "a\r=1+1",
    "comma and quotes": 'a,"=1+1',
    "right to left": "b\u202epiz.ahpla",
    "markup": "<script>[red]b",
    "emoji": "👩‍🔬🏆",
    "long": "x" * 10_000,
}


def result(team, scores, name="tv", at=AT, similarity=0.8, **fields):
    """A verdict with a score for each image, None where it has none."""
    psnr = [float(each) for each in scores if each is not None] or [25.0]
    images = [
        {"id": f"{n:04}", "psnr": each, "ssim": similarity, "seconds": 0.1}
        for n, each in enumerate(scores)
    ]
    return Result.model_validate(
        {
            "entry": {"hash": hashlib.sha256(f"{team} {name} {at}".encode()).hexdigest(),
                      "team": team, "name": name, "bytes": 2_500_000},
            "challenge": {"name": "deblur", "hash": "c"},
            "judge": {"hash": "j" * 64, "isolation": {"level": "landlock"}},
            "outcome": "ok",
            "received": at,
            "judged_at": at,
            "psnr": interval(psnr).to_json(),
            "ssim": interval([similarity, similarity + 0.01] * 12).to_json(),
            "seconds": {"total": 9.0},
            "images": images,
        }
        | fields
    )  # fmt: skip


def field_of(entries, images=24, seed=0, spread=0.3, step=0.1):
    """Scores of entries, a column each, on images that differ by more than they do."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(28, 3, (images, 1))
    return (hard + rng.normal(0, spread, (images, entries)) - step * np.arange(entries)).round(4)


def judged(scores, teams=None):
    names = teams or [f"team{n}" for n in range(scores.shape[1])]
    return [result(team, column) for team, column in zip(names, scores.T, strict=True)]


def weighed(results):
    made = rows(results, Rules())
    return made, evidence.weigh(made)


def test_what_is_clear_is_ranked_and_what_is_not_shares_a_letter():
    scores = field_of(4, step=0.0)
    scores[:, 0] += 4.0
    scores[:, 3] -= 4.0
    made, found = weighed(judged(scores))
    said = [(row.team, found.places[row.entry].rank, found.places[row.entry].tie) for row in made]
    assert said[0] == ("team0", "1", "")
    assert said[-1] == ("team3", "4", "")
    assert [each[1:] for each in said[1:3]] == [("2-3", "a")] * 2
    gaps = [found.places[row.entry].to_next for row in made]
    assert gaps[3] is None
    assert [each.clear for each in gaps[:3]] == [True, False, True]
    difference = made[0].psnr - made[1].psnr
    assert gaps[0].difference.mean == pytest.approx(difference)
    assert gaps[0].difference.low < difference < gaps[0].difference.high


def test_the_order_of_entries_and_of_images_decides_nothing():
    """Not one byte of what is written."""
    results = judged(field_of(7))
    made, found = weighed(results)
    for seed in range(3):
        mixed = random.Random(seed).sample(results, len(results))
        mixed = [each.model_copy(update={"images": tuple(reversed(each.images))}) for each in mixed]
        again, other = weighed(mixed)
        assert (again, other) == (made, found)
        assert board_csv.text(again, other, {}) == board_csv.text(made, found, {})


def test_baselines_move_no_team():
    """They have a gap, as everybody between two rows, and no rank."""
    scores = field_of(5)
    made, found = weighed(judged(scores))
    baselines = [
        result("baseline", column, name=f"base{n}")
        for n, column in enumerate(field_of(6, seed=1).T)
    ]
    more, other = weighed([*judged(scores), *baselines])
    for row in made:
        before, after = found.places[row.entry], other.places[row.entry]
        assert (before.rank, before.ties, before.ranks) == (after.rank, after.ties, after.ranks)
    for row in more:
        place = other.places[row.entry]
        assert (place.rank == "") is row.baseline
        assert (place.to_next is None) == (row is more[-1])


@pytest.mark.parametrize(
    "broken",
    [
        {"outcome": "crash", "psnr": None, "ssim": None, "images": []},
        {"images": []},
        "no psnr",
        "fewer images",
    ],
    ids=["failed", "no image", "no psnr", "fewer images"],
)
def test_a_failed_or_missing_score_never_ranks(broken):
    """However good the mean is that stands beside it; others rank as if it were not there."""
    scores = field_of(3)
    best = [*scores[:, 0] + 9]
    if broken == "no psnr":
        bad = result("bad", [*best[:-1], None])
    elif broken == "fewer images":
        bad = result("bad", best[:-1])
    else:
        bad = result("bad", best, **broken)
    made, found = weighed([*judged(scores), bad])
    (row,) = [each for each in made if each.team == "bad"]
    assert row is made[-1]
    assert (row.rank, row.counts) == (None, False)
    assert row.note
    assert row.entry not in found.places
    assert (made[:-1], found) == weighed(judged(scores))


@pytest.mark.parametrize("images", [8, 24])
def test_identical_scores_tie(images):
    scores = field_of(4, images, step=1.0)
    scores[:, 2] = scores[:, 1]
    made, found = weighed(judged(scores))
    tied = [row for row in made if row.team in ("team1", "team2")]
    one, other = (found.places[row.entry] for row in tied)
    assert tied[0].rank == tied[1].rank
    assert (one.rank, one.ties, one.ranks) == (other.rank, other.ties, other.ranks)
    assert one.ties
    assert not one.to_next.clear
    assert (one.to_next.difference.mean, one.to_next.difference.low) in ((0.0, 0.0), (0.0, None))


def test_entries_that_agree_to_the_digits_that_count_are_not_told_apart():
    scores = field_of(3, step=1.0)
    scores[:, 1] = scores[:, 0] - 1e-5 * (1 + np.arange(24) % 2)
    made, found = weighed(judged(scores))
    one, other = (found.places[row.entry] for row in made[:2])
    assert made[0].rank == made[1].rank
    assert one.rank == other.rank == "1-2"
    assert not one.to_next.clear


def test_a_copy_under_another_teams_name_ties_and_is_named():
    like = {"method": "m", "weights": {"w" * 16: 100}}
    scores = field_of(2, step=1.0)
    results = judged(scores)
    first = results[0].model_copy(
        update={
            "entry": results[0].entry.model_validate(
                results[0].entry.model_dump() | {"likeness": like}
            )
        }
    )
    copied = result("thief", scores[:, 0], at="2026-12-02T10:00:00+00:00")
    copied = copied.model_copy(
        update={
            "entry": copied.entry.model_validate(copied.entry.model_dump() | {"likeness": like})
        }
    )
    made, found = weighed([first, results[1], copied])
    ours = [row for row in made if row.team in ("team0", "thief")]
    assert [row.rank for row in ours] == [1, 1]
    assert len({found.places[row.entry].rank for row in ours}) == 1
    for row, other in zip(ours, ("thief", "team0"), strict=True):
        assert any("the same" in each and other in each for each in row.alike)


@pytest.mark.parametrize(
    ("images", "fewer", "resolution"), [(8, "nothing is called different", False),
    (12, "fewer than 24", True), (23, "fewer than 24", True), (24, "", True)],
)  # fmt: skip
def test_a_small_test_set_says_so(images, fewer, resolution):
    scores = field_of(3, images, step=3.0)
    made, found = weighed(judged(scores))
    said = " ".join(evidence.remarks(found))
    assert fewer in said
    assert ("fewer" in said) == bool(fewer)
    assert ("resolution" in said) == resolution == (found.resolution is not None)
    clear = [each.to_next.clear for each in found.places.values() if each.to_next]
    assert any(clear) == (images >= 12)
    if images < 12:
        assert {found.places[row.entry].rank for row in made} == {"1-3"}


def test_the_resolution_is_that_of_neighbours():
    """2.93 / sqrt(24) of the standard deviation of their difference, sqrt(2) * spread."""
    _, found = weighed(judged(field_of(30, spread=0.3)))
    assert found.resolution == pytest.approx(0.3 * 2**0.5 * 0.598, rel=0.1)


def test_a_team_with_one_entry_alone_and_a_board_without_scores():
    made, found = weighed(judged(field_of(1)))
    assert found.places[made[0].entry].rank == "1"
    assert found.places[made[0].entry].to_next is None
    assert evidence.remarks(found) == []
    made, found = weighed([result("a", [])])
    assert (found.images, found.places, evidence.remarks(found)) == (0, {}, [])


def test_entries_are_counted_by_the_day():
    scores = field_of(1)[:, 0]
    moments = [
        "2026-12-01T10:00:00+00:00",
        "2026-12-02T01:00:00+02:00",
        "2026-12-02T10:00:00+00:00",
    ]
    results = [result("alpha", scores, at=at) for at in moments]
    failed = result("alpha", scores, "net", outcome="crash", psnr=None, ssim=None, images=[])
    for row in rows([*results, failed], Rules(), everything=True):
        assert row.per_day == {"2026-12-01": 3, "2026-12-02": 1}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_name_is_a_formula_or_breaks_a_line(what):
    name = HOSTILE[what]
    scores = field_of(2)
    results = [result(name, scores[:, 0], name), result("beta", scores[:, 1])]
    text = board_csv.text(*weighed(results), {name: [name]})
    assert text.count("\n") == 3
    assert all(each.isprintable() or each == "\n" for each in text)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 2 and all(None not in line and None not in line.values() for line in lines)
    (own,) = [line for line in lines if line["team"] != "beta"]
    for cell in (own["team"], own["method"], own["members"]):
        assert cell.lstrip(' \t\r\n"')[:1] not in ("=", "+", "-", "@", "＝")
        for part in cell.replace(",", ";").split(";"):
            assert part.strip(' "')[:1] not in ("=", "+", "-", "@", "＝")
    assert float(own["psnr"]) == pytest.approx(scores[:, 0].mean())
    if what in ("emoji", "long", "markup"):
        visible = own["team"].replace("\\u200d", "\u200d")
        assert visible == name


@pytest.mark.slow
def test_a_hundred_entries_on_two_hundred_images_take_two_seconds():
    results = judged(field_of(100, 200, step=0.02))
    rows(results[:2], Rules())
    assert least(lambda: board_csv.text(*weighed(results), {})) <= 2
    assert len(weighed(results)[1].places) == 100
