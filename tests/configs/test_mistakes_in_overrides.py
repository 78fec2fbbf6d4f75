"""What a user reads when `key=value` on the command line is wrong: exact lines."""

import pytest

from challenge.configs.loader import load_challenge, read

GOOD = """\
name: good
images: {source: builtin}
operator: {kernel: {kind: gaussian, std: 1.6}}
noise: {sigma: 0.03}
"""


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "noise.sigma=0",
            "`noise.sigma` must be greater than 0 (got 0); for nearly noise-free data write 0.001",
        ),
        (
            "noise.sigma=25",
            "`noise.sigma` must be at most 1 (got 25); "
            "it is in units of the image range [0, 1], 25/255 is 0.098",
        ),
        (
            "noise.sigma=[0.05, 0.01]",
            "`noise.sigma` must be written [low, high] (got [0.05, 0.01])",
        ),
        ("noise.sigma=[0.05]", "`noise.sigma` has too few values (got [0.05])"),
        ("noise.sigma=[0.1, 0.2, 0.3]", "`noise.sigma` must have 2 values (got [0.1, 0.2, 0.3])"),
        (
            "noise.sigma=[0.1, 7]",
            "`noise.sigma.1` must be at most 1 (got 7); "
            "it is in units of the image range [0, 1], 7/255 is 0.0275",
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
        (
            "images={}",
            "`images.source` is missing; it is one of `builtin`, `folder`, `phantoms`, `slices`",
        ),
        ("images={source: folder}", "`images.path` is missing; for example `path: photographs`"),
        ("images.source=folder", "`images.path` is missing; for example `images.path=photographs`"),
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
        (
            "name.x=1",
            "`name` is not a section; give it as a whole, `name=...`, a section as "
            "`'name={KEY: VALUE, ...}'`",
        ),
        ("noise=[1", "after `[` a `,` or the closing `]` is missing"),
        ("x\x1b=1", "an unprintable character, \\x1b; take it out"),
        ("x=\udcff", "an unprintable character, \\udcff; take it out"),
    ],
)
def test_one_mistake_in_an_override(said, override, line):
    lines = said(load_challenge, GOOD, override, name="good.yaml")
    place = override.encode("ascii", "backslashreplace").decode().replace("\x1b", "\\x1b")
    if len(place) > 80:
        place = place[:77] + "..."
    assert lines[0] == f"`{place}`: {line}"


@pytest.mark.parametrize("override", ["", "=1", "noise", "noise:sigma=1", "a..b=1", "a b=1"])
def test_what_is_no_override(said, override):
    assert said(read, GOOD, override) == [
        f"`{override}`: is not of the form `key=value`; for example `noise.sigma=0.05`"
    ]


def test_element_of_a_list(said):
    text = GOOD.replace("0.03", "[0.01, 0.05]")
    assert said(load_challenge, text, "noise.sigma.2=1", "noise.sigma.x=1") == [
        f"`noise.sigma.{part}=1`: `noise.sigma` is a list of 2; "
        "count from 0, or give the whole: `noise.sigma=[...]`"
        for part in "2x"
    ]
