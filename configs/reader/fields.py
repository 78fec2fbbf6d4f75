"""Finds the way through a pydantic model along the path that pydantic gives an error.

pydantic puts the tag of each union member it tried into that path; a user knows only the keys of
the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from challenge.configs.reader.parser import KeyPath


@dataclass(frozen=True)
class Spot:
    """Where an error is: `key` in the file, the `field` it fills, the section it stands in.

    `section` is None where no model is known there; `siblings` are the other members of the
    union that the section was chosen from, by `tag`.
    """

    key: KeyPath = ()
    kind: Any = Any
    field: FieldInfo | None = None
    section: type[BaseModel] | None = None
    siblings: tuple[type[BaseModel], ...] = ()
    tag: str = ""


def locate(model: type[BaseModel] | None, path: tuple[str | int, ...]) -> Spot:
    """Follow pydantic's `path` from `model` and drop what is not a key of the file."""
    spot = Spot(kind=model if model is not None else Any)
    members: tuple[type[BaseModel], ...] = ()
    tag = ""
    for part in path:
        choices = members_of(spot.kind)
        if len(choices) > 1:
            chosen = next((each for each in choices if str(part) in tags(each)), Any)
            members = tuple(each for each in map(bare, choices) if is_model(each))
            spot, tag = Spot(spot.key, chosen, spot.field, spot.section), str(part)
            continue
        here = bare(choices[0])
        key = (*spot.key, part)
        if is_model(here):
            field = here.model_fields.get(str(part))
            kind = Any if field is None else field.annotation
            spot = Spot(key, kind, field, here, members, tag)
        elif get_origin(here) is dict:
            spot = Spot(key, get_args(here)[1])
        else:
            inner = [each for each in get_args(here) if each is not ...]
            nth = part if isinstance(part, int) and part < len(inner) else 0
            spot = Spot(key, inner[nth] if inner else Any)
        members, tag = (), ""
    return spot


def named(title: str) -> type[BaseModel] | None:
    """The one model of this name that exists, None where there are none or several."""
    found = [each for each in _below(BaseModel) if each.__name__ == title]
    return found[0] if len(found) == 1 else None


def bare(kind: Any) -> Any:
    """An annotation without its metadata."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def members_of(kind: Any) -> list[Any]:
    """The members of a union, None left out; the annotation itself if it is no union."""
    inner = bare(kind)
    if get_origin(inner) not in (Union, UnionType):
        return [kind]
    return [each for each in get_args(inner) if each is not type(None)]


def tags(kind: Any) -> list[str]:
    """The words by which pydantic may name a member of a union."""
    given = [mark.tag for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Tag)]
    inner = bare(kind)
    if is_model(inner):
        kinds = [bare(field.annotation) for field in inner.model_fields.values()]
        literals = [each for each in kinds if get_origin(each) is Literal]
        given += [str(word) for each in literals for word in get_args(each)] + [inner.__name__]
    return given


def keys_named(model: type[BaseModel], name: str) -> list[str]:
    """Every place below `model`'s own keys where a key `name` may stand, as `noise.sigma`."""
    return [each for each in _places(model) if each.rpartition(".")[2] == name and "." in each]


@cache
def _places(model: type[BaseModel]) -> tuple[str, ...]:
    """Every key below `model`. Kept: a file may have thousands of unknown keys."""
    found = []
    for each, field in model.model_fields.items():
        found.append(each)
        for member in map(bare, members_of(field.annotation)):
            if is_model(member):
                found += [f"{each}.{below}" for below in _places(member)]
    return tuple(found)


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)
