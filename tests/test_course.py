"""The course's pages run: every block of Python in order, every command with few steps."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

COURSE = Path(__file__).parent.parent / "docs" / "course"
STEPS = ["train.minutes=null", "train.steps=2", "train.batch=1", "train.patch=32",
         "train.evaluate=2"]  # fmt: skip
SMALL = {
    "prepare": ["images.train=4", "images.val=1", "images.test=1", "images.size=48"],
    "train network": [*STEPS, "method.net.depth=1"],
    "train bilevel": [],
    "train bilevel_filters": [*STEPS, "method.filters=4"],
    "train unrolled": [*STEPS, "method.net.width=4"],
    "train lpd": [*STEPS, "method.net.width=4"],
    "train lista": STEPS,
    "train deq": [*STEPS, "method.net.width=4"],
    "train neural_ode": [*STEPS, "method.net.width=4"],
    "train drunet": [*STEPS, "method.width=4"],
    "train lipschitz": [*STEPS, "method.width=4", "method.blocks=1"],
    "train gsdrunet": [*STEPS, "method.width=4", "method.blocks=1"],
    "train unrolled_from_denoiser": [*STEPS, "method.steps=2"],
    "train gs_pnp": ["method.iterations=3"],
    "train red": ["method.iterations=3"],
    "train vae": [*STEPS, "method.net.width=4"],
    "train autoencoder": [*STEPS, "method.net.width=4"],
    "train score": [*STEPS, "method.width=4"],
    "train diffusion": ["method.steps=2", "method.draws=2"],
    "train tv": [],
    "train pnp": [],
    "train fbp": [],
    "train zero_filled": [],
    "analyse": ["--size", "32", "--iterations", "10"],
    "infer": [],
    "compare": [],
    "pack": [],
    "score": [],
}
"""What makes a command short, by its first word or two."""


SEEN = {
    "monday": "relative error",
    "tuesday": "relative error",
    "wednesday": "expansive: ",
    "thursday-generative": "within one deviation",
    "thursday": "of the columns have",
}
"""Of each page, words that its last blocks print."""


def small(words):
    return SMALL[words[0]] if words[0] in SMALL else SMALL[" ".join(words[:2])]


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"```(sh|python)\n(.*?)```", page.read_text(), re.S)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_a_page_runs_from_top_to_bottom(name, tmp_path):
    script = [
        "import shlex, sys",
        "from challenge.cli.main import app",
        "import torch; torch.set_num_threads(1)",
        "def challenge(*arguments):",
        "    assert not app(list(arguments), standalone_mode=False), arguments",
    ]
    for language, text in blocks(COURSE / f"{name}.md"):
        if language == "python":
            script.append(text)
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "challenge"
            script.append(f"challenge(*{[*words[1:], *small(words[1:])]!r})")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SEEN[name] in done.stdout


@pytest.mark.parametrize("page", sorted(COURSE.glob("*.md")), ids=lambda page: page.stem)
def test_every_picture_of_a_page_is_there(page):
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
        assert (page.parent / picture).is_file(), picture
