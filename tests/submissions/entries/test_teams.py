"""The organiser's list of teams."""

from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.data.layout import Workspace
from challenge.submissions.entries import teams


def test_the_list(tmp_path: Path) -> None:
    assert teams.load(Workspace(tmp_path)) is None
    (tmp_path / "teams.yaml").write_text("teams:\n  alpha: {members: [Ada, Grace]}\n  beta: {}\n")
    found = teams.load(Workspace(tmp_path))
    assert found is not None
    assert found.teams["alpha"].members == ["Ada", "Grace"]
    assert found.unknown("beta") is None
    assert found.unknown("bata") == (
        "there is no team `bata`", "did you mean `beta`? teams: alpha, beta",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teams:\n  alpha: {members: Ada}\n", r"teams\.yaml:2: .*members"),
        ("teams:\n  alpha:\n    leader: Ada\n", r"teams\.yaml:3: .*leader"),
        ("teams:\n  Alpha: {}\n", r"teams\.yaml:2: .*Alpha"),
        ("teams: {}\n", r"teams\.yaml:1"),
        ("alpha: {}\n", r"teams\.yaml"),
        ("teams:\n  alpha: {}\n  alpha: {}\n", r"teams\.yaml:3: .*twice"),
    ],
)
def test_mistakes_have_their_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "teams.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        teams.load(Workspace(tmp_path))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("alpha-net.zip", ""),
        ("alpha-anything.zip", ""),
        ("inbox/alpha-net.zip", ""),
        ("alpha/alpha-net.zip", ""),
        ("beta-copy.zip", "says that it is of team `alpha`, and is named after `beta`"),
        ("copy.zip", "says that it is of team `alpha`, which its name does not"),
        ("alphabet-net.zip", "says that it is of team `alpha`, and is named after `alphabet`"),
        ("beta/alpha-net.zip", "lies in the folder of `beta` and says that it is of team `alpha`"),
    ],
)
def test_a_name_of_another_team_is_noticed(tmp_path: Path, where: str, said: str) -> None:
    known = frozenset({"alpha", "beta", "alphabet"})
    assert said in teams.misnamed(tmp_path / where, "alpha", known)
    assert bool(teams.misnamed(tmp_path / where, "alpha", known)) == bool(said)
