"""Files made to cost time or memory: refused at once, with the mistakes of a user."""

import time
import tracemalloc

import pytest
import yaml

from challenge.configs.errors import UserError
from challenge.configs.loader import LARGEST, load_challenge, load_entry
from challenge.configs.reader import parser
from tests.clock import least

HEAD = "challenge: deblur\nmethod: {name: tv}\n"
PARSERS = [yaml.BaseLoader] + ([yaml.CBaseLoader] if yaml.__with_libyaml__ else [])
SECONDS, BYTES = 0.5, 20_000_000


def laughs() -> str:
    """Nine levels of nine aliases each: 387 million values."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join(lines)


def full(piece: str, before: str = HEAD, after: str = "") -> str:
    """As much of a piece as a file may have."""
    return before + piece * ((LARGEST - len(before) - len(after)) // len(piece.encode())) + after


def nested(levels: int = 400) -> str:
    return HEAD + "train:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, levels))


BOMBS = {
    "billion laughs": (laughs(), "an alias, `*l0`, is not supported"),
    "refers to itself": (HEAD + "train: &t {lr: *t}", "an anchor, `&t`, is not supported"),
    "merges itself": (HEAD + "train: &t\n  <<: *t\n  lr: 1", "an alias, `*t`, is not supported"),
    "merges": (HEAD + "train: {<<: {lr: 1}}", "`train.<<` is not a known key"),
    "nested lists": (full("[", HEAD + "train: "), "more than 30 levels of nesting"),
    "nested maps": (full("{a: ", HEAD + "train: "), "more than 30 levels of nesting"),
    "nested blocks": (nested(), "more than 30 levels of nesting"),
    "nested dashes": (full("- ", ""), "more than 30 levels of nesting"),
    "nested keys": (full("? ", ""), "a key must be a word"),
    "large float": (HEAD + "train: {lr: 1e999}", "`train.lr` must be a finite number (got 1e999)"),
    "large whole": (HEAD + "train: {steps: 1e999}", "`train.steps` must be a finite number"),
    "digits": (full("7", HEAD + "seed: "), "`seed` must be a finite number (got 777"),
    "hex digits": (full("f", HEAD + "seed: 0x"), "`seed` must be a whole number (got 0xfff"),
    "100 hex digits": (HEAD + "seed: 0x" + "f" * 100, "`seed` must be less than"),
    "base 60": (HEAD + "seed: 190:20:30", "`seed` must be a whole number (got 190:20:30)"),
    "python": (HEAD + "seed: !!python/object/apply:os.system [x]", "a tag, `!!python/object/app"),
    "binary": (HEAD + "seed: !!binary aGk=", "a tag, `!!binary`, is not supported"),
    "many keys": (full("k: 1\n"), "more than 2,000 values"),
    "many values": (full("1, ", HEAD + "train: [", "1]"), "more than 2,000 values"),
    "unknown keys": (HEAD + "".join(f"k{n}: 1\n" for n in range(1990)), "`k1989` is not a known"),
    "many anchors": (full("&a 1, ", HEAD + "train: [", "1]"), "an anchor, `&a`"),
    "many aliases": (full("*a , ", HEAD + "train: [", "1]"), "an alias, `*a`"),
    "long names": (HEAD + f"? {'k' * 50_000}\n: {{" + "a: 1, " * 1900 + "}", "is given twice"),
    "documents": (full("---\n"), "a second document begins here"),
    "directives": (full("%TAG !e! tag:x,y:\n", ""), "not valid YAML"),
    "a quote": (full("\n", HEAD + 'train: "'), "a quote is not closed"),
    "too large": (full("#") + "#" * 50, "is too large for a config"),
}


@pytest.fixture(params=BOMBS)
def bomb(request, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(BOMBS[request.param][0], encoding="utf-8")
    return path, BOMBS[request.param][1]


@pytest.mark.parametrize("events", PARSERS, ids=lambda events: events.__name__)
def test_a_bomb_is_refused_at_once(bomb, events, monkeypatch):
    monkeypatch.setattr(parser, "EVENTS", events)
    path, said = bomb
    with pytest.raises(UserError):  # warm: the first call imports
        load_challenge(str(path))

    def refuse() -> None:
        with pytest.raises(UserError):
            load_entry(str(path))

    # Of this thread: others of the process, left over from another test, may still be at work.
    assert least(refuse, time.thread_time) < SECONDS
    with pytest.raises(UserError) as error:
        load_entry(str(path))
    # Newer parsers refuse deep nesting by themselves, in words of their own.
    text = str(error.value).replace(
        "exceeded maximum nesting depth", "more than 30 levels of nesting"
    )
    assert said in text


def test_a_bomb_takes_no_memory(bomb):
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            load_entry(str(bomb[0]))
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


def test_as_many_values_as_a_config_may_hold():
    assert not parser.parse(f"a: [{', '.join('1' * (parser.NODES - 2))}]").faults
    assert parser.parse(f"a: [{', '.join('1' * (parser.NODES - 1))}]").faults


@pytest.mark.parametrize("odd", ["\ufeff", "\u2028", "\u202e", "\x85"])
def test_messages_are_harmless_lines(odd, tmp_path):
    """What is printable to YAML may still turn a terminal's line around, or break it."""
    path = tmp_path / "config.yaml"
    for text in (HEAD + f"{odd}seed: 1", HEAD.replace("deblur", f'"{odd}x"'), HEAD + f"a: &{odd} 1",
                 HEAD + f'"{odd}": 1\n"{odd}": 2', HEAD + f"train: {{'lr{odd}': 1}}"):  # fmt: skip
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as error:
            load_challenge(str(path))
        assert all(str(mistake).isprintable() for mistake in error.value.mistakes)
