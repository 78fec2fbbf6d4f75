"""The jail: what each level promises, and that each control is what keeps the promise.

A control is proved by taking it away: the attempt that it stops must then succeed. Otherwise
something else stops the attempt, and the control is a claim.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.submissions.jail import (
    bubblewrap,
    call_rules,
    levels,
    seccomp,
    spawn,
    stage,
    syscalls,
)
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import attempts, choose, expected, probe
from challenge.submissions.jail.probe.expected import Seen
from challenge.submissions.jail.spawn import Jail

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the jail is Linux's")


def needs(level: Level) -> None:
    if reason := probe.works(level):
        pytest.skip(f"{level}: {reason}")


@cache
def seen(level: Level, without: str = "") -> dict[str, Seen]:
    controls = levels.controls(level) - {without}
    return {
        each.name: each
        for each in probe.attempts(
            Jail(level, probe.ATTEMPTING, (), controls, frozenset({"numpy"}))
        )
    }


@LINUX
@pytest.mark.parametrize("level", levels.LEVELS)
def test_every_attempt_ends_as_promised(level: Level) -> None:
    # Not by `needs`: a level with a hole does not work, and every other test leaves it out.
    if reason := probe.available(level):
        pytest.skip(f"{level}: {reason}")
    try:
        found = seen(level)
    except OSError as error:
        if level != "bubblewrap":
            raise
        pytest.skip(f"no namespaces here: {error}")
    assert [name for name, each in found.items() if not each.as_promised] == []
    # What a method needs works everywhere, and what is tried is tried everywhere.
    assert all(found[name].happened for name in found if name not in expected.STOPPED_BY)
    optional = {"connect by TCP, IPv6", "read scikit-image's pictures"}
    assert "read a package not permitted" in found
    assert found.keys() | optional == attempts.ATTEMPTS.keys()


@LINUX
@pytest.mark.parametrize("level", levels.LEVELS)
def test_what_goes_on_until_it_is_stopped(level: Level) -> None:
    needs(level)
    assert [
        each for each in probe.long_attempts(Jail(level, probe.ATTEMPTING)) if each.happened
    ] == []


@LINUX
def test_higher_levels_stop_more() -> None:
    stopped = []
    for level in levels.LEVELS:
        needs(level)
        stopped.append({name for name, each in seen(level).items() if not each.happened})
    assert stopped[0] < stopped[1] < stopped[2]


STOPPED = {
    name: control for name, control in expected.STOPPED_BY.items() if name in attempts.ATTEMPTS
}


@LINUX
@pytest.mark.parametrize("name", [n for n, c in STOPPED.items() if c != "namespaces of its own"])
def test_without_its_control_the_attempt_succeeds(name: str) -> None:
    needs("landlock")
    control = STOPPED[name]
    plain = seen("process", without=control)
    if name not in plain or not plain[name].happened:
        pytest.skip(f"this machine does not let anybody do it: {plain.get(name)}")
    if name == "have rights of root" and os.geteuid() != 0:
        pytest.skip("only root has rights to give up")
    assert not seen("landlock")[name].happened
    without = seen("landlock", without=control)
    assert without[name].happened, without[name]
    # Nothing but what that control stops has changed.
    whole = seen("landlock")
    changed = {each for each in without if without[each].happened != whole[each].happened}
    assert {STOPPED.get(each) for each in changed} == {control}


def test_every_control_is_attempted() -> None:
    proved = set(expected.STOPPED_BY.values())
    # These have no attempt in `doctor`; `tests/attacks` has, and `test_pool` for the end of the
    # supervisor.
    assert set(levels.controls("bubblewrap")) - proved == {
        "kernel",
        "end",
        "out of memory first",
        "processor time",
        "processors",
    }


@LINUX
def test_a_process_is_the_first_to_go_and_leaves_no_core(tmp_path: Path) -> None:
    runner = tmp_path / "look.py"
    runner.write_text(
        "import json, resource\n"
        "from pathlib import Path\n"
        "limits = {name: resource.getrlimit(getattr(resource, name))[1]\n"
        "          for name in ('RLIMIT_CORE', 'RLIMIT_CPU', 'RLIMIT_NOFILE')}\n"
        "score = Path('/proc/self/oom_score_adj').read_text()\n"
        "print(json.dumps({'score': int(score), **limits}))\n"
    )
    for level in levels.LEVELS:
        needs(level)
        found = json.loads(_run(Jail(level, runner), tmp_path / level))
        assert found == {
            "score": 1000,
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": 600,
            "RLIMIT_NOFILE": spawn.FILES,
        }


def _run(jail: Jail, folder: Path, *arguments: str) -> str:
    folder.mkdir()
    entry = folder.with_suffix(".entry")
    entry.mkdir(exist_ok=True)
    process = spawn.spawn(jail, folder, entry, Limits(minutes=1, threads=2), arguments)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    return out.decode()


@LINUX
def test_the_toolkit_is_a_copy_and_the_repository_is_not_in_view(tmp_path: Path) -> None:
    runner = tmp_path / "look.py"
    runner.write_text(
        "import sys\n"
        "import challenge.submissions.inference.supervisor as judge\n"
        "print(judge.__file__)\n"
        "print(*sys.path, sep='\\n')\n"
        "try: print(open(sys.argv[1]).read())\n"
        "except OSError as error: print(error.strerror)\n"
    )
    source = str(Path(__file__).resolve())
    for level in levels.LEVELS[1:]:
        needs(level)
        found = _run(Jail(level, runner), tmp_path / level, source).splitlines()
        assert found[0].startswith(str(tmp_path / level / "toolkit"))
        assert found[-1] in ("Permission denied", "No such file or directory")
        assert str(Path(source).parents[2]) not in found[1:-1]


def test_the_copy_has_every_source_with_its_time_and_what_was_compiled(tmp_path: Path) -> None:
    stage.copy_toolkit(tmp_path)
    compiled = 0
    for name, path in stage.sources():
        copy = tmp_path / "challenge" / name
        assert copy.read_bytes() == path.read_bytes()
        # What was compiled is valid for a source of that time only.
        assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
        there = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        if there.exists():
            compiled += 1
            assert (copy.parent / "__pycache__" / there.name).read_bytes() == there.read_bytes()
    assert compiled > 10


@LINUX
def test_what_is_protected_is_closed_within_what_is_readable(tmp_path: Path) -> None:
    """A workspace may lie anywhere, also where Python and its packages are."""
    inside = tmp_path / "readable" / "course" / "hidden"
    inside.mkdir(parents=True)
    (inside / "truth").write_text("the truth")
    (tmp_path / "readable" / "library").write_text("a library")
    (tmp_path / "readable" / "course" / "other").write_text("another file")
    runner = tmp_path / "look.py"
    runner.write_text(
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(open(path).read())\n"
        "    except OSError as error: print('closed')\n"
    )
    paths = [inside / "truth", tmp_path / "readable" / "library", inside.parent / "other"]
    for level in levels.LEVELS[1:]:
        needs(level)
        folder = tmp_path / level
        jail = Jail(level, runner, (inside,))
        # The entry's folder is readable; here it is one with a protected folder in it.
        folder.mkdir()
        process = spawn.spawn(
            jail, folder, tmp_path / "readable", Limits(), [str(path) for path in paths]
        )
        out, errors = process.communicate(timeout=30)
        assert out.decode().split("\n")[:3] == ["closed", "a library", "another file"], errors


def test_bubblewrap_shows_only_what_it_is_given() -> None:
    made = bubblewrap.settings(["/usr", "/usr/lib", "/opt/x"], "/tmp/s", ["/usr/secret"])
    text = " ".join(made)
    assert "--ro-bind-try /usr /usr" in text
    assert "/usr/lib" not in text
    assert text.index("--ro-bind-try /usr") < text.index("/usr/secret") < text.index("/tmp/s")
    assert {"--unshare-all", "--die-with-parent"} <= {*made}


# --- the filter of system calls, run by an interpreter of its instructions -----------------------

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
X86, ARM = 0xC000003E, 0xC00000B7


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: classic BPF over `struct seccomp_data`."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(each % 2**64 for each in padded))
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    place = value = 0
    while True:
        code, yes, no, operand = steps[place]
        place += 1
        if code == 0x06:
            return int(operand)
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            value &= operand
        else:
            met = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            place += yes if met[code] else no


@pytest.mark.parametrize(
    ("machine", "architecture", "column"), [("x86_64", X86, 0), ("aarch64", ARM, 1)]
)
def test_the_filter_refuses_what_its_rules_name_and_nothing_else(
    machine: str, architecture: int, column: int
) -> None:
    program = seccomp.program(call_rules.CONTROLS, 42, machine)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    named = {rule.call for control in call_rules.CONTROLS for rule in call_rules.rules(control, 42)}
    assert named == syscalls.CALLS.keys()
    numbers = {pair[column] for pair in syscalls.CALLS.values()}
    for number in range(syscalls.NEWEST + 1):
        if number not in numbers:
            assert verdict(program, architecture, number) == ALLOW
    for number in (syscalls.NEWEST + 1, 10_000, 0x40000000 | 41, 0xFFFFFFFF):
        assert verdict(program, architecture, number, 1) == REFUSE | errno.ENOSYS
    other = ARM if architecture == X86 else X86
    for number in range(syscalls.NEWEST + 1):
        assert verdict(program, other, number) == KILL
    for control in call_rules.CONTROLS:
        for rule in call_rules.rules(control, 42):
            number = syscalls.CALLS[rule.call][column]
            if number is not None and rule.argument is None:
                assert verdict(program, architecture, number, 1, 2, 3) == REFUSE | rule.error


def test_calls_are_judged_by_their_arguments() -> None:
    program = seccomp.program(call_rules.CONTROLS, 42, "x86_64")

    def allowed(call: str, *arguments: int) -> bool:
        number = syscalls.CALLS[call][0]
        assert number is not None
        return verdict(program, X86, number, *arguments) == ALLOW

    threads = 0x3D0F00  # what glibc asks for
    assert allowed("clone", threads)
    assert not allowed("clone", 0x1200011)  # fork
    assert not allowed("clone", 0x4111)  # vfork
    assert not allowed("clone", threads & ~0x10000)
    assert allowed("kill", 42, 6)
    assert allowed("tgkill", 42, 43, 6)
    for other in (0, 1, 41, -1, -42):
        assert not allowed("kill", other, 9)
        assert not allowed("tgkill", other, other, 9)
    # A process is named by 32 bits: the upper half changes nothing.
    assert not allowed("kill", (42 << 32) | 41, 9)
    assert allowed("prlimit64", 0, 3) and allowed("prlimit64", 42, 3)
    assert not allowed("prlimit64", 41, 3)
    private, shared, anonymous = 2, 1, 0x20
    assert allowed("mmap", 0, 4096, 3, private | anonymous | 0x24000)  # NORESERVE, STACK
    assert allowed("mmap", 0, 4096, 3, shared)
    assert not allowed("mmap", 0, 4096, 3, shared | anonymous)
    for flag in (0x100, 0x40000):  # GROWSDOWN, HUGETLB
        assert not allowed("mmap", 0, 4096, 3, private | anonymous | flag)
    assert allowed("preadv2", 3, 0, 1, 0, 0, 0)
    for flags in (1, 8, 0x80):
        assert not allowed("preadv2", 3, 0, 1, 0, 0, flags)
    assert allowed("madvise", 0, 4096, 4)
    assert not allowed("madvise", 0, 4096, 20) and not allowed("madvise", 0, 4096, 21)


COMMANDS = {
    "ioctl": {
        "allowed": (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451),
        # RESVSP, RESVSP64, UNRESVSP, ZERO_RANGE; FICLONE; SETFLAGS, FSSETXATTR, ENABLE_VERITY;
        # FIOSETOWN, SIOCSPGRP, FIOASYNC; TIOCSTI, TIOCLINUX, TCSETS; FS_IOC_FIEMAP; SIOCGIFCONF
        "refused": (0x40305828, 0x4030582A, 0x40305829, 0x40305839, 0x40049409, 0x40086602,
                    0x401C5820, 0x40806685, 0x8901, 0x8902, 0x5452, 0x5412, 0x541C, 0x5402,
                    0xC020660B, 0x8912),
    },
    "fcntl": {
        "allowed": (0, 1, 2, 3, 4, 1030),
        # SETLK, SETLKW, SETOWN, SETSIG, SETOWN_EX, OFD_SETLK; SETLEASE, NOTIFY, SETPIPE_SZ,
        # ADD_SEALS, SET_RW_HINT
        "refused": (6, 7, 8, 10, 15, 37, 38, 1024, 1026, 1031, 1033, 1036),
    },
    "prctl": {
        "allowed": (15, 16, 3),
        # SET_PDEATHSIG, SET_DUMPABLE, SET_SECCOMP, SET_MM, CHILD_SUBREAPER, SCHED_CORE, SET_PTRACER
        "refused": (1, 4, 22, 35, 36, 62, 0x59616D61),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "architecture", "column"), [("x86_64", X86, 0), ("aarch64", ARM, 1)]
)
def test_of_calls_that_take_commands_a_few_are_allowed(
    machine: str, architecture: int, column: int
) -> None:
    program = seccomp.program(["commands"], 42, machine)
    for call, commands in COMMANDS.items():
        number = syscalls.CALLS[call][column]
        assert number is not None

        def answer(command: int, call: str = call, number: int = number) -> int:
            arguments = (command,) if call == "prctl" else (3, command)
            return verdict(program, architecture, number, *arguments)

        assert {answer(each) for each in commands["allowed"]} == {ALLOW}
        # The kernel takes 32 bits of a command: what stands above them changes nothing.
        for each in commands["refused"]:
            assert answer(each) & 0x7FFF0000 == REFUSE, (call, hex(each))
            assert answer(each | 0x5401 << 32) & 0x7FFF0000 == REFUSE
        candidates = [*range(0x500), *range(0x5400, 0x5500), *range(0x8900, 0x8A00)]
        open_to = [each for each in candidates if answer(each) == ALLOW]
        assert len(open_to) < 14, (call, open_to)


@LINUX
def test_numbers_of_calls_are_those_of_this_machine(tmp_path: Path) -> None:
    """Against the C library's headers, where they are installed."""
    source = tmp_path / "numbers.c"
    names = sorted(syscalls.CALLS)
    lines = [f"#ifdef __NR_{n}\n{n} __NR_{n}\n#endif" for n in names]
    source.write_text("#include <sys/syscall.h>\n" + "\n".join(lines) + "\n")
    try:
        done = subprocess.run(["cc", "-E", "-P", str(source)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to ask")
    if done.returncode != 0:
        pytest.skip("no headers of the C library")
    column = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine)
    if column is None:
        pytest.skip("the filter is for x86_64 and aarch64")
    found = {
        line.split()[0]: int(line.split()[1])
        for line in done.stdout.splitlines()
        if line.split()[:1] and line.split()[0] in syscalls.CALLS and line.split()[1].isdigit()
    }
    assert len(found) > 90
    for name, number in found.items():
        assert syscalls.CALLS[name][column] == number, name


# --- which level is taken -------------------------------------------------------------------------


def test_official_judging_needs_a_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "works", lambda level: "" if level == "process" else "no such thing")
    probe.strongest.cache_clear()
    try:
        assert choose.choose() == "process"
        with pytest.raises(UserError, match=r"landlock: no such thing.*--isolation process"):
            choose.choose(official=True)
        # It may be asked for, and then it is what the result says.
        assert choose.choose("process", official=True) == "process"
        with pytest.raises(
            UserError, match="no such thing; `challenge doctor --isolation bubblewrap`"
        ):
            choose.choose("bubblewrap", official=True)
        with pytest.raises(UserError, match="no level `docker`"):
            choose.choose("docker")
    finally:
        probe.strongest.cache_clear()


def test_a_level_that_does_not_hold_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(jail: Jail) -> list[Seen]:
        happened = jail.level == "bubblewrap"
        return [Seen("read a file outside", True, happened, "9 bytes")]

    monkeypatch.setattr(probe, "available", lambda level: "")
    monkeypatch.setattr(probe, "attempts", leaking)
    for function in (probe.works, probe.strongest):
        function.cache_clear()
    try:
        assert "read a file outside" in probe.works("bubblewrap")
        assert probe.strongest() == "landlock"
    finally:
        for function in (probe.works, probe.strongest):
            function.cache_clear()


def test_promises_say_what_is_not_enforced() -> None:
    for level in levels.LEVELS:
        said = levels.promises(level, "linux")
        assert said["level"] == level
        assert (said["files"] == "enforced") is (level != "process")
    assert levels.promises("process", "darwin")["memory"] == "watched"


def test_another_toolkit_has_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    monkeypatch.setattr(stage, "sources", lambda: [("a.py", file)])
    stage.digest.cache_clear()
    try:
        before = stage.digest()
        file.write_text("x = 2\n")
        stage.digest.cache_clear()
        assert stage.digest() != before
    finally:
        stage.digest.cache_clear()
