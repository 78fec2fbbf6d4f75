"""The family of `docs/operators.md`, added as the page says, prepared, trained on and judged."""

import json
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operators.md").read_text()
PACKAGES = ("cli", "configs", "data", "methods", "submissions")

COMMAND = "import sys; from challenge.cli.main import main; sys.argv[0] = 'challenge'; main()"

CONTRACT = """
from challenge.methods import build, check, toy_problem

problem = toy_problem(operator="vignetting")
for name in ("wiener", "tv", "huber"):
    assert check(lambda: build({"name": name, **KNOBS.get(name, {})}), problem=problem) == []
for name in ("network", "unrolled", "lpd", "lista"):
    assert check(lambda: build({"name": name, **KNOBS[name]}), problem=problem, steps=1) == []
""".replace(
    "KNOBS",
    repr(
        {
            "tv": {"iterations": 20},
            "huber": {"iterations": 20},
            "network": {"net": {"width": 8, "depth": 1}},
            "unrolled": {"steps": 2, "net": {"width": 4, "depth": 1}},
            "lpd": {"steps": 2, "net": {"width": 4, "depth": 1}, "dual_width": 4},
            "lista": {"filters": 12, "layers": 2},
        }
    ),
)


def blocks() -> dict[str, str]:
    """The page's Python blocks by the first line's comment, which says where each one goes."""
    found = re.findall(r"```python\n# (.*?)\n(.*?)```", PAGE, re.DOTALL)
    return dict(found)


def test_the_page_is_a_page_and_the_family_has_twenty_lines():
    lines = blocks()["data/physics/vignetting.py"].splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
    assert len(PAGE.splitlines()) < 130


@pytest.fixture
def toolkit(tmp_path):
    """A copy of the toolkit in an environment of its own: its folder, and its Python."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # What the toolkit needs is shared by path; what is installed here comes before it.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    for each in PACKAGES:
        ignored = shutil.ignore_patterns("*.zip", "__pycache__")
        shutil.copytree(ROOT / each, site / "challenge" / each, ignore=ignored)
    return site / "challenge", environment / "bin" / "python"


def insert(path: Path, before: str, added: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1, before
    path.write_text(text.replace(before, added + before))


@pytest.mark.slow
def test_a_family_added_as_the_page_says_works(tmp_path, toolkit):
    folder, python = toolkit
    page = blocks()
    sections = folder / "configs/schema/physics.py"
    insert(sections, "\nOperator = Annotated", page["configs/schema/physics.py"] + "\n")
    line = page["configs/schema/physics.py, in `Operator`"]
    insert(sections, '    | Annotated[Compose, Tag("compose")],\n', line)
    family = "data/physics/vignetting.py"
    (folder / family).write_text(page[family])
    table = folder / "data/physics/families.py"
    insert(table, '    "identity": Identity(),\n', page["data/physics/families.py, in `FAMILIES`"])
    imported = "from challenge.data.physics.vignetting import Vignetting\n"
    insert(table, "from challenge.data.physics.identity import", imported)

    def run(code, *arguments):
        done = subprocess.run(
            [python, "-c", code, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = "images={source: builtin, size: 64, train: 4, val: 2, test: 2}"
    run(COMMAND, "prepare", "deblur", "name=corners", small, "operator={kind: vignetting}")
    run(COMMAND, "train", "tv", "challenge=corners", "method.weight=0.005")
    run(COMMAND, "pack", "workspace/runs/corners/tv", "--team", "alpha")
    entry = "workspace/entries/alpha-tv.zip"
    out = run(COMMAND, "score", entry, "--hidden", "workspace/hidden/corners", "--json")
    assert json.loads(out)[0]["outcome"] == "ok"
    run(CONTRACT)
