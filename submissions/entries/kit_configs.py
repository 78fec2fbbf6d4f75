"""The packaged configs of entries as a challenge needs them."""

from __future__ import annotations

import re
from pathlib import Path

from challenge.configs.paths import names
from challenge.configs.reader.parser import parse
from challenge.data.challenges.challenge import Challenge
from challenge.methods import from_source, registry

GREY = {"lista": {"filters": 32}}
"""Knobs that grey images ask for, by method: of 6x6 grey pixels there are at most 36 filters."""


def fitting(challenge: Challenge) -> dict[str, str]:
    """The texts of the configs by file name: of the methods that take the challenge's operator.

    They name the challenge, and a method that is made for so many channels gets the challenge's.
    """
    found = {}
    for path in names("methods").values():
        text = path.read_text("utf-8")
        method = str(parse(text).value["method"]["name"])
        takes = from_source.operators(method)
        if takes is None or challenge.config.operator.kind in takes:
            found[path.name] = _for_challenge(text, method, challenge)
    return found


def _for_challenge(text: str, method: str, challenge: Challenge) -> str:
    from challenge.methods.knobs import model

    text = re.sub(r"^challenge:.*$", f"challenge: {challenge.config.name}", text, flags=re.M)
    text = text.replace("$schema=../entry.schema.json", "$schema=entry.schema.json")
    knob = model(registry.resolve(method, Path())).model_fields.get("channels")
    if knob is None or knob.default == challenge.channels:
        return text
    settings = {"channels": challenge.channels} | GREY.get(method, {})
    for key, value in settings.items():
        setting = f"{key}: {value}"
        if key in parse(text).value["method"]:
            text = re.sub(rf"\b{key}: \w+", setting, text, count=1)
            continue
        # In block style on a line of its own, in flow style behind the name.
        text = re.sub(rf"^( +)name: {method}$", rf"\g<0>\n\1{setting}", text, flags=re.M)
        text = re.sub(rf"(?<={{)name: {method}\b", rf"\g<0>, {setting}", text)
    assert settings.items() <= parse(text).value["method"].items()
    return text
