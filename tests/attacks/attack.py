"""What an attack is, and the ground on which it is played."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from challenge.configs.schema.challenge import Limits
from challenge.data.physics import measurements
from challenge.data.physics.measurements import of_blur
from challenge.submissions.inference import supervisor
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.spawn import Jail

RUNNER = Path(__file__).parents[1] / "submissions" / "numpy_runner.py"
SHAPE = (1, 8, 8)
QUOTA = 16 * 2**20
"""Bytes that an entry may write here, for the time it takes to write more."""
JAILED: tuple[Level, ...] = ("landlock", "bubblewrap")
ALL: tuple[Level, ...] = ("process", *JAILED)
EITHER: tuple[Level, ...] = ("process", "bubblewrap")
"""Levels to play at what does not depend on the level, but on the supervisor."""
ROOT = os.name == "posix" and os.geteuid() == 0

PRELUDE = """\
import ctypes, errno, json, mmap, os, signal, socket, struct, sys, threading, time, types
F = types.SimpleNamespace(**json.loads({facts!r}))
libc = ctypes.CDLL(None, use_errno=True)
kept = []

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def libc_call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def machine_code(code):
    how = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    area = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=how)
    area.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    kept.append(area)
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)

def read(path):
    with open(path, "rb") as file:
        return file.read(100_000).decode("latin-1")

def stack(process):
    areas = [line for line in read(f"/proc/{{process}}/maps").splitlines() if "[stack]" in line]
    return tuple(int(each, 16) for each in areas[0].split()[0].split("-"))

def attempt(function):
    try:
        said = function()
    except (OSError, MemoryError, ValueError, AttributeError, ImportError) as error:
        print("REFUSED", type(error).__name__, error, flush=True)
    else:
        print("DID", said, flush=True)

def answers():
    import gc, io
    writers = [each for each in gc.get_objects() if isinstance(each, io.BufferedWriter)]
    return next(each for each in writers if isinstance(each.name, int) and each.name > 2)

def forward(y, identity):
    return y

"""


@dataclass(frozen=True)
class Ran:
    """One run, as the organiser sees it."""

    found: supervisor.Inference
    wall: float
    """Seconds that the supervisor needed, all of it."""
    outputs: dict[str, np.ndarray]
    contents: bytes
    """Of all reconstructions."""
    grown: int
    """Bytes by which the supervisor's own peak grew."""


@dataclass
class Arena:
    """What lies about for an entry to find; a fresh one for every run."""

    folder: Path
    secret: str
    decoy: subprocess.Popen[bytes]
    """A process of the organiser, with the secret in its environment."""
    level: Level
    sources: list[Path]
    facts: dict[str, object] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    memory_gb: float = 1.0
    controls: frozenset[str] = frozenset()
    """Those of the level, unless given."""
    permitted: frozenset[str] | None = None
    """The distributions whose packages an entry may read."""
    notes: dict[str, object] = field(default_factory=dict)
    """For an attack that must remember something between its start and its proof."""

    def path(self, name: str) -> Path:
        return Path(str(self.facts[name]))

    def jail(self) -> Jail:
        protected = (self.path("workspace"),)
        return Jail(self.level, RUNNER, protected, self.controls, self.permitted)

    def limits(self, seconds: float) -> Limits:
        return Limits(minutes=seconds / 60, threads=1, memory_gb=self.memory_gb)

    def write(self, source: str) -> Path:
        entry = self.path("entry")
        entry.mkdir(exist_ok=True)
        prelude = PRELUDE.format(facts=json.dumps(self.facts))
        (entry / "method.py").write_text(prelude + textwrap.dedent(source))
        self.notes["state of entry"] = state(entry)
        return entry

    def judge(self, source: str, seconds: float, output: str = "output") -> Ran:
        """Judge an entry with this source, and look at what it left."""
        entry, place = self.write(source), self.folder / output
        before = psutil.Process().memory_info().rss
        began = time.monotonic()
        found = supervisor.infer(entry, self.sources, place, self.limits(seconds), self.jail())
        wall = time.monotonic() - began
        grown = psutil.Process().memory_info().rss - before
        files = sorted(place.glob("*.npy"))
        outputs = {each.stem: np.load(each, allow_pickle=False) for each in files}
        return Ran(found, wall, outputs, b"".join(each.read_bytes() for each in files), grown)

    def decoy_is_well(self) -> bool:
        """Whether it runs, and is not stopped or traced."""
        if self.decoy.poll() is not None:
            return False
        return psutil.Process(self.decoy.pid).status() in ("sleeping", "running")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.decoy.pid, signal.SIGKILL)
        self.decoy.wait()
        for each in self.sockets.values():
            each.close()


Evidence = Callable[[Arena, Ran], bool]


def claimed(_: Arena, ran: Ran) -> bool:
    """The entry says so; for effects that cannot be seen from outside."""
    return any(line.startswith("DID") for line in ran.found.log.splitlines())


def any_or_all(arena: Arena, ran: Ran) -> bool:
    """Of several attempts: any of them in a jail, all of them outside, where each must succeed."""
    words = [line.split()[0] for line in ran.found.log.splitlines() if line]
    return "DID" in words and (arena.level in JAILED or "REFUSED" not in words)


def leaked(arena: Arena, ran: Ran) -> bool:
    """The secret is in what comes out: the log, the cause, a reconstruction."""
    secret = arena.secret
    return secret in ran.found.log + ran.found.cause or secret.encode() in ran.contents


def said(text: str) -> Evidence:
    """The entry printed a text that it can only have from outside."""
    return lambda _, ran: text in ran.found.log


def changed(name: str) -> Evidence:
    """A file or folder of the arena is not what it was."""
    return lambda arena, _: arena.notes[f"state of {name}"] != state(arena.path(name))


def never(_: Arena, __: Ran) -> bool:
    """There is nothing to see but the outcome and that everything stays in bounds."""
    return False


@dataclass(frozen=True)
class Attack:
    """A hostile entry and what must come of it."""

    name: str
    source: str
    evidence: Evidence = claimed
    """Whether it happened, seen from outside where that is possible."""
    stopped: tuple[Level, ...] = JAILED
    """Levels at which it must not happen; at any other it must."""
    controls: tuple[str, ...] = ()
    """What of `levels.controls` stops it."""
    outcome: str = "ok"
    """At every level; alternatives are separated by `|`."""
    outcomes: Mapping[Level, str] = field(default_factory=dict)
    """Where a level differs."""
    unproven: str = ""
    """Why it need not happen where nothing stops it."""
    harmful: str = ""
    """Why it is not even tried where nothing stops it."""
    harms_decoy: bool = False
    seconds: float = 20
    """The time limit."""
    levels: tuple[Level, ...] = ALL
    """Where it is played: one of them, if it takes long and levels cannot matter."""
    patience: float = 6
    """Seconds beyond the time limit in which the supervisor must be back."""
    memory_gb: float = 1.0
    whole_toolkit: bool = False
    """Whether its code imports more of the toolkit than what answers the supervisor."""
    before: Callable[[Arena], None] = lambda _: None
    """Sets more up."""
    play: Callable[[Arena, Attack], Ran] = lambda arena, attack: arena.judge(
        attack.source, attack.seconds
    )
    """Runs it; once, by default."""

    def expected(self, level: Level) -> set[str]:
        return set(self.outcomes.get(level, self.outcome).split("|"))


def state(path: Path) -> object:
    """Everything about a file or folder that somebody could change, but when it was read."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    inner: object = None
    if stat.S_ISDIR(facts.st_mode):
        inner = [(each.name, state(each)) for each in sorted(path.iterdir())]
    elif stat.S_ISREG(facts.st_mode):
        inner = hashlib.sha256(path.read_bytes()).hexdigest()
    names = os.listxattr(path, follow_symlinks=False)
    attributes = [(each, os.getxattr(path, each, follow_symlinks=False)) for each in names]
    owner = facts.st_uid, facts.st_gid
    return facts.st_mode, owner, facts.st_mtime_ns, facts.st_nlink, attributes, inner


def write_measurements(folder: Path, count: int, shape: tuple[int, int, int] = SHAPE) -> list[Path]:
    """Measurements `0000`, `0001`, ... to hand over."""
    paths = []
    for number in range(count):
        y = np.random.default_rng(number).random(shape, dtype=np.float32)
        paths.append(folder / f"{number:04}.npz")
        kernel = np.ones((1, 1), np.float32)
        measurement = of_blur(f"{number:04}", y, kernel, 0.1, "circular", shape)
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(measurements.to_bytes(measurement))
    return paths


def put_up(folder: Path, level: Level) -> Arena:
    """A ground for one run: hidden truth, files of the organiser, sockets, a decoy."""
    secret = secrets.token_hex(16)
    workspace, home, outside = folder / "workspace", folder / "home", folder / "outside"
    hidden = workspace / "hidden" / "tiny"
    files = {
        "truth": hidden / "test" / "0001.png",
        "zip": workspace / "entries" / "other-mine.zip",
        "results": workspace / "results" / "abc.json",
        "ssh": home / ".ssh" / "id_ed25519",
        "victim": outside / "victim",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.name} {secret}\n")
    (hidden / secret).touch()
    for each in (files["ssh"].parent, hidden):
        each.chmod(0o700)
    decoy = subprocess.Popen(["sleep", "600"], env={"SECRET_TOKEN": secret}, start_new_session=True)
    sources = write_measurements(folder / "public", 2)
    arena = Arena(folder, secret, decoy, level, sources)
    unix, abstract = outside / "socket", f"challenge-{secret[:8]}"
    arena.sockets = {
        "tcp": _listening(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": _listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix": _listening(socket.AF_UNIX, socket.SOCK_STREAM, str(unix)),
        "abstract": _listening(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
    }
    arena.facts = {
        **{name: str(path) for name, path in files.items()},
        "workspace": str(workspace),
        "hidden": str(hidden),
        "home": str(home),
        "outside": str(outside),
        "entry": str(folder / "entry"),
        "decoy": decoy.pid,
        "supervisor": os.getpid(),
        "repository": str(Path(__file__).parents[2]),
        "tcp": arena.sockets["tcp"].getsockname()[1],
        "udp": arena.sockets["udp"].getsockname()[1],
        "unix": str(unix),
        "abstract": abstract,
        "level": level,
    }
    arena.write("")
    for name in ("workspace", "home", "victim", "outside"):
        arena.notes[f"state of {name}"] = state(arena.path(name))
    return arena


def _listening(family: int, kind: int, address: object) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(address)
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made
