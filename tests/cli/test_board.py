"""The board in a terminal of any width, with names of any kind."""

import json
import re
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from challenge.cli.shared import board_table
from challenge.cli.shared import console as printing
from challenge.cli.shared.columns import width
from challenge.configs.schema.challenge import Rules
from challenge.submissions.judging import evidence
from challenge.submissions.judging.board import rows
from challenge.submissions.judging.result import Result

NAMES = {
    "short": "alpha",
    "longest": "b" * 63,
    "chinese": "图像复原" * 8,
    "emoji": "👩‍🔬🏆" * 9,
    "markup": "[red]b[/red]<script>",
    "right to left": "b\u202epiz.ahpla",
    "hebrew": "שלום",
    "colours": "b\x1b[31mred",
    "new line": "b\n1  beta  tv  99.99",
    "many letters": "x" * 10_000,
    "many lines": "x\n" * 5_000,
    "many spaces": "x " * 5_000,
}


def result(number, team, level="bubblewrap", **fields):
    images = [
        {
            "id": f"{n:04}",
            "psnr": 28 + n % 5 / 4 - number * (0.75 + n % 2 / 2),
            "ssim": 0.8,
            "seconds": 31.0,
        }
        for n in range(24)
    ]
    mean = 28.5 - number - 1 / 48
    return Result.model_validate(
        {
            "entry": {"hash": f"{number}" * 64, "team": team, "name": team, "bytes": 99_990_000},
            "challenge": {"name": "deblur", "hash": "c"},
            "judge": {"hash": "j" * 64, "isolation": {"level": level}},
            "outcome": "ok",
            "received": "2026-12-01T10:00:00+00:00",
            "judged_at": "2026-12-01T10:00:00+00:00",
            "psnr": {"mean": mean, "low": mean - 0.61, "high": mean + 0.63},
            "ssim": {"mean": 0.8123, "low": 0.801, "high": 0.823},
            "seconds": {"total": 740.0},
            "images": images,
        }
        | fields
    )


def shown(monkeypatch, capsys, columns, results):
    def terminal(*, stderr=False):
        stream = sys.stderr if stderr else sys.stdout
        return Console(file=stream, width=columns, highlight=False, markup=False, emoji=False)

    monkeypatch.setattr(printing, "console", terminal)
    made = rows(results, Rules())
    board_table.show("deblur", made, evidence.weigh(made))
    board_table.show_days(made)
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [200, 80, 60])
@pytest.mark.parametrize("what", NAMES)
def test_every_number_is_whole_and_every_line_fits(monkeypatch, capsys, columns, what):
    failed = {"outcome": "nondeterministic", "psnr": None, "ssim": None, "images": []}
    results = [
        result(1, NAMES[what]), result(2, "beta"), result(3, "failed", **failed),
    ]  # fmt: skip
    out = shown(monkeypatch, capsys, columns, results)
    assert all(each.isprintable() or each == "\n" for each in out)
    # A name of 64 characters may be as long where each row is lines of its own.
    assert max(width(line.rstrip()) for line in out.splitlines()) <= max(
        columns, 100 * (columns < 80)
    )
    numbers = [
        "27.48", "[26.87, 28.11]", "0.8123", "[0.801, 0.823]", "+1.00", "clear",
        "12:20 min", "99.99 MB", "nondeterministic", "bubblewrap",
    ]  # fmt: skip
    for number in numbers:
        assert number in out
    assert re.search(r"\[0\.\d\d, 1\.\d\d\]", out)
    assert not re.search(r"^ *1 .*99\.99$", out, re.MULTILINE), "a forged line"
    assert len(out) < 6_000
    assert shown(monkeypatch, capsys, columns, results[::-1]) == out


@pytest.mark.parametrize("columns", [200, 80])
def test_the_isolation_is_said_once_or_of_every_row(monkeypatch, capsys, columns):
    alike = [result(1, "alpha"), result(2, "beta")]
    out = shown(monkeypatch, capsys, columns, alike)
    assert "isolation bubblewrap" in out
    assert out.count("bubblewrap") == 1
    out = shown(monkeypatch, capsys, columns, [*alike, result(3, "gamma", "process")])
    assert (out.count("bubblewrap"), out.count("process")) == (2, 1)
    assert max(width(line.rstrip()) for line in out.splitlines()) <= columns


def test_a_board_is_the_same_twice_in_every_form(challenge, story):
    forms = []
    for number in range(2):
        path = story / f"board{number}.csv"
        done = challenge("board", "--csv", path)
        assert done.code == 0, done.err
        assert f"wrote {path}" in done.err
        forms.append((done.out, challenge("board", "--json").out, path.read_bytes()))
    assert forms[0] == forms[1]
    (row,) = json.loads(forms[0][1])["rows"]
    assert (row["place"]["best"], row["place"]["worst"]) == (1, 1)
    assert "images" not in row
    assert "3 images: nothing is called different on fewer than 12" in challenge("board").err


def test_a_csv_that_cannot_be_written_is_a_mistake(challenge, story):
    done = challenge("board", "--csv", story)
    assert done.code == 2
    assert "error: " in done.err


def test_a_challenge_without_parts_has_one_board(challenge):
    for option in ("--public", "--final"):
        done = challenge("board", option)
        assert done.code == 2
        assert f"its `rules.final_share` is null; leave `{option}` out" in done.err


@pytest.mark.slow
def test_the_board_of_a_part_is_of_its_images_alone(story, call, tmp_path):
    """In a copy whose rules have a share, as `prepare` would have written it."""
    import hashlib
    import shutil

    shutil.copytree(story / "workspace", tmp_path / "workspace")
    public = tmp_path / "workspace/public/deblur"
    config = public / "challenge.yaml"
    config.write_text(config.read_text().replace("final_share: null", "final_share: 0.3"))
    manifest = json.loads((public / "manifest.json").read_text())
    manifest["files"]["challenge.yaml"] = hashlib.sha256(config.read_bytes()).hexdigest()
    (public / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((public / "manifest.json").read_bytes()).hexdigest()
    old = hashlib.sha256((story / "workspace/public/deblur/manifest.json").read_bytes()).hexdigest()
    for path in (
        public / "rules.yaml",
        tmp_path / "workspace/hidden/deblur/rules.yaml",
        *(tmp_path / "workspace/results").glob("*.json"),
    ):
        path.write_text(path.read_text().replace(old, digest))
    done = call(tmp_path, "board", "--final")
    assert done.code == 2
    assert "closed until the reveal; on the last day: `challenge reveal deblur`" in done.err
    done = call(tmp_path, "reveal", "deblur")
    assert done.code == 2
    assert "the challenge has no deadline; set one: `challenge amend deblur" in done.err
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert call(tmp_path, "amend", "deblur", f"rules.deadline={now}").code == 0
    revealed = call(tmp_path, "reveal", "deblur")
    assert revealed.code == 0, revealed.err
    page = (tmp_path / "workspace/final/deblur/final.html").read_text()
    assert "on 1 hidden images, which were closed until then" in page
    assert "during the week" in page
    boards = {}
    for option in ("--public", "--final"):
        done = call(tmp_path, "board", option, "--json")
        assert done.code == 0, done.err
        boards[option] = json.loads(done.out)
        assert f"{option[2:]} part" in call(tmp_path, "board", option).out
    assert {each["part"] for each in boards.values()} == {"public", "final"}
    counts = {option: each["evidence"]["images"] for option, each in boards.items()}
    assert counts == {"--public": 2, "--final": 1}
    first, second = (each["rows"][0]["psnr"] for each in boards.values())
    (path,) = (story / "workspace/results").glob("*.json")
    whole = json.loads(path.read_text())["psnr"]["mean"]
    assert (2 * first + second) / 3 == pytest.approx(whole)
    assert call(tmp_path, "board", "--public", "--final").code == 2
    shutil.rmtree(tmp_path / "workspace/hidden")
    assert "says which images are of which part" in call(tmp_path, "board").err
