"""The YAML files that come with the toolkit."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from challenge.configs.loader import dump, load_challenge, load_entry, read
from challenge.configs.paths import names, packaged

FILES = sorted(names())
CHALLENGES, ENTRIES = sorted(names("challenges")), sorted(names("methods"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_all_that_is_promised_is_there():
    assert [name for name in FILES if "operator" in read(name).tree] == CHALLENGES
    assert {"deblur", "gaussian_deblur", "uniform_deblur", "levin"} <= set(CHALLENGES)
    assert {"wiener", "tv", "network"} <= set(ENTRIES)
    assert (packaged() / "kernels").is_dir()


@pytest.mark.parametrize("name", FILES)
def test_loads_and_reads_back(name):
    load = load_challenge if name in CHALLENGES else load_entry
    config, source = load(name)
    assert config.name == name == source.path.stem
    Path("again.yaml").write_text(dump(config))
    again, _ = load("again.yaml")
    assert again == config
    assert dump(again) == dump(config)


@pytest.mark.parametrize("name", FILES)
def test_opens_with_a_comment_for_the_reader(name):
    assert names()[name].read_text().startswith("# ")


@pytest.mark.parametrize("name", CHALLENGES)
def test_practice_never_expires(name):
    assert load_challenge(name)[0].rules.deadline is None


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_for_a_packaged_challenge(name):
    assert load_entry(name)[0].challenge in CHALLENGES


def test_the_forward_problems():
    deblur, gaussian, uniform, levin = (
        load_challenge(name)[0] for name in ("deblur", "gaussian_deblur", "uniform_deblur", "levin")
    )
    assert deblur.noise.sigma == 0.03
    assert deblur.operator.boundary == "circular"
    assert deblur.operator.kernel.file == "kernels/motion.npy"
    assert (gaussian.operator.kernel.std, gaussian.noise.sigma) == (1.6, 0.01)
    assert uniform.operator.kernel.size == 9
    assert uniform.noise.sigma == pytest.approx(math.sqrt(2) / 255, rel=1e-4)
    low, high = levin.noise.sigma
    assert low < high


def test_the_other_operators():
    names = ("denoising", "inpainting", "superresolution")
    denoising, inpainting, superresolution = (load_challenge(name)[0] for name in names)
    assert denoising.operator.kind == "identity"
    assert denoising.noise.sigma == (0, pytest.approx(50 / 255, abs=1e-4))
    assert (inpainting.operator.mask.keep, inpainting.noise.sigma) == (0.5, 0.03)
    found = superresolution.operator
    assert (found.kind, found.factor, found.kernel.kind) == ("downsampling", 2, "bicubic")
    assert superresolution.noise.sigma == 0.01


def test_the_loader_imports_nothing_heavy():
    code = (
        "import sys, challenge.configs.loader as loader; loader.load_challenge('deblur');"
        "print(*sorted({'torch', 'numpy', 'deepinv', 'skimage', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
