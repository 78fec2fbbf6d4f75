"""A SLURM of one machine, for tests: `sbatch`, `squeue` and `scancel` as far as they are asked.

A job is a session of processes, whose script is kept. In the partition `full` it waits for ever;
there is no partition `nowhere`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).parent


def install(folder: Path) -> None:
    """Put the commands into a folder, which is to stand on the `PATH`."""
    folder.mkdir()
    text = f"#!{sys.executable} -IS\n" + Path(__file__).read_text()
    for name in ("sbatch", "squeue", "scancel"):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)


def scripts(folder: Path) -> list[str]:
    """What was submitted."""
    return [path.read_text() for path in sorted(folder.glob("*.sh"))]


def session(folder: Path, number: str) -> int:
    """The process group of a job that runs; 0 for one that does not."""
    with contextlib.suppress(OSError, ValueError):
        group = int((folder / f"{number}.group").read_text())
        for each in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, pgrp = each.read_text().rpartition(")")[2].split()[:3]
                if int(pgrp) == group and state != "Z":
                    return group
    return 0


def _sbatch(script: str) -> None:
    text = Path(script).read_text()
    partition = re.search(r"^#SBATCH -p (\w+)", text, re.M)
    where = partition[1] if partition else "main"
    if where == "nowhere":
        said = ["invalid partition specified: nowhere", "Batch job submission failed: Invalid"]
        sys.exit("\n".join(f"sbatch: error: {each}" for each in said))
    number = str(100 + len(list(HERE.glob("*.sh"))))
    kept = HERE / f"{number}.sh"
    kept.write_text(text)
    if where == "full":
        (HERE / f"{number}.pending").touch()
    else:
        log = re.search(r"^#SBATCH --output='?(.*?)'?/%j.log", text, re.M)
        assert log, text
        with open(f"{log[1]}/{number}.log", "wb") as file:
            job = subprocess.Popen(
                ["bash", str(kept)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        (HERE / f"{number}.group").write_text(str(job.pid))
    print(f"Submitted batch job {number}")


def _squeue(numbers: list[str]) -> None:
    for number in numbers:
        if (HERE / f"{number}.pending").exists():
            print("PENDING Resources")
        elif session(HERE, number):
            print("RUNNING None")


def _scancel(number: str) -> None:
    (HERE / f"{number}.pending").unlink(missing_ok=True)
    if group := session(HERE, number):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    if name == "sbatch":
        _sbatch(sys.argv[1])
    elif name == "squeue":
        (asked,) = [each for each in sys.argv if each.startswith("--jobs=")]
        _squeue(asked.partition("=")[2].split(","))
    else:
        _scancel(sys.argv[1])
