"""Rules and limits of a published challenge, which may change: `rules.yaml`, and its history.

What decides images, measurements and metric stands in `challenge.yaml`, is hashed and stays. Every
change of a rule is a link of a chain:

    digest_0 = SHA-256(canonical JSON of {challenge: SHA-256 of the manifest, prepared})
    digest_n = SHA-256(canonical JSON of {before: digest_{n-1}, at, key, from, to})

So an edit by hand is seen, by everybody; and whoever kept an older copy sees whether a newer one
goes on from it. Older toolkits have rules and limits in `challenge.yaml`: their `rules.yaml` begins
with the first change. Free of torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from challenge.configs import loader
from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source
from challenge.configs.reader.writer import flow
from challenge.configs.schema.challenge import Terms
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Moment
from challenge.data import atomic
from challenge.data.hashing import digest_json
from challenge.data.layout import FRESH, Public

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_OWN = "restore it from a copy; rules are changed by `challenge amend` only"


class Change(Section):
    """One key that was changed after the challenge was published."""

    at: Moment
    key: str
    """`rules.deadline`."""
    before: Any
    after: Any
    digest: Digest
    """Of this link of the chain."""

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.before)} -> {shown(self.after)}"


class _File(Section):
    """What stands in `rules.yaml`."""

    format: Literal[1]
    challenge: Digest
    """The challenge's hash."""
    prepared: Moment | None
    """None where an older toolkit prepared it."""
    rules: Any
    limits: Any
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Standing:
    """The rules that hold, and how they came about."""

    terms: Terms
    changes: tuple[Change, ...]
    """The newest last."""
    challenge: str
    """The challenge's hash."""
    prepared: datetime | None = None

    @property
    def digest(self) -> str:
        """It names these rules with their history, 64 hex digits."""
        return self.changes[-1].digest if self.changes else _first(self.challenge, self.prepared)

    @property
    def version(self) -> str:
        """In words: `as published`, `2 changes, the last on 2026-12-01 10:00 UTC`."""
        if not self.changes:
            return "as published"
        count = "1 change" if len(self.changes) == 1 else f"{len(self.changes)} changes, the last"
        return f"{count} on {shown(self.changes[-1].at)}"


def read(public: Public, published: Terms, challenge: str, *, expected: bool) -> Standing:
    """The rules of a public folder, checked against their history.

    Args:
        published: rules and limits of the first day.
        challenge: the challenge's hash.
        expected: whether there must be a file; without one the published rules hold.

    Raises:
        UserError: the file is missing, of another challenge, or was edited by hand.
    """
    path = public.rules
    if not path.is_file():
        if expected:
            raise UserError.of(path, "is missing", FRESH)
        return Standing(published, (), challenge)
    return _read(path, published, challenge)


def compare(public: Public, own: Path, standing: Standing) -> None:
    """Hold public rules against the organiser's own copy, where there is one.

    Raises:
        UserError: the public ones are not the newest, or not of the same history.
    """
    if not own.is_file():
        return
    kept = _read(own, _published(standing), standing.challenge)
    if kept.digest == standing.digest:
        return
    before = {_first(kept.challenge, kept.prepared), *(each.digest for each in kept.changes)}
    cause = f"is older than the organiser's copy, {kept.version}"
    if standing.digest not in before:
        cause = f"has another history than the organiser's copy, {kept.version}"
    raise UserError.of(public.rules, cause, f"copy `{own}` over it")


def write(path: Path, standing: Standing, mode: int = 0o644) -> None:
    """Write `rules.yaml`, whole or not at all."""
    atomic.write_text(path, text(standing), mode)


def text(standing: Standing) -> str:
    """What stands in `rules.yaml`."""
    head = {"format": 1, "challenge": standing.challenge, "prepared": standing.prepared}
    changes = "".join(f"  - {flow(dict(each))}\n" for each in standing.changes)
    return (
        "# Rules and limits that hold. `challenge amend` changes them and notes it below; an edit\n"
        "# by hand is refused. An entry packed before a change stays valid as far as it allows.\n"
        + "".join(f"{name}: {flow(value)}\n" for name, value in head.items())
        + loader.dump(standing.terms)
        + (f"changes:\n{changes}" if changes else "changes: []\n")
    )


def changed(standing: Standing, terms: Terms, at: datetime) -> Standing:
    """The rules with others in their place, one link of the chain for every key that differs."""
    links, last = list(standing.changes), standing.digest
    for section, name in _keys():
        before, after = (getattr(getattr(each, section), name) for each in (standing.terms, terms))
        if before != after:
            link = _link(last, at, f"{section}.{name}", before, after)
            links.append(link)
            last = link.digest
    return replace(standing, terms=terms, changes=tuple(links))


def shown(value: Any) -> str:
    """A rule's value in words; a moment in UTC."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC".replace(":00 UTC", " UTC")
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(path: Path, published: Terms, challenge: str) -> Standing:
    source = loader.read(str(path))
    try:
        file = _File.model_validate(source.tree)
        terms = Terms.model_validate({"rules": file.rules, "limits": file.limits})
    except ValidationError as error:
        model = Terms if error.title == Terms.__name__ else _File
        raise UserError(*source.explain(error, model=model)) from error
    if file.challenge != challenge:
        raise UserError.of(path, "belongs to another preparation of the challenge", FRESH)
    replayed, last = published, _first(challenge, file.prepared)
    for number, change in enumerate(file.changes):
        replayed = _replayed(source, number, change, replayed, last)
        last = change.digest
    mistakes = list(_edits(source, path, terms, replayed))
    if mistakes:
        raise UserError(*mistakes)
    return Standing(terms, file.changes, challenge, file.prepared)


def _replayed(source: Source, number: int, change: Change, terms: Terms, last: str) -> Terms:
    """The rules after a change, which must go on from those before and hash to its digest."""
    section, _, name = change.key.partition(".")
    place = ("changes", number)
    try:
        if (section, name) not in _keys():
            raise ValueError
        before, after = (
            _with(terms, section, name, each) for each in (change.before, change.after)
        )
        values = (getattr(getattr(each, section), name) for each in (before, after))
        link = _link(last, change.at, change.key, *values)
    except ValueError:
        link = None
    if link is None or before != terms or link.digest != change.digest:
        cause = f"change {number + 1} was not made by `challenge amend`"
        raise UserError(source.mistake(place, cause, _OWN)) from None
    return after


def _edits(source: Source, path: Path, found: Terms, replayed: Terms) -> Iterator[Mistake]:
    """A mistake for every value that is not what the history makes it."""
    for section, name in _keys():
        here, there = (getattr(getattr(each, section), name) for each in (found, replayed))
        if here != there:
            key = f"{section}.{name}"
            cause = f"`{key}` was edited by hand, it holds as {flow(there)}"
            remedy = (
                f"write that again, then `challenge amend {path.parent.name} {key}={flow(here)}`"
            )
            yield source.mistake((section, name), cause, remedy)


def _keys() -> Iterator[tuple[str, str]]:
    """Section and name of everything that may be changed."""
    for section, field in Terms.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for name in field.annotation.model_fields:
            yield section, name


def _with(terms: Terms, section: str, name: str, value: Any) -> Terms:
    """The rules with one key changed; raises `ValueError` where the value is not one for it."""
    tree = terms.model_dump()
    tree[section][name] = value
    return Terms.model_validate(tree)


def _published(standing: Standing) -> Terms:
    """The rules of the first day: every change undone, the newest first."""
    terms = standing.terms
    for change in reversed(standing.changes):
        section, _, name = change.key.partition(".")
        terms = _with(terms, section, name, change.before)
    return terms


def _first(challenge: str, prepared: datetime | None) -> str:
    return digest_json({"challenge": challenge, "prepared": _plain(prepared)})


def _link(last: str, at: datetime, key: str, before: Any, after: Any) -> Change:
    before, after = (list(each) if isinstance(each, tuple) else each for each in (before, after))
    parts = {"before": last, "at": at, "key": key, "from": before, "to": after}
    digest = digest_json({name: _plain(value) for name, value in parts.items()})
    return Change(at=at, key=key, before=before, after=after, digest=digest)


def _plain(value: Any) -> Any:
    """As JSON holds it: the same for equal moments of different zones."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
