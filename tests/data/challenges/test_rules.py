"""Rules of a published challenge: changed by `amend`, with a history that an edit breaks."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges import rules, seal
from challenge.data.challenges.amend import amend
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import Prepared
from challenge.data.hashing import digest
from challenge.data.layout import Public, Workspace

NEW = "rules.deadline=2026-12-05T17:00:00Z"


@pytest.fixture
def place(small: Prepared, tmp_path: Path) -> Workspace:
    """The organiser's workspace, to be changed."""
    shutil.copytree(small.public.path, tmp_path / "public/small")
    shutil.copytree(small.hidden.path, tmp_path / "hidden/small")
    return Workspace(tmp_path)


@pytest.fixture(params=[1, 2, 3])
def any_age(place: Workspace, request, to_format_1, to_format_2) -> Workspace:
    """The same, as each toolkit so far prepared it."""
    convert = {1: to_format_1, 2: to_format_2, 3: lambda *_: None}[request.param]
    convert(place.public("small"), place.hidden("small"))
    assert open_challenge(place.public("small").path).format == request.param
    return place


CHANGES = {
    NEW: datetime(2026, 12, 5, 17, tzinfo=UTC),
    "rules.deadline=2026-12-05T18:00:00+01:00": datetime(2026, 12, 5, 17, tzinfo=UTC),
    "rules.entries_per_day=3": 3,
    "rules.counts=best": "best",
    "rules.packages=[einops]": ("einops",),
    "rules.judges=same_machine_kind": "same_machine_kind",
    "rules.pretrained=forbidden": "forbidden",
    "rules.external_data=forbidden": "forbidden",
    "limits.minutes=30": 30,
    "limits.weights_mb=10": 10,
    "limits.threads=4": 4,
    "limits.memory_gb=2.5": 2.5,
}


def test_all_that_may_be_changed_is_tried_here() -> None:
    keys = {text.partition("=")[0] for text in CHANGES}
    assert keys == {".".join(each) for each in rules._keys()}


def test_every_rule_and_limit_is_changed_one_after_the_other(any_age: Workspace) -> None:
    """Identity and seal stay; opened again, each rule is as it was made."""
    public, hidden = any_age.public("small"), any_age.hidden("small")
    before = {path: digest(path) for path in public.path.rglob("*") if path.is_file()}
    first = open_challenge(public.path)
    for number, (override, value) in enumerate(CHANGES.items()):
        made = amend(any_age, "small", [override]).changes
        opened = open_challenge(public.path, verify=True)
        section, name = override.partition("=")[0].split(".")
        assert getattr(getattr(opened.config, section), name) == value
        # The deadline in another zone is the same moment.
        assert len(made) == (number != 1)
        assert opened.standing.changes[-len(made) or len(opened.standing.changes) :] == made
        assert opened.hash == first.hash
        assert opened.config.rules.test_measurements == first.config.rules.test_measurements
    assert seal.verify(public, hidden)
    assert hidden.rules.stat().st_mode & 0o777 == 0o600
    after = {path: digest(path) for path in before if path != public.rules}
    assert after == {path: each for path, each in before.items() if path != public.rules}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("noise.sigma=0.1", "decides the measurements"),
        ("noise={kind: gaussian, sigma: 0.1}", "decides the measurements"),
        ("operator.boundary=valid", "decides the measurements"),
        ("images.test=2", "decides the images"),
        ("metric.crop=3", "decides the scores"),
        ("seed=1", "decides the splits"),
        ("name=other", "names the challenge"),
        ("rules.test_measurements=published", "decides what was published"),
        ("rules.final_share=0.5", "decides what was published"),
        ("rules={test_measurements: published}", "would replace all `rules`"),
        ("rules={counts: best}", "would replace all `rules`"),
        ("limits={minutes: 30}", "would replace all `limits`"),
        ("rules.deadlin=2026-12-05T17:00:00Z", "did you mean `rules.deadline`?"),
        ("rule.deadline=2026-12-05T17:00:00Z", "did you mean `rules`?"),
        ("deadline=2026-12-05T17:00:00Z", "elsewhere: `rules.deadline`"),
        ("rules.deadline=2026-12-05T17:00:00", "must have a time zone"),
        ("rules.deadline=tomorrow", "must be a date and time"),
        ("rules.counts=last", "must be `latest` or `best`"),
        ("rules.entries_per_day=0", "must be at least 1"),
        ("limits.minutes=-1", "must be greater than 0"),
        ("rules.deadline", "is not of the form `key=value`"),
    ],
)
def test_what_cannot_be_changed_is_refused_whole(
    place: Workspace, override: str, words: str
) -> None:
    before = place.public("small").rules.read_bytes()
    with pytest.raises(UserError) as caught:
        amend(place, "small", [NEW, override])
    (mistake,) = caught.value.mistakes
    assert words in str(mistake)
    assert place.public("small").rules.read_bytes() == before


def _swap(old: str, new: str):
    def edit(public: Public) -> None:
        text = public.rules.read_text()
        assert old in text
        public.rules.write_text(text.replace(old, new, 1))

    return edit


def _last_change(public: Public) -> str:
    return public.rules.read_text().splitlines()[-1] + "\n"


_DIGEST = re.compile(r'digest: "?[0-9a-f]{64}"?')
"""Quoted where YAML would read it as a number."""
EDITS = {
    "a rule": _swap("deadline: 2026-12-05T17:00:00Z\n", "deadline: 2026-12-09T17:00:00Z\n"),
    "a rule that never changed": _swap("entries_per_day: 5\n", "entries_per_day: 50\n"),
    "a limit": _swap("minutes: 20.0\n", "minutes: 40.0\n"),
    "when it was changed": _swap("{at: 20", "{at: 19"),
    "what it was before": _swap("before: null", "before: 2026-12-01T17:00:00Z"),
    "what was made of it": _swap("after: 2026-12-05T17:00:00Z", "after: 2026-12-09T17:00:00Z"),
    "which key it was": _swap("key: rules.deadline", "key: limits.minutes"),
    "a key that there is not": _swap("key: rules.deadline", "key: rules.daedline"),
    "a digest": lambda public: public.rules.write_text(
        _DIGEST.sub(f'digest: "{"0" * 64}"', public.rules.read_text(), count=1)
    ),
    "a change twice": lambda public: public.rules.write_text(
        public.rules.read_text() + _last_change(public)
    ),
    "the first change gone": lambda public: public.rules.write_text(
        "".join(
            line
            for line in public.rules.read_text().splitlines(True)
            if "rules.deadline" not in line
        )
    ),
    "of another challenge": lambda public: _swap(digest(public.manifest), "0" * 64)(public),
    "test measurements": _swap("  counts:", "  test_measurements: published\n  counts:"),
    "no file": lambda public: public.rules.unlink(),
    "no YAML": lambda public: public.rules.write_text("rules: {"),
    "nothing": lambda public: public.rules.write_text(""),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_by_hand_is_told_by_a_copy_without_the_hidden_folder(
    place: Workspace, edit
) -> None:
    amend(place, "small", [NEW])
    amend(place, "small", ["rules.counts=best"])
    public = place.public("small")
    open_challenge(public.path)
    edit(public)
    with pytest.raises(UserError) as caught:
        open_challenge(public.path)
    assert str(public.rules) in str(caught.value)


def test_the_remedy_for_an_edited_rule_works(place: Workspace) -> None:
    public = place.public("small")
    _swap("deadline: null\n", "deadline: 2026-12-09T17:00:00Z\n")(public)
    with pytest.raises(UserError) as caught:
        open_challenge(public.path)
    (mistake,) = caught.value.mistakes
    assert mistake.place.endswith("rules.yaml:10")
    assert mistake.cause == "`rules.deadline` was edited by hand, it holds as null"
    *_, command = mistake.remedy.split("`")[:-1]
    assert command == "challenge amend small rules.deadline=2026-12-09T17:00:00Z"
    _swap("deadline: 2026-12-09T17:00:00Z\n", "deadline: null\n")(public)
    (change,) = amend(place, "small", [command.split()[-1]]).changes
    assert str(change) == "rules.deadline: none -> 2026-12-09 17:00 UTC"


@pytest.mark.parametrize("edit", ["older", "dated otherwise"])
def test_the_organisers_copy_tells_rules_that_are_whole_but_not_the_newest(
    place: Workspace, edit: str
) -> None:
    """A change that was taken back by hand, say; `amend` does not go on from there."""
    public, hidden = place.public("small"), place.hidden("small")
    amend(place, "small", [NEW])
    if edit == "older":
        before = public.rules.read_bytes()
        amend(place, "small", ["rules.counts=best"])
        public.rules.write_bytes(before)
    else:
        text = public.rules.read_text().replace("prepared: 20", "prepared: 19")
        public.rules.write_text(
            text.partition("changes:")[0].replace(
                "deadline: 2026-12-05T17:00:00Z", "deadline: null"
            )
            + "changes: []\n"
        )
    standing = open_challenge(public.path).standing
    for refused in (
        lambda: rules.compare(public, hidden.rules, standing),
        lambda: amend(place, "small", ["limits.minutes=30"]),
    ):
        cause = "is older than" if edit == "older" else "has another history than"
        with pytest.raises(UserError, match=f"{cause} the organiser's copy, .* change"):
            refused()
    shutil.copyfile(hidden.rules, public.rules)  # the remedy
    amend(place, "small", ["limits.minutes=30"])


def test_rules_in_an_older_challenge_are_not_edited_either(place: Workspace, to_format_2) -> None:
    """Its board applied a changed deadline without a word."""
    public = place.public("small")
    to_format_2(public, place.hidden("small"))
    text = public.config.read_text()
    public.config.write_text(text.replace("deadline: null", "deadline: 2026-12-05T17:00:00Z"))
    with pytest.raises(
        UserError, match=r"challenge\.yaml: was changed since .*challenge amend small"
    ):
        open_challenge(public.path)


def test_only_who_has_the_hidden_folder_amends(place: Workspace) -> None:
    shutil.rmtree(place.hidden("small").path)
    with pytest.raises(UserError, match="only who has it changes the rules"):
        amend(place, "small", [NEW])


def test_several_at_once_make_one_chain(place: Workspace) -> None:
    texts = [f"rules.entries_per_day={number}" for number in range(10, 16)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda text: amend(place, "small", [text]), texts))
    changes = open_challenge(place.public("small").path).standing.changes
    assert sorted(change.after for change in changes) == list(range(10, 16))


def test_rules_say_when_they_are_of(place: Workspace) -> None:
    opened = open_challenge(place.public("small").path)
    assert opened.standing.version == "as published"
    assert abs((datetime.now(UTC) - opened.standing.prepared).total_seconds()) < 3600
    standing = amend(place, "small", [NEW, "limits.minutes=30"]).challenge.standing
    assert standing.version.startswith("2 changes, the last on 20")
    assert standing.digest != opened.standing.digest
