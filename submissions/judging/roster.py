"""The workers of a scheduler, whoever uses them: what they hold, how fast, what they judge now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from challenge.submissions.judging import admission, connection, remote

if TYPE_CHECKING:
    from distributed import Client

PREFIX = "judge-"
"""Of the keys of tasks that run an entry."""
KERNEL = "conv32"
"""The kernel that tells of a machine's speed."""


@dataclass(frozen=True)
class Listed:
    """A worker."""

    host: str
    address: str
    processor: str
    level: str
    """The strongest level of isolation that holds there."""
    milliseconds: float | None
    """Of one call of a convolution, 32 channels, as `doctor` shows it; None: not measured yet."""
    judges: str
    """The entry that it runs now; empty for none."""
    note: str
    """Why it would not judge for this machine; empty where it would."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def key_of(name: str, mark: str) -> str:
    """The key of the task that runs an entry."""
    return f"{PREFIX}{name}-{mark}"


def roster(client: Client) -> list[Listed]:
    """Ask every worker, by host and address; one that does not answer says so in its note."""
    infos = connection.identity(client)["workers"]
    found = client.run(remote.look, on_error="return")
    running = client.processing()
    return sorted(
        (
            _listed({**info, "address": address}, found.get(address), running.get(address, ()))
            for address, info in infos.items()
        ),
        key=lambda each: (each.host, each.address),
    )


def _listed(info: dict[str, Any], facts: Any, keys: Any) -> Listed:
    judged = [str(key).removeprefix(PREFIX) for key in keys if str(key).startswith(PREFIX)]
    judges = judged[0].rpartition("-")[0] if judged else ""
    if not isinstance(facts, dict):
        note = f"does not answer as a judge: {facts}" if facts else "does not answer"
        return Listed(str(info["name"]), info["address"], "", "", None, judges, note)
    speeds = facts["speeds"]
    other = admission.other_software(remote.software(), facts["toolkit"])
    return Listed(
        host=facts["host"],
        address=info["address"],
        processor=facts["machine"]["processor"],
        level=facts["level"],
        milliseconds=1e3 * speeds[0]["kernels"][KERNEL]["seconds"] if speeds else None,
        judges=judges,
        note=admission.how(info) or other,
    )
