"""Machines of their own, as far as Dask and we can tell: network, name, identity, temporary files.

Each is a network namespace, and a way to it from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from challenge.submissions.inference import speed
from tests.submissions.judging.boards import speed_here

INSIDE = """
mount --bind "$1" /proc/sys/kernel/random/boot_id
hostname "$2"
ip link set lo up
shift 2
exec "$@"
"""


def why_not() -> str:
    """Why there are no other hosts here; empty where there can be."""
    if sys.platform != "linux" or shutil.which("ip") is None or shutil.which("unshare") is None:
        return "network namespaces need Linux, `ip` and `unshare`"
    name = f"challenge-{os.getpid()}"
    made = _ip("netns", "add", name)
    _ip("netns", "delete", name)
    return f"no network namespace can be made: {made.stderr.strip()}" if made.returncode else ""


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


class Host:
    """One of them; its speed is known, so that nobody measures it."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"challenge-{os.getpid()}-{number}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"
        """Addresses of this end of the way, and of the other one."""
        self._identity, self._temporary = folder / f"identity-{number}", folder / f"host-{number}"
        self._identity.write_text(str(uuid.uuid4()))
        judges = self._temporary / f"challenge-judges-{os.getuid()}"
        judges.mkdir(parents=True, mode=0o700)
        speed.store(judges / "speed.json", speed_here())
        ours, its = f"ch{os.getpid()}a{number}", f"ch{os.getpid()}b{number}"
        for words in (
            f"netns add {self.name}",
            f"link add {ours} type veth peer name {its} netns {self.name}",
            f"addr add {self.here}/30 dev {ours}",
            f"link set {ours} up",
            f"-n {self.name} addr add {self.there}/30 dev {its}",
            f"-n {self.name} link set {its} up",
            f"-n {self.name} route add default via {self.here}",
        ):
            done = _ip(*words.split())
            assert done.returncode == 0, f"ip {words}: {done.stderr}"

    def command(self, *words: str) -> list[str]:
        """A command that runs there."""
        inside = ["sh", "-ec", INSIDE, "sh", str(self._identity), self.name]
        return ["ip", "netns", "exec", self.name, "unshare", "--uts", *inside, *words]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self._temporary)}

    def close(self) -> None:
        # The way goes with its other end.
        _ip("netns", "delete", self.name)


@contextmanager
def hosts(count: int, folder: Path) -> Iterator[list[Host]]:
    """So many, for as long as the block lasts."""
    made: list[Host] = []
    try:
        for number in range(1, count + 1):
            made.append(Host(number, folder))
        yield made
    finally:
        for each in made:
            with suppress(OSError):
                each.close()
