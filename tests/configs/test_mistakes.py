"""What a user reads when a file is wrong: exact lines."""

from pathlib import Path

import pytest

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import load_challenge, load_entry, read

GOOD = """\
name: good
images: {source: builtin}
operator: {kernel: {kind: gaussian, std: 1.6}}
noise: {sigma: 0.03}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_mistake_of_a_challenge_at_once(said):
    text = """\
name: My Deblur
images: {source: foldr}
operator:
  kernel: {file: a.npy, pick: -1, pik: 2}
  boundry: valid
  sigma: 3
noise:
  sigma: -1.6
limits:
  threads: ten
  weights_mb: 0
  memory_gb: true
rules: {counts: lastest}
name: twice
"""
    assert said(load_challenge, text, "seed=1.5", "rules.deadline", "metric.crup=1") == [
        "bad.yaml:1: `name` must be lower-case letters, digits, `_` and `-`, at most 63 of them "
        "(got My Deblur); for example `my-deblur`",
        "bad.yaml:2: `images.source` must be `builtin`, `folder`, `phantoms` or `slices` (got "
        "foldr); "
        "did you mean `folder`?",
        "bad.yaml:4: `operator.kernel.pick` must be at least 0 (got -1)",
        "bad.yaml:4: `operator.kernel.pik` is not a known key; did you mean `pick`?",
        "bad.yaml:5: `operator.boundry` is not a known key; did you mean `boundary`?",
        "bad.yaml:6: `operator.sigma` is not a known key; "
        "known here: `kind`, `kernel`, `boundary`; elsewhere: `noise.sigma`",
        "bad.yaml:8: `noise.sigma` must be greater than 0 (got -1.6); "
        "for nearly noise-free data write 0.001",
        "bad.yaml:10: `limits.threads` must be a whole number (got ten)",
        "bad.yaml:11: `limits.weights_mb` must be greater than 0 (got 0)",
        "bad.yaml:12: `limits.memory_gb` must be a number (got true)",
        "bad.yaml:13: `rules.counts` must be `latest` or `best` (got lastest); "
        "did you mean `latest`?",
        "bad.yaml:14: `name` is given twice; keep one, the other is in line 1",
        "`rules.deadline`: is not of the form `key=value`; for example `noise.sigma=0.05`",
        "`metric.crup=1`: `metric.crup` is not a known key; did you mean `metric.crop`?",
        "`seed=1.5`: `seed` must be a whole number (got 1.5)",
    ]


def test_what_is_missing_has_the_line_of_its_section(said):
    text = "images: {source: builtin}\noperator:\n  boundary: valid\nnoise: {}\n"
    assert said(load_challenge, text) == [
        "bad.yaml: `name` is missing; for example `name: deblur`",
        "bad.yaml:2: `operator.kernel` is missing; for example "
        "`kernel: {file: kernels/motion.npy}`",
        "bad.yaml:4: `noise.sigma` is missing; for example `sigma: 0.03`",
    ]


EXPECTED = "lines such as `name: deblur` are expected, with a space after the `:`"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "",
            f": is empty; {EXPECTED}",
        ),
        (
            "# later\n",
            f": is empty; {EXPECTED}",
        ),
        (
            "- a\n- b\n",
            f": holds a list; {EXPECTED}",
        ),
        (
            "name:deblur\n",
            f": holds no keys; {EXPECTED}",
        ),
        (b"name: a\nx: \xff\n", ":2: is not UTF-8 text; save the file as UTF-8"),
        ("name: a".encode("utf-16"), ":1: is not UTF-8 text; save the file as UTF-8"),
        (b"x" * 100_001, ": is too large for a config, 100,001 bytes; is it the file?"),
        ("name: a\n\tb: 1\n", ":2: a tab in the indentation; indent with spaces"),
        ("a: {b: 1\n", ":1: after `{` a `,` or the closing `}` is missing"),
    ],
)
def test_what_is_no_config_at_all(said, content, line):
    assert said(load_challenge, content) == [f"bad.yaml{line}"]


def test_a_byte_order_mark_is_no_mistake():
    Path("good.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_challenge("good.yaml")[0].name == "good"


def test_one_kind_of_file_for_the_other(said):
    assert said(load_entry, GOOD) == [
        "bad.yaml: is a challenge, and an entry's config is expected here; such a file says "
        "`challenge: NAME` and `method: {name: tv}`, see `configs/tv.yaml`"
    ]
    assert said(load_challenge, "challenge: levin\nmethod: tv\n") == [
        "bad.yaml: is an entry's config, and a challenge is expected here; "
        "the challenge it is for is `levin`"
    ]


ENTRY = "challenge: deblur\nmethod:\n  name: tv\n  wieght: 1\ntrain: {bacth: 4}\nuses: 1\n"


def test_mistakes_of_the_method_stand_among_the_others(said):
    def method_mistakes(source, section):
        assert section == {"name": "tv", "wieght": 1}
        return [source.mistake(("method", "wieght"), "there is no `wieght`", "say `weight`")]

    def raising(source, section):
        raise UserError(*method_mistakes(source, section))

    for each in (method_mistakes, raising):
        assert said(load_entry, ENTRY, method_mistakes=each) == [
            "bad.yaml:4: there is no `wieght`; say `weight`",
            "bad.yaml:5: `train.bacth` is not a known key; did you mean `batch`?",
            "bad.yaml:6: `uses` must be a section (got 1); "
            "its keys are `pretrained`, `external_data`",
        ]


def test_mistakes_of_the_method_alone_are_enough(said):
    lines = said(
        load_entry,
        "challenge: deblur\nmethod: tv\n",
        method_mistakes=lambda source, section: [source.mistake(("method", "x"), "is wrong")],
    )
    assert lines == ["bad.yaml:2: is wrong"]


def test_mistakes_of_an_entry(said):
    text = "method: [tv]\ntrain: {steps: 5, minutes: 3}\nweight: 1\n"
    assert said(load_entry, text) == [
        "bad.yaml: `challenge` is missing; for example `challenge: deblur`",
        "bad.yaml:1: `method` must be a section (got [tv]); for example `method: {name: tv}`",
        "bad.yaml:2: `train.minutes` cannot stand beside `train.steps` (got 3); "
        "give one of the two; `train.minutes=null` on the command line takes it out",
        "bad.yaml:3: `weight` is not a known key; "
        "known here: `challenge`, `name`, `method`, `train`, `uses`, `seed`",
    ]


def test_a_file_whose_stem_is_no_name(said):
    assert said(load_entry, "challenge: deblur\nmethod: tv\n", name="My TV.yaml") == [
        "My TV.yaml: `name` must be lower-case letters, digits, `_` and `-`, at most 63 of them "
        "(got My TV); for example `my-tv`"
    ]


def test_place_falls_back_to_the_nearest_parent():
    Path("own.yaml").write_text("a:\n  b: {c: [1, 2]}\n")
    source = read("own.yaml", ["a.d=1", "e.f.g=[1]"])
    assert source.place(("a", "b", "c", 1)) == "own.yaml:2"
    assert source.place(("a", "b", "x", "y")) == "own.yaml:2"
    assert source.place(("a", "x")) == "own.yaml:1"
    assert source.place(("x",)) == "own.yaml"
    assert source.place(()) == "own.yaml"
    assert source.place(("a", "d")) == "`a.d=1`"
    assert source.place(("e", "f", "g", 0)) == "`e.f.g=[1]`"
    assert source.place(("e", "x")) == "`e.f.g=[1]`"
    assert source.mistake(("x",), "is bad") == Mistake("own.yaml", "is bad")


def test_messages_stay_on_one_line_of_printable_characters(said):
    long = "x" * 300
    lines = said(load_challenge, GOOD + f'"k\\u2028{long}": 1\nseed: "{long}"\n')
    assert len(lines) == 2
    assert all(len(line) < 250 and line.isprintable() for line in lines)
