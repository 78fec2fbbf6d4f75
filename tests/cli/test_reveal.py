"""The last day by its command: too early, a broken seal, the page, and the same page again."""

import csv
import hashlib
import io
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.submissions.judging import parts, result_files
from challenge.submissions.judging.result import Result
from challenge.submissions.reports.standing import gather


@pytest.fixture
def copied(story, tmp_path):
    shutil.copytree(story / "workspace", tmp_path / "workspace")
    return tmp_path


def test_the_last_day(copied, call):
    hidden, final = copied / "workspace/hidden/deblur", copied / "workspace/final/deblur"
    assert call(copied, "amend", "deblur", "rules.deadline=2999-12-04T17:00:00Z").code == 0
    done = call(copied, "reveal", "deblur")
    assert done.code == 2
    assert "is before the deadline, 2999-12-04 17:00 UTC" in done.err
    assert call(copied, "amend", "deblur", "rules.deadline=null").code == 0
    # A seal that does not hold reveals nothing.
    key = (hidden / "key").read_bytes()
    (hidden / "key").write_bytes(bytes(32))
    done = call(copied, "reveal", "deblur")
    assert done.code == 2
    assert "key: was changed" in done.err
    assert not (hidden / "revealed.json").exists()
    assert not final.exists()
    (hidden / "key").write_bytes(key)
    # Nor does a page that cannot be made: the moment of the reveal is for good.
    teams = copied / "workspace/teams.yaml"
    kept = teams.read_bytes() if teams.exists() else None
    teams.write_text("teams: [")
    assert call(copied, "reveal", "deblur").code == 2
    assert not (hidden / "revealed.json").exists()
    teams.unlink() if kept is None else teams.write_bytes(kept)
    assert call(copied, "reveal", "deblur", "--out", hidden / "key").code == 2
    assert not (hidden / "revealed.json").exists()

    done = call(copied, "reveal", "deblur")
    assert done.code == 0, done.err
    assert "the seal holds: " in done.out
    assert "One team alone is in the ranking." in done.out
    first = {path.name: path.read_bytes() for path in final.rglob("*.*")}
    assert {"final.html", "scores.csv", "scores.svg", "scores.png", "ranking.md"} <= first.keys()
    assert "Not kept" not in first["final.html"].decode()
    lines = list(csv.DictReader(io.StringIO(first["scores.csv"].decode())))
    rows = [each for each in lines if each["team"] == "alpha"]
    (result,) = (copied / "workspace/results").glob("*.json")
    images = json.loads(result.read_text())["images"]
    assert [(each["image"], float(each["psnr"])) for each in rows] == [
        (each["id"], each["psnr"]) for each in images
    ]
    assert {each["counts"] for each in rows} == {"yes"}
    page = first["final.html"].decode()
    for words in ("Measurement of image 000", "alpha tv, image 000", "Truth of image 000"):
        assert f'alt="{words}' in page
    assert "data:image/webp;base64," in page
    assert "http" not in page.replace("http://www.w3.org/", "").replace("http-equiv", "")

    again = call(copied, "reveal", "deblur")
    assert again.code == 0
    assert {path.name: path.read_bytes() for path in final.rglob("*.*")} == first
    board = call(copied, "board", "--html", copied / "b.html", "--files", copied / "files")
    assert board.code == 0, board.err
    assert "data:image" not in (copied / "b.html").read_text(), "no hidden image is on a board"
    assert (copied / "files/ranking.csv").is_file()


def verdict(challenge, team, name, psnr):
    """On an entry with these scores of the images, by id."""
    moment = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    images = [{"id": each, "psnr": value, "ssim": 0.8, "seconds": 0.1}
              for each, value in sorted(psnr.items())]  # fmt: skip
    mean = {"mean": sum(psnr.values()) / len(psnr), "low": None, "high": None}
    sha256 = hashlib.sha256(f"{team} {name}".encode()).hexdigest()
    return Result.model_validate(
        {
            "entry": {"hash": sha256, "team": team, "name": name},
            "challenge": {"name": "deblur", "hash": challenge.hash},
            "judge": {"hash": "j" * 64, "isolation": {"level": "landlock"}},
            "outcome": "ok", "psnr": mean, "ssim": {"mean": 0.8, "low": None, "high": None},
            "received": moment, "judged_at": moment, "images": images,
        }
    )  # fmt: skip


def test_the_entry_that_was_best_during_the_week_is_ranked_by_the_final_part(tmp_path, call):
    rules = ["rules.final_share=0.5", "rules.counts=best", "rules.deadline=2999-12-04T17:00:00Z"]
    small = ["images.train=4", "images.val=1", "images.test=4", "images.size=48"]
    assert call(tmp_path, "prepare", "deblur", *small, *rules).code == 0
    place = Workspace(tmp_path / "workspace")
    challenge, hidden = open_challenge(place.public("deblur").path), place.hidden("deblur")
    split = parts.split(hidden.ids(), hidden.key.read_bytes(), 0.5)
    scores = {
        ("alpha", "steady"): {"public": 26.0, "final": 30.0},
        ("alpha", "lucky"): {"public": 25.0, "final": 40.0},
        ("beta", "tv"): {"public": 24.0, "final": 35.0},
    }
    results = [
        verdict(challenge, *of, {each: levels[part] for part in split for each in split[part]})
        for of, levels in scores.items()
    ]
    for each in results:
        result_files.save(place, each)
    week = [("alpha", "steady", 26.0), ("beta", "tv", 24.0)]
    last = [("beta", "tv", 35.0), ("alpha", "steady", 30.0)]
    for part, expected in (("public", week), ("final", last)):
        board = gather(place, challenge, results, part)
        assert [(each.team, each.name, each.psnr) for each in board.counting] == expected
        assert [each.name for each in board.others] == ["lucky"]
        assert any(
            "its best valid entry on the public part counts" in each for each in board.remarks
        )

    def shown(*options):
        done = call(tmp_path, "board", "deblur", "--json", *options)
        assert done.code == 0, done.err
        rows = json.loads(done.out)["rows"]
        return [(each["team"], each["name"], each["psnr"]) for each in rows if each["counts"]]

    assert shown() == shown("--public") == week
    done = call(tmp_path, "board", "deblur", "--final")
    assert done.code == 2
    assert "closed until the reveal" in done.err
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert call(tmp_path, "amend", "deblur", f"rules.deadline={now}").code == 0
    done = call(tmp_path, "reveal", "deblur")
    assert done.code == 0, done.err
    assert shown("--final") == last
    assert shown() == week
    page = (place.path / "final/deblur/final.html").read_text()
    assert page.index(">beta<") < page.index(">alpha<")
    assert "30.00 dB" in page and "40.00" not in page


def test_nothing_judged_is_a_mistake(copied, call):
    shutil.rmtree(copied / "workspace/results")
    done = call(copied, "reveal", "deblur")
    assert done.code == 2
    assert "has no results of `deblur`; judge entries with `challenge score ENTRY.zip" in done.err


@pytest.mark.parametrize(("name", "said"), [("b.txt", "is not the name of an HTML file"),
                                            ("no/b.html", "there is no folder")])  # fmt: skip
def test_a_page_that_cannot_be_written_is_a_mistake(challenge, name, said):
    done = challenge("board", "--html", name)
    assert done.code == 2
    assert said in done.err
