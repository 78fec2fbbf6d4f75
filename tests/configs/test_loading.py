"""Overrides, names of files, and the entry's short forms."""

from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import find, find_file, load_challenge, load_entry, read
from challenge.configs.paths import names, packaged


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tree(text, *overrides):
    Path("own.yaml").write_text(text)
    return read("own.yaml", overrides).tree


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a.b=1e-3", 0.001),
        ("a.b=", None),
        ("a.b=yes", "yes"),
        ("a.b=[1, 'x', {c: 2}]", [1, "x", {"c": 2}]),
        ('a.b="2024"', "2024"),
        ("a.b=x=y", "x=y"),
        ("a.b= 3 ", 3),
        # unquoted text needs no care: no comments, no second key, no anchors
        ("a.b=C:\\data\\k #1.mat", "C:\\data\\k #1.mat"),
        ("a.b=x: y", "x: y"),
        ("a.b=*.png", "*.png"),
        ("a.b=- x", "- x"),
    ],
)
def test_value_of_an_override(override, value):
    assert tree("a: {b: 0, c: 1}\n", override) == {"a": {"b": value, "c": 1}}


def test_overrides_make_sections_and_reach_into_lists():
    text = "a: [1, {b: 2}]\nempty:\n"
    assert tree(text, "a.1.b=3", "a.0=0", "empty.x=1", "new.deep.y=2") == {
        "a": [0, {"b": 3}],
        "empty": {"x": 1},
        "new": {"deep": {"y": 2}},
    }


def test_the_last_word_wins():
    assert tree("a: {b: 1, c: 1}\n", "a.b=2", "a={c: 3}", "a.c=4") == {"a": {"c": 4}}


def test_a_replaced_section_forgets_its_lines():
    Path("own.yaml").write_text("a: {b: 1}\n")
    assert read("own.yaml", ["a.b=2", "a={b: 3}"]).place(("a", "b")) == "`a={b: 3}`"


def test_method_may_be_a_word():
    Path("short.yaml").write_text("challenge: deblur\nmethod: tv\n")
    config, source = load_entry("short.yaml", ["method.weight=1e-2"])
    assert config.method == {"name": "tv", "weight": 0.01}
    assert source.place(("method", "name")) == "short.yaml:2"
    config, source = load_entry("short.yaml", ["method.weight=1e-2", "method=wiener"])
    assert config.method == {"name": "wiener"}
    assert source.place(("method", "name")) == "`method=wiener`"


def test_name_of_an_entry_is_the_stem_unless_given():
    Path("mine.yaml").write_text("challenge: deblur\nmethod: tv\n")
    assert load_entry("mine.yaml")[0].name == "mine"
    assert load_entry("mine.yaml", ["name=other"])[0].name == "other"
    with pytest.raises(UserError, match=r"^`name=`: `name` must be text \(got nothing\)"):
        load_entry("mine.yaml", ["name="])


def test_a_budget_is_exchanged_on_the_command_line():
    train = load_entry("network", ["train.minutes=null", "train.steps=1e2"])[0].train
    assert (train.minutes, train.steps) == (None, 100)


def test_another_kind_of_kernel_replaces_the_section():
    config, _ = load_challenge("deblur", ["operator.kernel={kind: gaussian, std: 2}"])
    assert config.operator.kernel.std == 2.0
    with pytest.raises(UserError, match="`operator.kernel.file` does not go with `gaussian`"):
        load_challenge("deblur", ["operator.kernel.kind=gaussian", "operator.kernel.std=2"])


def test_a_name_is_a_path_then_a_file_of_configs_then_a_packaged_one():
    for name in (
        "deblur", "deblur.yaml", "configs/deblur.yaml", "configs/deblur",
        "configs/challenges/deblur.yaml",
    ):  # fmt: skip
        assert find(name) == packaged() / "challenges" / "deblur.yaml"
    with pytest.raises(UserError, match="no such config"):
        find("configs/methods/deblur.yaml")
    Path("configs").mkdir()
    Path("configs/deblur.yaml").write_text("")
    for name in ("deblur", "deblur.yaml", "configs/deblur.yaml", "configs/deblur"):
        assert find(name) == Path("configs/deblur.yaml")
    Path("deblur.yaml").write_text("")
    assert find("deblur.yaml") == Path("deblur.yaml")
    assert find("deblur") == Path("configs/deblur.yaml")
    Path("deblur").mkdir()  # a folder of this name is not in the way
    assert find("deblur") == Path("configs/deblur.yaml")
    assert find(str(Path("deblur.yaml").absolute())).is_absolute()


KNOWN = "known: " + ", ".join(sorted(names())) + ", or a path to a YAML file"


NEAR = f"no such config; did you mean `deblur`? {KNOWN}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("debulr", f"debulr: {NEAR}"),
        ("configs/debulr.yaml", f"configs/debulr.yaml: {NEAR}"),
        ("there/deblur.yaml", f"there/deblur.yaml: {NEAR}"),
        ("xyz", f"xyz: no such config; {KNOWN}"),
        ("", f"no such config; {KNOWN}"),
        ("x" * 5000, "x" * 77 + f"...: no such config; {KNOWN}"),
        ("empty", "empty: is a folder; give a YAML file"),
        ("full", "full: is a folder; give a file of it, `full/config.yaml`"),
    ],
)
def test_what_cannot_be_found(name, line):
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/config.yaml").write_text("")
    with pytest.raises(UserError) as caught:
        find(name)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mine.yml", "mine.yaml"),
        ("team/mine.yml", "team/mine.yaml"),
        ("team/mnie.yaml", "team/mine.yaml"),
        ("team/deblurr.yaml", "deblur"),
        ("wek", "week.yml"),
        ("weak.yaml", "week.yml"),
        ("mime", "mine.yaml"),
        ("blurr", "deblur"),
    ],
)
def test_a_file_that_is_there_is_meant_before_a_packaged_one(name, meant):
    Path("team").mkdir()
    for file in ("mine.yaml", "team/mine.yaml", "week.yml"):
        Path(file).write_text("")
    with pytest.raises(UserError) as caught:
        find(name)
    assert f"; did you mean `{meant}`? known: " in str(caught.value)


@pytest.mark.parametrize("name", ["week", "mine", "mine.yml", "team/mine.yml"])
def test_a_name_that_is_far_from_all_is_no_question(name):
    with pytest.raises(UserError) as caught:
        find(name)
    assert str(caught.value) == f"{name}: no such config; {KNOWN}"


def test_a_file_that_may_not_be_read(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    Path("own.yaml").write_text("a: 1\n")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError) as caught:
        read("own.yaml")
    assert str(caught.value) == (
        "own.yaml: cannot be read, Permission denied; check its permissions"
    )


def test_a_file_that_a_config_names_is_looked_for_in_order(tmp_path):
    (tmp_path / "there").mkdir()
    source = tmp_path / "there" / "own.yaml"
    found = []
    name = "kernels/motion.npy"
    for folder in (packaged(), tmp_path, tmp_path / "there"):
        if folder != packaged():
            (folder / "kernels").mkdir(exist_ok=True)
            (folder / name).write_text("")
        found.append(find_file(name, source))
    assert found == [packaged() / name, tmp_path / name, tmp_path / "there" / name]
    assert find_file(name, None) == tmp_path / name
    absolute = str(tmp_path / "there" / name)
    assert find_file(absolute, None) == Path(absolute)


def test_a_file_that_is_nowhere(tmp_path):
    places = [tmp_path / "there", tmp_path, packaged()]
    tried = ", ".join(f"`{place / 'kernels' / 'Levin09.mat'}`" for place in places)
    with pytest.raises(UserError) as caught:
        find_file("kernels/Levin09.mat", Path("there/levin.yaml"))
    assert str(caught.value) == (
        f"kernels/Levin09.mat: no such file, tried {tried}; put it at one of these places "
        "or give its path, `operator.kernel.file=PATH` for a kernel, "
        "`operator.mask={file: PATH}` for masks"
    )
    with pytest.raises(UserError) as caught:
        find_file("/nowhere/k.mat", None)
    assert str(caught.value) == (
        "/nowhere/k.mat: no such file, tried `/nowhere/k.mat`; put it at one of these places "
        "or give its path, `operator.kernel.file=PATH` for a kernel, "
        "`operator.mask={file: PATH}` for masks"
    )


@pytest.mark.parametrize(
    ("load", "kind", "other"),
    [(load_challenge, "challenges", "methods"), (load_entry, "methods", "challenges")],
)
def test_the_names_that_are_told_are_those_that_may_stand_there(load, kind, other):
    with pytest.raises(UserError) as caught:
        load("nothing_like_it")
    told = str(caught.value)
    assert all(f" {name}," in told for name in names(kind))
    assert not any(f" {name}," in told for name in names(other))
