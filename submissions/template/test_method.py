"""The contract that every method must hold to. Run `pytest` in this folder."""

from pathlib import Path

import yaml

from challenge.data import open_challenge
from challenge.methods import build, check, toy_problem

HERE = Path(__file__).resolve().parent.parent
CHALLENGE = HERE / "workspace" / "public" / "@challenge@"
CONFIG = HERE / "my_team" / "mine.yaml"


def test_method_holds_to_the_contract() -> None:
    challenge = open_challenge(CHALLENGE)
    problem = toy_problem(
        challenge.channels,
        getattr(challenge.config.operator, "boundary", None),
        challenge.config.operator.kind,
        challenge.config.noise.model_dump(),
    )
    section = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["method"]
    failures = check(lambda: build(section, CONFIG.parent), problem=problem)
    assert not failures, "\n".join(map(str, failures))
