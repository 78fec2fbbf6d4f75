"""Which workers may judge: what they hold, what they judge with, how they were started."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from challenge.configs.errors import UserError
from challenge.submissions.jail import levels
from challenge.submissions.jail.levels import Level
from challenge.submissions.judging import access


@dataclass(frozen=True)
class Wanted:
    """What a worker must be to judge."""

    toolkit: Mapping[str, str]
    """Versions, as `remote.software` says them."""
    kind: str
    """Of the organiser's processor."""
    same_kind: bool
    """Whether every processor must be of it: `rules.judges`."""
    system: str
    level: Level
    """Of isolation; what is above it holds too."""
    threads: int
    own_cores: bool = True

    def refusal(self, info: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
        """Why a worker does not judge, with the remedy; empty where it does.

        Args:
            info: what the scheduler knows of it.
            facts: what it says of itself, by `remote.join`.
        """
        return next((each for each in self._reasons(info, facts) if each), "")

    def _reasons(self, info: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
        kind, have = facts["kind"] != self.kind and self.same_kind, len(facts.get("cores", ()))
        few = self.own_cores and facts["system"] == "linux" and have < self.threads
        held = facts["reasons"].get(self.level, "unknown")
        return [
            how(info),
            other_software(self.toolkit, facts["toolkit"]),
            f"it runs {facts['system']}, not {self.system}" * (facts["system"] != self.system),
            f"isolation `{self.level}` does not hold there: {held}" * bool(held),
            f"its processor is of another kind ({facts['machine']['processor']}), and "
            "`rules.judges` is `same_machine_kind`"
            if kind
            else "",
            f"an entry has {self.threads} cores, {have} are free there: start fewer workers"
            if few
            else "",
        ]


def other_software(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Which versions differ, of what reconstructions are made with; empty where none does."""
    other = [
        f"{name} {found.get(name)} instead of {value}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    return f"it has other software: {', '.join(other)}; install the same" * bool(other)


def how(info: Mapping[str, Any]) -> str:
    """What is wrong with how a worker was started; empty where nothing is."""
    if not access.is_safe(info["address"]):
        return f"it listens at {info['address']} without TLS"
    if info["nthreads"] != 1:
        return f"it runs {info['nthreads']} tasks at a time; start it with `--nthreads 1`"
    if info["memory_limit"]:
        return "Dask would kill it for an entry's memory; start it with `--memory-limit 0`"
    if info["resources"].get("judge") != 1:
        return "it is not for judging; start it with `--resources judge=1`"
    return ""


def lowest(found: Collection[Mapping[str, Any]]) -> Level:
    """The strongest level that holds on all of some machines.

    Args:
        found: their facts; those of machines that hold too little are passed over.

    Raises:
        UserError: none holds the level that the hidden test set requires.
    """
    required = levels.LEVELS.index(levels.REQUIRED)
    held = [levels.LEVELS.index(each["level"]) for each in found]
    enough = [each for each in held if each >= required]
    if not enough:
        raise UserError.of(
            "the workers",
            "none of them can keep an entry from files and network",
            "`challenge workers ADDRESS` lists them; judge on Linux 5.13 or newer, or say "
            "`--isolation process`",
        )
    return levels.LEVELS[min(enough)]
