"""What the files of an entry import: found without importing it, and as Python will find it."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from challenge.configs.schema.challenge import Rules
from challenge.data.challenges.challenge import Challenge
from challenge.methods import plugin, syntax
from challenge.submissions.entries import archive, imports, kit, packages
from challenge.submissions.entries.check import check
from challenge.submissions.entries.python_files import MOST_IMPORTS

ABSENT = "which is not installed on this machine"
FILES = ("plugin/method.py", "plugin/blocks.py", "plugin/nets/unet.py", "plugin/nets/cnn.py")


def told(source: str, name: str = FILES[0], rules: Rules | None = None) -> list[str]:
    files = imports.Files(FILES, "plugin")
    found = imports.problems(syntax.parse(source), name, files, rules or Rules(), "a.zip")
    return [str(problem.mistake) for problem in found]


@pytest.mark.parametrize(
    "source",
    [
        "import torch, numpy as np, deepinv.physics, skimage.metrics, PIL.Image, yaml",
        "from __future__ import annotations\nimport os.path, json, math",
        "from challenge.methods.contract import Method\nfrom annotated_types import Ge",
        "import einops",  # deepinv needs it
        "from . import blocks, nets\nfrom .blocks import Net\nfrom .nets import unet, cnn",
        "from .nets.unet import UNet\nfrom .nets import *\nfrom . import *",
        "try:\n import faster\nexcept ImportError:\n faster = None",
        "try:\n import faster\nexcept (ValueError, ModuleNotFoundError) as e:\n pass",
        "try:\n import faster\nexcept:\n pass",
        "try:\n if 1:\n  from .gone import x\nexcept builtins.Exception:\n pass",
        "try:\n import faster\nexcept* ImportError:\n pass",
        "import typing\nif typing.TYPE_CHECKING:\n import faster",
        "from contextlib import suppress\nwith suppress(ImportError): import faster",
        "if __name__ == '__main__':\n import faster",
        "text = 'import faster'",
    ],
)
def test_what_an_entry_may_import(source: str) -> None:
    assert told(source) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import faster", f"a.zip/plugin/method.py:1: imports `faster`, {ABSENT}; "),
        ("\n\ndef f():\n import faster.conv", f"method.py:4: imports `faster`, {ABSENT}"),
        ("import nunpy", "did you mean `numpy`?"),
        ("from skimgae import io", "did you mean `skimage`?"),
        ("import jsno", "did you mean `json`?"),
        ("import pytest", "imports `pytest` of the package `pytest`, which the challenge does not"),
        ("import pytest", "ask the organiser to list it, `rules.packages: [pytest]`"),
        ("import blocks", "a file of the entry is imported as `from . import blocks`"),
        ("import nets.unet", "a file of the entry is imported as `from .nets import unet`"),
        ("from blocks import Net", "is imported as `from .blocks import Net`"),
        ("from . import block", "`from . import block` needs `plugin/block.py`, which is not in"),
        ("from . import block", "did you mean `blocks`? modules there: blocks, method, nets"),
        ("from .nets import gan", "needs `plugin/nets/gan.py`, which is not in the entry"),
        ("from .nets.gan.x import y", "needs `plugin/nets/gan.py`"),
        ("from .blocks.net import x", "needs `plugin/blocks/net.py`"),
        ("from .. import x", "`from .. import x` leads out of the method's folder"),
        ("try:\n import a\nexcept KeyError:\n pass", "method.py:2: imports `a`"),
        ("try:\n import os\nexcept ImportError:\n import faster", "method.py:4: imports `faster`"),
        ("try:\n 1\nexcept ImportError:\n 2\nelse:\n import faster", "method.py:6: imports"),
        ("if TYPE_CHECKING:\n 1\nelse:\n import faster", "method.py:4: imports `faster`"),
        ("with open('x'): import faster", "imports `faster`"),
        ("match 1:\n case 1:\n  import faster", "method.py:3: imports `faster`"),
        ("async def f():\n async with g():\n  import faster", "method.py:3: imports `faster`"),
    ],
)
def test_what_is_refused_and_what_to_write_instead(source: str, expected: str) -> None:
    (line,) = told(source)
    assert expected in line


def test_from_a_folder_below() -> None:
    name = "plugin/nets/unet.py"
    assert told("from . import cnn\nfrom .. import blocks\nfrom ..blocks import x", name) == []
    assert "from ..blocks import Net" in told("from blocks import Net", name)[0]
    assert "from . import cnn" in told("import cnn", name)[0]
    assert "`plugin/nets/blocks.py`" in told("from . import blocks", name)[0]
    assert "leads out" in told("from ... import x", name)[0]


def test_a_module_is_told_once_and_all_modules_are_told() -> None:
    lines = told("import aa\nimport aa.b\nfrom aa import c\nimport bb")
    assert [line.partition(" imports")[0][-2:-1] for line in lines] == ["1", "4"]


def test_a_name_of_any_length_makes_a_line() -> None:
    (line,) = told(f"import {'x' * 100_000}")
    assert len(line) < 1000


def test_the_toolkits_dependencies_are_permitted_and_no_tools_of_ours() -> None:
    found = packages.permitted(Rules(packages=("Some.Thing",)))
    assert {"torch", "deepinv", "numpy", "einops", "pyyaml", "packaging", "some-thing"} <= found
    assert not found & {"pytest", "hypothesis", "ruff", "mypy", "import-linter", "pip"}


def test_extras_that_a_dependency_asks_for_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        def __init__(self, *requires: str) -> None:
            self.requires = requires

        def read_text(self, name: str) -> None:
            """As of an old installation, whose needs stand elsewhere."""

    world = {
        "challenge": Fake('a[fast, slow]>=1 ; python_version < "4"', 'dev ; extra == "test"'),
        "a": Fake(
            "B_b (>=2)", 'c; extra == "fast"', "d ; extra=='slow' and os_name=='x'", 'e;extra=="no"'
        ),
        "b-b": Fake("challenge", "f@ https://example.org/f.zip"),
    }

    def distributions(name: str, path: list[str]) -> list[Fake]:
        return [world[name]] if (name := canonicalize_name(name)) in world else []

    monkeypatch.setattr(packages.metadata, "distributions", distributions)
    found = packages._with_needs((packages.TOOLKIT,), ("nowhere",))
    assert found == {"challenge", "a", "b-b", "c", "d", "f"}


def test_needs_are_read_as_the_library_reads_them() -> None:
    for each in packages.metadata.distributions():
        assert sorted(packages._requires(each)) == sorted(each.requires or []), each.name


# --- installed packages -------------------------------------------------------------------------


@pytest.fixture
def _other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package `Other-Package` with `other_module`, which must never be imported."""
    site = tmp_path / "site"
    facts = site / "Other_Package-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: Other-Package\nVersion: 1.0\n")
    (facts / "RECORD").write_text("other_module.py,,\nOther_Package-1.0.dist-info/METADATA,,\n")
    (facts / "entry_points.txt").write_text("[challenge.methods]\nother = other_module:Other\n")
    (site / "other_module.py").write_text("raise SystemExit('was imported')\n")
    monkeypatch.syspath_prepend(site)
    yield
    assert "other_module" not in sys.modules


@pytest.mark.usefixtures("_other_package")
def test_an_installed_package_needs_the_organisers_word() -> None:
    source = "from other_module import x"
    (line,) = told(source)
    assert "imports `other_module` of the package `other-package`" in line
    assert "`rules.packages: [other-package]`" in line
    assert told(source, rules=Rules(packages=("other_package",))) == []
    assert ABSENT in told("import other_modul")[0]


def allowing(challenge: Challenge, *packages: str) -> Challenge:
    config = challenge.config.model_copy(update={"rules": Rules(packages=packages)})
    return Challenge(
        challenge.path, config, {"format": 2, "seal": "", "practice": True, "files": {}}
    )


def changed(entry: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of an entry, and the manifest with it."""
    with zipfile.ZipFile(entry) as file:
        contents = {each: file.read(each) for each in file.namelist()}
    contents[name] = change(contents.get(name, b""))
    facts = json.loads(contents["manifest.json"])
    sha256 = hashlib.sha256(contents[name]).hexdigest()
    facts["files"][name] = {"sha256": sha256, "size": len(contents[name])}
    contents["manifest.json"] = json.dumps(facts).encode()
    archive.write(entry, {each: [content] for each, content in contents.items()})


def lines(entry: Path, challenge: Challenge | None) -> str:
    problems = check(entry, challenge)
    assert {problem.outcome for problem in problems} <= {"invalid_entry"}
    return "\n".join(str(problem.mistake) for problem in problems)


@pytest.mark.usefixtures("_other_package")
def test_a_method_of_an_installed_package(
    make_entry: Callable[..., Path], challenge: Challenge
) -> None:
    entry = make_entry()
    changed(entry, "config.yaml", lambda text: text.replace(b'"plugin/method.py:Mine"', b"other"))
    refused = lines(entry, challenge)
    assert "the method `other` is of the package `Other-Package`, which is not permitted" in refused
    assert "`rules.packages: [Other-Package]`" in refused
    assert lines(entry, allowing(challenge, "other.package")) == ""
    assert lines(entry, None) == "", "without a challenge there are no rules"


def test_packages_are_names() -> None:
    from pydantic import ValidationError

    for bad in ("einops>=1", "", "a b", "../x", "-x", "x" * 200):
        with pytest.raises(ValidationError, match="must be names of packages"):
            Rules(packages=(bad,))


# --- whole entries ------------------------------------------------------------------------------


def test_an_entry_is_checked_with_the_rules_of_its_challenge(
    make_entry: Callable[..., Path], challenge: Challenge
) -> None:
    entry = make_entry()
    changed(entry, "plugin/blocks.py", lambda text: text + b"import pytest\nimport faster\n")
    refused = lines(entry, challenge)
    assert "alpha-mine.zip/plugin/blocks.py:2: imports `pytest`" in refused
    assert "alpha-mine.zip/plugin/blocks.py:3: imports `faster`" in refused
    assert "`pytest`" not in lines(entry, allowing(challenge, "pytest"))
    assert "`pytest`" not in lines(entry, None)
    assert "`faster`" in lines(entry, None)


def test_a_flood_of_imports_is_cut(
    make_entry: Callable[..., Path], challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    look_up = imports._absolute

    def counted(each: Any, module: str, *others: Any) -> Any:
        looked_up.append(module)
        return look_up(each, module, *others)

    def refusals(count: int) -> str:
        looked_up.clear()
        entry = make_entry()
        source = "\n".join(f"import faster{number}" for number in range(count)).encode()
        changed(entry, "plugin/flood.py", lambda _: source)
        return lines(entry, challenge)

    monkeypatch.setattr(imports, "_absolute", counted)
    few = refusals(MOST_IMPORTS)
    assert "has more imports" not in few
    assert sum("faster" in each for each in looked_up) == MOST_IMPORTS
    flood = refusals(160 * MOST_IMPORTS)
    assert flood.count("imports `faster") == MOST_IMPORTS
    assert flood.count("has more imports that cannot work") == 1
    # Looked up, with what it may have been meant for, is what is listed, and one more.
    assert sum("faster" in each for each in looked_up) == MOST_IMPORTS + 1


def test_the_template_and_the_readmes_method_pass(
    make_entry: Callable[..., Path], challenge: Challenge
) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    example = readme.partition("```python\n")[2].partition("```")[0]
    assert "class Landweber" in example
    template = kit._template("method.py")
    for source in (template, example.replace("Landweber(", "Mine(")):
        assert lines(make_entry(source), challenge) == ""


def test_the_check_imports_nothing_and_takes_no_time(make_entry: Callable[..., Path]) -> None:
    entry = make_entry()
    heavy = b"import torch, deepinv, skimage, matplotlib, scipy, torchvision\n"
    changed(entry, "plugin/blocks.py", lambda text: text + heavy)
    script = """
import sys, time
from pathlib import Path
from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries import packages
from challenge.submissions.entries.check import check
began = time.process_time()
packages.permitted(Rules())
print(time.process_time() - began)
problems = check(Path(sys.argv[1]))
assert problems == [], problems
print(*sys.modules)
"""
    command = [sys.executable, "-c", script, str(entry)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.splitlines()
    assert not {"torch", "deepinv", "skimage", "matplotlib", "scipy"} & {*modules.split()}
    assert float(seconds) < 0.1


# --- the law: what is accepted is what the loader finds -----------------------------------------

MODULE = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return 0
"""
WORDS = st.sampled_from(["a", "b", "c"])
PLACES = st.lists(WORDS, max_size=2).map(tuple)
STATEMENTS = st.builds(
    lambda dots, words, name: f"from {'.' * dots}{'.'.join(words)} import {name}",
    st.integers(1, 4),
    st.lists(WORDS, max_size=3),
    st.sampled_from(["a", "b", "c", "*"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(PLACES, st.sampled_from(["a", "b", "c", "__init__"])), max_size=5),
    PLACES,
    STATEMENTS,
)
def test_relative_imports_are_found_as_the_loader_finds_them(
    tmp_path_factory: pytest.TempPathFactory,
    modules: list[tuple[tuple[str, ...], str]],
    place: tuple[str, ...],
    statement: str,
) -> None:
    folder = tmp_path_factory.mktemp("law")
    root = folder / "plugin"
    user = "/".join(("plugin", *place, "user.py"))
    names = {"plugin/method.py", *("/".join(("plugin", *where, f"{w}.py")) for where, w in modules)}
    for name in {user, *names}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(statement if name == user else MODULE)
    files = imports.Files({user, *names}, "plugin")
    # A file `a.py` hides a folder `a`, and then nobody imports what is in the folder.
    assume(all(files.kind(place[:end]) != "file" for end in range(len(place) + 1)))
    found = list(imports.problems(syntax.parse(statement), user, files, Rules(), "a.zip"))
    package = plugin._import(root / "method.py").__package__ or ""
    try:
        importlib.import_module(".".join((package, *place, "user")))
        works = True
    except (ImportError, AttributeError):
        works = False
    finally:
        for name in [each for each in sys.modules if each.startswith(package)]:
            del sys.modules[name]
    assert works == (not found), (statement, sorted(names), user)
