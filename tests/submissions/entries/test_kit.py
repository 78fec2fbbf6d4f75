"""The kit works in an empty folder, and holds nothing hidden."""

from __future__ import annotations

import base64
import hashlib
import json
import runpy
import zipfile
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import nbformat
import pytest
import torch
from pydantic import TypeAdapter

from challenge.configs.loader import load_entry
from challenge.configs.paths import names, packaged
from challenge.configs.schema.images import CHANNELS
from challenge.configs.schema.physics import Operator
from challenge.data.challenges.challenge import Challenge, open_challenge, read_manifest
from challenge.data.layout import Hidden, Public, Workspace
from challenge.data.physics.families import FAMILIES
from challenge.methods import registry, toy_problem
from challenge.submissions import curve, layout, train
from challenge.submissions.entries import kit_configs, rules_sheet, teams, wheel
from challenge.submissions.entries.kit import make_kit
from challenge.submissions.jail import stage
from challenge.submissions.scoring import foreseen
from challenge.submissions.scoring.foreseen import Foreseen


@pytest.fixture(scope="module")
def kit(challenge: Challenge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, made, and unpacked by an ordinary program."""
    folder = tmp_path_factory.mktemp("kit")
    steps: list[tuple[str, int, int]] = []
    made = make_kit(challenge, Workspace(folder), lambda *step: steps.append(step))
    assert made == folder / "tiny-kit.zip"
    assert steps[-1][1] == steps[-1][2] == len(steps)
    with zipfile.ZipFile(made) as file:
        file.extractall(folder)
    return folder / "tiny-kit"


def test_the_public_folder_is_whole(kit: Path, challenge: Challenge) -> None:
    copy = open_challenge(kit / "workspace" / "public" / "tiny", verify=True)
    assert copy.hash == challenge.hash


def test_nothing_hidden_is_in_it(kit: Path, hidden: Hidden) -> None:
    names = [str(path.relative_to(kit)) for path in kit.rglob("*")]
    assert not [name for name in names if "hidden" in name or "key" in name or "seal" in name]
    files = [path for path in hidden.path.rglob("*") if path.is_file() and path != hidden.rules]
    secret = [path.read_bytes() for path in files]
    assert hidden.key.read_bytes() in secret
    for path in kit.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert content not in secret
            assert hidden.key.read_bytes() not in content


def test_nothing_but_the_manifests_files(challenge: Challenge, tmp_path: Path) -> None:
    """A file that lies in the public folder by mistake does not go out."""
    stray = challenge.path / "stray.txt"
    stray.write_text("truth")
    try:
        made = make_kit(challenge, Workspace(tmp_path))
    finally:
        stray.unlink()
    with zipfile.ZipFile(made) as file:
        assert not [name for name in file.namelist() if "stray" in name]


def test_the_same_challenge_gives_the_same_kit(challenge: Challenge, tmp_path: Path) -> None:
    first, second = (make_kit(challenge, Workspace(tmp_path / name)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_rules_are_in_it_on_one_page(kit: Path, challenge: Challenge, tmp_path: Path) -> None:
    """With the resolution, where that was foreseen; a damaged file of it stays at home."""
    text = (kit / "RULES.md").read_text()
    assert text == rules_sheet.sheet(challenge.config, challenge)
    assert challenge.seal in text
    public = Public(challenge.path)
    found = Foreseen(methods=("wiener", "tv"), images=12, spread=0.3, resolution=0.25)
    inside = "tiny-kit/workspace/public/tiny/resolution.json"
    try:
        foreseen.write(public, found)
        with zipfile.ZipFile(make_kit(challenge, Workspace(tmp_path))) as file:
            assert Foreseen.model_validate_json(file.read(inside)) == found
        public.resolution.write_text("{}")
        with zipfile.ZipFile(make_kit(challenge, Workspace(tmp_path))) as file:
            assert inside not in file.namelist()
    finally:
        public.resolution.unlink()


def test_it_says_when_a_day_begins(kit: Path) -> None:
    assert "per day, which begins at midnight UTC | 5 |" in (kit / "README.md").read_text()


def test_texts_are_filled_in(kit: Path) -> None:
    texts = [*kit.glob("*.*"), *kit.glob("my_team/*"), *kit.glob("configs/*")]
    for path in texts:
        if path.suffix != ".whl":
            assert "@" not in path.read_text(), path
    readme = (kit / "README.md").read_text()
    assert "| the entry, all files together | 1 MB |" in readme
    assert "challenge: tiny" in (kit / "configs" / "tv.yaml").read_text()
    assert {"tv.yaml", "wiener.yaml"} <= {path.name for path in (kit / "configs").iterdir()}
    assert not (kit / "configs" / "deblur.yaml").exists()


def test_it_says_whether_test_measurements_are_published(
    kit: Path, challenge: Challenge, tmp_path: Path
) -> None:
    assert not (kit / "workspace" / "public" / "tiny" / "test").exists()
    line = "| measurements of the test set | {} |"
    readme = (kit / "README.md").read_text()
    assert line.format("hidden: the judge hands them to your entry one by one") in readme
    rules = challenge.config.rules.model_copy(update={"test_measurements": "published"})
    config = challenge.config.model_copy(update={"rules": rules})
    manifest = json.loads((challenge.path / "manifest.json").read_text())
    made = make_kit(Challenge(challenge.path, config, manifest), Workspace(tmp_path))
    with zipfile.ZipFile(made) as file:
        readme = file.read("tiny-kit/README.md").decode()
    assert line.format("published: `workspace/public/tiny/test`") in readme


DENOISERS = {"bm3d", "dncnn", "drunet", "ffdnet", "gsdrunet", "lipschitz", "score", "wavelet"}
OPERATORS = {
    "blur": {"kind": "blur", "kernel": {"kind": "gaussian", "std": 1.6}},
    "identity": {"kind": "identity"},
    "inpainting": {"kind": "inpainting", "mask": {"keep": 0.5}},
    "downsampling": {"kind": "downsampling"},
    "ct": {"kind": "ct", "views": 20},
    "mri": {"kind": "mri", "acceleration": 2},
    "compose": {"kind": "compose", "operators": [{"kind": "downsampling"}, {"kind": "identity"}]},
}


def changed(challenge: Challenge, mode: str, kind: str) -> Challenge:
    """The challenge with other images or another operator; its pictures stay as they are."""
    images = challenge.config.images.model_copy(update={"mode": mode})
    operator = TypeAdapter(Operator).validate_python(OPERATORS[kind])
    config = challenge.config.model_copy(update={"images": images, "operator": operator})
    return Challenge(challenge.path, config, read_manifest(Public(challenge.path)))


def test_every_operator_is_tried() -> None:
    assert set(OPERATORS) == set(FAMILIES)


MODES = [
    (mode, kind)
    for kind in sorted(OPERATORS)
    for mode in ("colour", "grey", "complex")
    if CHANNELS[mode] in FAMILIES[kind].channels and (mode != "complex" or kind == "mri")
]


@pytest.mark.parametrize(("mode", "kind"), MODES)
def test_every_config_fits_the_challenge(
    challenge: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, kind: str
) -> None:
    """Each is read, built and takes a measurement; what does not take the operator is left out."""
    monkeypatch.chdir(tmp_path)
    other = changed(challenge, mode, kind)
    problem = toy_problem(other.channels, operator=kind)
    configs = kit_configs.fitting(other)
    for name, text in configs.items():
        (tmp_path / name).write_text(text)
        config, _ = load_entry(name, (), registry.mistakes)
        assert config.challenge == challenge.config.name
        if config.method["name"] == "gs_pnp" or {"start", "of"} & {*config.method}:
            continue  # a part of theirs must have learned
        method = registry.build(config.method)
        registry.check_operator(method, name, config.challenge, kind)
        size = problem.fitting(40)
        y, physics = problem.measure(torch.rand(1, other.channels, size, size), [0])
        for knob in ("iterations", "layers"):  # one of each is enough
            if isinstance(getattr(method, knob, None), int):
                setattr(method, knob, 1)
        with torch.no_grad():
            assert method.eval()(y, physics).shape == (1, other.channels, size, size)
    missing = names("methods").keys() - {Path(name).stem for name in configs}
    expected = set() if kind in ("blur", "identity") else {"bilevel", "bilevel_filters"}
    expected |= {"ensemble"} if kind in ("ct", "mri") else set()
    expected |= {"fbp", "zero_filled"} - {{"ct": "fbp", "mri": "zero_filled"}.get(kind)}
    assert missing == expected | (set() if kind == "identity" else DENOISERS)


def test_the_teams_are_listed_by_name_alone(challenge: Challenge, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    assert "| teams | not listed: any name |" in readme_of(make_kit(challenge, place))
    layout.teams(place).write_text("teams:\n  no: {members: [Ada]}\n  alpha: {members: [Emmy]}\n")
    made = make_kit(challenge, place)
    assert "| teams | alpha, no |" in readme_of(made)
    with zipfile.ZipFile(made) as file:
        file.extractall(tmp_path)
        assert not [name for name in file.namelist() if b"Emmy" in file.read(name)]
    listed = teams.load(Workspace(tmp_path / "tiny-kit" / "workspace"))
    assert listed is not None and sorted(listed.teams) == ["alpha", "no"]


def readme_of(made: Path) -> str:
    with zipfile.ZipFile(made) as file:
        return file.read("tiny-kit/README.md").decode()


def test_the_wheel_is_the_toolkit_that_is_installed_here(kit: Path) -> None:
    """Every file of it, as an installer checks them; the requirements are the judge's versions."""
    (made,) = kit.glob("*.whl")
    with zipfile.ZipFile(made) as file:
        record = file.read("challenge-0.1.0.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == set(file.namelist())
        for line in record:
            name, digest, size = line.split(",")
            if digest:
                content = file.read(name)
                found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
                assert (digest, int(size)) == (f"sha256={found.decode()}", len(content))
        for name, path in stage.sources():
            assert file.read(f"challenge/{name}") == path.read_bytes()
        for name in packaged().rglob("*.yaml"):
            inside = name.relative_to(packaged()).as_posix()
            assert file.read(f"challenge/configs/{inside}") == name.read_bytes()
        for layer in wheel.LAYERS:
            home = Path(str(resources.files(f"challenge.{layer}")))
            for path in home.rglob("[!.]*.*"):
                inside = path.relative_to(home)
                if path.suffix != ".pyc" and path.is_file():
                    made_of = file.read(f"challenge/{layer}/{inside.as_posix()}")
                    assert made_of == path.read_bytes()
        assert {Path(name).stem for name in file.namelist() if "/baselines/" in name} >= set(
            layout.baselines()
        )
    lines = (kit / "requirements.txt").read_text().splitlines()
    assert f"./{made.name}" in lines
    torch_line = f"torch=={metadata.version('torch').partition('+')[0]}"
    assert {torch_line, f"deepinv=={metadata.version('deepinv')}"} <= set(lines)
    assert {"pytest>=8", "jupyterlab>=4"} <= set(lines)


def test_the_template_learns(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training of the kit's own method is better than what it begins with."""
    monkeypatch.chdir(kit)
    done = train("my_team/mine.yaml", ["name=short", "train.steps=20", "train.evaluate=10"])
    steps, levels = curve(done.run, "psnr")
    assert list(steps) == [0, 10, 20]
    assert levels[-1] > levels[0] + 0.2


def test_the_template_and_its_config(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kit.parent)
    config, source = load_entry(str(kit / "my_team" / "mine.yaml"), (), registry.mistakes)
    schema = json.loads((kit / "configs" / "entry.schema.json").read_text())
    jsonschema.validate(source.tree, schema)
    assert (config.name, config.challenge) == ("mine", "tiny")
    registry.build(config.method, source.path.parent)


def test_the_kits_own_test_passes(kit: Path) -> None:
    runpy.run_path(str(kit / "tests" / "test_method.py"))["test_method_holds_to_the_contract"]()


def test_the_notebook_runs_from_top_to_bottom(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    notebook = json.loads((kit / "start.ipynb").read_text())
    nbformat.validate(nbformat.from_dict(notebook))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    monkeypatch.chdir(kit)
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    names["plt"].close("all")
    assert "mean PSNR" in capsys.readouterr().out
    assert len(names["scores"]) == 2
    assert min(names["scores"]) > 15
