"""Smoke test of an installed wheel: run with the path of its `challenge` script, in any folder.

python tests/smoke.py .venv/bin/challenge
"""

import subprocess
import sys
import tempfile
from pathlib import Path


def main(script: str) -> None:
    import challenge.configs
    import challenge.submissions

    for package in (challenge.configs, challenge.submissions):
        folder = Path(package.__file__).resolve().parent
        assert "site-packages" in str(folder), f"{folder} is not the installed wheel"
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [script, *arguments], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
            return done.stdout

        assert "challenge" in run("--version")
        assert "tv" in run("methods")
        small = ["images.train=8", "images.val=1", "images.test=2", "images.size=64"]
        run("prepare", "deblur", *small)
        run("train", "tv")
        run("infer", "workspace/runs/deblur/tv")
        run("score", "workspace/runs/deblur/tv")
        run("pack", "workspace/runs/deblur/tv", "--team", "alpha")
        run("check", "workspace/entries/alpha-tv.zip")
        hidden = ["--hidden", "workspace/hidden/deblur"]
        run("score", "workspace/entries/alpha-tv.zip", *hidden)
        assert "alpha" in run("board")
        run("kit", "deblur")
    print("smoke test passed")


if __name__ == "__main__":
    main(sys.argv[1])
