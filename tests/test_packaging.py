"""What is listed in `pyproject.toml` is what exists: a missing line is a missing package."""

import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    folders = {
        "challenge." + ".".join(init.parent.relative_to(ROOT).parts): str(
            init.parent.relative_to(ROOT)
        )
        for layer in ("cli", "configs", "data", "methods", "submissions")
        for init in (ROOT / layer).rglob("__init__.py")
    }
    assert mapping == folders
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(folders)


@pytest.mark.parametrize("layer", ["cli", "configs", "data", "methods", "submissions"])
def test_every_data_file_matches_a_pattern(layer):
    listed = PROJECT["tool"]["setuptools"]["package-data"]
    for path in (ROOT / layer).rglob("*"):
        if path.is_dir() or path.suffix in {".py", ".pyc"}:
            continue
        packages = [ROOT / each for each in PROJECT["tool"]["setuptools"]["package-dir"].values()]
        home = max(
            (each for each in packages if path.is_relative_to(each)), key=lambda p: len(p.parts)
        )
        relative = path.relative_to(home)
        package = "challenge." + ".".join(home.relative_to(ROOT).parts)
        patterns = [*listed["*"], *listed.get(package, [])]
        assert any(relative.match(pattern) for pattern in patterns), path


def test_tested_versions_are_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            assert version, line
            assert "://" not in line
            pinned[name.lower().replace("_", "-")] = version
    for requirement in requires("challenge") or []:
        if "extra" not in requirement:
            name = requirement.split(">")[0].split("<")[0].split(";")[0].strip().lower()
            assert name in pinned, f"{name} is not in constraints.txt"
