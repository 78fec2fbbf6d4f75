"""How every attempt must end: which control stops it, and which level has that control."""

from __future__ import annotations

from dataclasses import dataclass

from challenge.submissions.jail.spawn import Jail

STOPPED_BY: dict[str, str] = {
    "read a file outside": "files",
    "list a folder outside": "files",
    "write a file outside": "files",
    "read another's environment": "files",
    "read scikit-image's pictures": "files",
    "read a package not permitted": "files",
    "see a file's size outside": "namespaces of its own",
    "change a file's mode": "attributes",
    "connect by TCP, IPv4": "network",
    "connect by TCP, IPv6": "network",
    "send by UDP": "network",
    "connect to a UNIX socket": "network",
    "resolve a name": "files",
    "signal another process": "signals",
    "slow another process": "others",
    "start a process": "processes",
    "choose its processors": "affinity",
    "enlarge a pipe": "commands",
    "make memory of no process": "shared memory",
    "call io_uring": "io_uring",
    "see what others have read": "page cache",
    "have rights of root": "privileges",
    "allocate over the limit": "memory",
    "write a file over the quota": "quota",
    "trace a process": "others",
    "make a user namespace": "namespaces",
    "outlive the deadline": "time",
    "hold memory over the limit": "watch",
    "write many files over the quota": "watch",
}
"""The control that stops an attempt; what is not in here must work."""
_ALWAYS = {"time", "watch"}
"""What the supervisor does from outside, at every level and on every system."""
_BY_NAMESPACES = {
    "files",
    "network",
    "signals",
    "others",
    "namespaces of its own",
}


@dataclass(frozen=True)
class Seen:
    """One attempt at one level."""

    name: str
    stopped: bool
    """Whether the level's controls promise to stop it."""
    happened: bool
    said: str
    """In the words of the process, or of the supervisor."""

    @property
    def as_promised(self) -> bool:
        """What is to be stopped was, what is needed worked."""
        needed = self.name not in STOPPED_BY
        return not self.happened if self.stopped else self.happened or not needed


def is_stopped(name: str, jail: Jail) -> bool:
    """Whether a jail's controls promise to stop an attempt."""
    control = STOPPED_BY.get(name)
    if control is None:
        return False
    if control in _ALWAYS or control in jail.controls:
        return True
    return jail.level == "bubblewrap" and control in _BY_NAMESPACES
