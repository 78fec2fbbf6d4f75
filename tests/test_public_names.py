"""What teams and notebooks import: short, complete, and there only when it is used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from challenge.methods import syntax

PACKAGES = {
    "challenge.data": {"open_challenge", "tensors"},
    "challenge.methods": {"Method", "build", "check", "noise_level", "supervised", "toy_problem"},
    "challenge.submissions": {"curve", "infer", "load", "psnr", "score", "ssim", "train"},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_that_of_its_stub(package):
    module = importlib.import_module(package)
    tree = syntax.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    stubs = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(stubs) == set(dir(module)) == set(module.__all__) == PACKAGES[package]
    for name, home in stubs.items():
        assert getattr(module, name) is getattr(importlib.import_module(f"{package}.{home}"), name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_importing_the_packages_imports_nothing_heavy():
    code = (
        f"import sys, {', '.join(PACKAGES)}\n"
        "print({'torch', 'deepinv', 'numpy', 'skimage', 'scipy', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
