"""The last day by its command: too early, a broken seal, the page, and the same page again."""

import csv
import io
import json
import shutil

import pytest


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
