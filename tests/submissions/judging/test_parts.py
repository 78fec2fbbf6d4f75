"""The parts of a test set: what decides them, and what a verdict on one of them is."""

import pytest

from challenge.configs.schema.challenge import Rules
from challenge.data.layout import Hidden
from challenge.submissions.judging import evidence, parts, reveal
from challenge.submissions.judging.board import rows
from challenge.submissions.judging.result import Result
from challenge.submissions.scoring.statistics import interval

IDS = [f"{n:04}" for n in range(30)]
KEY = b"k" * 32


def result(team, scores, **fields):
    images = [{"id": i, "psnr": p, "ssim": p / 40, "seconds": 0.1} for i, p in scores.items()]
    mean = {"mean": 1.0, "low": None, "high": None}
    record = {
        "entry": {"hash": team * 64, "team": team, "name": "tv"},
        "challenge": {"name": "deblur", "hash": "c"},
        "judge": {"hash": "j" * 64}, "outcome": "ok", "psnr": mean, "ssim": mean,
        "received": "2026-12-01T10:00:00+00:00", "judged_at": "2026-12-01T10:00:00+00:00",
        "images": images,
    }  # fmt: skip
    return Result.model_validate(record | fields)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_the_key_decides_and_nothing_else(share):
    found = parts.split(IDS, KEY, share)
    assert found["public"] | found["final"] == set(IDS)
    assert not found["public"] & found["final"]
    assert len(found["final"]) == min(max(round(share * 30), 1), 29)
    assert parts.split(IDS[::-1], KEY, share) == found
    assert parts.split(IDS, b"l" * 32, share) != found


def test_scores_of_a_part_are_those_of_its_images_alone():
    """And the order of two teams may be another one."""
    split = parts.split(IDS, KEY, 0.5)
    a = {i: 25.0 + n % 3 + 2 * (i in split["public"]) for n, i in enumerate(IDS)}
    b = {i: 26.0 + n % 3 for n, i in enumerate(IDS)}
    results = [result("a", a), result("b", b)]
    for part, first in (("public", "a"), ("final", "b")):
        restricted = parts.restrict(results, split[part])
        made = rows(restricted, Rules())
        assert [row.team for row in made] == [first, "ab".replace(first, "")]
        expected = interval([a[i] for i in sorted(split[part])])
        (row,) = [row for row in made if row.team == "a"]
        assert (row.psnr, row.low, row.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
        assert row.images.keys() == split[part]
        assert evidence.weigh(made).images == 15
    assert results[0].psnr.mean == 1.0


def test_nothing_of_a_part_tells_of_the_other():
    """Means over all images would; NMSE is of floats, and of every image or of none."""
    split = parts.split(IDS, KEY, 0.5)
    one = result("a", dict.fromkeys(IDS, 25.0), nmse={"mean": 7.0, "low": None, "high": None})
    images = [each.model_copy(update={"nmse": float(each.id)}) for each in one.images]
    floats = one.model_copy(update={"images": tuple(images)})
    (found,) = parts.restrict([floats], split["public"])
    assert found.nmse.mean == pytest.approx(sum(map(float, split["public"])) / 15)
    lacking = result("l", {i: 30.0 for i in IDS if i != min(split["public"])}, nmse=one.nmse)
    for each in parts.restrict([one, lacking], split["public"]):
        assert each.nmse is None
        assert each.calibration is None
    assert parts.restrict([lacking], split["public"])[0].psnr is None


def test_before_the_reveal_scores_are_those_of_the_public_part(tmp_path, monkeypatch):
    hidden = Hidden(tmp_path)
    hidden.key.parent.mkdir(parents=True, exist_ok=True)
    hidden.key.write_bytes(KEY)
    monkeypatch.setattr(Hidden, "ids", lambda _: IDS)
    public = parts.split(IDS, KEY, 0.5)["public"]
    judged = [result("a", {i: 30.0 if i in public else 20.0 for i in IDS})]
    (found,) = parts.until_revealed(judged, hidden, 0.5)
    assert found.psnr.mean == pytest.approx(30)
    assert {each.id for each in found.images} == public
    assert parts.until_revealed(judged, hidden, None) == judged
    reveal.unlock(hidden, "seal")
    assert parts.until_revealed(judged, hidden, 0.5) == judged


def test_what_failed_or_lacks_a_score_ranks_in_no_part():
    split = parts.split(IDS, KEY, 0.5)
    whole = dict.fromkeys(IDS, 25.0) | {"0000": 25.5}
    lacking = {i: 30.0 for i in IDS if i != min(split["final"])}
    failed = result("f", {}, outcome="crash", psnr=None, ssim=None)
    results = [result("a", whole), result("b", whole), result("l", lacking), failed]
    ranked = {
        part: {row.team for row in rows(parts.restrict(results, ids), Rules()) if row.rank}
        for part, ids in split.items()
    }
    assert ranked == {"public": {"a", "b", "l"}, "final": {"a", "b"}}


def test_the_best_entry_is_that_of_the_public_part_on_the_last_day_too():
    """Else each team would stand with the entry that chance made best on the last images."""
    split = parts.split(IDS, KEY, 0.5)

    def scored(name, public, final):
        scores = {i: public if i in split["public"] else final for i in IDS}
        return result("a", scores, entry={"hash": name[0] * 64, "team": "a", "name": name})

    hidden = [scored("week", 26.0, 24.0), scored("lucky", 25.0, 30.0)]
    week, last = (parts.restrict(hidden, split[part]) for part in ("public", "final"))
    best = Rules(counts="best")
    (public,) = rows(week, best)
    shown, other = rows(last, best, choose=week, everything=True)
    assert (public.name, shown.name) == ("week", "week")
    assert shown.psnr == pytest.approx(24.0)
    assert other.note == "an entry that was better on the public part counts"
    (latest,) = rows(last, Rules(), choose=week)
    assert latest.psnr in (pytest.approx(24.0), pytest.approx(30.0))
