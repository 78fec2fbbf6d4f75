"""The whole way of a small competition, by the commands; and what the clumsy user is told."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TV = "workspace/runs/deblur/tv"
ENTRY = "workspace/entries/alpha-tv.zip"
HIDDEN = ["--hidden", "workspace/hidden/deblur"]
SMALL = ["images.train=8", "images.val=2", "images.test=3", "images.size=64"]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_a_run_is_scored_on_val(challenge, story):
    done = challenge("score", TV, "--json")
    scores = json.loads(done.out)
    assert [each["id"] for each in scores["images"]] == sorted(
        path.stem for path in (story / "workspace/public/deblur/val").glob("*.npz")
    )
    each = [image["psnr"] for image in scores["images"]]
    assert min(each) <= scores["psnr"]["mean"] <= max(each)
    # Of up to three images nothing is said of the mean's interval.
    assert (scores["psnr"]["low"] is None) == (len(each) <= 3)
    assert "PSNR (dB)" in challenge("score", TV).out


def test_infer_leaves_pictures_and_says_the_time(challenge, story):
    done = challenge("infer", TV)
    assert "3 of the test set would take" in done.out
    folder = story / TV / "reconstructions/val"
    assert len(list(folder.glob("*.npy"))) == 2
    for path in folder.glob("*.png"):
        assert np.asarray(Image.open(path)).std() > 1


def test_infer_warns_when_the_projected_time_exceeds_the_limit(challenge, monkeypatch):
    from challenge.cli import infer

    watch = infer.watch
    monkeypatch.setattr(infer, "watch", lambda report, what, minutes: watch(report, what, 1e-6))
    done = challenge("infer", TV)
    assert done.err.count("warning: at this pace the test set takes") == 1


def test_an_entry_is_checked_judged_and_on_the_board(challenge):
    assert "ok" in challenge("check", ENTRY).out
    again = challenge("score", ENTRY, *HIDDEN)
    assert again.code == 0
    assert "the verdict stands" in again.err
    board = json.loads(challenge("board", "--json").out)
    (row,) = [each for each in board["rows"] if each["name"] == "tv"]
    assert (row["rank"], row["team"], row["outcome"]) == (1, "alpha", "ok")
    assert board["practice"] is True
    shown = challenge("board")
    assert f"{row['psnr']:.2f}" in shown.out
    assert "practice" in shown.out


@pytest.mark.slow
def test_the_dry_run_is_the_judges(challenge):
    done = challenge("check", ENTRY, "--run")
    assert done.code == 0, done.err
    assert "contract  every rule holds" in done.out
    val = json.loads(challenge("score", TV, "--json").out)
    assert f"{val['psnr']['mean']:.2f}" in done.out


def test_the_seal_holds_until_something_is_changed(challenge, story):
    assert "the seal holds" in challenge("seal", "deblur").out
    path = story / "workspace/hidden/deblur/test/0001.png"
    before = path.read_bytes()
    path.write_bytes(before + b"x")
    try:
        done = challenge("seal", "deblur")
        assert done.code == 2
        assert "0001.png" in done.err
        assert challenge("score", ENTRY, *HIDDEN).code == 2
    finally:
        path.write_bytes(before)


def test_a_changed_measurement_breaks_the_seal(challenge, story):
    path = story / "workspace/hidden/deblur/test/0002.npz"
    before = path.read_bytes()
    for damage in (lambda: path.write_bytes(before + b"x"), path.unlink):
        damage()
        try:
            for command in (["seal", "deblur"], ["score", ENTRY, *HIDDEN]):
                done = challenge(*command)
                assert done.code == 2
                (line,) = [each for each in lines(done.err) if each.startswith("error:")]
                assert "0002.npz: " in line
        finally:
            path.write_bytes(before)
    assert "truth, measurements, noise key and metric" in challenge("seal", "deblur").out


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("challenge.yaml", b"seed: 0", b"seed: 1"),
        ("challenge.yaml", b"sigma: 0.03", b"sigma: 0.02"),
        ("operator.npz", b"PK", b"PK\x00"),
        ("val/", b"PK", b"PK\x00"),
    ],
)
def test_a_changed_public_folder_is_told_of_and_not_used(story, call, tmp_path, name, old, new):
    """By whoever judges, ranks, publishes or verifies."""
    shutil.copytree(story / "workspace", tmp_path / "workspace")
    path = tmp_path / "workspace/public/deblur" / name
    path = path if path.is_file() else min(path.glob("*.npz"))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    for command in (["board"], ["board", "--json"], ["kit", "deblur"], ["seal", "deblur"]):
        done = call(tmp_path, *command)
        assert done.code == 2, command
        (line,) = lines(done.err)
        assert f"{path.name}: was changed since `prepare`" in line
    assert call(tmp_path, "score", ENTRY, *HIDDEN).code == 2


def test_verdicts_on_another_preparation_are_counted(story, call, tmp_path):
    shutil.copytree(story / "workspace", tmp_path / "workspace")
    assert call(tmp_path, "prepare", "deblur", "--force", *SMALL).code == 0
    done = call(tmp_path, "board")
    assert "1 verdict on another preparation of deblur is not shown" in done.err


@pytest.mark.slow
def test_an_older_challenge_is_told_of_in_one_line(story, call, tmp_path, to_format_1):
    """With the remedy, by every command that opens it, and on stderr; nothing else changes."""
    from challenge.data.layout import Workspace

    shutil.copytree(story / "workspace", tmp_path / "workspace")
    place = Workspace(tmp_path / "workspace")
    to_format_1(place.public("deblur"), place.hidden("deblur"))
    warning = (
        "warning: workspace/public/deblur has format 1: its test measurements are published; "
        "`challenge prepare deblur --force` hides them, and makes its entries invalid"
    )
    for command, code in (
        (["train", "tv", "name=old", "method.iterations=20"], 0),
        (["infer", "workspace/runs/deblur/old"], 0),
        (["score", "workspace/runs/deblur/old"], 0),
        (["pack", "workspace/runs/deblur/old", "--team", "beta"], 0),
        (["check", "workspace/entries/beta-old.zip", "workspace/entries/beta-old.zip"], 0),
        (["compare", "workspace/runs/deblur/old"], 0),
        (["score", "workspace/entries/beta-old.zip", *HIDDEN], 0),
        (["kit", "deblur"], 0),
        (["seal", "deblur"], 0),
        (["prepare", "deblur"], 2),
        (["prepare", "deblur", "--force", *SMALL], 0),
        (["kit", "deblur"], 0),
    ):
        done = call(tmp_path, *command)
        assert done.code == code, f"{command}: {done.err}{done.out}"
        silent = command[0] in ("train", "seal") or "--force" in command
        silent = silent or not (place.public("deblur").path / "test").exists()
        assert lines(done.err).count(warning) == (not silent), f"{command}: {done.err}"
        assert "format 1" not in done.out
    assert not (place.public("deblur").path / "test").exists()


def test_prepare_says_what_teams_get(call, tmp_path):
    for rule, also in (("hidden", ""), ("published", ", measurements of test")):
        options = [*SMALL, f"rules.test_measurements={rule}", "--force"]
        done = call(tmp_path, "prepare", "deblur", *options)
        assert done.code == 0, done.err
        shown = done.out.splitlines()
        assert shown[1] == f"public   workspace/public/deblur   for teams: train, val{also}"
        assert shown[2] == "hidden   workspace/hidden/deblur   for you alone: test"
        assert max(map(len, shown)) <= 80


def test_photographs_of_installed_software_are_warned_of(call, tmp_path, monkeypatch):
    from challenge.submissions.judging import originals

    folder = tmp_path / "share" / "icons"
    folder.mkdir(parents=True)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    asked = ["images.source=folder", "images.path=share/icons", "images.val=1", "images.test=2"]
    own = call(tmp_path, "prepare", "deblur", *asked, "images.size=64")
    assert own.code == 0, own.err
    assert "software is installed" not in own.err
    monkeypatch.setattr(originals, "_SOFTWARE", (str(tmp_path / "share"),))
    done = call(tmp_path, "prepare", "deblur", *asked, "images.size=64", "--force")
    warning = f"warning: {folder}: software is installed here, and test images come from it (2)"
    assert done.err.count(warning) == 1
    zipped = tmp_path / "none.zip"
    zipped.write_bytes(b"")
    scored = call(tmp_path, "score", zipped, "--hidden", "workspace/hidden/deblur")
    assert scored.err.count(warning) == 1


def test_methods_are_listed_and_explained(challenge):
    listed = challenge("methods").out
    assert [each for each in lines(listed) if not each.startswith(" ")][:2] == [
        "Variational",
        "End to end",
    ]
    assert all(len(each) <= 80 for each in lines(listed))
    chapters = {
        each["name"]: each["chapter"] for each in json.loads(challenge("methods", "--json").out)
    }
    assert chapters["tv"] == chapters["wiener"] == "Variational"
    assert chapters["network"] == "End to end"
    page = challenge("methods", "tv").out
    assert "Rudin" in page
    assert "weight" in page
    knobs = json.loads(challenge("methods", "tv", "--json").out)["knobs"]
    assert {"weight", "iterations", "coupled", "tolerance"} <= {each["name"] for each in knobs}
    for knob in knobs:
        assert knob["meaning"] in " ".join(page.split())


def test_the_kit_has_nothing_of_the_test_set(challenge, story):
    done = challenge("kit", "deblur")
    assert done.code == 0, done.err
    (path,) = story.glob("workspace/*-kit.zip")
    with zipfile.ZipFile(path) as kit:
        names = kit.namelist()
        secret = {file.read_bytes() for file in (story / "workspace/hidden/deblur/test").iterdir()}
        assert len(secret) == 6
        assert not any(kit.read(name) in secret for name in names)
    assert not any("hidden" in name or name.endswith("key") for name in names)
    assert any(name.endswith("challenge.yaml") for name in names)
    assert any(name.endswith(".ipynb") for name in names)


def test_a_second_run_of_the_same_name_is_refused(challenge):
    done = challenge("train", "tv")
    assert done.code == 2
    assert "exists already" in done.err
    assert "--force" in done.err


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["prepare", "deblurr"], ["did you mean `deblur`"]),
        (["prepare", "deblur"], ["deblur", "exists", "--force"]),
        (["prepare", "deblur", "noise.sigma=0"], ["noise.sigma=0", "greater than 0"]),
        (["prepare", "deblur", "noise.sigma=-1"], ["noise.sigma"]),
        (["prepare", "deblur", "noise.sgima=1"], ["did you mean `noise.sigma`"]),
        (["prepare", "tv"], ["is an entry's config"]),
        (["train", "deblur"], ["deblur"]),
        (["train", "tv", "method.wieght=1"], ["did you mean `method.weight`"]),
        (["train", "tv", "method.weight=-1"], ["method.weight"]),
        (["train", "tv", "train.lr=1"], ["`tv` does not read `train.lr`"]),
        (["train", "tv", "method.name=tvv"], ["did you mean `tv`"]),
        (["train", "tv", "challenge=levin", "name=other"], ["levin", "challenge prepare levin"]),
        (["train", "tv", "--device", "tpu"], ["--device"]),
        (["train", "nothing.yaml"], ["nothing.yaml"]),
        (["infer", "workspace/runs/deblur/none"], ["none: does not exist; give a run's folder"]),
        (["score", "workspace/runs/deblur/none"], ["workspace/runs/deblur/none"]),
        (["score", ENTRY], ["--hidden"]),
        (["score", TV, *HIDDEN], ["challenge pack"]),
        (["score", "workspace/entries/none.zip", *HIDDEN], ["does not exist"]),
        (
            ["score", ENTRY, "--hidden", "nowhere"],
            ["nowhere: does not exist; give the hidden folder"],
        ),
        (["check", "workspace"], ["is a workspace; give a zip"]),
        (["pack", TV, "--team", "Team One!"], ["team"]),
        (["pack", "workspace", "--team", "alpha"], ["is a workspace; give a run"]),
        (["check", "none.zip"], ["does not exist"]),
        (["check", __file__], ["is a Python file"]),
        (["board", "levin"], ["has no results of `levin`; there are results of deblur"]),
        (["methods", "tvv"], ["did you mean `tv`"]),
        (["kit", "levin"], ["challenge prepare levin"]),
        (["seal", "levin"], ["levin"]),
        (["prepare"], ["Missing argument"]),
        (["demo", "workspace"], ["exists already"]),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(challenge, arguments, texts):
    done = challenge(*arguments)
    assert done.code == 2, done.out + done.err
    assert "Traceback" not in done.err
    for text in texts:
        assert text in done.err, done.err
    assert len([line for line in lines(done.err) if line.startswith("error:")]) in (0, 1)


def test_nothing_is_there_yet(elsewhere, tmp_path):
    for arguments in (["train", "tv"], ["board"], ["kit", "deblur"]):
        done = elsewhere(*arguments)
        assert done.code == 2, arguments
        assert len(lines(done.err)) == 1, done.err
    assert list(tmp_path.iterdir()) == []


def test_environment_names_the_workspace(story, elsewhere, monkeypatch):
    monkeypatch.setenv("CHALLENGE_WORKSPACE", str(Path(story) / "workspace"))
    assert "alpha" in elsewhere("board").out


def test_a_ready_zip_is_the_same_bytes_again(challenge, story):
    before = (story / ENTRY).read_bytes()
    assert challenge("pack", TV, "--team", "alpha").code == 0
    assert (story / ENTRY).read_bytes() == before


def test_a_refused_training_leaves_no_run(challenge, story):
    done = challenge("train", "network", "method.channels=1", "train.steps=1")
    assert done.code == 2
    assert "`method.channels`" in done.err
    assert not (story / "workspace/runs/deblur/network").exists()


def test_ctrl_c_leaves_a_run_that_resumes_exactly(challenge, story, monkeypatch):
    """The first Ctrl-C finishes the step; the resumed run is the uninterrupted one."""
    import signal

    from challenge.submissions.runs.session import RunSession

    small = [
        "method.net.width=4",
        "method.net.depth=0",
        "train.steps=6",
        "train.patch=32",
        "train.batch=1",
    ]
    assert challenge("train", "network", "name=whole", *small).code == 0
    log, calls = RunSession.log, []

    def interrupting(self, step, total, **values):
        log(self, step, total, **values)
        calls.append(step)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunSession, "log", interrupting)
    stopped = challenge("train", "network", "name=cut", *small)
    monkeypatch.undo()
    assert stopped.code == 130, stopped.err
    assert "--resume" in stopped.err
    run = "workspace/runs/deblur/cut"
    assert not (story / run / "weights.safetensors").exists()
    assert challenge("infer", run).code == 2
    state = story / run / "checkpoint" / "state.json"
    stored = json.loads(state.read_text())
    assert 0 < stored["seconds"] <= json.loads((story / run / "run.json").read_text())["seconds"]
    state.write_text(json.dumps(stored | {"seconds": 1000.0}))
    resumed = challenge("train", run, "--resume")
    assert resumed.code == 0, resumed.err
    assert 1000 < json.loads((story / run / "run.json").read_text())["seconds"] < 1200
    whole = story / "workspace/runs/deblur/whole/weights.safetensors"
    assert (story / run / "weights.safetensors").read_bytes() == whole.read_bytes()


def test_a_full_disk_at_the_end_of_training(challenge, story, monkeypatch):
    import errno

    from challenge.data import atomic

    put = atomic._put

    def full(path, content):
        if ".weights" in path.name:
            raise OSError(errno.ENOSPC, "no space left")
        put(path, content)

    monkeypatch.setattr(atomic, "_put", full)
    done = challenge("train", "wiener", "name=full")
    assert done.code == 2
    assert "the disk is full" in done.err
    monkeypatch.undo()
    assert not list((story / "workspace/runs/deblur/full").glob(".*"))
    assert challenge("train", "workspace/runs/deblur/full", "--resume").code == 0


def test_the_board_names_the_members_of_a_team(challenge, story):
    path = story / "workspace/teams.yaml"
    path.write_text("teams:\n  alpha: {members: [Ada, Grace]}\n")
    try:
        (row,) = json.loads(challenge("board", "--json").out)["rows"]
    finally:
        path.unlink()
    assert row["members"] == ["Ada", "Grace"]


@pytest.mark.slow
def test_overviews_carry_no_temporary_name(challenge, story, monkeypatch):
    from challenge.submissions.scoring import pictures

    titles, sheet = [], pictures.Sheet

    def noted(title, *rest):
        titles.append(title)
        return sheet(title, *rest)

    monkeypatch.setattr(pictures, "Sheet", noted)
    assert challenge("infer", TV).code == 0
    assert challenge("score", ENTRY, *HIDDEN, "--rejudge").code == 0
    assert titles[0].startswith("val: ")
    assert titles[1].startswith("alpha-tv-")
    assert not any("partial" in title for title in titles)


def test_an_entry_is_packed_anew_for_another_preparation(call, story, tmp_path):
    small = ["images.train=8", "images.val=2", "images.test=3", "images.size=64"]
    baseline = story / ENTRY
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    assert call(elsewhere, "prepare", "deblur", *small, "seed=5").code == 0
    hidden = ["--hidden", "workspace/hidden/deblur"]
    (elsewhere / "workspace/entries").mkdir()
    copy = elsewhere / "workspace/entries/beta-tv.zip"
    copy.write_bytes(baseline.read_bytes())
    refused = call(elsewhere, "score", str(copy), *hidden, "--json")
    assert json.loads(refused.out)[0]["outcome"] == "invalid_entry"
    done = call(elsewhere, "pack", str(baseline), "--team", "gamma")
    assert done.code == 0, done.err
    judged = call(elsewhere, "score", "workspace/entries/gamma-tv.zip", *hidden, "--json")
    assert json.loads(judged.out)[0]["outcome"] == "ok", judged.out
    with (
        zipfile.ZipFile(baseline) as old,
        zipfile.ZipFile(elsewhere / "workspace/entries/gamma-tv.zip") as new,
    ):
        before, after = (json.loads(each.read("manifest.json")) for each in (old, new))
        assert old.read("weights.safetensors") == new.read("weights.safetensors")
    assert before["uses"] == {"pretrained": False, "external_data": False}
    assert after["uses"] == {"pretrained": True, "external_data": True}
    assert after["training"] == before["training"]
    assert after["training"]["images"] == 8
    # The rules of the other challenge decide.
    strict = ["prepare", "deblur", "name=strict", *small, "rules.pretrained=forbidden"]
    assert call(elsewhere, *strict).code == 0
    done = call(elsewhere, "pack", str(baseline), "--team", "gamma", "--challenge", "strict")
    assert done.code == 2
    assert "`uses.pretrained: true`, the challenge's rules forbid it" in done.err


WIDE = "estimates seem to be in [0, 255]: end `forward` with a division by 255; that gains"


def test_scoring_a_run_on_val_names_a_mix_up(challenge, story):
    shutil.copytree(story / TV, story / "workspace/runs/deblur/wide")
    try:
        for path in (story / "workspace/runs/deblur/wide/reconstructions/val").glob("*.npy"):
            np.save(path, 255 * np.load(path))
        done = challenge("score", "workspace/runs/deblur/wide")
        assert done.code == 0
        assert f"warning: {WIDE}" in done.err
        assert "warning" not in challenge("score", TV).err
    finally:
        shutil.rmtree(story / "workspace/runs/deblur/wide")


@pytest.mark.slow
def test_infer_and_check_name_a_mix_up(challenge, story):
    (story / "wide.py").write_text(
        "from challenge.methods import Method\n\n\nclass Wide(Method):\n"
        "    def forward(self, y, physics):\n        return 255 * physics.A_adjoint(y)\n"
    )
    (story / "wide.yaml").write_text("challenge: deblur\nmethod: {name: wide.py}\n")
    assert challenge("train", "wide.yaml").code == 0
    assert WIDE in challenge("infer", "workspace/runs/deblur/wide").err
    assert challenge("pack", "workspace/runs/deblur/wide", "--team", "beta").code == 0
    done = challenge("check", "workspace/entries/beta-wide.zip", "--run")
    assert WIDE in done.err
    assert "every rule holds" in done.out
    shutil.rmtree(story / "workspace/runs/deblur/wide")
    (story / "workspace/entries/beta-wide.zip").unlink()


def test_no_command_works_on_a_challenge_that_is_being_prepared(story, call):
    from challenge.data import locks
    from challenge.data.layout import Workspace

    lock = Workspace(story / "workspace").lock("deblur")
    with locks.alone(lock, Path("x"), "is being prepared by"):
        for command in (
            ["train", "tv", "name=late"],
            ["infer", TV],
            ["score", TV],
            ["score", ENTRY, *HIDDEN],
            ["compare", TV],
            ["pack", TV, "--team", "alpha"],
            ["check", ENTRY],
            ["board"],
            ["kit", "deblur"],
            ["seal", "deblur"],
            ["prepare", "deblur", "--force"],
        ):
            done = call(story, *command)
            assert done.code == 2, command
            (line,) = lines(done.err)
            assert line.startswith("error: workspace/public/deblur: is being prepared by process")


def test_a_challenge_that_is_used_is_not_replaced(story, call, monkeypatch):
    from challenge.submissions.judging import trial

    seen = []
    infer = trial.infer

    def replace(*arguments, **options):
        seen.append(call(story, "prepare", "deblur", "--force", *SMALL))
        return infer(*arguments, **options)

    monkeypatch.setattr(trial, "infer", replace)
    assert call(story, "infer", TV).code == 0
    (done,) = seen
    assert done.code == 2
    assert "workspace/public/deblur: is used by `infer`, process " in done.err
