"""The contract that every method must hold to. Run `pytest` in this folder."""

from pathlib import Path

from challenge.data import open_challenge
from challenge.methods import build, check, toy_problem

HERE = Path(__file__).resolve().parent.parent
CHALLENGE = HERE / "workspace" / "public" / "@challenge@"


def test_method_holds_to_the_contract() -> None:
    challenge = open_challenge(CHALLENGE)
    problem = toy_problem(
        challenge.channels,
        getattr(challenge.config.operator, "boundary", None),
        challenge.config.operator.kind,
        challenge.config.noise.model_dump(),
    )
    section = {"name": "my_team/method.py:Mine"}
    failures = check(lambda: build(section, HERE), problem=problem)
    assert not failures, "\n".join(map(str, failures))
