"""How far an inference process is shut in: the levels, the controls of each, and their words.

process      a process of its own, on any system; on Linux its memory, files and time are limited
landlock     Linux: files by Landlock, calls by seccomp; nothing to install, no privileges
bubblewrap   the same inside namespaces of its own, where `bwrap` works
"""

from __future__ import annotations

from typing import Literal, get_args

from challenge.submissions.jail import call_rules

Level = Literal["process", "landlock", "bubblewrap"]
LEVELS: tuple[Level, ...] = get_args(Level)
REQUIRED: Level = "landlock"
"""The lowest level at which code of strangers may be judged beside the hidden truth."""

LIMITS = ("end", "out of memory first", "memory", "quota", "processor time", "processors")
"""Controls of every level, where the system is Linux."""
WALLS = ("privileges", "files", *call_rules.CONTROLS)
"""Controls of a level that keeps the process from files, network and others."""

SUMMARY: dict[Level, str] = {
    "process": "a process of its own: files and network are open to it",
    "landlock": "Landlock and seccomp: no files but its own, no network, no new processes",
    "bubblewrap": "namespaces, Landlock and seccomp: no files but its own, no network, "
    "no new processes, nothing else in view",
}


def controls(level: Level) -> frozenset[str]:
    """The names of the controls that a level applies."""
    return frozenset(LIMITS if level == "process" else (*LIMITS, *WALLS))


def promises(level: Level, system: str) -> dict[str, str]:
    """What a result says about its isolation.

    Args:
        level: at which an entry was judged.
        system: `sys.platform` of the judging machine.
    """
    jailed = level != "process"
    linux = system == "linux"
    return {
        "level": level,
        "time": "enforced",
        "memory": "enforced" if linux else "watched",
        "disk": "enforced" if linux else "watched",
        "files": "enforced" if jailed else "not enforced",
        "network": "enforced" if jailed else "not enforced",
        "processes": "enforced" if jailed else "not enforced",
        "names of files": {
            "process": "visible",
            "landlock": "visible by stat",
            "bubblewrap": "hidden",
        }[level],
    }
