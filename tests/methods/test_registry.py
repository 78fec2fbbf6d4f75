"""The name table, the constructor as schema, and the loader of a team's own file."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt
from pydantic import ValidationError

from challenge.configs.errors import UserError
from challenge.configs.loader import load_entry
from challenge.configs.schema.training import TrainConfig
from challenge.methods import from_source, plugin, registry
from challenge.methods.contract import Method
from challenge.methods.knobs import knobs, model, nested
from challenge.methods.networks.architectures import Net


class Fake(Method):
    def __init__(
        self,
        *,
        weight: Annotated[float, Gt(0)],
        steps: Annotated[int, Ge(1)] = 3,
        mode: Literal["a", "b"] = "a",
        tolerance: float | None = None,
    ) -> None:
        super().__init__()
        self.arguments = (weight, steps, mode, tolerance)

    def forward(self, y, physics):
        return physics.A_adjoint(y)


def test_knobs_are_the_constructor():
    found = {knob.name: (knob.kind, knob.required, knob.default) for knob in knobs(Fake)}
    assert found["weight"][:2] == ("float > 0", True)
    assert found["steps"] == ("int >= 1", False, 3)
    assert found["mode"][0] == "a | b"
    assert found["tolerance"][0] == "float or null"


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"weight": 0},
        {"weight": True},
        {"weight": float("inf")},
        {"weight": 1, "steps": 0},
        {"weight": 1, "mode": "c"},
        {"weight": 1, "w": 2},
    ],
)
def test_model_refuses_what_the_constructor_does_not_declare(section):
    with pytest.raises(ValidationError):
        model(Fake).model_validate(section)


def test_open_keywords_are_refused():
    class Loose(Fake):
        def __init__(self, **options: float) -> None:
            super().__init__(weight=1)

    with pytest.raises(UserError, match="keyword-only"):
        model(Loose)


WITHOUT_KNOBS = {"bm3d", "zero_filled"}


def test_every_name_resolves_to_a_documented_method():
    for name in registry.METHODS:
        cls = registry.resolve(name, Path())
        assert issubclass(cls, Method)
        assert from_source.summary(name) == (cls.__doc__ or "").strip().partition("\n")[0] != ""
        assert knobs(cls) or name in WITHOUT_KNOBS
        assert set(cls.reads) <= set(TrainConfig.model_fields)


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_knob_of_every_method_has_a_sentence(name):
    found = knobs(registry.resolve(name, Path()))
    assert found or name in WITHOUT_KNOBS
    for knob in found:
        assert knob.meaning[:1].isupper() or knob.meaning[:1].isdigit() or "_" in knob.meaning, knob
        assert knob.meaning.endswith("."), knob


class Sections(Fake):
    def __init__(self, *, net: Net = Net(depth=5), gain: float = 1.0) -> None:
        """Build it.

        Args:
            net: the network.
            gain: what everything
                is multiplied by.

        Raises:
            UserError: never.
        """
        super().__init__(weight=gain)
        self.net = net


def test_a_section_of_knobs_is_listed_and_checked_key_by_key():
    found = {knob.name: knob for knob in knobs(Sections)}
    assert found["net.depth"].kind == "int >= 0 and <= 64 or null"
    assert found["net.depth"].default == 5
    assert found["net.blocks"].meaning.startswith("Residual blocks per scale")
    assert found["gain"].meaning == "What everything is multiplied by."
    assert model(Sections).model_validate(nested("net.depth", 3)).net == Net(depth=3)
    with pytest.raises(ValidationError):
        model(Sections).model_validate(nested("net.depth", True))


def test_mistakes_in_a_section_of_knobs_are_told_with_their_lines(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "challenge: deblur\n"
        "method:\n"
        "  name: network\n"
        "  net:\n"
        "    architecture: cnn\n"
        "    wdth: 4\n"
        "    blocks: 2\n"
        "    depth: 65\n"
        "train: {steps: 2}\n"
    )
    with pytest.raises(UserError) as error:
        load_entry(str(path), [], registry.mistakes)
    told = [str(each) for each in error.value.mistakes]
    assert len(told) == 3
    assert "wrong.yaml:6: `method.net.wdth` is not a known key; did you mean `width`?" in told[0]
    assert "wrong.yaml:7: `method.net.blocks` is not a knob of `architecture: cnn`" in told[1]
    assert "wrong.yaml:8: `method.net.depth` must be at most 64 (got 65)" in told[2]


def test_every_method_of_the_table_stands_in_a_chapter_of_the_course():
    found = registry.chapters()
    assert sorted(name for names in found.values() for name in names) == registry.names()
    assert list(found)[:2] == ["Variational", "End to end"]


def test_unknown_name_answers_with_the_nearest_and_the_list():
    with pytest.raises(
        UserError, match="did you mean `wiener`.*network, .*pnp, red, .*wavelet, wiener"
    ):
        registry.resolve("weiner", Path())


METHOD = """
from dataclasses import dataclass
from challenge.methods.contract import Method
from .blocks import GAIN

@dataclass
class State:
    gain: "float" = GAIN

class {name}(Method):
    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain * State().gain

    def forward(self, y, physics):
        return self.gain * physics.A_adjoint(y)
"""


def team(folder: Path, name: str = "Mine", gain: float = 2.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blocks.py").write_text(f"GAIN = {gain}\n")
    (folder / "method.py").write_text(METHOD.format(name=name))
    return folder / "method.py"


def test_two_teams_may_both_have_a_method_file(tmp_path):
    before = list(sys.path)
    first, second = team(tmp_path / "a", gain=2), team(tmp_path / "b", gain=5)
    one = registry.build({"name": f"{first}:Mine"}, tmp_path)
    two = registry.build({"name": str(second), "gain": 2.0}, tmp_path)
    assert (one.gain, two.gain) == (2.0, 10.0)
    assert type(one) is not type(two)
    assert sys.path == before


def test_plugin_is_found_beside_the_config_and_reloaded_when_changed(tmp_path):
    path = team(tmp_path / "team")
    assert registry.build({"name": "team/method.py"}, tmp_path).gain == 2.0
    (path.parent / "blocks.py").write_text("GAIN = 30.0  # another size\n")
    assert registry.build({"name": "team/method.py"}, tmp_path).gain == 30.0


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("none.py", "x = 1\n", "defines no method"),
        ("broken.py", "def f(:\n", "broken.py:1: is not Python"),
        (
            "two.py",
            METHOD.format(name="A") + METHOD.format(name="B"),
            "defines 2 methods.*`A`, `B`",
        ),
        ("one.py:Other", METHOD.format(name="A"), "has no method class `Other`.*`A`"),
        ("my-file.py", "", "cannot be imported"),
    ],
)
def test_plugin_errors_say_what_to_do(tmp_path, name, content, text):
    (tmp_path / "blocks.py").write_text("GAIN = 1.0\n")
    (tmp_path / name.partition(":")[0]).write_text(content)
    with pytest.raises(UserError, match=text):
        plugin.load(name, tmp_path)


def test_missing_plugin_names_the_places(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        plugin.load("team/method.py", tmp_path)


def test_plugin_files_leave_out_links_and_hidden_ones(tmp_path):
    path = team(tmp_path / "team")
    (path.parent / "sub").mkdir()
    (path.parent / "sub" / "more.py").write_text("")
    (path.parent / ".secret.py").write_text("")
    (path.parent / "outside.py").symlink_to(__file__)
    (path.parent / "notes.txt").write_text("")
    assert [str(each) for each in plugin.files(path.parent)] == [
        "blocks.py",
        "method.py",
        "sub/more.py",
    ]


# --- the smallest methods, and those that are not quite one ---------------------------------------

FORWARD = "    def forward(self, y, physics):\n        return physics.A_adjoint(y)\n"


def team_file(folder, source):
    path = folder / "method.py"
    head = "import dataclasses\nimport torch\nfrom challenge.methods.contract import Method\n"
    path.write_text(head + source)
    return str(path)


@pytest.mark.parametrize(
    ("source", "knobs", "attributes"),
    [
        (f"class Mine(Method):\n{FORWARD}", {}, {}),
        (
            "class Mine(Method):\n    def __init__(self, gain=1.0, steps=3, on=True, word='a'):\n"
            "        super().__init__()\n        self.given = [gain, steps, on, word]\n" + FORWARD,
            {"gain": 2, "steps": 4},
            {"given": [2.0, 4, True, "a"]},
        ),
        (
            "class Mine(Method):\n    def __init__(self, gain: float, other=None):\n"
            "        super().__init__()\n        self.given = gain, other\n" + FORWARD,
            {"gain": 2.5, "other": [1, "b"]},
            {"given": (2.5, [1, "b"])},
        ),
        (
            "class Base(Method):\n    def __init__(self, *, gain: float = 3.0):\n"
            f"        super().__init__()\n        self.gain = gain\n{FORWARD}"
            "class Mine(Base):\n    pass\n",
            {},
            {"gain": 3.0},
        ),
        (
            f"class Base(Method):\n    pass\nclass Mine(Base):\n    net = None\n{FORWARD}",
            {},
            {},
        ),
        (
            "@dataclasses.dataclass(eq=False)\nclass Mine(Method):\n    gain: float = 4.0\n"
            f"    def __post_init__(self):\n        super().__init__()\n{FORWARD}",
            {},
            {"gain": 4.0},
        ),
    ],
    ids=["forward", "positional", "required", "base", "abstract base", "dataclass"],
)
def test_the_smallest_methods_are_methods(tmp_path, source, knobs, attributes):
    made = registry.build({"name": team_file(tmp_path, source), **knobs})
    assert type(made).__name__ == "Mine"
    assert not made.state_dict()
    for name, value in attributes.items():
        assert getattr(made, name) == value
    made.eval()

    class Identity:
        def A_adjoint(self, y):
            return y

    assert made(3, Identity()) == 3


NO_SUPER = "its constructor does not make a torch module; "


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("    def __init__(self):\n        self.gain = 1.0\n", NO_SUPER + "begin it with `super()"),
        (
            "    def __init__(self):\n        self.net = torch.nn.Linear(1, 1)\n",
            NO_SUPER + "begin it with `super()",
        ),
        (
            "    def __init__(self):\n        self.net = torch.nn.Parameter(torch.ones(1))\n",
            NO_SUPER + "begin it with `super()",
        ),
        ("@dataclasses.dataclass\nclass Mine(Method):\n    gain: float = 1.0\n", "in place of `@d"),
        ("    def __init__(self, gain, /):\n        super().__init__()\n", "keyword-only"),
        ("    def __init__(self, *gains):\n        super().__init__()\n", "keyword-only"),
        (
            "    def __init__(self, gain: 'Absent' = 1):\n        super().__init__()\n",
            "`if TYPE_CH",
        ),
        (
            "    def __init__(self, net: torch.nn.Module = None):\n        super().__init__()\n",
            "a knob cannot be read from YAML",
        ),
        ("    def __init__(self, gain: float):\n        super().__init__()\n", "`method.gain`"),
    ],
)
def test_what_is_no_method_yet_is_one_line(tmp_path, source, text):
    if "class" not in source:
        source = f"class Mine(Method):\n{source}"
    with pytest.raises(UserError) as error:
        registry.build({"name": team_file(tmp_path, source + FORWARD)})
    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("    def forward(self, y):\n        return y\n", "write `def forward(self, y, physics)`"),
        ("    def forward(self, y, physics, z):\n        return y\n", "`Mine.forward` cannot be"),
        ("    def forward(y, physics):\n        return y\n", "`Mine.forward` cannot be called"),
        ("    forward = None\n", "`Mine.forward` cannot be called with y, physics"),
        (
            FORWARD + "    def fit(self, images):\n        pass\n",
            "write `def fit(self, problem, im",
        ),
        (FORWARD + "    def fit(self):\n        pass\n", "`Mine.fit` cannot be called"),
    ],
)
def test_what_cannot_be_called_as_the_toolkit_does_is_one_line(tmp_path, body, text):
    with pytest.raises(UserError) as error:
        registry.build({"name": team_file(tmp_path, f"class Mine(Method):\n{body}")})
    assert text in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        "    def forward(self, measured, operator, steps=3):\n        return measured\n",
        "    def forward(self, *given, **more):\n        return given[0]\n",
        "    @staticmethod\n    def forward(y, physics):\n        return y\n",
        FORWARD + "    def fit(self, problem, images, train, session, more=1):\n        pass\n",
    ],
)
def test_other_ways_to_write_a_call_are_as_good(tmp_path, body):
    registry.build({"name": team_file(tmp_path, f"class Mine(Method):\n{body}")})


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("from blocks import stack", "write `from .blocks import ...`"),
        ("import blocks", "or `from . import blocks`"),
        ("import blocks.stack", "`from .blocks import ...`"),
        ("from nets.unet import Net", "write `from .nets import ...`"),
        ("from .blocks import broken", "blocks.py:1: imports `absent_package`"),
        ("import absent_package", "`pip install` its package"),
        ("from .nothing import stack", "`nothing.py` of the method's folder, which is not there"),
        ("from .nets.absent import a", "imports `nets/absent.py` of the method's folder"),
        ("raise SystemExit('give a file')", "ends Python while it is imported (give a file)"),
    ],
)
@pytest.mark.parametrize("found_by_python", [False, True])
def test_a_file_beside_the_method_is_imported_with_a_dot(
    tmp_path, monkeypatch, statement, hint, found_by_python
):
    broken = "broken" in statement
    text = "import absent_package\n" if broken else "stack = 1\n"
    (tmp_path / "blocks.py").write_text(text)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "unet.py").write_text("Net = 1\n")
    if found_by_python:  # as in a notebook, which has the folder of today on its path
        monkeypatch.syspath_prepend(str(tmp_path))
    name = team_file(tmp_path, f"{statement}\nclass Mine(Method):\n{FORWARD}")
    with pytest.raises(UserError) as error:
        registry.build({"name": name})
    assert hint in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert not {"blocks", "nets", "nets.unet"} & sys.modules.keys()
