"""What all machines that train for one command have to see alike: versions, and the challenge."""

from __future__ import annotations

from collections.abc import Mapping

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions import machine

_SHARE = "give every machine the same workspace, on a file system that they share"
_REMEDIES = {
    "challenge": _SHARE,
    "checkpoint": _SHARE,
    "config": "give every machine the same command and the same files",
    "number of processes": "give every node the same `--nproc-per-node`",
}
_INSTALL = "install the same versions on every machine"


def seen(challenge: Challenge) -> dict[str, str]:
    """What this machine sees, by its name in messages."""
    named = f"{challenge.config.name} {challenge.hash[:12]}"
    return {**machine.versions(), "challenge": named}


def check(who: str, theirs: Mapping[str, str], first: Mapping[str, str]) -> None:
    """Raise `UserError` where somebody sees something else than the first one."""
    for what, expected in first.items():
        if theirs.get(what) != expected:
            raise UserError.of(
                who,
                f"sees another {what}: `{theirs.get(what)}`, the first one `{expected}`",
                _REMEDIES.get(what, _INSTALL),
            )
