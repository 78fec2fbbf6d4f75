"""The name table of the methods; a class is imported when it is used."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from challenge.configs import spelling
from challenge.configs.errors import Mistake, UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods import plugin

if TYPE_CHECKING:
    from challenge.configs.loader import Source
    from challenge.methods.contract import Method
    from challenge.methods.parts import Part

METHODS: dict[str, str] = {
    "adapt": "challenge.methods.end_to_end.adapt:Adapt",
    "autoencoder": "challenge.methods.generative.autoencoder:Autoencoder",
    "bilevel": "challenge.methods.variational.bilevel:Bilevel",
    "bm3d": "challenge.methods.plug_and_play.bm3d:BM3D",
    "deq": "challenge.methods.end_to_end.deq:DEQ",
    "diffusion": "challenge.methods.generative.diffusion:Diffusion",
    "dncnn": "challenge.methods.plug_and_play.dncnn:DnCNN",
    "drunet": "challenge.methods.plug_and_play.drunet:DRUNet",
    "ensemble": "challenge.methods.end_to_end.ensemble:Ensemble",
    "fbp": "challenge.methods.variational.fbp:FBP",
    "ffdnet": "challenge.methods.plug_and_play.ffdnet:FFDNet",
    "gs_pnp": "challenge.methods.plug_and_play.gs_pnp:GSPnP",
    "gsdrunet": "challenge.methods.plug_and_play.gsdrunet:GSDRUNet",
    "huber": "challenge.methods.variational.huber:Huber",
    "lipschitz": "challenge.methods.plug_and_play.lipschitz:Lipschitz",
    "lista": "challenge.methods.end_to_end.lista:Lista",
    "lpd": "challenge.methods.end_to_end.lpd:LPD",
    "network": "challenge.methods.end_to_end.network:Network",
    "neural_ode": "challenge.methods.end_to_end.neural_ode:NeuralODE",
    "pnp": "challenge.methods.plug_and_play.pnp:PnP",
    "red": "challenge.methods.plug_and_play.red:Red",
    "score": "challenge.methods.generative.score:Score",
    "tv": "challenge.methods.variational.tv:TV",
    "unrolled": "challenge.methods.end_to_end.unrolled:Unrolled",
    "vae": "challenge.methods.generative.vae:VAE",
    "wavelet": "challenge.methods.plug_and_play.wavelet:WaveletThresholding",
    "wiener": "challenge.methods.variational.wiener:Wiener",
    "zero_filled": "challenge.methods.variational.zero_filled:ZeroFilled",
}

CHAPTERS = {
    "variational": "Variational",
    "end_to_end": "End to end",
    "plug_and_play": "Plug-and-play",
    "generative": "Generative",
}
"""The chapters of the course, in its order, by the folder in which their methods stand."""

GROUP = "challenge.methods"
"""Entry-point group by which another installed package adds methods."""


def installed() -> dict[str, EntryPoint]:
    """Methods that other installed packages add, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def provider(name: str) -> str | None:
    """The installed distribution that adds a method; None where none does."""
    point = installed().get(name)
    return point.dist.name if point and point.dist else None


def names() -> list[str]:
    """Every name that `method.name` may be, sorted; a team's own file comes on top."""
    return sorted({*METHODS, *installed()})


def chapters() -> dict[str, list[str]]:
    """The names of the methods by chapter, in the order of the course; then those of others."""
    found: dict[str, list[str]] = {title: [] for title in CHAPTERS.values()}
    for name, target in METHODS.items():
        found[CHAPTERS[target.split(".")[2]]].append(name)
    others = sorted(installed().keys() - METHODS.keys())
    return {**found, "From other packages": others} if others else found


def unknown(name: str) -> tuple[str, str] | None:
    """Cause and remedy when `name` is neither in the table nor a file, else None. No import."""
    if plugin.is_plugin(name) or name in METHODS or name in installed():
        return None
    listed = f"methods: {', '.join(names())}, or a file `path/method.py`"
    return f"there is no method `{name}`", spelling.did_you_mean(name, names(), listed)


def resolve(name: str, base: Path) -> type[Method]:
    """The class of a method's name. A team's own file is imported, that is: run.

    Args:
        name: a word of the table, or `path/file.py[:Class]`.
        base: folder in which a file is looked up first.

    Raises:
        UserError: nothing has this name.
    """
    problem = unknown(name)
    if problem is not None:
        raise UserError.of("`method.name`", *problem)
    if plugin.is_plugin(name):
        return plugin.load(name, base)
    target = METHODS.get(name) or installed()[name].value
    module, _, attribute = target.partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found


def build(
    section: Mapping[str, Any],
    base: Path = Path(),
    parts: Mapping[str, Method] | None = None,
    *,
    key: str = "method",
) -> Method:
    """Build the method of a config's `method:` section, and the methods that its knobs are.

    Args:
        section: the method's name and knobs.
        base: folder in which a team's file is looked up first.
        parts: methods that are there already, with their weights, by the knob that they are.
        key: the section's place in the config.

    Raises:
        UserError: no such method, or knobs that its constructor does not accept.
    """
    from challenge.configs.reader.messages import complaints
    from challenge.methods.knobs import model
    from challenge.methods.parts import parts_of

    cls = resolve(str(section.get("name", "")), base)
    given = {key: value for key, value in section.items() if key != "name"}
    try:
        values = model(cls).model_validate(given)
    except ValidationError as error:
        found = complaints(error, model(cls))
        raise UserError(
            *(
                Mistake(f"`{key}." + ".".join(map(str, each.key)) + "`", each.words, each.remedy)
                for each in found
            )
        ) from error
    knobs = {name: getattr(values, name) for name in type(values).model_fields}
    for name, part in parts_of(model(cls)).items():
        given_part = (parts or {}).get(name)
        if knobs[name] is not None:
            place = f"{key}.{name}"
            method = given_part or build(knobs[name], base, key=place)
            check_part(type(method), knobs[name], part, f"`{place}`")
            knobs[name] = method
    return _construct(cls, knobs)


def sections(
    section: Mapping[str, Any], key: str = "method"
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A `method:` section with its place, and those of the methods that its knobs are.

    Of methods of the table: what a section of a team's own method means, with a `name` in it or
    without, its constructor alone would tell.
    """
    yield key, section
    if str(section.get("name")) not in METHODS:  # anything may stand there
        return
    for knob, value in section.items():
        if isinstance(value, Mapping) and "name" in value:
            yield from sections(value, f"{key}.{knob}")


def check_part(cls: type[Method], section: Mapping[str, Any], part: Part, place: str) -> None:
    """Raise `UserError` where a method cannot be what a knob of another one takes.

    Args:
        cls: the method's class.
        section: its name and knobs.
        part: what the knob takes.
        place: the knob, for the message.
    """
    from challenge.methods.knobs import model
    from challenge.methods.parts import parts_of

    if part.operator is None:
        return
    name, remedy = section["name"], "`challenge methods` lists what each method takes"
    for knob, inner in parts_of(model(cls)).items():
        if section.get(knob, inner.default) is not None:
            cause = f"`{name}` has a `{knob}` itself"
            raise UserError.of(place, cause, "give a denoiser that needs no other method")
    if cls.operators is not None and part.operator not in cls.operators:
        cause = f"`{name}` is for the operators {', '.join(cls.operators)}, not for {part.operator}"
        raise UserError.of(place, cause, remedy)


def _construct(cls: type[Method], knobs: dict[str, Any]) -> Method:
    """Call the constructor; raises `UserError` where it leaves no torch module behind."""
    from challenge.methods.knobs import place

    remedy = "begin it with `super().__init__()`"
    if dataclasses.is_dataclass(cls):
        remedy = (
            "write an `__init__` in place of `@dataclass`, and begin it with `super().__init__()`"
        )
    try:
        made = cls(**knobs)
        complete = "_modules" in vars(made) and type(made).__hash__ is not None
    except AttributeError as error:
        # torch's own words
        if "before Module.__init__() call" not in str(error):
            raise
        complete = False
    if not complete:
        raise UserError.of(place(cls), "its constructor does not make a torch module", remedy)
    return made


def mistakes(source: Source, section: dict[str, Any]) -> list[Mistake]:
    """Every mistake of a `method:` section and of the `train:` keys the method would not read."""
    name = section.get("name")
    cls, reads, found = _mistakes_in(source, section, ("method",))
    if cls is None:
        return found
    train = source.tree.get("train")
    defaults = TrainConfig().model_dump()
    for key, value in train.items() if isinstance(train, dict) else ():
        # A resolved config states every default; a default that is not read misleads nobody.
        if key in defaults and key not in reads and value != defaults[key]:
            listed = ", ".join(f"`train.{each}`" for each in reads) or "no `train:` key"
            here = " with these knobs" if key in cls.reads else ""
            cause = f"`{name}` does not read `train.{key}`{here}"
            found.append(source.mistake(("train", key), cause, f"it reads {listed}"))
    return found


def _mistakes_in(
    source: Source, section: Mapping[str, Any], place: tuple[str, ...]
) -> tuple[type[Method] | None, Sequence[str], list[Mistake]]:
    """The class of a section, the `train:` keys that it reads, and the section's mistakes.

    A knob that is a method may be a path, which is for others to look up.
    """
    from challenge.methods.knobs import model
    from challenge.methods.parts import parts_of

    name, dotted = section.get("name"), ".".join(place)
    if not isinstance(name, str):
        remedy = f"one of {', '.join(names())}, or a file `path/method.py`"
        missing = source.mistake((*place, "name"), f"`{dotted}.name` is missing", remedy)
        return None, (), [missing]
    problem = unknown(name)
    if problem is not None:
        return None, (), [source.mistake((*place, "name"), *problem)]
    cls = resolve(name, source.path.parent)
    found, reads = [], cls.reads
    given = {key: value for key, value in section.items() if key != "name"}
    try:
        reads = cls.reads_with(dict(model(cls).model_validate(given)))
    except ValidationError as error:
        found = source.explain(error, place, model(cls))
    for knob in parts_of(model(cls)):
        if isinstance(inner := given.get(knob), dict) and "name" in inner:
            found += _mistakes_in(source, inner, (*place, knob))[2]
    return cls, reads, found


def check_operator(method: Method, name: str, challenge: str, kind: str) -> None:
    """Raise `UserError` where a method, or one that it wraps, is not for a challenge's operators.

    Args:
        method: built.
        name: `method.name`.
        challenge: its name.
        kind: of its operator's family.
    """
    from challenge.methods.knobs import model
    from challenge.methods.parts import parts_of

    takes = method.operators
    if takes is not None and kind not in takes:
        raise UserError.of(
            f"`{name}`",
            f"is for the operators {', '.join(takes)}; that of `{challenge}` is {kind}",
            "`challenge methods` lists what each method takes",
        )
    for knob, part in parts_of(model(type(method))).items():
        if part.operator is None:
            wrapped: Method = getattr(method, knob)
            check_operator(wrapped, type(wrapped).__name__, challenge, kind)
