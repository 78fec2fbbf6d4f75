"""The YAML that is read: values, lines, and what is refused, with both of PyYAML's parsers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.reader import parser
from challenge.configs.reader.parser import parse, plain
from challenge.configs.reader.writer import flow

PARSERS = [yaml.BaseLoader] + ([yaml.CBaseLoader] if yaml.__with_libyaml__ else [])


@pytest.fixture(params=PARSERS, ids=lambda each: each.__name__)
def _parser(request, monkeypatch):
    monkeypatch.setattr(parser, "EVENTS", request.param)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("-3.", -3.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        (".inf", float("inf")),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        # text, although YAML 1.1 makes something else of them
        ("yes", "yes"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-12-04", "2026-12-04"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("٣", "٣"),
        ("2026-12-04T17:00:00Z", datetime(2026, 12, 4, 17, tzinfo=UTC)),
        ("2026-12-04 17:00", datetime(2026, 12, 4, 17)),
        (
            "2026-12-04t17:00:00.5 +01:00".replace("t", "T"),
            datetime(2026, 12, 4, 17, 0, 0, 500000, timezone(timedelta(hours=1))),
        ),
        ("2026-13-04T17:00:00Z", "2026-13-04T17:00:00Z"),
    ],
)
def test_plain_scalars(text, value):
    assert plain(text) == value
    assert type(plain(text)) is type(value)


@pytest.mark.usefixtures("_parser")
def test_lines_and_spelling_of_every_key():
    tree = parse("a: 1e-3\nb:\n  c: [x,\n     '2']\n  1: {d: null}\n")
    assert tree.value == {"a": 0.001, "b": {"c": ["x", "2"], "1": {"d": None}}}
    del tree.lines[()]
    assert tree.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 3,
        ("b", "c", 1): 4,
        ("b", "1"): 5,
        ("b", "1", "d"): 5,
    }
    assert tree.texts["a",] == "1e-3"
    assert tree.faults == []


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: b: c", ["1 a second `: ` in one line; put the value in quotes"]),
        ("a:\n\tb: 1", ["2 a tab in the indentation; indent with spaces"]),
        ("a: 1\n\tb: 2", ["2 a tab in the indentation; indent with spaces"]),
        ("a: {b: 1\nc: 2\n", ["1 after `{` a `,` or the closing `}` is missing"]),
        ("x: 1\na: [1, 2\n", ["2 after `[` a `,` or the closing `]` is missing"]),
        ("a: 'x\nb: 1\n", ["1 a quote is not closed"]),
        (
            'a: "C:\\data"',
            ["1 `\\` has a special meaning in double quotes; use single quotes, or `/` in a path"],
        ),
        ("a: @x", ["1 a value cannot begin with @; put it in quotes"]),
        ("a: `x`", ["1 a value cannot begin with a backtick; put it in quotes"]),
        (
            "a\nb: 1\n",
            [
                "2 this line does not follow from the one above; "
                "indent it like its neighbours, and see that the line above has its `:`"
            ],
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            ["3 the indentation fits no line above; indent it like its neighbours"],
        ),
        ("a:\n  b: 1\n  c\n  d: 2\n", ["3 a key has no `:`; write `key: value`"]),
        ("a: }", ["1 a value is missing before `}`"]),
        ("a: {b: 1}}", ["1 `}` is not expected here; put a value like this in quotes"]),
        ("a: - b", ["1 a list cannot begin here; write it as `[a, b]`"]),
        ("[a: {]", ["1 a value is missing before `]`"]),
        (
            "a: &x 1\nb: *x",
            [
                "1 an anchor, `&x`, is not supported; leave out `&x`, or put the value in quotes",
                "2 an alias, `*x`, is not supported; "
                'write the value out, or put it in quotes: `"*x"`',
            ],
        ),
        (
            "a: !!float 1",
            [
                "1 a tag, `!!float`, is not supported; "
                "write the value without it; text stands in quotes"
            ],
        ),
        ("? [a]\n: 1", ["1 a key must be a word, not a list or section"]),
        ("a: 1\n---\nb: 2", ["2 a second document begins here; keep one, without `---`"]),
        ("a:\n b: 1\n b: {c: 2}", ["3 `a.b` is given twice; keep one, the other is in line 2"]),
        ("x: 1\na: \x07", ["2 an unprintable character, \\x07; take it out"]),
        ('x: 1\na: "\\0"', ["2 an unprintable character, \\x00; take it out"]),
        ('x: 1\n"\\e": 2', ["2 an unprintable character, \\x1b; take it out"]),
        ("[" * 40, ["1 more than 30 levels of nesting"]),
        ("{a: " * 5000, ["1 more than 30 levels of nesting"]),
    ],
)
def test_faults(text, faults):
    found = parse(text).faults
    texts = [f"{each.line} {each.cause}; {each.remedy}".removesuffix("; ") for each in found]
    assert texts == faults


@pytest.mark.usefixtures("_parser")
def test_first_of_two_values_stands():
    tree = parse("a: 1\na: {b: 2}\n")
    assert tree.value == {"a": 1}
    assert tree.lines["a",] == 1
    assert tree.texts["a",] == "1"


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_nothing(text):
    assert parse(text).value is None
    assert parse(text).faults == []


WORDS = ["1e-3", "1_000", "yes", "...", "a: b", "-", "#", "12:30", "a:b", "a #b", "~", "null", "'"]
TEXTS = st.text().filter(lambda text: not parser.unprintable(text)) | st.sampled_from(WORDS)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), None])
MOMENTS = st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone, fold=0),
    st.datetimes(min_value=datetime(1000, 1, 1)),
    ZONES,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats(allow_nan=False)
    | TEXTS
    | MOMENTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_is_written_is_read_back(value):
    for events in PARSERS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parser, "EVENTS", events)
            tree = parse(f"key: {flow(value)}\n")
        assert tree.faults == []
        assert tree.value == {"key": value}
        assert repr(tree.value) == repr({"key": value})


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-{}[],'\"\\&*!|>%@`#? \n\t01.\x00\ud800") | st.text())
def test_no_text_is_an_accident(text):
    tree = parse(text)
    assert tree.value is None or all(fault.line >= 1 for fault in tree.faults)


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF", "y", "1_000", "12:30", "2026-12-04"])
def test_words_that_other_readers_take_for_something_else_are_quoted(word):
    assert yaml.safe_load(f"a: {flow(word)}") == {"a": word}
