"""Which workers judge, and whose time decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from challenge.configs.errors import UserError
from challenge.submissions.inference.supervisor import Inference
from challenge.submissions.judging import admission
from challenge.submissions.judging.admission import Wanted
from challenge.submissions.judging.load import Load
from challenge.submissions.judging.reference import is_decided
from challenge.submissions.judging.result import Where
from challenge.submissions.judging.run import Ran
from challenge.submissions.outcomes import SLOWER, Outcome

TOOLKIT = {"toolkit": "0.1.0", "torch": "2.8.0", "sources": "0123"}
WANTED = Wanted(
    toolkit=TOOLKIT, kind="a", same_kind=True, system="linux", level="landlock", threads=2
)
INFO: dict[str, Any] = {
    "address": "tls://10.0.0.2:4000",
    "nthreads": 1,
    "memory_limit": 0,
    "resources": {"judge": 1},
}
FACTS: dict[str, Any] = {
    "toolkit": TOOLKIT,
    "kind": "a",
    "system": "linux",
    "reasons": {"process": "", "landlock": "", "bubblewrap": "bwrap is not installed"},
    "machine": {"processor": "a processor"},
    "cores": [0, 1],
    "level": "landlock",
}


def test_a_worker_like_the_organisers_machine_judges() -> None:
    assert WANTED.refusal(INFO, FACTS) == ""


@pytest.mark.parametrize(
    ("info", "facts", "said"),
    [
        ({"address": "tcp://10.0.0.2:4000"}, {}, "without TLS"),
        ({"nthreads": 4}, {}, "--nthreads 1"),
        ({"memory_limit": 8e9}, {}, "--memory-limit 0"),
        ({"resources": {}}, {}, "--resources judge=1"),
        ({}, {"toolkit": {**TOOLKIT, "torch": "2.7.1"}}, "torch 2.7.1 instead of 2.8.0"),
        ({}, {"toolkit": {**TOOLKIT, "sources": "4567"}}, "sources 4567 instead of 0123"),
        ({}, {"system": "darwin"}, "it runs darwin, not linux"),
        ({}, {"reasons": {"landlock": "no Landlock"}}, "does not hold there: no Landlock"),
        ({}, {"kind": "b"}, "`rules.judges` is `same_machine_kind`"),
        ({}, {"cores": [1]}, "2 cores, 1 are free"),
    ],
)
def test_another_one_does_not_and_it_is_said_why(info: Any, facts: Any, said: str) -> None:
    assert said in WANTED.refusal({**INFO, **info}, {**FACTS, **facts})


def test_by_the_challenges_rule_another_kind_of_processor_judges() -> None:
    assert replace(WANTED, same_kind=False).refusal(INFO, {**FACTS, "kind": "b"}) == ""


def test_the_level_is_the_lowest_of_those_that_hold_enough() -> None:
    assert admission.lowest([{"level": "bubblewrap"}, {"level": "landlock"}]) == "landlock"
    assert admission.lowest([{"level": "bubblewrap"}, {"level": "process"}]) == "bubblewrap"
    with pytest.raises(UserError, match="none of them can keep an entry from files"):
        admission.lowest([{"level": "process"}])


@pytest.mark.parametrize(
    ("outcome", "cause", "projected", "reference", "decided"),
    [
        ("ok", "", (30.0, 20.0, 59.0), False, True),
        ("ok", "", (30.0, 20.0, 61.0), False, False),
        ("ok", "", (90.0, 70.0, 99.0), False, False),
        ("ok", "", None, False, False),
        ("ok", "", None, True, True),
        ("timeout", "", (90.0, 61.0, 99.0), False, True),
        ("timeout", "", (90.0, 59.0, 99.0), False, False),
        ("timeout", "", None, False, False),
        ("timeout", "", None, True, True),
        ("crash", "", None, False, True),
        ("nondeterministic", "x_hat differs", None, False, True),
        ("nondeterministic", f"it took over 10 {SLOWER}", None, False, False),
    ],
)
def test_a_workers_clock_decides_only_what_the_organisers_would(
    outcome: Outcome, cause: str, projected: Any, reference: bool, decided: bool
) -> None:
    inference = Inference(outcome, cause, {}, 1.0, 2.0, 2.0, 1, "")
    where = Where(host="b", reference=reference, projected=projected)
    ran = Ran(inference, Load(cores=1, foreign=0.0), where=where)
    assert is_decided(ran, limit=60.0) is decided
