"""What a user reads when a file is wrong: exact lines."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from challenge.configs.errors import Mistake, UserError
from challenge.configs.loader import Source, load_challenge, load_entry, read

GOOD = """\
name: good
images: {source: builtin}
operator: {kernel: {kind: gaussian, std: 1.6}}
noise: {sigma: 0.03}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(load, text, *overrides, name="bad.yaml", **more):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load(name, overrides, **more)
    return str(caught.value).splitlines()


def test_every_mistake_of_a_challenge_at_once():
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
        "bad.yaml:2: `images.source` must be `builtin` or `folder` (got foldr); "
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
        "`metric.crup=1`: `metric.crup` is not a known key; did you mean `crop`?",
        "`seed=1.5`: `seed` must be a whole number (got 1.5)",
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "noise.sigma=0",
            "`noise.sigma` must be greater than 0 (got 0); for nearly noise-free data write 0.001",
        ),
        (
            "noise.sigma=25",
            "`noise.sigma` must be at most 1 (got 25); images live in [0, 1], 25/255 is 0.098",
        ),
        (
            "noise.sigma=[0.05, 0.01]",
            "`noise.sigma` must be written [low, high] (got [0.05, 0.01])",
        ),
        ("noise.sigma=[0.05]", "`noise.sigma` has too few values (got [0.05])"),
        ("noise.sigma=[0.1, 0.2, 0.3]", "`noise.sigma` must have 2 values (got [0.1, 0.2, 0.3])"),
        (
            "noise.sigma=[0.1, 7]",
            "`noise.sigma.1` must be at most 1 (got 7); images live in [0, 1], 7/255 is 0.0275",
        ),
        ("noise.sigma=0,03", "`noise.sigma` must be a number (got 0,03); write a point, 0.03"),
        (
            "noise.sigma=sqrt(2)/255",
            "`noise.sigma` must be a number (got sqrt(2)/255); "
            "formulas are not computed, write the number",
        ),
        ("noise.sigma=true", "`noise.sigma` must be a number (got true)"),
        ("noise.sigma=.nan", "`noise.sigma` must be a finite number (got .nan)"),
        ("noise.sigma=", "`noise.sigma` must be a number (got nothing)"),
        ("limits.minutes=.inf", "`limits.minutes` must be a finite number (got .inf)"),
        ("limits.threads=1_000", "`limits.threads` must be at most 256 (got 1_000)"),
        ("seed=-1", "`seed` must be at least 0 (got -1)"),
        ("seed=" + "9" * 200, "`seed` must be a whole number (got " + "9" * 57 + "...)"),
        ("name=2024", "`name` must be text (got 2024); put it in quotes, `'name=\"2024\"'`"),
        (
            "name=../up",
            "`name` must be lower-case letters, digits, `_` and `-`, at most 63 of them "
            "(got ../up); for example `up`",
        ),
        (
            "images=builtin",
            "`images` must be a section (got builtin); for example `images: {source: builtin}`",
        ),
        ("noise=null", "`noise` has nothing in it; for example `noise: {sigma: 0.03}`"),
        ("noise=sigma:0.1", "`noise` must be a section (got sigma:0.1); put a space after the `:`"),
        (
            "noise={sigma:0.1, sigma: 1}",
            "`noise.sigma:0.1` is not a known key; put a space after the `:`",
        ),
        (
            "limits=3",
            "`limits` must be a section (got 3); "
            "its keys are `weights_mb`, `minutes`, `threads`, `memory_gb`",
        ),
        ("images={}", "`images.source` is missing; it is one of `builtin`, `folder`"),
        ("images={source: folder}", "`images.path` is missing; for example `path: photographs`"),
        (
            "images={source: folder, path: {train: a, tset: b}}",
            "`images.path.tset` is not a known key; did you mean `test`?",
        ),
        (
            "images={source: folder, path: a, train: 3}",
            "`images.train` does not go with `folder`; "
            "take it out, or replace the whole section, `images={...}`",
        ),
        (
            "images={source: builtin, size: 0,5}",
            "`images.size` must be at least 32 (got 0)",
        ),
        (
            "operator.kernel=a.npy",
            "`operator.kernel` must be a section (got a.npy); "
            "for example `kernel: {file: kernels/motion.npy}`",
        ),
        (
            "operator.kernel={size: 9}",
            "`operator.kernel.kind` is missing; "
            "it is one of `file`, `gaussian`, `uniform`, `disk`, `motion`",
        ),
        (
            "operator.kernel={kind: [x]}",
            "`operator.kernel.kind` must be "
            "`file`, `gaussian`, `uniform`, `disk` or `motion` (got [x])",
        ),
        (
            "operator.kernel.kind=gausian",
            "`operator.kernel.kind` must be `file`, `gaussian`, `uniform`, `disk` or `motion` "
            "(got gausian); did you mean `gaussian`?",
        ),
        (
            "operator.boundary=circle",
            "`operator.boundary` must be `circular`, `valid` or `reflect` "
            "(got circle); did you mean `circular`?",
        ),
        (
            "rules.deadline=2026-12-04",
            "`rules.deadline` must have a time zone (got 2026-12-04); "
            "write 2026-12-04T00:00:00Z for UTC, or for example +01:00 in place of Z",
        ),
        (
            "rules.deadline=2026-13-04T17:00:00Z",
            "`rules.deadline` must be a date and time (got 2026-13-04T17:00:00Z); "
            "for example 2026-12-04T17:00:00Z",
        ),
        (
            "rules.deadline=20261204",
            "`rules.deadline` must be a date and time (got 20261204); "
            "for example 2026-12-04T17:00:00Z",
        ),
        ("name.x=1", "`name` is not a section; nothing below it can be set, but `name=...` can"),
        ("noise=[1", "after `[` a `,` or the closing `]` is missing"),
        ("x\x1b=1", "an unprintable character, \\x1b; take it out"),
        ("x=\udcff", "an unprintable character, \\udcff; take it out"),
    ],
)
def test_one_mistake_in_an_override(override, line):
    lines = said(load_challenge, GOOD, override, name="good.yaml")
    place = override.encode("ascii", "backslashreplace").decode().replace("\x1b", "\\x1b")
    if len(place) > 80:
        place = place[:77] + "..."
    assert lines[0] == f"`{place}`: {line}"


@pytest.mark.parametrize("override", ["", "=1", "noise", "noise:sigma=1", "a..b=1", "a b=1"])
def test_what_is_no_override(override):
    assert said(read, GOOD, override) == [
        f"`{override}`: is not of the form `key=value`; for example `noise.sigma=0.05`"
    ]


def test_element_of_a_list():
    text = GOOD.replace("0.03", "[0.01, 0.05]")
    assert said(load_challenge, text, "noise.sigma.2=1", "noise.sigma.x=1") == [
        f"`noise.sigma.{part}=1`: `noise.sigma` is a list of 2; "
        "count from 0, or give the whole: `noise.sigma=[...]`"
        for part in "2x"
    ]


def test_what_is_missing_has_the_line_of_its_section():
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
        (b"x" * 1_000_001, ": is too large for a config, 1,000,001 bytes; is it the file?"),
        ("name: a\n\tb: 1\n", ":2: a tab in the indentation; indent with spaces"),
        ("a: {b: 1\n", ":1: after `{` a `,` or the closing `}` is missing"),
    ],
)
def test_what_is_no_config_at_all(content, line):
    assert said(load_challenge, content) == [f"bad.yaml{line}"]


def test_a_byte_order_mark_is_no_mistake():
    Path("good.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_challenge("good.yaml")[0].name == "good"


def test_one_kind_of_file_for_the_other():
    assert said(load_entry, GOOD) == [
        "bad.yaml: is a challenge, and an entry's config is expected here; such a file says "
        "`challenge: NAME` and `method: {name: tv}`, see `configs/tv.yaml`"
    ]
    assert said(load_challenge, "challenge: levin\nmethod: tv\n") == [
        "bad.yaml: is an entry's config, and a challenge is expected here; "
        "the challenge it is for is `levin`"
    ]


ENTRY = "challenge: deblur\nmethod:\n  name: tv\n  wieght: 1\ntrain: {bacth: 4}\nuses: 1\n"


def test_mistakes_of_the_method_stand_among_the_others():
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


def test_mistakes_of_the_method_alone_are_enough():
    lines = said(
        load_entry,
        "challenge: deblur\nmethod: tv\n",
        method_mistakes=lambda source, section: [source.mistake(("method", "x"), "is wrong")],
    )
    assert lines == ["bad.yaml:2: is wrong"]


def test_mistakes_of_an_entry():
    text = "method: [tv]\ntrain: {steps: 5, minutes: 3}\nweight: 1\n"
    assert said(load_entry, text) == [
        "bad.yaml: `challenge` is missing; for example `challenge: deblur`",
        "bad.yaml:1: `method` must be a section (got [tv]); for example `method: {name: tv}`",
        "bad.yaml:2: `train.minutes` cannot stand beside `train.steps` (got 3); "
        "give one of the two; `train.minutes=null` on the command line takes it out",
        "bad.yaml:3: `weight` is not a known key; "
        "known here: `challenge`, `name`, `method`, `train`, `uses`, `seed`",
    ]


def test_a_file_whose_stem_is_no_name():
    assert said(load_entry, "challenge: deblur\nmethod: tv\n", name="My TV.yaml") == [
        "My TV.yaml: `name` must be lower-case letters, digits, `_` and `-`, at most 63 of them "
        "(got My TV); for example `my-tv`"
    ]


class Denoiser(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["drunet", "dncnn"]
    depth: Annotated[int, Field(multiple_of=2)] = 4


class Wide(BaseModel):
    """What a method may declare beyond our own schema."""

    model_config = ConfigDict(extra="forbid")
    weight: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    sizes: list[int] = []
    steps: dict[str, float] = {}
    denoiser: str | Denoiser = "drunet"
    lowest: float | None = None
    label: Annotated[str, Field(pattern="^a")] = "a"

    @field_validator("lowest")
    @classmethod
    def _fits(cls, value):
        if value is not None and value < 0:
            raise ValueError("lowest below zero.")
        if value is not None and value > 9:
            raise ValueError("must stay below 9")
        return value


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("weight", "-1", "2: `method.weight` must be greater than 0 or `auto` (got -1)"),
        ("weight", "x", "2: `method.weight` must be a number or `auto` (got x)"),
        ("sizes", "[1, x]", "2: `method.sizes.1` must be a whole number (got x)"),
        ("sizes", "3", "2: `method.sizes` must be a list (got 3)"),
        ("steps", "{a: b}", "2: `method.steps.a` must be a number (got b)"),
        (
            "denoiser",
            "{kind: drunet, depth: 3}",
            "2: `method.denoiser.depth` must be a multiple of 2 (got 3)",
        ),
        (
            "denoiser",
            "{kind: drunet, dpth: 3}",
            "2: `method.denoiser.dpth` is not a known key; did you mean `depth`?",
        ),
        ("lowest", "-1", "2: `method.lowest` is refused: lowest below zero (got -1)"),
        ("lowest", "10", "2: `method.lowest` must stay below 9 (got 10)"),
        ("label", "b", "2: `method.label` must match pattern '^a' (got b)"),
        ("weigth", "1", "2: `method.weigth` is not a known key; did you mean `weight`?"),
    ],
)
def test_a_model_of_somebody_else(key, value, line):
    Path("own.yaml").write_text(f"method:\n  {key}: {value}\n")
    source = read("own.yaml")
    with pytest.raises(ValidationError) as caught:
        Wide.model_validate(source.tree["method"])
    for model in (Wide, None):
        found = source.explain(caught.value, ("method",), model)
        assert f"own.yaml:{line}" in map(str, found)


def test_an_explanation_follows_the_lines():
    Path("own.yaml").write_text("lowest: x\nwieght: 1\nsizes: 3\n")
    source = read("own.yaml", ["weight=-1"])
    with pytest.raises(ValidationError) as caught:
        Wide.model_validate(source.tree)
    places = [each.place for each in source.explain(caught.value, model=Wide)]
    assert places == ["own.yaml:1", "own.yaml:2", "own.yaml:3", "`weight=-1`"]


def test_two_models_of_one_name_need_to_be_told_apart():
    twins = [
        create_model("Twin", __config__=ConfigDict(extra="forbid"), **{name: (int, 1)})
        for name in ("weight", "height")
    ]
    source = Source(Path("own.yaml"), {"wieght": 1})
    with pytest.raises(ValidationError) as caught:
        twins[0].model_validate(source.tree)
    unsure, sure = "own.yaml: `wieght` is not a known key", "; did you mean `weight`?"
    assert [str(each) for each in source.explain(caught.value)] == [unsure]
    assert [str(each) for each in source.explain(caught.value, model=twins[0])] == [unsure + sure]


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


def test_messages_stay_on_one_line_of_printable_characters():
    long = "x" * 300
    lines = said(load_challenge, GOOD + f'"k\\u2028{long}": 1\nseed: "{long}"\n')
    assert len(lines) == 2
    assert all(len(line) < 250 and line.isprintable() for line in lines)
