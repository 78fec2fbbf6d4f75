"""Who judges, as the organiser's process sees it; with a scheduler that is played."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from challenge.configs.errors import UserError
from challenge.submissions.judging import connection, members
from challenge.submissions.judging.members import Members

ABOUT = {"threads": 1, "own_cores": False, "organiser": "here"}
NEVER = 60.0


class Client:
    """Of a scheduler with some workers, of which some never say who they are."""

    status, silent_for = "running", NEVER

    def __init__(self, workers: list[str], silent: list[str]) -> None:
        self.workers, self.silent, self.over = workers, silent, threading.Event()

    def run(self, _: Any, *about: Any, workers: list[str]) -> dict[str, Any]:
        (address,) = workers
        if address in self.silent:
            self.over.wait(self.silent_for)
            if self.silent_for == NEVER:
                raise OSError("it never answered")
        return {address: {"host": address}}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Client] = []

    def play(workers: list[str], silent: list[str]) -> Any:
        made.append(Client(workers, silent))
        return made[-1]

    monkeypatch.setattr(members, "PATIENCE", 2.0)
    monkeypatch.setattr(members, "JOINING", 1.0)
    monkeypatch.setattr(
        connection, "identity", lambda client: {"workers": {each: {} for each in client.workers}}
    )
    yield play
    for each in made:
        each.over.set()


def test_a_worker_that_does_not_answer_keeps_nobody_waiting(played: Any) -> None:
    found = Members(played(["a", "b", "c"], silent=["b"]), **ABOUT)  # type: ignore[arg-type]
    assert [each.address for each in found.all] == ["a", "c"]
    found.close()


def test_where_none_answers_that_is_said(played: Any) -> None:
    for workers, waited in (([], 2), (["a"], 3)):
        with pytest.raises(UserError, match=f"has no worker that answers within {waited} s"):
            Members(played(workers, silent=["a"]), **ABOUT)  # type: ignore[arg-type]


def test_a_scheduler_that_goes_meanwhile_is_no_want_of_workers(played: Any) -> None:
    client = played(["a"], silent=["a"])
    client.status = "closed"
    with pytest.raises(UserError, match="the scheduler: is gone"):
        Members(client, **ABOUT)  # type: ignore[arg-type]


def test_one_that_takes_long_is_waited_for_where_there_is_no_other(played: Any) -> None:
    client = played(["a"], silent=["a"])
    client.silent_for = 2.5
    found = Members(client, **ABOUT)  # type: ignore[arg-type]
    assert [each.address for each in found.all] == ["a"]
    found.close()


def test_one_that_is_silent_for_long_is_nobody_to_wait_for(played: Any) -> None:
    found = Members(played(["a", "b"], silent=["b"]), **ABOUT)  # type: ignore[arg-type]
    wanted = SimpleNamespace(refusal=lambda *_: "it has another toolkit")
    found.admit(wanted)  # type: ignore[arg-type]
    begun = time.monotonic()
    with pytest.raises(UserError, match="another toolkit"), found.lend(set()):
        pass
    assert time.monotonic() - begun < NEVER / 2
    found.close()


def test_workers_are_waited_for_as_long_as_jobs_may_bring_some(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that judged are gone, and others have not begun: nobody gives up before they come."""
    asked: list[bool] = []

    def more_come(_: Any) -> bool:
        asked.append(True)
        return len(asked) < 3

    monkeypatch.setattr(connection, "more_come", more_come)
    client = played(["a"], silent=[])
    found = Members(client, **ABOUT)  # type: ignore[arg-type]
    # Only now: on a busy machine the first one may take longer to join.
    monkeypatch.setattr(members, "PATIENCE", 0.3)
    client.workers.clear()
    while found.all:
        time.sleep(0.02)
    with pytest.raises(UserError, match="there was none"), found.lend(set()):
        pytest.fail("nobody is there")
    assert len(asked) == 3
    found.close()
